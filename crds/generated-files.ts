/**
 * The files that are made from the schemas, by their path from the project's folder. Writes nothing; `generate.ts` does.
 */
import { definitionOf, kinds } from './kinds.ts'
import { definitionName, pageName, referenceIndexOf, referencePageOf } from './reference-page.ts'
import { toYaml } from './yaml.ts'

const note = '# Written by `node crds/generate.ts` from the schemas in crds/. Edit those.\n'

export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ...kinds.map((kind) => [`charts/steno/crds/${definitionName(kind)}`, note + toYaml(definitionOf(kind))] as const),
    ...kinds.map((kind) => [`docs/reference/${pageName(kind)}`, referencePageOf(kind)] as const),
    ['docs/reference/README.md', referenceIndexOf(kinds)] as const,
  ])
}
