/**
 * Goal: the image is the same wherever it is built, holds what it should and no more, and steno works from it: every command, and a
 * recording with its worker thread. Method: builds it from two copies of the sources, unpacks it, and runs its entry point by chroot.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { after, test } from 'node:test'
import pg from 'pg'
import { startPostgres } from '../embedded-postgres.ts'
import { buildImage, readImageOptions, type BuiltImage } from './build.ts'
import { stenoUser } from './runtime-files.ts'
import { copySources, project, temporaryFolder, unpackImage } from './test-image.ts'

const place = temporaryFolder()
after(() => place[Symbol.dispose]())
const [first, second] = [join(place.path, 'one'), join(place.path, 'other/deeper')]
copySources(project, first)
copySources(first, second)
const options = { ...readImageOptions(['--compression', 'none', '--name', 'localhost/steno/steno:test']), folder: first }
const built: BuiltImage = await buildImage(options)
writeFileSync(join(place.path, 'image.tar'), built.archive)
const image = unpackImage(join(place.path, 'image.tar'), place.path)
const { version } = JSON.parse(readFileSync(join(first, 'package.json'), 'utf8')) as { version: string }

test('two builds from clones in different folders are the same bytes', async () => {
  const again = await buildImage({ ...options, folder: second })
  assert.equal(again.digest, built.digest)
  assert.ok(again.archive.equals(built.archive))
})

test('it is under 190 MB unpacked, and what changes with a release is under 20 MB', () => {
  assert.ok(built.unpackedBytes < 190e6, `${built.unpackedBytes} bytes`)
  const appBytes = built.bundle.files.reduce((sum, { content }) => sum + content.length, 0)
  assert.ok(appBytes < 20e6, `${appBytes} bytes`)
})

test('it runs as 64242, and nothing in it can be written by that user but its home and /tmp', () => {
  assert.equal(image.config.User, `${stenoUser}:${stenoUser}`)
  assert.match(readFileSync(join(image.root, 'etc/passwd'), 'utf8'), /^steno:x:64242:64242:/m)
  const writable = execFileSync('find', [image.root, '-perm', '/022', '-not', '-type', 'l', '-printf', '%P\n'], { encoding: 'utf8' })
  assert.equal(writable, 'tmp\n')
  if (process.getuid?.() !== 0) return // Only root can unpack owners.
  const owned = execFileSync('find', [image.root, '-not', '-user', '0', '-printf', '%P %U:%G %m\n'], { encoding: 'utf8' })
  assert.equal(owned, 'var/lib/steno 64242:64242 700\n')
})

test('there is no shell and no program but Node and the loader of its libraries', () => {
  const programs = readdirSync(image.root, { recursive: true, encoding: 'utf8' })
    .filter((path) => statSync(join(image.root, path)).isFile() && (statSync(join(image.root, path)).mode & 0o111) !== 0)
    .filter((path) => !/\.so\.\d+$/.test(path))
  assert.deepEqual(programs, ['usr/local/bin/node'])
})

test('Node trusts public authorities, by a list that other programs can read too', () => {
  const list = readFileSync(join(image.root, 'etc/ssl/certs/ca-certificates.crt'), 'utf8')
  assert.ok([...list.matchAll(/-----BEGIN CERTIFICATE-----/g)].length > 100)
})

test('it says its version, which is that of package.json', async () => {
  assert.deepEqual(await image.run(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' })
})

test('every command says how it is used', async () => {
  const main = readFileSync(join(first, 'cli/main.ts'), 'utf8')
  const names = [...main.matchAll(/\bname: '([a-z-]+)'/g)].map(([, name = '']) => name)
  assert.ok(names.length >= 13)
  for (const name of names) {
    const { code, stdout, stderr } = await image.run([name, '--help'])
    assert.equal(code, 0, `${name}: ${stderr}`)
    assert.match(stdout, new RegExp(`Usage: steno ${name}`), name)
  }
})

test('each file of the bundle is a program that Node can read', () => {
  const modules = built.bundle.files.map(({ path }) => path).filter((path) => path.endsWith('.js'))
  const read = `
    const { SourceTextModule } = require('node:vm')
    for (const path of process.argv.slice(1)) new SourceTextModule(require('node:fs').readFileSync(path, 'utf8'), { identifier: path })`
  execFileSync(process.execPath, [
    ...['--experimental-vm-modules', '--no-warnings', '--eval', read],
    ...modules.map((path) => join(image.root, 'app', path)),
  ])
  assert.ok(modules.length > 10)
})

test('what the proxy records through the image is stored by its worker thread and verifies', async () => {
  await using database = await startPostgres()
  // Packages that are loaded by `require` only when such a password comes.
  const password = 'pa\u00ADss\u2168'
  await database.query(`create role shop login password '${password}'`)
  const store = 'file:///var/lib/steno/store'
  const proxy = image.start(['proxy', '--listen', '127.0.0.1:0', '--store', store, '--spool', '/var/lib/steno/spool'], {
    STENO_UPSTREAM: `postgresql://shop:${encodeURIComponent(password)}@127.0.0.1:${database.port}/postgres`,
  })
  try {
    const client = new pg.Client({ connectionString: `postgresql://agent@${await addressOf(proxy)}/postgres` })
    await client.connect()
    const { rows } = await client.query<{ answer: number }>('select 41 + 1 as answer')
    assert.deepEqual(rows, [{ answer: 42 }])
    await client.end()
    const ended = once(proxy, 'exit')
    proxy.kill('SIGTERM')
    assert.deepEqual(await ended, [0, null])
  } finally {
    proxy.kill('SIGKILL')
  }
  const verified = await image.run(['verify', '--all', '--store', store])
  assert.equal(verified.code, 0, verified.stderr)
  assert.match(verified.stdout, /verified 1 session, 1 segment, 1 statement: sound/)
  assert.match((await image.run(['show', 'last', '--store', store])).stdout, /select 41 \+ 1 as answer/)
})

test('an agent whose client insists on TLS speaks it with the proxy of the image', async () => {
  await using database = await startPostgres()
  await database.query(`create role shop login password 'sesame'`)
  const proxy = image.start(['proxy', '--listen', '127.0.0.1:0', '--store', 'file:///tmp/tls', '--spool', '/tmp/tls-spool'], {
    STENO_UPSTREAM: `postgresql://shop:sesame@127.0.0.1:${database.port}/postgres`,
  })
  try {
    const connectionString = `postgresql://agent@${await addressOf(proxy)}/postgres`
    const client = new pg.Client({ connectionString, ssl: { rejectUnauthorized: false } })
    await client.connect()
    const { stream } = (client as unknown as { connection: { stream: TLSSocket } }).connection
    assert.deepEqual([stream.getProtocol(), stream.getPeerCertificate().subject.CN], ['TLSv1.3', 'steno proxy (ephemeral)'])
    assert.deepEqual((await client.query<{ answer: number }>('select 41 + 1 as answer')).rows, [{ answer: 42 }])
    await client.end()
  } finally {
    const ended = once(proxy, 'exit')
    proxy.kill('SIGTERM')
    await ended
  }
})

/**
 * Goal: what is loaded only when it is needed gives from the bundle the names that it gives from the sources. Method: each entry of an
 * `import()` in the bundle, loaded by Node from both places.
 */
