/**
 * Asks one address how it would treat whoever comes from here: a TCP connection, TLS where the server has it, and a start-up packet of a user.
 *
 * Sends no password and answers no challenge: the question ends with the server's first word. The certificate is not looked at, since nothing
 * is sent that others may not read. Held: one message of the server, capped. Not known: what the server does behind its first word.
 * Source: PostgreSQL documentation, "Message Flow: Start-up" and "SSL Session Encryption"; appendix A, class 28.
 */
import net from 'node:net'
import tls from 'node:tls'
import { systemCodeOf } from '../../base/errors.ts'
import { decodeErrorFields } from '../../postgres/messages/error-fields.ts'
import { encodeSslRequest, encodeStartup } from '../../postgres/startup-messages.ts'

export type Answer =
  /** The server would go on with whoever is here: it asked for a password, or something else that is not the refusal of this address. */
  | { readonly kind: 'answers'; readonly detail: string }
  /** pg_hba.conf has no entry for this address, or one that says reject. */
  | { readonly kind: 'rejected'; readonly detail: string }
  /** Nobody takes the connection: it was refused, or there is no way. */
  | { readonly kind: 'refused'; readonly detail: string }
  /** Nothing came back in the time that there was: what a firewall does. */
  | { readonly kind: 'silent'; readonly detail: string }
  /** Something took the connection and did not say how it treats this address. */
  | { readonly kind: 'unclear'; readonly detail: string }

export type Question = {
  readonly address: string
  readonly port: number
  /** Names of databases, tried in turn until one answers; each of them may have its own entry in pg_hba.conf. */
  readonly databaseNames: readonly string[]
  readonly user: string
  /** For the connection, and again for each answer. */
  readonly millisecondsMax: number
}

/** The open ones first: what one way lets in, the others do not take back. */
const order = ['answers', 'unclear', 'rejected', 'silent', 'refused'] as const
/** Longer than any ErrorResponse that matters here. */
const messageBytesMax = 16 * 1024
const headerBytes = 5
const [authentication, errorResponse, negotiation] = ['R', 'E', 'v'].map((letter) => letter.charCodeAt(0))
/** invalid_authorization_specification (SQLSTATE) */
const invalidAuthorization = '28000'
/** The server is starting, stopping or full, which it says before it looks who asks: cannot_connect_now, too_many_connections. */
const beforeLooking = ['57P03', '53300']
/** In the codes of node:net: what says that there is no way, rather than that this process is unwell. */
const noWay = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'EPERM', 'EACCES', 'EADDRNOTAVAIL', 'EAFNOSUPPORT']

/** Never throws. */
export async function askServer(question: Question): Promise<Answer> {
  const answers: Answer[] = []
  for (const database of question.databaseNames) {
    for (const isEncrypted of [true, false]) {
      const { answer, hasTls } = await askOnce(question, database, isEncrypted)
      answers.push(answer)
      // Who is not let in to the port is let in to none of its databases.
      if (['answers', 'refused', 'silent'].includes(answer.kind)) return mostOpen(answers)
      // A server without TLS was asked in plain already.
      if (!hasTls) break
    }
  }
  return mostOpen(answers)
}

function mostOpen(answers: readonly Answer[]): Answer {
  return answers.toSorted((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind))[0]!
}

