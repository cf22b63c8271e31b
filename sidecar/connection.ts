/**
 * The whole way of one connection: who the agent is, the database reached on its behalf, the recorded session between them.
 *
 * The two modes part here: in custody steno signs in and the agent never sees the credential; in pass-through the agent's own
 * exchange is relayed unread (`pass-through.ts`). Ends every failure in an ErrorResponse that the agent's driver can show.
 */
import type net from 'node:net'
import type { Log } from '../base/log.ts'
import { KnownError, messageOf } from '../base/errors.ts'
import { redactStartupValue } from '../postgres/redaction/redact-startup.ts'
import { BadStartup, encodeErrorResponse } from '../postgres/startup-messages.ts'
import type { ErrorFields } from '../postgres/statement.ts'
import type { RecordingLevel, SessionClose, SessionIdentity, StartupParameters } from '../session/identity.ts'
import { newSessionId } from '../session/session-id.ts'
import { readAgentStartup, type AgentStartup } from './agent-startup.ts'
import { tlsDescription } from './agent-tls.ts'
import type { CancelRegistry } from './cancel-registry.ts'
import { startInCustody, type TokenVerifier } from './custody.ts'
import type { HeldStatements } from './held-statements.ts'
import type { Meter } from './meter.ts'
import { startPassThrough } from './pass-through.ts'
import { recordedStartup } from './recorded-startup.ts'
import { startRecordedSession, type RecordedSession } from './recorded-session.ts'
import type { ListenerSettings, RecorderSettings } from './settings.ts'
import { SessionRefused, type Refusal } from './session-refused.ts'
import { PeerGone } from './startup-reader.ts'
import type { Turns } from './turn.ts'
import { dialOf, sendCancel } from './upstream/connect.ts'
import type { PinnedHost } from './upstream/dial.ts'
import { UpstreamError, UpstreamRefused } from './upstream/errors.ts'
import type { Withholding } from './withheld/withholding.ts'

export type ConnectionContext = Pick<RecorderSettings, 'connectionsMax' | 'startupMillisecondsMax'> & {
  /** The one that the connection came to. */
  readonly listener: ListenerSettings
  readonly surroundings: NonNullable<RecorderSettings['surroundings']>
  readonly level: RecordingLevel
  readonly changedBy: NonNullable<RecorderSettings['changedBy']>
  readonly log: Log
  readonly meter: Meter
  readonly turns: Turns
  readonly heldStatements: HeldStatements
  /** Null at a level at which nothing waits for the store. */
  readonly withholding: Withholding | null
  readonly cancels: CancelRegistry
  /** Why no session may be opened now; null when any may. */
  readonly wayRefusal: () => Refusal | null
  /** What checks the agent's token; null when none is asked for. */
  readonly token: TokenVerifier | null
  readonly recorder: string
  readonly versions: SessionIdentity['versions']
  readonly nextSessionNumber: () => number
  readonly onSession: (number: number, session: RecordedSession) => void
  readonly onSessionClosed: (number: number, close: SessionClose) => void
}

/** What both modes end their start-up with. */
export type StartedUpstream = {
  readonly socket: net.Socket
  readonly leftover: Buffer
  readonly host: string
  readonly port: number
  /** Where a cancel request has to go. */
  readonly target: PinnedHost
  readonly tls: string | null
  /** What the agent speaks after negotiation. */
  readonly protocol: '3.0' | '3.2'
  readonly user: string
  readonly database: string
  readonly processId: number
  readonly cancelKey: Buffer
  readonly serverParameters: Readonly<Record<string, string>>
  /** Everything the agent is still to be sent up to and with ReadyForQuery, around the key that steno gives it. */
  readonly greeting: (key: Buffer) => Buffer
}

/** Serves one accepted connection to its end; never throws. `isFull` refuses it with the database's own error for that. */
export async function serveConnection(
  accepted: net.Socket,
  context: ConnectionContext,
  { isFull }: { readonly isFull: boolean },
): Promise<void> {
  const { listener, meter, log } = context
  let socket = accepted
  const gone = new AbortController()
  const tooLate = setTimeout(() => socket.destroy(), context.startupMillisecondsMax)
  // Until the data phase listens, an error only means that the agent has gone; `close` follows it.
  socket.on('error', () => gone.abort())
  socket.once('close', () => gone.abort())
  try {
    const startup = await readAgentStartup(accepted, {
      offersTls: listener.upstream.user !== null,
      onSocket(secured) {
        socket = secured
        socket.on('error', () => gone.abort())
        socket.once('close', () => gone.abort())
      },
    })
    if (startup.kind === 'cancel') {
      await cancel(startup, context)
      endUnserved(socket)
      return
    }
    if (isFull)
      throw new SessionRefused(
        '53300',
        `steno allows ${context.connectionsMax} connections at a time`,
        `Close connections that are not used, or raise ${context.changedBy.connections}.`,
      )
    throwIfClosed(context)
    const recorded = recordedStartup(startup.parameters, listener.upstream)
    await listener.admit?.({ signal: gone.signal })
    const upstream = await (listener.upstream.user === null
      ? startPassThrough(startup, context, gone.signal)
      : startInCustody(startup, context, gone.signal))
    clearTimeout(tooLate)
    if (gone.signal.aborted) {
      upstream.socket.destroy()
      throw new PeerGone('the agent left during start-up')
    }
    if (context.wayRefusal() !== null) upstream.socket.destroy()
    throwIfClosed(context)
    beginSession(startup, recorded, upstream, context)
  } catch (error) {
    meter.connectionRejected(reasonOf(error))
    if (!(error instanceof PeerGone))
      log.warn({ code: error instanceof KnownError ? error.code : undefined }, `connection refused: ${messageOf(error)}`)
    refuse(socket, error)
  } finally {
    clearTimeout(tooLate)
  }
}

