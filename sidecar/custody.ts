/**
 * Custody: steno holds the credential. The agent needs nothing, or the token; it gets the upstream's user and no other,
 * the upstream's database or one that the operator named, and never a replication connection.
 */
import {
  decodeSaslInitialResponse,
  encodeAuthenticationOk,
  encodeAuthenticationSasl,
  encodeAuthenticationSaslContinue,
  encodeAuthenticationSaslFinal,
} from '../postgres/authentication/messages.ts'
import { TokenRefused, type createScramServer } from '../postgres/authentication/scram-server.ts'
import { headerBytes } from '../postgres/frame-header.ts'
import { BadStartup, encodeBackendKeyData, encodeNegotiateProtocolVersion, encodeReadyForQuery } from '../postgres/startup-messages.ts'
import type { AgentStartup } from './agent-startup.ts'
import type { ConnectionContext, StartedUpstream } from './connection.ts'
import { SessionRefused } from './session-refused.ts'
import type { StartupReader } from './startup-reader.ts'
import { connectUpstream, dialOf } from './upstream/connect.ts'

const newestMinor = 2
const passwordMessage = 'p'.charCodeAt(0)

export async function startInCustody(
  startup: AgentStartup & { kind: 'startup' },
  { listener: settings, token, changedBy }: ConnectionContext,
  signal: AbortSignal,
): Promise<StartedUpstream> {
  const { socket, parameters } = startup
  const user = settings.upstream.user!
  const own = settings.upstream.database ?? user
  const unknown = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'))
  if (startup.protocolMinor > newestMinor || unknown.length > 0) {
    socket.write(encodeNegotiateProtocolVersion(Math.min(startup.protocolMinor, newestMinor), unknown))
  }
  if (token !== null) await proveToken(startup, token)
  if (isReplication(parameters.get('replication'))) {
    throw new SessionRefused(
      '42501',
      'a replication connection would pass the recording by',
      'Connect without the parameter "replication".',
    )
  }
  const database = parameters.get('database') ?? own
  if (settings.databases !== 'any' && database !== own && !settings.databases.includes(database)) {
    const allowed = [...new Set([own, ...settings.databases])].map((name) => `"${name}"`).join(', ')
    throw new SessionRefused(
      '3D000',
      `the database "${database}" is not open to agents here`,
      `Connect to ${allowed}, or ask the operator to add it with ${changedBy.databases}.`,
    )
  }
  const passedOn = new Map(parameters)
  for (const name of ['user', 'database', 'replication', ...unknown]) passedOn.delete(name)
  const upstream = await connectUpstream(
    settings.upstream,
    { database, parameters: Object.fromEntries(passedOn) },
    { signal, allowCleartextPassword: settings.allowCleartextPassword, ...dialOf(settings) },
  )
  return {
    socket: upstream.socket,
    leftover: upstream.leftover,
    host: upstream.host,
    port: upstream.port,
    target: upstream.target,
    tls: upstream.tls,
    protocol: startup.protocolMinor >= newestMinor ? '3.2' : '3.0',
    user,
    database,
    processId: upstream.processId,
    cancelKey: upstream.cancelKey,
    serverParameters: upstream.parameters,
    greeting: (key) =>
      Buffer.concat([
        encodeAuthenticationOk(),
        ...upstream.startupFrames,
        encodeBackendKeyData(upstream.processId, key),
        encodeReadyForQuery('I'),
      ]),
  }
}

/** PostgreSQL takes `replication` as a boolean or the word `database`. */
function isReplication(value: string | undefined): boolean {
  return value !== undefined && !['', '0', 'false', 'off', 'no', 'f', 'n', 'of'].includes(value.toLowerCase())
}

/** SCRAM with steno as the server: the token itself never crosses the wire. @throws SessionRefused when it is wrong */
async function proveToken({ socket, reader }: AgentStartup & { kind: 'startup' }, token: TokenVerifier): Promise<void> {
  const exchange = token.start()
  socket.write(encodeAuthenticationSasl(token.mechanisms))
  try {
    const first = decodeSaslInitialResponse(await takePassword(reader))
    if (!token.mechanisms.includes(first.mechanism)) throw new BadStartup(`the client chose the SASL mechanism ${first.mechanism}`)
    socket.write(encodeAuthenticationSaslContinue(exchange.challenge(first.data)))
    socket.write(encodeAuthenticationSaslFinal(exchange.verify(await takePassword(reader))))
  } catch (error) {
    if (!(error instanceof TokenRefused)) throw error
    throw new SessionRefused(
      '28P01',
      'the token of this agent is wrong',
      'Give the token of the agent as its password; the operator finds it in the file named by --agent-token-file.',
    )
  }
}

/** The body of the next PasswordMessage, SASLInitialResponse or SASLResponse, which share one type. */
async function takePassword(reader: StartupReader): Promise<Buffer> {
  const frame = await reader.takeFrame('frontend')
  if (frame[0] !== passwordMessage) throw new BadStartup('the client sent something else than its answer to the authentication request')
  return frame.subarray(headerBytes)
}

export type TokenVerifier = ReturnType<typeof createScramServer>
