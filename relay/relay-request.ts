/**
 * What a request asks for: the target of a CONNECT, or of a probe. Takes one spelling of each thing and refuses the others.
 *
 * Node's parser has read the request strictly by now; bytes behind a CONNECT are the tunnel's, so a CONNECT that announces a body is refused.
 */
import type { IncomingMessage } from 'node:http'
import { addressOf } from '../crds/address-range.ts'
import { isHostPattern } from '../crds/host-pattern.ts'
import { addressFormsOf } from './address-forms.ts'
import { Refusal } from './refusal.ts'
import type { Target } from './target.ts'

/** `address` is the one of the name's that is wanted, as canonical text; null: any. */
export type AskedTarget = Target & { readonly address: string | null }

export const probeBytesMax = 4_096

/** @throws Refusal BAD_REQUEST */
export function connectTargetOf(request: Pick<IncomingMessage, 'url' | 'headers' | 'rawHeaders' | 'httpVersion'>): AskedTarget {
  const { headers } = request
  if (request.httpVersion !== '1.1') throw bad('the protocol is HTTP/1.1')
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) throw bad('CONNECT carries no body')
  for (const name of ['host', 'proxy-authorization', 'steno-database', 'steno-address'])
    if (timesOf(name, request.rawHeaders) > 1) throw bad(`the header ${name} stands there twice`)
  // RFC 9112, 3.2.3: the authority form alone.
  const match = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([^:[\]]{1,254})):([1-9][0-9]{0,4})$/.exec(request.url ?? '')
  if (match === null) throw bad('CONNECT names host:port')
  const target = targetOf(headers['steno-database'], match[1] ?? match[2], Number(match[3]))
  if ((match[1] !== undefined) !== target.host.includes(':')) throw bad('IPv6 addresses stand in brackets')
  const wanted = headers['steno-address']
  if (wanted === undefined) return { ...target, address: null }
  const address = typeof wanted === 'string' ? addressFormsOf(wanted) : null
  if (address === null) throw bad('Steno-Address is no address')
  return { ...target, address: address.text }
}

/** The body of a probe. @throws Refusal BAD_REQUEST */
export function probeTargetOf(body: string): Target {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    throw bad('the body is no JSON')
  }
  const { database, host, port } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  return targetOf(database, host, port)
}

function targetOf(database: unknown, host: unknown, port: unknown): Target {
  if (typeof database !== 'string' || !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(database)) throw bad('Steno-Database names no database')
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) throw bad('the port is none')
  if (typeof host !== 'string' || !isHost(host)) throw bad('the host is neither a name nor an address')
  return { database, host, port }
}

/** As policies may name them, and nothing that a resolver could read in another way: no `127.1`, no mapped forms, no zones. */
function isHost(host: string): boolean {
  if (addressOf(host) !== null) return true
  return !host.includes('*') && isHostPattern(host)
}

function timesOf(name: string, rawHeaders: readonly string[]): number {
  return rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === name).length
}

function bad(what: string): Refusal {
  return new Refusal('BAD_REQUEST', what)
}
