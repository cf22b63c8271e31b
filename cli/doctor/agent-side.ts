/** The checks of the side that agents see: whether the address is free or already served, and who could reach it. */
import { once } from 'node:events'
import { statSync } from 'node:fs'
import net from 'node:net'
import { messageOf, systemCodeOf } from '../../base/errors.ts'
import { check, failed, ok, warning, type CheckResult, type Finding } from './check.ts'
import { isLoopback } from '../loopback.ts'

export type Address = { readonly host: string; readonly port: number }

type Options = { readonly what: 'agents' | 'metrics'; readonly proxyRuns: boolean; readonly millisecondsMax: number }

export function addressCheck({ host, port }: Address, { what, proxyRuns, millisecondsMax }: Options): Promise<CheckResult> {
  const option = what === 'agents' ? '--listen' : '--metrics-listen'
  const target = `${host.includes(':') ? `[${host}]` : host}:${port}`
  return check(`address for ${what}`, { target, millisecondsMax, remedy: `Give another address with ${option}.` }, async (signal) => {
    const server = net.createServer()
    try {
      server.listen({ host, port })
      await once(server, 'listening', { signal })
    } catch (error) {
      switch (systemCodeOf(error)) {
        case 'EADDRINUSE':
          if (proxyRuns) return ok('something listens there, as it should: a proxy holds the spool')
          return failed('something else listens there', `Stop it, or give another address with ${option}.`)
        case 'EACCES':
          return failed('this user may not listen there', `Give a port from 1024 on with ${option}.`)
        case 'EADDRNOTAVAIL':
          return failed('this machine does not have that address', `Give one of its own with ${option}, as 127.0.0.1:6432.`)
        default:
          return failed(messageOf(error), `Give another address with ${option}.`)
      }
    } finally {
      server.close()
    }
    if (proxyRuns && port !== 0)
      return warning(
        'free, although a proxy holds the spool',
        'The proxy listens elsewhere: give agents its address, or stop it before another one starts.',
      )
    return ok(port === 0 ? 'a free port will be taken' : 'free')
  })
}

export type Exposure = { readonly listen: Address; readonly user: string | null; readonly hasToken: boolean }

/** In custody whoever reaches the port has what the user may do. */
export function exposureFinding({ listen, user, hasToken }: Exposure): Finding {
  if (user === null) return ok('pass-through: the database asks every agent for a credential')
  if (hasToken) return ok(`custody: who has the token acts as ${user}`)
  if (isLoopback(listen.host)) return ok(`custody: every process of this machine that can connect acts as ${user}`)
  return warning(
    `custody without a token: everybody who reaches ${listen.host} acts as ${user}`,
    'Give agents a token with --agent-token-file, or make sure that the network lets nobody else in.',
  )
}

/** A file with a secret is for its owner alone. */
export function secretFileFinding(file: string): Finding {
  const { mode } = statSync(file)
  if ((mode & 0o077) === 0) return ok('closed to others')
  return warning(`other users may read it (mode ${(mode & 0o777).toString(8)})`, `Run \`chmod 600 ${file}\`.`)
}
