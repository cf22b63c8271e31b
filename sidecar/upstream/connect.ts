/**
 * The way to the database: tries the hosts of a connection string in order and hands over an open wire, or a session that is ready.
 *
 * Goes on to the next host as libpq does (not reached, starting up, of the wrong kind), and, beyond libpq, when TLS or the protocol fails
 * there: whatever is tried next stands the same checks. Stops at the first host where signing in fails.
 */
import { once } from 'node:events'
import type net from 'node:net'
import type tls from 'node:tls'
import { messageOf } from '../../base/errors.ts'
import { invariant } from '../../base/invariant.ts'
import type { ConnectionSettings, UpstreamHost } from '../../postgres/connection-string.ts'
import { BadStartup, encodeCancelRequest, encodeMessage, encodeStartup } from '../../postgres/startup-messages.ts'
import { isSocketFolder, shuffle } from './addresses.ts'
import { createSignIn } from './authenticate.ts'
import { directDial, type Dial, type PinnedHost, type Place } from './dial.ts'
import { AttemptFailed, ConnectAborted, UpstreamRefused, UpstreamUnreachable } from './errors.ts'
import type { Attempt } from './errors.ts'
import { passwordFor } from './password-file.ts'
import { attributeMismatch } from './session-attributes.ts'
import { startUp } from './start-up.ts'
import type { Greeting, StartUp } from './start-up.ts'
import { startupParameters } from './startup-parameters.ts'
import { encryptionsOf, openWire } from './transport.ts'
import type { Encryption } from './transport.ts'
import type { Wire } from './wire.ts'

export type UpstreamConnection = {
  /** Open and paused; its only listener is one for errors, which lets them pass in silence: `close` follows each. */
  readonly socket: net.Socket | tls.TLSSocket
  /** What came behind the last byte that was used here; normally empty. */
  readonly leftover: Buffer
  readonly host: string
  readonly port: number
  /** As `TLSv1.3 TLS_AES_256_GCM_SHA384`, or null for plain. */
  readonly tls: string | null
  /** The server that was reached, its address pinned: where a cancel request has to go. */
  readonly target: PinnedHost
}

export type UpstreamSession = UpstreamConnection & Greeting

/** `dial`: how hosts are reached; directly unless told. */
export type ConnectOptions = { readonly signal?: AbortSignal; readonly dial?: Dial }

/** SQLSTATE of a server that starts, stops or recovers: another host may be better. */
const cannotConnectNow = '57P03'
/** Not let in by pg_hba.conf, and a wrong password: what the other encryption may turn out differently. */
const notAuthorised = '28000'
const authenticationFailures = new Set([notAuthorised, '28P01'])

/** The part of a listener's settings that says how its database is reached, as an option. */
export function dialOf({ dial }: { readonly dial?: Dial }): Pick<ConnectOptions, 'dial'> {
  return dial === undefined ? {} : { dial }
}

/**
 * Opens the transport to one host only: TCP or Unix socket, and TLS as sslmode says. For pass-through, which relays the agent's own exchange.
 * sslmode=allow means plain here, since only the exchange would tell.
 * @throws UpstreamUnreachable, TlsFilesUnusable, ConnectAborted
 */
export async function openTransport(
  settings: ConnectionSettings,
  host: PinnedHost,
  options: ConnectOptions = {},
): Promise<UpstreamConnection> {
  const attempts: Attempt[] = []
  const found = await eachPlace(settings, host, options, attempts, async (place, dialing) => {
    let failure: unknown = null
    for (const encryption of encryptionsOf(settings, host)) {
      try {
        const wire = await openWire(settings, host, place, encryption, dialing)
        wire.release()
        return connectionOf(wire, host, Buffer.alloc(0))
      } catch (error) {
        failure = error
        if (!isTlsFailure(error)) break
      }
    }
    throw failure
  })
  if (found === null) throw new UpstreamUnreachable(attempts, null)
  return found
}

