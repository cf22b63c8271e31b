/**
 * The images that the cluster's tests run beside steno's own: a PostgreSQL 18, and a client with what agents bring: psql, Node with two
 * drivers, Python with psycopg, and a shell.
 *
 * Made from the programs that the other tests use too, without a registry or a docker daemon. Kept in `.cache/e2e-images` by a hash of what
 * they are made from. Knows nothing of the cluster that they are loaded into.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { fetchPackages } from '../../../tools/debian-packages.ts'
import { program } from '../../../tools/debian-programs.ts'
import { findPostgresPackage } from '../../../tools/postgres-package.ts'

const run = promisify(execFile)
const project = fileURLToPath(new URL('../../../', import.meta.url))
const clusterImages = path.join(project, 'e2e/cluster/images')
const cacheFolder = path.join(project, '.cache/e2e-images')

export const postgresImage = 'localhost/steno-e2e/postgres:18'
export const clientImage = 'localhost/steno-e2e/client:1'

/** Paths of OCI archives, made when they are missing. Needs Linux, gcc's ldd and Debian's packages. */
export async function testImages(): Promise<string[]> {
  mkdirSync(cacheFolder, { recursive: true })
  return [await madeOnce('postgres', buildPostgres), await madeOnce('client', buildClient)]
}

