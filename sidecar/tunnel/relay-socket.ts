/**
 * One TLS connection to the relay and one request over it: HTTP/1.1 as little as CONNECT needs, read byte-exact, so that what follows the
 * answer's head belongs to whoever asked.
 *
 * Bounded: the answer's head, its body, and the time that TCP and TLS may take, since a replica whose node died answers nothing.
 * Source: RFC 9112, sections 2 to 6; RFC 9110, section 9.3.6 (CONNECT).
 */
import net from 'node:net'
import tls from 'node:tls'
import { messageOf, systemCodeOf } from '../../base/errors.ts'
import { opened } from '../upstream/dial.ts'
import { RelayFailure } from './failure.ts'

export type RelayEndpoint = {
  readonly host: string
  readonly port: number
  /** What the relay's certificate must come from, loaded once. */
  readonly context: tls.SecureContext
}

/** `rest`: bytes behind the head that came with it. Header names are in lower case. */
export type RelayAnswer = { readonly status: number; readonly headers: ReadonlyMap<string, string>; readonly rest: Buffer }

const headBytesMax = 16 * 1024
const bodyBytesMax = 64 * 1024
const connectMillisecondsMax = 3_000

export function relayEndpoint({ endpoint, caPem }: { readonly endpoint: string; readonly caPem: string }): RelayEndpoint {
  const at = endpoint.lastIndexOf(':')
  const context = tls.createSecureContext({ ca: caPem, minVersion: 'TLSv1.3' })
  return { host: endpoint.slice(0, at), port: Number(endpoint.slice(at + 1)), context }
}

/** @throws RelayFailure; whatever `signal` says when it ended the wait */
export async function openRelaySocket(
  { host, port, context }: RelayEndpoint,
  { signal }: { readonly signal: AbortSignal },
): Promise<tls.TLSSocket> {
  const socket = tls.connect({
    ...{ host, port, secureContext: context, ALPNProtocols: ['http/1.1'] },
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
  })
  socket.setNoDelay(true)
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(new Error(`no answer within ${connectMillisecondsMax / 1000} s`)), connectMillisecondsMax)
  try {
    await opened(socket, 'secureConnect', AbortSignal.any([signal, late.signal]), { peer: 'the relay' })
    socket.pause()
    return socket
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw unreachable(host, error)
  } finally {
    clearTimeout(timer)
  }
}

export function unreachable(host: string, error: unknown): RelayFailure {
  if (error instanceof RelayFailure) return error
  const isTrust = /^(?:CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT)/.test(systemCodeOf(error) ?? '')
  return isTrust
    ? new RelayFailure(
        'RELAY_UNTRUSTED',
        `the relay at ${host} is not who this pod expects: ${messageOf(error)}`,
        'Compare the CA in Secret steno-ca with STENO_CONTROL_CA of the pod: a pod that is older than the last two rotations must be made anew.',
        { cause: error },
      )
    : new RelayFailure(
        'RELAY_UNREACHABLE',
        `the relay at ${host} cannot be reached: ${messageOf(error)}`,
        'Check Deployment steno-relay and its Service, and that NetworkPolicies let this pod reach it.',
        { cause: error },
      )
}

/** Sends a request and reads the answer's head; the socket is paused afterwards and has no listeners of ours. @throws RelayFailure, or `signal`'s reason */
export async function askHead(
  socket: tls.TLSSocket,
  head: string,
  host: string,
  { signal }: { readonly signal: AbortSignal },
): Promise<RelayAnswer> {
  socket.write(head, 'latin1')
  const { bytes, end } = await readUntil(socket, host, headBytesMax, signal, (held) => {
    const at = held.indexOf('\r\n\r\n')
    return at === -1 ? null : at + 4
  })
  const lines = bytes
    .subarray(0, end - 4)
    .toString('latin1')
    .split('\r\n')
  const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(lines[0] ?? '')?.[1])
  if (!Number.isInteger(status)) throw unfit(host, 'its answer is no HTTP')
  const headers = new Map<string, string>()
  for (const line of lines.slice(1)) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? []
    if (name === undefined) throw unfit(host, 'its answer is no HTTP')
    headers.set(name.toLowerCase(), value!)
  }
  return { status, headers, rest: bytes.subarray(end) }
}

/** The body of a refusal, as long as it says; empty for one that says nothing of its length. Ends the socket. */
export async function readBody(
  socket: tls.TLSSocket,
  { headers, rest }: RelayAnswer,
  host: string,
  { signal }: { readonly signal: AbortSignal },
): Promise<Buffer> {
  try {
    const length = Number(headers.get('content-length') ?? 'NaN')
    if (!Number.isSafeInteger(length) || length < 0 || length > bodyBytesMax) return Buffer.alloc(0)
    if (rest.length >= length) return rest.subarray(0, length)
    socket.unshift(rest)
    return (await readUntil(socket, host, bodyBytesMax + headBytesMax, signal, (held) => (held.length >= length ? length : null))).bytes
  } finally {
    socket.destroy()
  }
}

/** Reads until `endOf` finds the end in what was held. */
async function readUntil(
  socket: tls.TLSSocket,
  host: string,
  bytesMax: number,
  signal: AbortSignal,
  endOf: (held: Buffer) => number | null,
): Promise<{ readonly bytes: Buffer; readonly end: number }> {
  let held: Buffer = Buffer.alloc(0)
  let stop = (): void => undefined
  try {
    return await new Promise((resolve, reject) => {
      const onData = (piece: Buffer): void => {
        held = Buffer.concat([held, piece])
        const end = endOf(held)
        if (end !== null) resolve({ bytes: held, end })
        else if (held.length > bytesMax) reject(unfit(host, 'its answer is too long'))
        if (end !== null || held.length > bytesMax) socket.pause()
      }
      const onEnd = (): void => reject(unreachable(host, socket.errored ?? new Error('it closed the connection')))
      const onAbort = (): void => reject(signal.reason)
      stop = () => {
        socket.off('data', onData).off('end', onEnd).off('close', onEnd)
        signal.removeEventListener('abort', onAbort)
        socket.pause()
      }
      socket.on('data', onData).on('end', onEnd).on('close', onEnd)
      signal.addEventListener('abort', onAbort, { once: true })
      if (signal.aborted) onAbort()
      else if (socket.destroyed) onEnd()
      else socket.resume()
    })
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    stop()
  }
}

export function unfit(host: string, what: string): RelayFailure {
  return new RelayFailure(
    'RELAY_UNFIT',
    `what answers at ${host} is no relay of this release: ${what}`,
    'Look at the log of Deployment steno-relay, and compare the releases.',
  )
}

/** A header holds Latin-1; names of databases in policies are DNS labels, and what is none is refused by the relay, not by HTTP. */
export const headerText = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '?')
