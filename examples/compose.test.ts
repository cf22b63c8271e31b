/**
 * Goal: the composition holds what its first line says. Method: its YAML is judged as it stands; what its services run is run here without containers:
 * the database's script in a real PostgreSQL, `bin/steno` with the very arguments, psql with the agent's script; and the image's files are laid out
 * as the Dockerfile copies them. Not proven here: that a Docker builds and starts it.
 */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { startProxyProcess, steno } from '../e2e/support/proxy.ts'
import { program } from '../tools/debian-programs.ts'
import { startPostgres } from '../tools/embedded-postgres.ts'

type Service = {
  readonly image?: string
  readonly build?: { readonly context: string; readonly dockerfile: string }
  readonly networks: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly secrets?: readonly string[]
  readonly volumes?: readonly string[]
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly ports?: unknown
}
type Composition = {
  readonly services: Readonly<Record<'database' | 'steno' | 'agent', Service>>
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>
  readonly volumes: Readonly<Record<string, unknown>>
  readonly secrets: Readonly<Record<string, { readonly file: string }>>
}

const folder = fileURLToPath(new URL('.', import.meta.url))
const project = path.join(folder, '..')
const source = readFileSync(path.join(folder, 'compose.yaml'), 'utf8')
const composition = parse(source, { strict: true, uniqueKeys: true }) as Composition
const { database, steno: recorder, agent } = composition.services
const dockerfile = readFileSync(path.join(folder, 'compose', 'Dockerfile'), 'utf8')

function temporaryFolder(t: TestContext): string {
  const made = mkdtempSync(path.join(tmpdir(), 'steno-compose-'))
  t.after(() => rmSync(made, { recursive: true, force: true }))
  return made
}

test('the agent has no network in common with the database, and no network leads out', () => {
  assert.deepEqual(Object.keys(composition.services), ['database', 'steno', 'agent'])
  assert.deepEqual(
    agent.networks.filter((network) => database.networks.includes(network)),
    [],
  )
  for (const service of [database, agent]) assert.ok(service.networks.every((network) => recorder.networks.includes(network)))
  for (const [name, network] of Object.entries(composition.networks)) assert.equal(network.internal, true, name)
  for (const service of Object.values(composition.services)) {
    assert.equal(service.ports, undefined)
    for (const network of service.networks) assert.ok(network in composition.networks)
  }
})

test('the agent has no credential, and no password stands in the file', () => {
  assert.equal(agent.secrets, undefined)
  assert.ok(!Object.keys(agent.environment ?? {}).some((name) => /PASS|SECRET|TOKEN|KEY/i.test(name)))
  for (const volume of agent.volumes ?? []) assert.doesNotMatch(volume, /secret|recordings|database/)
  assert.doesNotMatch(source, /:\/\/[^\s/]*:[^\s/]*@|POSTGRES_PASSWORD:|PGPASSWORD/)
})

test('everything that a service names is there', () => {
  for (const service of Object.values(composition.services)) {
    for (const secret of service.secrets ?? []) assert.ok(secret in composition.secrets, secret)
    for (const needed of Object.keys(service.depends_on ?? {})) assert.ok(needed in composition.services, needed)
    for (const volume of service.volumes ?? []) {
      const [from = ''] = volume.split(':')
      if (from.startsWith('.')) assert.ok(existsSync(path.join(folder, from)), from)
      else assert.ok(from in composition.volumes, from)
    }
  }
  const { context, dockerfile: file } = recorder.build!
  assert.ok(existsSync(path.join(folder, context, file)))
})

test('the secrets are random, together, for their owner alone, and made once', (t) => {
  const made = temporaryFolder(t)
  cpSync(path.join(folder, 'compose', 'secrets.sh'), path.join(made, 'secrets.sh'))
  const make = (): void => void execFileSync(path.join(made, 'secrets.sh'), { stdio: ['ignore', 'ignore', 'ignore'] })
  make()
  assert.equal(statSync(path.join(made, 'secrets')).mode & 0o777, 0o700)
  for (const { file } of Object.values(composition.secrets)) assert.ok(existsSync(path.join(made, path.relative('compose', file))), file)
  const read = (name: string): string => readFileSync(path.join(made, 'secrets', name), 'utf8')
  assert.match(read('shop-password'), /^[0-9a-f]{48}$/)
  assert.notEqual(read('shop-password'), read('superuser-password'))
  assert.equal(read('upstream'), `postgresql://shop:${read('shop-password')}@database:5432/shop?sslmode=disable\n`)
  assert.throws(make)
})

