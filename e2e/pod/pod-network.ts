/**
 * A network namespace of a test's own, as a pod has one: nothing is reached from inside, and nothing inside from outside, but what the test
 * opens. Each opened way is a pair of forwarders that meet at a Unix socket, which no network namespace bounds.
 *
 * Run as a program it is the side inside; the process holds the namespace.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

type End = { readonly path: string } | { readonly host: string; readonly port: number }
type Order =
  | { readonly number: number; readonly kind: 'forward'; readonly from: End; readonly to: End }
  | { readonly number: number; readonly kind: 'close' }

export type PodNetwork = {
  /** Put before a command, it runs inside. */
  readonly enter: readonly string[]
  /** At 127.0.0.1 inside, this port leads to the same or another port outside. */
  open(port: number, outside?: number): Promise<{ close(): Promise<void> }>
  /** The port outside that leads to one inside. */
  publish(inside: number): Promise<number>
}

const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']

/** Why there is none here, or false: a value for `skip`. */
export function noPodNetwork(): string | false {
  const tried = spawnSync('unshare', [...user, '--net', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore' })
  return tried.status === 0 ? false : 'this system lets nobody make a network namespace'
}

export async function createPodNetwork(t: TestContext): Promise<PodNetwork> {
  const folder = await mkdtemp(join(tmpdir(), 'steno-net-'))
  const script = 'ip link set lo up && exec "$0" "$1"'
  const child = spawn('unshare', [...user, '--net', 'sh', '-c', script, process.execPath, fileURLToPath(import.meta.url)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const outside: net.Server[] = []
  t.after(async () => {
    for (const server of outside) server.close()
    child.kill('SIGKILL')
    await once(child, 'exit')
    await rm(folder, { recursive: true, force: true })
  })
  await once(child, 'message')
  let last = 0
  const order = async (wanted: Order): Promise<void> => {
    child.send(wanted)
    await once(child, 'message')
  }
  return {
    enter: ['nsenter', '--target', String(child.pid), ...(user.length > 0 ? ['--user', '--preserve-credentials'] : []), '--net'],
    async open(port, outsidePort = port) {
      const number = ++last
      const path = join(folder, String(number))
      const server = await forward({ path }, { host: '127.0.0.1', port: outsidePort })
      outside.push(server)
      await order({ number, kind: 'forward', from: { host: '127.0.0.1', port }, to: { path } })
      return {
        async close() {
          await order({ number, kind: 'close' })
          server.close()
        },
      }
    },
    async publish(inside) {
      const number = ++last
      const path = join(folder, String(number))
      await order({ number, kind: 'forward', from: { path }, to: { host: '127.0.0.1', port: inside } })
      const server = await forward({ host: '127.0.0.1', port: 0 }, { path })
      outside.push(server)
      return (server.address() as net.AddressInfo).port
    },
  }
}

async function forward(from: End, to: End): Promise<net.Server> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = net.connect({ ...to, allowHalfOpen: true, noDelay: true })
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        if (!one.readableEnded) other.destroy()
      })
    }
  })
  server.listen(from)
  await once(server, 'listening')
  return server
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const servers = new Map<number, net.Server>()
  process.on('message', (order: Order) => {
    const obey = async (): Promise<void> => {
      if (order.kind === 'forward') servers.set(order.number, await forward(order.from, order.to))
      else servers.get(order.number)?.close()
    }
    void obey().then(() => process.send!('done'))
  })
  process.on('disconnect', () => process.exit(0))
  process.send!('ready')
}