/**
 * Signs in at the first host that will do, and returns when it is ready for a query.
 * @param startup the database to open and the agent's own start-up parameters
 * @throws UpstreamRefused (the database said no), UpstreamUnreachable, SignInImpossible, TlsFilesUnusable, ConnectAborted, or BadStartup when
 *   the start-up parameters cannot be sent
 */
export async function connectUpstream(
  settings: ConnectionSettings,
  startup: { readonly database: string; readonly parameters: Readonly<Record<string, string>> },
  options: ConnectOptions & { readonly allowCleartextPassword: boolean },
): Promise<UpstreamSession> {
  const { user } = settings
  invariant(user !== null, 'custody has a user')
  const packet = encodeStartup({ protocolMinor: settings.protocolMinor.wanted, parameters: startupParameters(settings, startup) })
  const attempts: Attempt[] = []
  const wanted = settings.targetSessionAttributes
  let refusal: UpstreamRefused | null = null
  for (const attributes of wanted === 'prefer-standby' ? (['standby', 'any'] as const) : [wanted]) {
    for (const host of settings.loadBalanceHosts ? shuffle(settings.hosts) : settings.hosts) {
      const session = await eachPlace(settings, host, options, attempts, async (place, dialing) => {
        const signInTo = (wire: Wire): Promise<StartUp> =>
          startUp(wire, {
            protocol: settings.protocolMinor,
            packet,
            signIn: createSignIn({
              settings,
              user,
              encrypted: wire.tls !== null,
              certificate: wire.certificate,
              local: isSocketFolder(host),
              allowCleartextPassword: options.allowCleartextPassword,
              findPassword: () => passwordFor(settings, host, { user, database: startup.database }),
            }),
          })
        const one = (encryption: Encryption): Promise<UpstreamSession> =>
          openSession(settings, host, place, encryption, attributes, signInTo, dialing)
        try {
          return await tryEncryptions(encryptionsOf(settings, host), one)
        } catch (error) {
          if (!(error instanceof UpstreamRefused) || error.sqlState !== cannotConnectNow) throw error
          refusal = error
          throw new AttemptFailed('session', error.message, error)
        }
      })
      if (session !== null) return session
    }
  }
  // A database that is there and says why it takes nobody says it best itself.
  throw refusal ?? new UpstreamUnreachable(attempts, null)
}

/**
 * Asks the server to cancel what the process runs, over a connection of its own; resolves when the server has closed it.
 * @throws UpstreamUnreachable, TlsFilesUnusable, ConnectAborted
 */
export async function sendCancel(
  settings: ConnectionSettings,
  target: PinnedHost,
  processId: number,
  cancelKey: Buffer,
  options: ConnectOptions = {},
): Promise<void> {
  const { socket } = await openTransport(settings, target, options)
  const silence = new AbortController()
  const timer = setTimeout(() => socket.destroy(), settings.connectTimeoutMilliseconds || 60_000)
  const stop = (): void => void socket.destroy()
  options.signal?.addEventListener('abort', stop, { once: true })
  try {
    const closed = once(socket, 'close', { signal: silence.signal })
    socket.resume()
    socket.write(encodeCancelRequest(processId, cancelKey))
    // The server closes without an answer, which some TLS stacks report as a reset: the request went out all the same.
    await closed.catch(() => undefined)
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', stop)
    silence.abort()
    socket.destroy()
  }
}

