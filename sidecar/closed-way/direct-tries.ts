/**
 * Tries an address as the agent could: a TCP connection from this pod's network, closed as soon as it stands. Says nothing to who answers.
 *
 * At most one try at a time per address and port; who asks meanwhile shares its outcome.
 */
import net from 'node:net'
import { systemCodeOf } from '../../base/errors.ts'

/** `undecided`: this process could not even try, which says nothing of the way. */
export type DirectOutcome = 'connected' | 'failed' | 'undecided'

export type DirectTry = (address: string, port: number) => Promise<DirectOutcome>

/**
 * What a closed way, or a server that is not there, looks like; every other error is about this process. EAFNOSUPPORT is a kernel without that
 * family of addresses, which nobody in the pod can bring about; EADDRNOTAVAIL is left out, for whoever takes up all ports does.
 */
const failures = [
  ...['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'EPERM', 'EACCES'],
  'EAFNOSUPPORT',
]
const tryMillisecondsMax = 2_000

export function createDirectTries({ millisecondsMax = tryMillisecondsMax }: { readonly millisecondsMax?: number } = {}): DirectTry {
  const underWay = new Map<string, Promise<DirectOutcome>>()
  return (address, port) => {
    const name = `${address} ${port}`
    const running = underWay.get(name)
    if (running !== undefined) return running
    const begun = tryOnce(address, port, millisecondsMax).finally(() => underWay.delete(name))
    underWay.set(name, begun)
    return begun
  }
}

function tryOnce(address: string, port: number, millisecondsMax: number): Promise<DirectOutcome> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: address, port, autoSelectFamily: false })
    // A process that was held up finds its time over before it hears of a connection that stands: it listens once more.
    const timer = setTimeout(() => setImmediate(() => done('failed')), millisecondsMax)
    const done = (outcome: DirectOutcome): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(outcome)
    }
    socket.once('connect', () => done('connected'))
    socket.on('error', (error) => done(outcomeOf(systemCodeOf(error))))
  })
}

/** What the code of a connection's error says of the way. */
export function outcomeOf(code: string | undefined): DirectOutcome {
  return failures.includes(code ?? '') ? 'failed' : 'undecided'
}