async function askOnce(
  { address, port, user, millisecondsMax }: Question,
  database: string,
  isEncrypted: boolean,
): Promise<{ readonly answer: Answer; readonly hasTls: boolean }> {
  using stack = new DisposableStack()
  const socket = net.connect({ host: address, port, autoSelectFamily: false })
  stack.defer(() => socket.destroy())
  let hasTls = isEncrypted
  try {
    await waitFor(socket, 'connect', millisecondsMax)
  } catch (error) {
    return { answer: notConnected(error, millisecondsMax), hasTls }
  }
  try {
    let peer: net.Socket = socket
    if (isEncrypted) {
      socket.write(encodeSslRequest())
      const word = (await read(socket, 1, millisecondsMax)).toString('latin1')
      hasTls = word === 'S'
      if (word === 'E') return { answer: { kind: 'unclear', detail: 'it refused the request for TLS with an error' }, hasTls: true }
      if (word !== 'S' && word !== 'N') return { answer: { kind: 'answers', detail: 'something that is not PostgreSQL answers' }, hasTls }
      if (hasTls) {
        const secured = tls.connect({ socket, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] })
        stack.defer(() => secured.destroy())
        await waitFor(secured, 'secureConnect', millisecondsMax)
        peer = secured
      }
    }
    peer.write(
      encodeStartup({
        protocolMinor: 0,
        parameters: [
          ['user', user],
          ['database', database],
          ['application_name', 'steno probe'],
        ],
      }),
    )
    const header = await read(peer, headerBytes, millisecondsMax)
    const bodyBytes = Math.min(Math.max(header.readUInt32BE(1) - 4, 0), messageBytesMax)
    const body = header[0] === errorResponse ? await read(peer, bodyBytes, millisecondsMax) : Buffer.alloc(0)
    return { answer: meaningOf(header[0], body, database), hasTls }
  } catch (error) {
    const why = error instanceof Late ? `said nothing within ${millisecondsMax / 1000} s` : `ended it (${codeOf(error)})`
    return {
      answer: { kind: 'unclear', detail: `something took the connection and ${why}: a proxy or a load balancer may stand in front` },
      hasTls,
    }
  }
}

function notConnected(error: unknown, millisecondsMax: number): Answer {
  if (error instanceof Late || codeOf(error) === 'ETIMEDOUT')
    return { kind: 'silent', detail: `no connection within ${millisecondsMax / 1000} s` }
  const code = codeOf(error)
  if (noWay.includes(code)) return { kind: 'refused', detail: `no connection (${code})` }
  return { kind: 'unclear', detail: `the connection failed (${code})` }
}

function meaningOf(type: number | undefined, body: Buffer, database: string): Answer {
  if (type === authentication) return { kind: 'answers', detail: `it goes on to authentication, for database ${database}` }
  if (type === negotiation) return { kind: 'answers', detail: `it goes on with the protocol, for database ${database}` }
  if (type !== errorResponse) return { kind: 'answers', detail: 'something answers that does not begin as PostgreSQL does' }
  const { code, message } = decodeErrorFields(body)
  // The name of the file stands in the message in every language, and in no other error with this code.
  if (code === invalidAuthorization && message.includes('pg_hba.conf')) return { kind: 'rejected', detail: `${code}: ${message}` }
  if (beforeLooking.includes(code))
    return { kind: 'unclear', detail: `the server does not take anybody at this moment (${code}: ${message})` }
  return { kind: 'answers', detail: `${code}: ${message}` }
}

class Late extends Error {}

const codeOf = (error: unknown): string => systemCodeOf(error) ?? 'closed'

/** @throws Late, what the socket says */
function waitFor(socket: net.Socket, event: 'connect' | 'secureConnect', milliseconds: number): Promise<void> {
  return new Promise((resolve, reject) => {
    // A process that was held up finds its time over before it hears of what has come: it listens once more.
    const timer = setTimeout(() => setImmediate(() => reject(new Late())), milliseconds)
    const settle = (done: () => void): void => {
      clearTimeout(timer)
      done()
    }
    socket.on('error', (error) => settle(() => reject(error))) // It stays: a socket may fail while nobody waits.
    socket.once('close', () => settle(() => reject(new Error('the peer ended the connection'))))
    socket.once(event, () => settle(resolve))
  })
}

/** Exactly so many bytes; what comes behind them stays in the socket. @throws Late, what the socket says */
function read(socket: net.Socket, bytes: number, milliseconds: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => setImmediate(() => settle(() => reject(new Late()))), milliseconds)
    const settle = (done: () => void): void => {
      clearTimeout(timer)
      for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener)
      done()
    }
    const take = (): void => {
      const chunk = bytes === 0 ? Buffer.alloc(0) : (socket.read(bytes) as Buffer | null)
      if (chunk === null) return
      if (chunk.length === bytes) settle(() => resolve(chunk))
      else ended() // Less is given only when no more will come.
    }
    const ended = (): void => settle(() => reject(new Error('the peer ended the connection')))
    const listeners = { readable: take, end: ended, close: ended, error: (error: Error) => settle(() => reject(error)) }
    for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener)
    take()
  })
}
