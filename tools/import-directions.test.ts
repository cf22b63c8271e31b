/**
 * Goal: the folders stay what the architecture says. Method: every import of every source file, and examples of each thing forbidden.
 */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { faultsOf, importsOf, topLevelFolders } from './import-directions.ts'
import type { Packages } from './import-directions.ts'

const project = fileURLToPath(new URL('..', import.meta.url))
const ignored = new Set(['node_modules', '.cache', 'dist', 'coverage', '.git'])

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return ignored.has(entry.name) ? [] : sourceFiles(path)
    return entry.name.endsWith('.ts') ? [relative(project, path).split(sep).join('/')] : []
  })
}

function packagesOfProject(): Packages {
  const manifest = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as Record<string, Record<string, string> | undefined>
  const names = (key: string) => Object.keys(manifest[key] ?? {})
  return { production: names('dependencies'), development: names('devDependencies'), optional: names('optionalDependencies') }
}

test('every import goes in a direction that the architecture allows', () => {
  const packages = packagesOfProject()
  // The examples below look like imports to a reader of text.
  const files = sourceFiles(project).filter((file) => !file.startsWith('tools/import-directions.'))
  assert.ok(files.length > 0)
  assert.deepEqual(
    files.flatMap((file) => faultsOf(file, readFileSync(join(project, file), 'utf8'), packages)),
    [],
  )
})

test('there are no folders but those that the architecture names', () => {
  const folders = readdirSync(project, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  assert.deepEqual(
    folders.map(({ name }) => name).filter((name) => !topLevelFolders.includes(name)),
    [],
  )
})

const packages: Packages = { production: ['pino', '@peculiar/x509'], development: ['pg'], optional: ['@duckdb/node-api'] }

const forbidden: [file: string, source: string, because: RegExp][] = [
  ['cli/query.ts', "import { DuckDBInstance } from '@duckdb/node-api'", /optional dependency: load it by import/],
  ['base/log.ts', "import { x } from '../session/records.ts'", /base may import nothing, not session/],
  ['postgres/a.ts', "import type { Statement } from '../session/statement.ts'", /not session/],
  ['session/a.ts', "import {\n  one,\n  two,\n} from '../postgres/frames.ts'", /not postgres/],
  ['session/a.ts', "export { x } from '../sidecar/spool.ts'", /not sidecar/],
  ['session/a.ts', "export * from '../policy/decision.ts'", /not policy/],
  ['policy/a.ts', "import '../sidecar/main.ts'", /not sidecar/],
  ['sidecar/a.ts', "import { run } from '../cli/run.ts'", /not cli/],
  ['sidecar/deep/a.ts', "const { tunnel } = await import('../../relay/tunnel.ts')", /not relay/],
  ['sidecar/a.ts', "new Worker(new URL('../cli/worker.ts', import.meta.url))", /not cli/],
  ['cli/proxy.ts', "import { createSpool } from '../sidecar/spool/spool.ts'", /not sidecar/],
  ['cli/a.ts', "import { startPostgres } from '../tools/embedded-postgres.ts'", /not tools/],
  ['cli/a.ts', 'const loaded = await import(name)', /only a running program knows/],
  ['tools/a.ts', "import { x } from '../postgres/frames.ts'", /not postgres/],
  ['session/a.test.ts', "import { x } from '../cli/show.ts'", /not cli/],
  ['postgres/a.ts', "import { connect } from 'node:net'", /opens no sockets/],
  ['session/a.ts', "import tls from 'node:tls'", /opens no sockets/],
  ['crds/a.ts', "import { get } from 'node:http'", /opens no sockets/],
  ['policy/a.ts', "const http = await import('node:http2')", /opens no sockets/],
  ['sidecar/a.ts', "import { readFile } from 'fs/promises'", /write node:fs\/promises/],
  ['sidecar/a.ts', "import pg from 'pg'", /development dependency/],
  ['sidecar/a.test.ts', "import leftPad from 'left-pad'", /does not list it/],
  ['sidecar/a.ts', "import x from '@peculiar/asn1-schema/deep'", /does not list it/],
  ['session/a.ts', "import { createTestRecorder } from './test-recording.ts'", /there for tests/],
  ['sidecar/a.ts', "new Worker(new URL('test-worker.ts', import.meta.url))", /there for tests/],
  ['gateway/a.ts', "import { x } from '../base/errors.ts'", /no folder of the architecture/],
]

for (const [file, source, because] of forbidden) {
  test(`it is found when ${file} says: ${source.replaceAll(/\s+/g, ' ')}`, () => {
    const faults = faultsOf(file, source, packages)
    assert.equal(faults.length, 1)
    assert.match(faults[0] ?? '', because)
  })
}

const permitted: [file: string, source: string][] = [
  ['base/version.ts', "import manifest from '../package.json' with { type: 'json' }"],
  ['cli/proxy.ts', "const { main } = await import('../sidecar/main.ts')"],
  ['cli/show.ts', "import { rows } from '../postgres/values/text.ts'\nimport type { Segment } from '../session/segment.ts'"],
  ['session/stores/s3.ts', "import { request } from 'node:https'"],
  ['sidecar/main.ts', "import { createServer } from 'node:net'\nimport pino from 'pino'\nimport { x } from '@peculiar/x509'"],
  [
    'session/segment.test.ts',
    "import { createServer } from 'node:net'\nimport pg from 'pg'\nimport { startPostgres } from '../tools/embedded-postgres.ts'",
  ],
  ['e2e/kill.test.ts', "import { spool } from '../sidecar/spool/spool.ts'\nimport { show } from '../cli/show.ts'"],
]

for (const [file, source] of permitted) {
  test(`it is in order when ${file} says: ${source.replaceAll(/\s+/g, ' ')}`, () => {
    assert.deepEqual(faultsOf(file, source, packages), [])
    assert.ok(importsOf(source).length > 0)
  })
}