function throwIfClosed({ wayRefusal }: ConnectionContext): void {
  const refusal = wayRefusal()
  if (refusal !== null) throw new SessionRefused(refusal.code, refusal.message, refusal.hint)
}

function beginSession(
  startup: AgentStartup & { kind: 'startup' },
  recorded: StartupParameters,
  upstream: StartedUpstream,
  context: ConnectionContext,
): void {
  const number = context.nextSessionNumber()
  const opened = Date.now()
  const { protocol } = upstream
  const cancelKey = context.cancels.issue({ host: upstream.target, processId: upstream.processId, key: upstream.cancelKey }, protocol)
  const applicationName = recorded.agent['application_name']
  const identity: SessionIdentity = {
    version: 1,
    session: newSessionId(opened),
    engine: 'postgresql',
    mode: context.listener.upstream.user === null ? 'pass-through' : 'custody',
    opened,
    recorder: context.recorder,
    client: { address: startup.socket.remoteAddress ?? '', port: startup.socket.remotePort ?? 0, tls: tlsDescription(startup.socket) },
    upstream: { host: upstream.host, port: upstream.port, tls: upstream.tls },
    user: upstream.user,
    database: upstream.database,
    protocol,
    // The server repeats some of what it was asked for.
    serverParameters: Object.fromEntries(
      Object.entries(upstream.serverParameters).map(([name, value]) => [name, redactStartupValue(name, value)]),
    ),
    versions: context.versions,
    ...context.surroundings,
    level: context.level,
    asserted: applicationName === undefined ? {} : { application_name: applicationName },
    startup: recorded,
    trace: null,
  }
  if (JSON.stringify(identity).length > identityCharactersMax) {
    cancelKey.release()
    upstream.socket.destroy()
    throw new SessionRefused(
      '08P01',
      'the database announces more parameters than a recording can hold',
      'Look at what answers under the address of the database.',
    )
  }
  const leftover = startup.reader.stop()
  startup.socket.removeAllListeners('close')
  startup.socket.removeAllListeners('error')
  startRecordedSession({
    identity,
    number,
    turns: context.turns,
    heldStatements: context.heldStatements,
    withholding: context.withholding,
    meter: context.meter,
    agent: { socket: startup.socket, leftover },
    upstream: { socket: upstream.socket, leftover: upstream.leftover },
    greeting: upstream.greeting(cancelKey.key),
    onOpen: (made) => context.onSession(number, made),
    onClosed(close) {
      cancelKey.release()
      context.onSessionClosed(number, close)
    },
  })
  context.meter.sessionOpened()
}

async function cancel(startup: AgentStartup & { kind: 'cancel' }, { cancels, listener, log }: ConnectionContext): Promise<void> {
  const target = cancels.find(startup.processId, startup.key)
  if (target === null) return
  try {
    await sendCancel(listener.upstream, target.host, target.processId, target.key, dialOf(listener))
  } catch (error) {
    log.warn(`a cancel request did not reach the database: ${messageOf(error)}`)
  }
}

/** Tells the agent why, in the form that it expects before its session has begun, and closes. */
function refuse(socket: net.Socket, error: unknown): void {
  if (socket.writable && !(error instanceof PeerGone))
    socket.write(error instanceof UpstreamRefused ? error.frame : encodeErrorResponse(fieldsOf(error)))
  endUnserved(socket)
}

/** Ends a connection that has no session; a client that does not close its side is cut off, or it could keep sockets without number. */
function endUnserved(socket: net.Socket): void {
  socket.end()
  setTimeout(() => socket.destroy(), closeMilliseconds).unref()
  socket.resume()
}

const closeMilliseconds = 2_000
/** The identity is written as one record, which must fit a turn's buffer. PostgreSQL announces a dozen short parameters. */
const identityCharactersMax = 64 * 1024

function fieldsOf(error: unknown): ErrorFields {
  if (error instanceof SessionRefused)
    return { severity: 'FATAL', code: error.sqlState, message: `steno: ${error.message}`, hint: error.remedy }
  if (error instanceof UpstreamError) return { ...error.fields, message: `steno: ${error.message}` }
  if (error instanceof BadStartup)
    return { severity: 'FATAL', code: error.sqlState, message: `steno: ${error.message}`, hint: error.remedy }
  if (error instanceof KnownError) return { severity: 'FATAL', code: '08P01', message: `steno: ${error.message}`, hint: error.remedy }
  return { severity: 'FATAL', code: 'XX000', message: `steno: ${messageOf(error)}`, hint: 'This is a defect of steno; its log says more.' }
}

function reasonOf(error: unknown): 'authentication' | 'upstream' | 'protocol' | 'policy' | 'limit' | 'gone' {
  if (error instanceof PeerGone) return 'gone'
  if (error instanceof SessionRefused)
    return error.sqlState === '28P01' ? 'authentication' : error.sqlState === '53300' ? 'limit' : 'policy'
  return error instanceof UpstreamError ? 'upstream' : 'protocol'
}
