/**
 * A real S3 server for tests: Ceph's radosgw over one monitor, one manager and one object store in memory, from Debian's packages.
 *
 * Everything is one folder below the system's temporary folder, removed at the end with the processes, however this process ends. About
 * 700 MB resident and 12 s to the first request. Needs Debian or its kin; does not touch the system.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { fetchPackages } from './debian-packages.ts'
import { freePort } from './free-port.ts'

const run = promisify(execFile)
const startMillisecondsMax = 120_000
const toolMillisecondsMax = 120_000
const projectCache = fileURLToPath(new URL('../.cache/debian', import.meta.url))

export type Radosgw = AsyncDisposable & {
  /** `http://ADDRESS:PORT`, path style. */
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Ends the server that speaks S3; what it has stored stays. */
  stopServing(): Promise<void>
  /** Starts it again at the same address; returns when it answers. */
  serveAgain(): Promise<void>
  /** What its user may store in all, in bytes; null for no limit. In force at once. */
  limit(bytes: number | null): Promise<void>
  /** From now on the key's secret is another one, which this returns. */
  changeSecret(): Promise<string>
}

/** Fetches the packages (73 MB) unless they are there. */
export function fetchRadosgw(): Promise<string> {
  return fetchPackages('radosgw', ['ceph-mon', 'ceph-osd', 'ceph-mgr', 'radosgw'], projectCache)
}

