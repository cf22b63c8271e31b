/**
 * `node crds/generate.ts`: writes the CustomResourceDefinitions of the chart and the reference pages. A test keeps them current.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { generatedFiles } from './generated-files.ts'

const project = fileURLToPath(new URL('..', import.meta.url))
for (const [file, text] of generatedFiles()) {
  const target = path.join(project, file)
  mkdirSync(path.dirname(target), { recursive: true })
  writeFileSync(target, text)
}
