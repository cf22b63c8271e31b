/**
 * A PostgreSQL client that remembers every byte it was sent behind its start-up, for comparing with what was recorded.
 *
 * Knows no authentication: it is for a proxy in custody without a token, or a server that trusts it. Written apart from steno's own
 * protocol code, so that a mistake there cannot hide in the comparison.
 */
import { connect, type Socket } from 'node:net'

const headerBytes = 5

export type Frame = { readonly type: string; readonly body: Buffer }

/** The connection ended before the answer did. */
export class ConnectionEnded extends Error {
  /** ErrorResponse fields by their letter, when one came last. */
  readonly fields: ReadonlyMap<string, string> | null
  constructor(fields: ReadonlyMap<string, string> | null) {
    super(fields === null ? 'the connection ended' : `the connection ended: ${fields.get('C')} ${fields.get('M')}`)
    this.fields = fields
  }
}

export type RememberingClient = AsyncDisposable & {
  readonly socket: Socket
  readonly applicationName: string
  /** Every byte behind the first ReadyForQuery, also of a frame that never became whole. */
  received(): Buffer
  send(...messages: readonly Buffer[]): void
  /** Sends the messages and gives the frames of the answer up to and with the next ReadyForQuery. @throws ConnectionEnded */
  ask(...messages: readonly Buffer[]): Promise<Frame[]>
  /** One simple query. @throws ConnectionEnded */
  query(sql: string): Promise<Frame[]>
  /** Resolves when the connection is closed, with the last error that came, if any. */
  readonly ended: Promise<ConnectionEnded>
  /** Says Terminate and waits for the other side to close. */
  end(): Promise<void>
}

export function message(type: string, body: Buffer | string = ''): Buffer {
  const content = typeof body === 'string' ? Buffer.from(body) : body
  const bytes = Buffer.alloc(headerBytes + content.length)
  bytes.write(type, 0, 'latin1')
  bytes.writeUInt32BE(4 + content.length, 1)
  content.copy(bytes, headerBytes)
  return bytes
}

export const query = (sql: string): Buffer => message('Q', `${sql}\0`)

/** Parse, Bind, Describe, Execute and Sync of an unnamed statement with one text parameter. */
export function execute(sql: string, parameter: string): Buffer {
  const value = Buffer.from(parameter)
  const bind = Buffer.concat([Buffer.from('\0\0\0\0\0\x01', 'latin1'), uint32(value.length), value, Buffer.from([0, 0])])
  return Buffer.concat([message('P', `\0${sql}\0\0\0`), message('B', bind), message('D', 'P\0'), message('E', '\0\0\0\0\0'), message('S')])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function startup(parameters: Readonly<Record<string, string>>): Buffer {
  const body = Buffer.from(`\0\x03\0\0${Object.entries(parameters).flat().join('\0')}\0\0`, 'latin1')
  return Buffer.concat([uint32(4 + body.length), body])
}

/** The whole frames at the front of `bytes`, and where they end. */
export function framesOf(bytes: Buffer): { readonly frames: Frame[]; readonly end: number } {
  const frames: Frame[] = []
  let at = 0
  while (bytes.length - at >= headerBytes) {
    const end = at + 1 + bytes.readUInt32BE(at + 1)
    if (end > bytes.length) break
    frames.push({ type: String.fromCharCode(bytes[at]!), body: bytes.subarray(at + headerBytes, end) })
    at = end
  }
  return { frames, end: at }
}

export function errorFields(frame: Frame): ReadonlyMap<string, string> {
  return new Map(
    frame.body
      .toString('utf8')
      .split('\0')
      .filter((field) => field !== '')
      .map((field) => [field[0]!, field.slice(1)]),
  )
}

/** The fields of the answer's error. */
export function errorIn(frames: readonly Frame[]): ReadonlyMap<string, string> | null {
  const frame = frames.findLast(({ type }) => type === 'E')
  return frame === undefined ? null : errorFields(frame)
}

/** The first column of the answer's rows, as text. */
export function firstColumn(frames: readonly Frame[]): string[] {
  return frames.filter(({ type }) => type === 'D').map(({ body }) => body.toString('utf8', 6, 6 + body.readUInt32BE(2)))
}

/** Connects and starts a session. @throws ConnectionEnded when it is refused */
export async function connectRemembering(
  port: number,
  applicationName: string,
  parameters: Readonly<Record<string, string>> = {},
): Promise<RememberingClient> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  const chunks: Buffer[] = []
  /** The part of a frame that has not been looked at. */
  let unread: Buffer = Buffer.alloc(0)
  let frames: Frame[] = []
  let started = false
  let isClosed = false
  let lastError: ReadonlyMap<string, string> | null = null
  let wake: () => void = () => undefined
  socket.on('data', (bytes: Buffer) => {
    if (started) chunks.push(bytes)
    const { frames: whole, end } = framesOf((unread = unread.length === 0 ? bytes : Buffer.concat([unread, bytes])))
    unread = unread.subarray(end)
    for (const frame of whole) if (frame.type === 'E') lastError = errorFields(frame)
    frames.push(...whole)
    wake()
  })
  socket.on('error', () => undefined) // `close` follows, and is what counts.
  const ended = new Promise<ConnectionEnded>((resolve) => {
    socket.once('close', () => {
      isClosed = true
      resolve(new ConnectionEnded(lastError))
      wake()
    })
  })

  async function untilReady(): Promise<Frame[]> {
    for (;;) {
      const ready = frames.findIndex(({ type }) => type === 'Z')
      if (ready >= 0) {
        const answer = frames.slice(0, ready + 1)
        frames = frames.slice(ready + 1)
        return answer
      }
      if (isClosed) throw await ended
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }

  const client: RememberingClient = {
    socket,
    applicationName,
    ended,
    received: () => Buffer.concat(chunks),
    send: (...messages) => void socket.write(Buffer.concat(messages)),
    ask(...messages) {
      socket.write(Buffer.concat(messages))
      return untilReady()
    },
    query: (sql) => client.ask(query(sql)),
    async end() {
      socket.end(message('X'))
      await ended
    },
    async [Symbol.asyncDispose]() {
      socket.destroy()
      await ended
    },
  }
  socket.write(startup({ user: 'postgres', database: 'postgres', application_name: applicationName, ...parameters }))
  await untilReady()
  started = true
  return client
}