/** Listens on `host`, which is loopback unless told, on a free port. */
export async function startRadosgw({ host = '127.0.0.1' }: { readonly host?: string } = {}): Promise<Radosgw> {
  const packages = await fetchRadosgw()
  const folder = mkdtempSync(path.join(tmpdir(), 'steno-radosgw-'))
  const children: ChildProcess[] = []
  const [monitorPort, port] = [await freePort(), await freePort(host)]
  const key = { accessKeyId: randomBytes(10).toString('hex'), secretAccessKey: randomBytes(20).toString('hex') }
  const environment = environmentOf(packages)
  const configuration = path.join(folder, 'ceph.conf')
  const bin = (name: string): string => path.join(packages, 'usr/bin', name)

  const tool = (name: string, args: readonly string[]) => run(bin(name), args, { env: environment, timeout: toolMillisecondsMax })
  const start = (name: string, args: readonly string[]): ChildProcess => {
    // The shell holds the other end of a pipe: when this process ends, however it ends, the server does too.
    const script = '"$@" >>"$0" 2>&1 & pid=$!; cat >/dev/null; kill -9 $pid'
    const child = spawn('/bin/sh', ['-c', script, path.join(folder, `${name}.out`), bin(name), '-c', configuration, '-f', ...args], {
      env: environment,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    child.stdin.on('error', () => undefined)
    children.push(child)
    return child
  }

  async function stop(): Promise<void> {
    const ended = children.map((child) => once(child, 'exit'))
    for (const child of children) child.stdin?.end()
    await Promise.all(ended)
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }

  const endpoint = `http://${host}:${port}`
  let gateway: ChildProcess | null = null
  async function serve(): Promise<void> {
    gateway = start('radosgw', ['-n', 'client.admin'])
    await answers(endpoint, folder)
  }

  async function stopServing(): Promise<void> {
    if (gateway === null) return
    const ended = once(gateway, 'exit')
    gateway.stdin?.end()
    await ended
    children.splice(children.indexOf(gateway), 1)
    gateway = null
  }

  async function limit(bytes: number | null): Promise<void> {
    const quota = (...args: readonly string[]) =>
      tool('radosgw-admin', ['-c', configuration, 'quota', ...args, '--uid', 'steno', '--quota-scope', 'user'])
    if (bytes !== null) await quota('set', '--max-size', String(bytes))
    await quota(bytes === null ? 'disable' : 'enable')
  }

  async function changeSecret(): Promise<string> {
    const secret = randomBytes(20).toString('hex')
    const keys = ['--access-key', key.accessKeyId, '--secret-key', secret]
    await tool('radosgw-admin', ['-c', configuration, 'user', 'modify', '--uid', 'steno', ...keys])
    return secret
  }

  try {
    const cluster = randomUUID()
    const object = randomUUID()
    for (const name of ['monitor', 'objects', 'manager', 'gateway']) mkdirSync(path.join(folder, name))
    writeFileSync(configuration, configurationOf({ packages, folder, cluster, monitorPort, gateway: `${host}:${port}` }))
    const keyring = path.join(folder, 'keyring')
    const all = ['mon', 'osd', 'mgr'].flatMap((what) => ['--cap', what, 'allow *'])
    await tool('ceph-authtool', ['--create-keyring', keyring, '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *'])
    for (const name of ['client.admin', 'osd.0', 'mgr.x']) await tool('ceph-authtool', [keyring, '--gen-key', '-n', name, ...all])
    const map = path.join(folder, 'monmap')
    await tool('monmaptool', ['--create', '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, '--fsid', cluster, map])
    await tool('ceph-mon', ['-c', configuration, '--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring])
    start('ceph-mon', ['-i', 'a'])
    await tool('ceph', ['-c', configuration, 'osd', 'new', object])
    start('ceph-mgr', ['-i', 'x'])
    await tool('ceph-osd', ['-c', configuration, '-i', '0', '--mkfs', '--osd-uuid', object])
    start('ceph-osd', ['-i', '0'])
    const keys = ['--access-key', key.accessKeyId, '--secret-key', key.secretAccessKey]
    await tool('radosgw-admin', ['-c', configuration, 'user', 'create', '--uid', 'steno', '--display-name', 'steno', ...keys])
    await serve()
  } catch (error) {
    await stop()
    throw error
  }
  return { endpoint, ...key, stopServing, serveAgain: serve, limit, changeSecret, [Symbol.asyncDispose]: stop }
}

async function answers(url: string, folder: string): Promise<void> {
  const until = performance.now() + startMillisecondsMax
  for (;;) {
    try {
      await fetch(url)
      return
    } catch (cause) {
      if (performance.now() > until)
        throw new Error(`radosgw does not answer: ${readFileSync(path.join(folder, 'radosgw.out'), 'utf8')}`, { cause })
      await sleep(100)
    }
  }
}

function environmentOf(packages: string): NodeJS.ProcessEnv {
  const below = (...folders: string[]): string => folders.map((folder) => path.join(packages, folder)).join(':')
  const libraries = below('usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu/ceph', 'usr/lib')
  const python = { PYTHONHOME: below('usr'), PYTHONPATH: below('usr/lib/python3/dist-packages'), PYTHONDONTWRITEBYTECODE: '1' }
  return { PATH: `${below('usr/bin')}:/usr/bin:/bin`, LC_ALL: 'C', LD_LIBRARY_PATH: libraries, ...python }
}

type Place = {
  readonly packages: string
  readonly folder: string
  readonly cluster: string
  readonly monitorPort: number
  readonly gateway: string
}

function configurationOf({ packages, folder, cluster, monitorPort, gateway }: Place): string {
  const libraries = path.join(packages, 'usr/lib/x86_64-linux-gnu')
  return `[global]
fsid = ${cluster}
mon host = v2:127.0.0.1:${monitorPort}
public network = 127.0.0.0/8
ms bind ipv6 = false
keyring = ${folder}/keyring
run dir = ${folder}
admin socket = ${folder}/$name.asok
log file = ${folder}/$name.log
mon cluster log file = ${folder}/cluster.log
mon data = ${folder}/monitor
mgr data = ${folder}/manager
osd data = ${folder}/objects
rgw data = ${folder}/gateway
erasure code dir = ${libraries}/ceph/erasure-code
plugin dir = ${libraries}/ceph
osd class dir = ${libraries}/rados-classes
mgr module path = ${packages}/usr/share/ceph/mgr
mgr initial modules =
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
rgw frontends = beast endpoint=${gateway}
`
}
