/**
 * A way to control's reader: a port on this machine whose connections kubectl forwards to control's pod.
 *
 * kubectl forwards to one pod and ends with it, or when a load balancer tires of the connection; some, as that of Kubernetes 1.30, go on to take
 * connections and forward none of them. Commands may run for days, so connections go to a relay here, which keeps its port and starts kubectl
 * again when somebody connects, and instead of one that ended a connection without an answer, or kept somebody waiting for one until he left.
 * Whoever can connect to this machine's loopback can read through it while it is there, as with any port-forward. kubectl ends with this
 * process, however it ends: a small shell holds its other end.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { invariant } from '../../base/invariant.ts'
import type { KnownError } from '../../base/errors.ts'
import { ClusterForbids, ControlNotReached, failureFrom, ObjectNotFound, told } from './errors.ts'
import { contextArguments, kubectlMissing, kubectlProgram, type ContextOptions } from './kubectl-program.ts'

const readerPort = 8081
const forwardMillisecondsMax = 20_000
/** Control begins its answers within a second or two; whoever leaves after so long was not heard. */
const standardUnheardMilliseconds = 20_000
const outputCharactersMax = 16 * 1024
const auditorRemedy =
  'Reading recordings needs control to run, and the right to port-forward to it: the Role steno-auditor in steno’s namespace. `kubectl steno status` shows control.'
/** Runs the rest of its arguments until standard input ends; its own output is closed, so that only kubectl holds it. */
const guardScript = '"$0" "$@" </dev/null & child=$!; exec >&- 2>&-; read -r _; kill "$child" 2>/dev/null; wait "$child"'

export type ForwardOptions = ContextOptions & {
  readonly stenoNamespace: string
  /** Whoever leaves without an answer after so long takes kubectl along (20 s). */
  readonly unheardMilliseconds?: number
}
export type Forward = AsyncDisposable & {
  /** `http://127.0.0.1:PORT` */
  readonly origin: string
}

/** Returns once control's pod is forwarded to. @throws KubectlMissing, ClusterForbids, ControlNotReached, KubectlFailed */
export async function openForward(options: ForwardOptions): Promise<Forward> {
  const { unheardMilliseconds = standardUnheardMilliseconds } = options
  let current = startKubectl(options)
  await current.port
  const sockets = new Set<net.Socket>()
  /** Whoever comes first starts the next one. */
  const replace = async (ended: typeof current): Promise<void> => {
    if (current !== ended) return
    current = startKubectl(options)
    await ended.end()
  }
  const reach = async (): Promise<{ readonly far: net.Socket; readonly through: typeof current }> => {
    if (current.isOver()) await replace(current)
    const used = current
    try {
      return { far: await connected(await used.port), through: used }
    } catch {
      await replace(used) // It ended a moment ago. A second failure is the caller's.
      return { far: await connected(await current.port), through: current }
    }
  }
  const pass = (near: net.Socket, far: net.Socket, through: typeof current): void => {
    let asked = { at: 0, bytesRead: -1 }
    near.on('data', () => (asked = { at: performance.now(), bytesRead: far.bytesRead }))
    const judge = (): void => {
      if (far.bytesRead !== asked.bytesRead) return
      // Control answers everything, so who asked and did not leave was owed an answer.
      const isUnheard = !near.destroyed || performance.now() - asked.at > unheardMilliseconds
      if (isUnheard) replace(through).catch(() => undefined) // The next one is told.
    }
    far.once('error', judge) // Before `join`, which ends `near` then.
    far.once('close', judge)
    near.once('close', judge)
    join(near, far)
  }
  const relay = net.createServer({ pauseOnConnect: true, noDelay: true }, (near) => {
    sockets.add(near)
    near.once('close', () => sockets.delete(near))
    near.on('error', () => near.destroy()) // The command went away.
    reach().then(
      ({ far, through }) => pass(near, far, through),
      () => near.destroy(), // The command says that control does not answer; the next connection tries again.
    )
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  const address = relay.address()
  invariant(typeof address === 'object' && address !== null, 'a server on a port has an address')
  return {
    origin: `http://127.0.0.1:${address.port}`,
    [Symbol.asyncDispose]: async () => {
      relay.close()
      for (const socket of sockets) socket.destroy()
      await current.end()
    },
  }
}

async function connected(port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

function join(near: net.Socket, far: net.Socket): void {
  if (near.destroyed) return void far.destroy()
  far.on('error', () => near.destroy())
  near.once('close', () => far.destroy())
  far.once('close', () => near.destroy())
  near.pipe(far)
  far.pipe(near)
}

/** One kubectl; `port` rejects when it ends before it forwards. */
function startKubectl(options: ForwardOptions): { readonly port: Promise<number>; isOver(): boolean; end(): Promise<void> } {
  const args = ['-n', options.stenoNamespace, 'port-forward', '--pod-running-timeout=10s', 'deployment/steno-control', `:${readerPort}`]
  // In a group of its own, so that Ctrl-C in a pager or the player does not end it.
  const child = spawn('/bin/sh', ['-c', guardScript, kubectlProgram(), ...contextArguments(options), ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  })
  child.unref()
  let isOver = false
  child.stdin.on('error', () => undefined) // The shell ended first.
  const closed = once(child.stdout, 'close').then(() => void (isOver = true))
  const port = portOf(child, closed)
  port.catch(() => undefined) // Whoever waits for it is told; later ones find that it is over.
  return {
    port,
    isOver: () => isOver,
    async end() {
      child.ref() // Something waits for it now.
      child.stdin.end()
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}

async function portOf(child: ChildProcess, closed: Promise<void>): Promise<number> {
  let said = ''
  const found = new Promise<number>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        // What it says of later connections is of no use to people.
        if (said.length < outputCharactersMax) said += text
        const port = /127\.0\.0\.1:(\d+) ->/.exec(said)?.[1]
        if (port !== undefined) resolve(Number(port))
      })
    }
  })
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), forwardMillisecondsMax)
  const aborted = once(late.signal, 'abort')
  try {
    const port = await Promise.race([found, closed.then(() => null), aborted.then(() => null)])
    if (port !== null) return port
  } finally {
    clearTimeout(timer)
  }
  child.stdin?.end()
  if (late.signal.aborted)
    throw new ControlNotReached(`kubectl did not forward a port to control within ${forwardMillisecondsMax / 1000} s`, auditorRemedy)
  if (/: (?:command )?not found\s*$|: Permission denied\s*$/m.test(said)) throw kubectlMissing()
  throw notForwarded(said)
}

/** What kubectl says of a pod that is not there says nothing of what is to be done. */
function notForwarded(said: string): KnownError {
  const failure = failureFrom(said, 'port-forward deployment/steno-control')
  const what = `no port can be forwarded to control: ${told(said)}`
  if (failure instanceof ClusterForbids) return new ClusterForbids(what, auditorRemedy)
  if (failure instanceof ObjectNotFound)
    return new ControlNotReached(what, 'Is steno installed in this cluster and namespace? Name them with --context and --steno-namespace.')
  return failure.remedy.startsWith('See what kubectl says') ? new ControlNotReached(what, auditorRemedy) : failure
}
