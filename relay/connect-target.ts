/**
 * Connects to one of a database's addresses: in their order, the next one as soon as one fails or takes its time (RFC 8305, in short).
 *
 * The first connection that stands is the tunnel's; the others are ended. Names never come here: what was checked is what is dialled.
 */
import net from 'node:net'
import { systemCodeOf } from '../base/errors.ts'
import type { AddressForms } from './address-forms.ts'
import { Refusal } from './refusal.ts'

export type ConnectTiming = { readonly allMilliseconds: number; readonly nextMilliseconds: number }

export const standardConnectTiming: ConnectTiming = { allMilliseconds: 5_000, nextMilliseconds: 300 }

const keepAliveMilliseconds = 30_000

export type ConnectOptions = {
  readonly timing: ConnectTiming
  readonly signal: AbortSignal
  /** Begins a connection. Where a test puts one that never ends. */
  readonly dial?: (address: string, port: number) => net.Socket
}

/** @throws Refusal (from the result) TARGET_UNREACHABLE, TARGET_SLOW; what `signal` was aborted with */
export function connectTarget(
  addresses: readonly AddressForms[],
  port: number,
  { timing, signal, dial = dialled }: ConnectOptions,
): Promise<{ readonly socket: net.Socket; readonly address: AddressForms }> {
  return new Promise((resolve, reject) => {
    const attempts = new Set<net.Socket>()
    const failures: string[] = []
    let next = 0
    let isDone = false
    let nextTimer: NodeJS.Timeout | undefined

    const settle = (): boolean => {
      if (isDone) return false
      isDone = true
      clearTimeout(allTimer)
      clearTimeout(nextTimer)
      signal.removeEventListener('abort', onAbort)
      return true
    }
    const fail = (error: unknown): void => {
      if (!settle()) return
      for (const socket of attempts) socket.destroy()
      reject(error)
    }
    const onAbort = (): void => fail(signal.reason)
    const allTimer = setTimeout(
      () => fail(new Refusal('TARGET_SLOW', `no connection in ${timing.allMilliseconds} ms`)),
      timing.allMilliseconds,
    )
    signal.addEventListener('abort', onAbort)

    const tryNext = (): void => {
      clearTimeout(nextTimer)
      const address = addresses[next++]
      if (isDone || address === undefined) return
      const socket = dial(address.text, port)
      attempts.add(socket)
      nextTimer = setTimeout(tryNext, timing.nextMilliseconds)
      const onError = (error: Error): void => {
        attempts.delete(socket)
        failures.push(systemCodeOf(error) ?? 'failed')
        if (failures.length < addresses.length) return tryNext()
        const code = failures.every((failure) => failure === 'ETIMEDOUT') ? 'TARGET_SLOW' : 'TARGET_UNREACHABLE'
        fail(new Refusal(code, `no connection: ${[...new Set(failures)].join(', ')}`))
      }
      socket.on('error', () => undefined) // It may fail between this and whoever takes it over, who looks whether it has.
      socket.once('error', onError)
      socket.once('connect', () => {
        socket.off('error', onError)
        attempts.delete(socket)
        if (!settle()) {
          socket.destroy()
          return
        }
        for (const other of attempts) other.destroy()
        resolve({ socket, address })
      })
    }
    if (signal.aborted) onAbort()
    else tryNext()
  })
}

function dialled(host: string, port: number): net.Socket {
  return net.connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMilliseconds })
}