/** Runs `use` for each place of a host until one does; failures that another place may not have are noted, and null means that none did. */
async function eachPlace<Result>(
  settings: ConnectionSettings,
  host: PinnedHost,
  { signal, dial = directDial }: ConnectOptions,
  attempts: Attempt[],
  use: (place: Place, options: { readonly signal: AbortSignal; readonly dial: Dial }) => Promise<Result>,
): Promise<Result | null> {
  const timeout = settings.connectTimeoutMilliseconds
  const reached: string[] = []
  const noting: Dial = {
    ...dial,
    async connect(...place) {
      const dialed = await dial.connect(...place)
      if (dialed.address !== null) reached.push(dialed.address)
      return dialed
    },
  }
  const within = async <Value>(work: (deadline: AbortSignal) => Promise<Value>): Promise<Value | null> => {
    if (signal?.aborted) throw new ConnectAborted()
    const controller = new AbortController()
    const giveUp = (): void => controller.abort(new ConnectAborted())
    signal?.addEventListener('abort', giveUp, { once: true })
    const late = (): void => controller.abort(new Error(`no answer within ${timeout / 1000} s`))
    const timer = timeout > 0 ? setTimeout(late, timeout) : undefined
    try {
      return await work(controller.signal)
    } catch (error) {
      if (signal?.aborted) throw new ConnectAborted()
      if (!(error instanceof AttemptFailed)) throw error
      const named = host.name === '' ? (host.address ?? '') : host.name
      attempts.push({ host: named, port: host.port, reason: messageOf(error), remedy: error.remedyOfReason })
      return null
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', giveUp)
    }
  }
  const tryEach = async (places: readonly Place[] | null): Promise<Result | null> => {
    for (const place of places ?? []) {
      const result = await within((deadline) => use(place, { signal: deadline, dial: noting }))
      if (result !== null) return result
    }
    return null
  }
  const first = await within((deadline) => dial.placesOf(host, { signal: deadline, shuffled: settings.loadBalanceHosts }))
  return (await tryEach(first)) ?? (await tryEach(await within((deadline) => dial.placesBeside(host, reached, { signal: deadline }))))
}

/** sslmode's second try: after a failed handshake, or when the server does not let us in this way. The first refusal is the better told one. */
async function tryEncryptions<Result>(
  encryptions: readonly Encryption[],
  use: (encryption: Encryption) => Promise<Result>,
): Promise<Result> {
  const [first, second] = encryptions
  invariant(first !== undefined, 'there is always one way to try')
  try {
    return await use(first)
  } catch (failure) {
    const again = isTlsFailure(failure) || (failure instanceof UpstreamRefused && authenticationFailures.has(failure.sqlState))
    if (second === undefined || !again) throw failure
    try {
      return await use(second)
    } catch (later) {
      const lessTold = later instanceof AttemptFailed || (later instanceof UpstreamRefused && later.sqlState === notAuthorised)
      throw failure instanceof UpstreamRefused && lessTold ? failure : later
    }
  }
}

const isTlsFailure = (error: unknown): boolean => error instanceof AttemptFailed && error.stage === 'tls'

async function openSession(
  settings: ConnectionSettings,
  host: UpstreamHost,
  place: Place,
  encryption: Encryption,
  attributes: ConnectionSettings['targetSessionAttributes'],
  signInTo: (wire: Wire) => Promise<StartUp>,
  options: { readonly signal: AbortSignal; readonly dial: Dial },
): Promise<UpstreamSession> {
  const wire = await openWire(settings, host, place, encryption, options)
  try {
    const { reader, ...greeting } = await signInTo(wire)
    try {
      const mismatch = await attributeMismatch(wire, { reader, ...greeting }, attributes)
      if (mismatch !== null) {
        wire.socket.end(encodeMessage('X'))
        throw new AttemptFailed('session', mismatch)
      }
    } catch (error) {
      reader.release()
      throw error instanceof BadStartup ? new AttemptFailed('protocol', messageOf(error), error) : error
    }
    const leftover = reader.release()
    wire.release()
    return { ...connectionOf(wire, host, leftover), ...greeting }
  } catch (error) {
    wire.release()
    // A polite Terminate may still be on its way; everything else is cut.
    if (wire.socket.writableEnded) wire.socket.destroySoon()
    else wire.socket.destroy()
    throw error
  }
}

function connectionOf(wire: Wire, host: UpstreamHost, leftover: Buffer): UpstreamConnection {
  return {
    socket: wire.socket,
    leftover,
    host: host.name === '' ? (host.address ?? '') : host.name,
    port: host.port,
    tls: wire.tls,
    target: wire.pin(host),
  }
}
