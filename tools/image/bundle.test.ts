/** Goal: what a source names beside itself is found from the bundle, and what cannot be is refused by name. Method: projects of a few lines. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { bundleSteno } from './bundle.ts'
import { project, temporaryFolder } from './test-image.ts'

function write(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
}

function projectOf(folder: string, files: Readonly<Record<string, string>>): void {
  write(folder, { 'package.json': JSON.stringify({ version: '1.0.0', optionalDependencies: { absent: '1' } }), ...files })
  symlinkSync(join(project, 'node_modules'), join(folder, 'node_modules'))
}

test('workers that start workers, data files, required packages and import.meta.main work from one flat folder', async () => {
  using folder = temporaryFolder()
  projectOf(folder.path, {
    'cli/main.ts': `
      import { once } from 'node:events'
      import { isMain, startDeep } from '../sidecar/deep/start.ts'
      const worker = startDeep()
      const [said] = await once(worker, 'message')
      const { lazy } = await import('./lazy.ts')
      console.log(JSON.stringify([said, lazy, isMain]))`,
    'cli/lazy.ts': `
      import { createRequire } from 'node:module'
      const saslprep = createRequire(import.meta.url)('@mongodb-js/saslprep')
      export const lazy = [saslprep('\\u2168'), await import(\`absent\`).catch((error) => error.code)]`,
    'sidecar/deep/start.ts': `
      import { Worker } from 'node:worker_threads'
      export const isMain = import.meta.main
      export const startDeep = () => new Worker(new URL('./worker.ts', import.meta.url))`,
    'sidecar/deep/worker.ts': `
      import { once } from 'node:events'
      import { readFileSync } from 'node:fs'
      import { parentPort, Worker } from 'node:worker_threads'
      const [inner] = await once(new Worker(new URL('../other/worker.ts', import.meta.url)), 'message')
      parentPort.postMessage([readFileSync(new URL('../../data/table.txt', import.meta.url), 'utf8'), inner])`,
    'sidecar/other/worker.ts': `import { parentPort } from 'node:worker_threads'; parentPort.postMessage('inner')`,
    'data/table.txt': 'table',
  })
  const { files, packagePaths } = await bundleSteno(folder.path)
  using out = temporaryFolder()
  for (const { path, content } of files) write(out.path, { [path]: content.toString() })
  const said = execFileSync(process.execPath, [join(out.path, 'steno.js')], { encoding: 'utf8' })
  assert.deepEqual(JSON.parse(said), [['table', 'inner'], ['IX', 'ERR_MODULE_NOT_FOUND'], false])
  assert.ok(packagePaths.includes('node_modules/@mongodb-js/saslprep'))
})

for (const [what, source] of [
  ['a path that is put together at run time', "const name = 'x'; new URL(`./${name}.ts`, import.meta.url)"],
  ['the folder of the source', 'console.log(import.meta.dirname)'],
  ['a file that is not there', "new URL('./gone.ts', import.meta.url)"],
  ['a package that is not installed', "import 'no-such-package'"],
  ['a package in CommonJS that is loaded by import()', "const { X509Certificate } = await import('@peculiar/x509')"],
] as const) {
  test(`${what} ends the build with the file’s name`, async () => {
    using folder = temporaryFolder()
    projectOf(folder.path, { 'cli/main.ts': source })
    await assert.rejects(bundleSteno(folder.path), { code: 'NOT_BUNDLED', message: /cli\/main\.ts/ })
  })
}