test('each module that is loaded when it is needed gives the names from the bundle that it gives from the sources', () => {
  const { outputs } = built.bundle
  const lazy = new Set(
    Object.values(outputs).flatMap(({ imports }) =>
      imports.filter(({ kind, external }) => kind === 'dynamic-import' && external !== true).map(({ path }) => path),
    ),
  )
  assert.ok(lazy.size >= 8, [...lazy].join())
  const load = `
    for (const path of process.argv.slice(1))
      console.log(JSON.stringify(Object.entries(await import(path)).flatMap(([name, value]) => (value === undefined ? [] : [name])).sort()))`
  const namesFrom = (paths: readonly string[]): string[] =>
    execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '--eval', load, ...paths], { encoding: 'utf8' })
      .trim()
      .split('\n')
  const entries = [...lazy].map((path) => ({ path, source: outputs[path]?.entryPoint ?? '' }))
  // A package's own are in the form for bundlers, which Node need not be able to load; one in CommonJS would have a default export alone.
  const [own, foreign] = [false, true].map((isForeign) => entries.filter(({ source }) => source.includes('node_modules/') === isForeign))
  assert.deepEqual(
    foreign?.filter(({ path }) => outputs[path]?.exports.join() === 'default'),
    [],
  )
  const fromBundle = namesFrom((own ?? []).map(({ path }) => join(image.root, path)))
  const fromSources = namesFrom((own ?? []).map(({ source }) => join(project, source)))
  assert.deepEqual(fromBundle, fromSources)
})

test('what needs an optional package says so by its code, and what to do instead', async () => {
  await image.run(['proxy', '--help'])
  const { code, stderr } = await image.run(['query', 'select 1', '--json', '--store', 'file:///tmp'])
  assert.equal(code, 1)
  assert.equal((JSON.parse(stderr) as { error: { code: string } }).error.code, 'DUCKDB_MISSING')
})

test('what the sidecar loads holds neither the Kubernetes client nor zod', () => {
  const loaded = loadedBy(['cli/sidecar.ts', 'sidecar/main.ts', 'sidecar/sealing/worker.ts'])
  assert.ok([...loaded].some((input) => input.startsWith('postgres/')))
  const foreign = [...loaded].filter((input) => /node_modules\/(@kubernetes|zod|@aws-sdk|@opentelemetry\/exporter)/.test(input))
  assert.deepEqual(foreign, [])
})

/** The sources that are loaded with these, without what comes by `import()` when it is needed. */
function loadedBy(sources: readonly string[]): Set<string> {
  const { outputs } = built.bundle
  const holds = (path: string): boolean => Object.keys(outputs[path]?.inputs ?? {}).some((input) => sources.includes(input))
  const waiting = ['app/steno.js', ...Object.keys(outputs).filter(holds)]
  const seen = new Set(waiting)
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    for (const { path: next, kind } of outputs[path]?.imports ?? []) {
      if (kind !== 'import-statement' || seen.has(next) || outputs[next] === undefined) continue
      seen.add(next)
      waiting.push(next)
    }
  }
  return new Set([...seen].flatMap((path) => Object.keys(outputs[path]?.inputs ?? {})))
}

/** Where the proxy listens, by its log. */
async function addressOf(proxy: ReturnType<typeof image.start>): Promise<string> {
  let log = ''
  for await (const text of proxy.stderr.setEncoding('utf8').iterator({ destroyOnReturn: false }) as AsyncIterable<string>) {
    log += text
    const address = /"address":"([^"]+)"/.exec(log)?.[1]
    if (address !== undefined) {
      proxy.stderr.resume()
      return address
    }
  }
  throw new Error(`the proxy does not listen:\n${log}`)
}