test('what the services run works: the agent is served, recorded, and finds no password', async (t) => {
  const made = temporaryFolder(t)
  cpSync(path.join(folder, 'compose', 'secrets.sh'), path.join(made, 'secrets.sh'))
  execFileSync(path.join(made, 'secrets.sh'))
  await using server = await startPostgres()
  const psql = await program('psql')
  await server.query('create database shop')
  const script = readFileSync(path.join(folder, 'compose', 'database.sql'), 'utf8').replaceAll('/run/secrets', path.join(made, 'secrets'))
  writeFileSync(path.join(made, 'database.sql'), script)
  const env = { ...psql.env, PGPASSWORD: server.password }
  const direct = `postgresql://${server.superuser}@${server.host}:${server.port}/shop`
  await promisify(execFile)(psql.command, ['--no-psqlrc', '--set', 'ON_ERROR_STOP=1', '--file', path.join(made, 'database.sql'), direct], {
    env,
  })

  const upstream = readFileSync(path.join(made, 'secrets', 'upstream'), 'utf8')
    .trim()
    .replace('@database:5432', `@${server.host}:${server.port}`)
  const [name, ...options] = recorder.command!
  assert.equal(name, 'proxy')
  writeFileSync(path.join(made, 'upstream'), upstream)
  const own = options.map((option) =>
    option
      .replace('/run/secrets/upstream', path.join(made, 'upstream'))
      .replace('/var/lib/steno', made)
      .replace(/^(0\.0\.0\.0|127\.0\.0\.1):\d+$/, '127.0.0.1:0'),
  )
  await using proxy = await startProxyProcess({ upstream: '', folder: made, arguments: own })

  const { PGUSER = '', PGDATABASE = '' } = agent.environment ?? {}
  const [, ...standing] = agent.entrypoint!
  const given = [...standing, ...agent.command!].map((text) => text.replace('/agent.sql', path.join(folder, 'compose', 'agent.sql')))
  const { stdout, stderr } = await promisify(execFile)(psql.command, given, {
    env: { ...psql.env, PGHOST: proxy.host, PGPORT: String(proxy.port), PGUSER, PGDATABASE },
  })
  assert.match(stdout, /Anna Berzina/)
  assert.match(stderr, /orders_cents_check[\s\S]*permission denied for table pg_authid/)
  assert.equal(await proxy.stop(), 0)
  const shown = await steno(['show', 'last', '--store', `file://${made}/store`])
  assert.match(shown.stdout, /custody: steno held the credential[\s\S]*update orders set cents = -1/)
  assert.equal((await steno(['verify', '--all', '--store', `file://${made}/store`])).status, 0)
})

test('the image holds all that the commands load', async (t) => {
  const made = temporaryFolder(t)
  const copied = [...dockerfile.matchAll(/^COPY (.+) (\S+)$/gm)].flatMap(([, from = '']) => from.split(' '))
  const ignored = readFileSync(path.join(folder, 'compose', 'Dockerfile.dockerignore'), 'utf8')
  for (const name of copied) {
    assert.ok(ignored.includes(`!${name}\n`), `${name} is left out of the context`)
    cpSync(path.join(project, name), path.join(made, name), { recursive: true, filter: (file) => !file.endsWith('.test.ts') })
  }
  // The packages as `npm ci --omit=dev --omit=optional` installs them: those that package.json runs with, and what they need in turn.
  mkdirSync(path.join(made, 'node_modules'))
  for (const name of productionPackages()) {
    mkdirSync(path.dirname(path.join(made, 'node_modules', name)), { recursive: true })
    symlinkSync(path.join(project, 'node_modules', name), path.join(made, 'node_modules', name))
  }
  const run = (...args: string[]): Promise<{ stdout: string }> =>
    promisify(execFile)(path.join(made, 'bin', 'steno'), args, {
      env: { PATH: `${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}`, HOME: made, STENO_CONFIG: '' },
    })
  // The manual page loads every command.
  assert.match((await run('man')).stdout, /STENO PROXY/)
  assert.match((await run('sessions')).stdout, /no sessions/)
})

/** From the lockfile: what is neither for development nor optional. */
function productionPackages(): string[] {
  const { packages } = JSON.parse(readFileSync(path.join(project, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }>
  }
  return Object.entries(packages)
    .filter(([, { dev, optional, devOptional }]) => dev !== true && optional !== true && devOptional !== true)
    .map(([name]) => name.replace(/^node_modules\//, ''))
    .filter((name) => name !== '' && !name.includes('/node_modules/'))
}