async function madeOnce(name: string, build: (root: string, archive: string) => Promise<void>): Promise<string> {
  const lock = readFileSync(path.join(project, 'package-lock.json'))
  const hash = createHash('sha256')
    .update(readFileSync(fileURLToPath(import.meta.url)))
    .update(lock)
    .digest('hex')
    .slice(0, 12)
  const archive = path.join(cacheFolder, `${name}-${hash}.tar`)
  if (existsSync(archive)) return archive
  const root = mkdtempSync(path.join(tmpdir(), `steno-image-${name}-`))
  try {
    await run(path.join(clusterImages, 'add-busybox'), [root])
    await build(root, archive)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
  return archive
}

async function addBinary(root: string, programs: readonly string[], libraries = ''): Promise<void> {
  await run(path.join(clusterImages, 'add-binary'), [root, ...programs], { env: { ...process.env, LD_LIBRARY_PATH: libraries } })
}

async function addPsql(root: string): Promise<void> {
  const psql = await program('psql')
  await addBinary(root, [`${psql.command}=/bin/psql`], psql.env['LD_LIBRARY_PATH'])
  const fetched = path.join(root, project, '.cache/debian')
  // Libraries of a psql that was fetched for the project lie below the project; in the image the loader looks for them in `/usr/lib`.
  for (const name of existsSync(fetched) ? readdirSync(fetched) : []) await run('cp', ['-a', `${path.join(fetched, name)}/.`, root])
  rmSync(path.join(root, project), { recursive: true, force: true })
}

async function archiveOf(root: string, archive: string, name: string, more: readonly string[]): Promise<void> {
  await run(process.execPath, [
    path.join(project, 'e2e/cluster/build-image.mjs'),
    '--name',
    name,
    '--root',
    root,
    '--out',
    archive,
    ...more,
  ])
}

/**
 * Starts with the folder /certificates (tls.crt, tls.key) for TLS when it is mounted, PASSWORD for the superuser `postgres`, and runs each
 * of /initial/*.sql; logs every connection, so that a test can prove that there was none.
 */
const startPostgres = `#!/bin/sh
set -eu
data=/data/postgres
if [ ! -e "$data/PG_VERSION" ]; then
  printf %s "$PASSWORD" > /tmp/password
  /postgres/bin/initdb -D "$data" -U postgres -A scram-sha-256 --pwfile=/tmp/password --no-sync -E UTF8 --locale=C >/dev/null
  rm /tmp/password
  { echo "listen_addresses = '*'"; echo "log_connections = on"; echo "log_disconnections = on"; echo "fsync = off"; echo "unix_socket_directories = '/tmp'"
    echo "log_line_prefix = '%m [%p] %q%u@%d %r '"
    if [ -e /certificates/tls.crt ]; then
      cp /certificates/tls.crt /certificates/tls.key "$data/"; chmod 600 "$data/tls.key"
      echo "ssl = on"; echo "ssl_cert_file = 'tls.crt'"; echo "ssl_key_file = 'tls.key'"
    fi; } >> "$data/postgresql.conf"
  if [ -e /certificates/tls.crt ]; then echo "hostssl all all all scram-sha-256" ; else echo "host all all all scram-sha-256"; fi >> "$data/pg_hba.conf"
  echo "local all all trust" > "$data/pg_hba.local"; cat "$data/pg_hba.conf" >> "$data/pg_hba.local"; mv "$data/pg_hba.local" "$data/pg_hba.conf"
  /postgres/bin/pg_ctl -D "$data" -w -o "-c listen_addresses=''" start >/dev/null
  for file in /initial/*.sql; do [ ! -e "$file" ] || psql -h /tmp -U postgres -v ON_ERROR_STOP=1 -q -f "$file"; done
  /postgres/bin/pg_ctl -D "$data" -w stop >/dev/null
fi
exec /postgres/bin/postgres -D "$data"
`

async function buildPostgres(root: string, archive: string): Promise<void> {
  const { native } = findPostgresPackage(18)
  await run('cp', ['-a', native, path.join(root, 'postgres')])
  const programs = ['postgres', 'initdb', 'pg_ctl'].map((name) => path.join(native, 'bin', name))
  for (const binary of programs) chmodSync(path.join(root, 'postgres/bin', path.basename(binary)), 0o755)
  await addPsql(root)
  // Put where they already are, the programs bring only the system's libraries that they load.
  await addBinary(
    root,
    programs.map((binary) => `${binary}=/postgres/bin/${path.basename(binary)}`),
    path.join(native, 'lib'),
  )
  rmSync(path.join(root, project), { recursive: true, force: true })
  mkdirSync(path.join(root, 'data'))
  chmodSync(path.join(root, 'data'), 0o1777)
  writeFileSync(path.join(root, 'bin/start-postgres'), startPostgres, { mode: 0o755 })
  const more = ['--env', 'PATH=/bin', '--env', 'LD_LIBRARY_PATH=/postgres/lib', '--user', '1000', '--cmd', '["/bin/start-postgres"]']
  await archiveOf(root, archive, postgresImage, more)
}

async function buildClient(root: string, archive: string): Promise<void> {
  await addPsql(root)
  await addBinary(root, [`${process.execPath}=/usr/local/bin/node`])
  mkdirSync(path.join(root, 'sbin'), { recursive: true })
  const python = await fetchPackages('python3+python3-psycopg', ['python3', 'python3-psycopg'], path.join(project, '.cache/debian'))
  await run('cp', ['-a', path.join(python, 'usr'), path.join(python, 'lib'), root])
  const libraries = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu', 'usr/lib/aarch64-linux-gnu'].map((folder) =>
    path.join(python, folder),
  )
  await addBinary(root, [`${path.join(python, 'usr/bin/python3')}=/usr/bin/python3`], libraries.join(':'))
  rmSync(path.join(root, project), { recursive: true, force: true })
  // psycopg looks for libpq with `ldconfig -p`.
  await run('cp', ['-L', '/sbin/ldconfig', path.join(root, 'sbin', 'ldconfig')])
  await run('/sbin/ldconfig', ['-r', root])
  const modules = path.join(root, 'app/node_modules')
  for (const name of productionPackages(['pg', 'postgres'])) {
    cpSync(path.join(project, 'node_modules', name), path.join(modules, name), { recursive: true, dereference: true })
  }
  const more = ['--env', 'PATH=/usr/local/bin:/usr/bin:/bin', '--env', 'PYTHONDONTWRITEBYTECODE=1', '--env', 'PGCONNECT_TIMEOUT=10']
  await archiveOf(root, archive, clientImage, [...more, '--user', '1000', '--workdir', '/app', '--cmd', '["/bin/sh"]'])
}

/** The packages and all that they depend on, by name. */
function productionPackages(names: readonly string[]): Set<string> {
  const found = new Set<string>()
  const add = (name: string): void => {
    const manifest = path.join(project, 'node_modules', name, 'package.json')
    if (found.has(name) || !existsSync(manifest)) return
    found.add(name)
    const { dependencies = {} } = JSON.parse(readFileSync(manifest, 'utf8')) as { dependencies?: Record<string, string> }
    for (const dependency of Object.keys(dependencies)) add(dependency)
  }
  for (const name of names) add(name)
  return found
}
