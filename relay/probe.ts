/**
 * Which addresses of a database answer a connection now: what sidecars compare their own, direct attempts with.
 *
 * A result counts for five seconds among all who ask, so a thousand sidecars cost a database one connection in that time, which is closed at
 * once. Bounded: so many results, and so many attempts at a time.
 */
import net from 'node:net'
import type { AddressForms } from './address-forms.ts'
import { Refusal } from './refusal.ts'

export type Probe = (addresses: readonly AddressForms[], port: number) => Promise<readonly ProbedAddress[]>
export type ProbedAddress = { readonly address: string; readonly isReachable: boolean }

const connectMillisecondsMax = 2_000
const sharedMilliseconds = 5_000
const resultsMax = 10_000
const attemptsMax = 256

/** @throws Refusal (from the result) BUSY */
export function createProbe({ now = () => performance.now() }: { readonly now?: () => number } = {}): Probe {
  const results = new Map<string, { readonly isReachable: Promise<boolean>; readonly at: number }>()
  let attempts = 0

  function reaches(address: string, port: number): Promise<boolean> {
    const name = `${address} ${port}`
    const known = results.get(name)
    if (known !== undefined && now() - known.at < sharedMilliseconds) return known.isReachable
    if (attempts >= attemptsMax) return Promise.reject(new Refusal('BUSY', 'too many targets are being probed'))
    attempts++
    const isReachable = connects(address, port).finally(() => attempts--)
    results.delete(name)
    results.set(name, { isReachable, at: now() })
    if (results.size > resultsMax) results.delete(results.keys().next().value!)
    return isReachable
  }

  return (addresses, port) => Promise.all(addresses.map(async ({ text }) => ({ address: text, isReachable: await reaches(text, port) })))
}

function connects(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port })
    const done = (isReachable: boolean): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(isReachable)
    }
    const timer = setTimeout(() => done(false), connectMillisecondsMax)
    socket.once('connect', () => done(true))
    socket.on('error', () => done(false))
  })
}
