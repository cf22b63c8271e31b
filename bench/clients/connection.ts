/**
 * A PostgreSQL client that costs next to nothing: it logs in, sends one query at a time and counts what comes back, without keeping it.
 *
 * Written apart from steno's own protocol code, so that a mistake there cannot hide in the measurement. Holds one unfinished frame header and
 * frames that it must understand (errors, authentication), each capped; rows are skipped as they pass. Knows trust, SCRAM-SHA-256, and TLS
 * without a check of the certificate.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { once } from 'node:events'
import { invariant } from '../../base/invariant.ts'

const headerBytes = 5
const heldFrameBytesMax = 64 * 1024
const readBufferBytes = 256 * 1024

export type Target = {
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly tls: boolean
}

/** What came back for one query: all bytes from the first frame to ReadyForQuery, and how many frames were rows or COPY data. */
export type Received = { readonly bytes: number; readonly rows: number; readonly tag: string }

/** Called after each read with the bytes received so far; a promise holds the socket still until it resolves. */
export type Pace = (bytesReceived: number) => Promise<void> | undefined

export type Connection = {
  readonly socket: Socket
  /** Sends one simple query and resolves at ReadyForQuery. `copyIn` is asked to send the data when the server wants it. */
  query(sql: string, hooks?: { readonly pace?: Pace; readonly copyIn?: () => Promise<void> }): Promise<Received>
  close(): void
}

type Frame = { readonly type: string; readonly body: Buffer }
type Handler = { onFrame(frame: Frame): void; onData(bytes: number): void; onRow(): void; onLost(error: Error): void }

/** Connects, logs in, and returns when the server is ready for a query. */
export async function openConnection(target: Target): Promise<Connection> {
  let handler: Handler | null = null
  const cut = frameCutter(
    (frame) => handler?.onFrame(frame),
    () => handler?.onRow(),
  )
  const receive = (bytes: Buffer): void => {
    handler?.onData(bytes.length)
    cut(bytes)
  }
  const socket = target.tls ? await openTls(target.port) : await openPlain(target.port, receive)
  if (target.tls) socket.on('data', receive)
  socket.setNoDelay(true)
  socket.on('error', (error) => handler?.onLost(error))
  socket.on('close', () => handler?.onLost(new Error('the connection was closed')))
  await logIn(socket, target, (next) => (handler = next))
  handler = null
  return {
    socket,
    async query(sql, { pace, copyIn } = {}) {
      invariant(handler === null, 'one query at a time')
      let bytes = 0
      let rows = 0
      let tag = ''
      const done = Promise.withResolvers<Received>()
      handler = {
        onData(count) {
          bytes += count
          const wait = pace?.(bytes)
          if (wait === undefined) return
          socket.pause()
          wait.then(() => socket.resume(), done.reject)
        },
        onRow: () => rows++,
        onFrame({ type, body }) {
          if (type === 'E') done.reject(new Error(errorText(body)))
          if (type === 'C') tag = body.toString('latin1', 0, body.length - 1)
          if (type === 'G') copyIn?.().catch(done.reject)
          if (type === 'Z') done.resolve({ bytes, rows, tag })
        },
        onLost: done.reject,
      }
      socket.write(clientMessage('Q', Buffer.from(`${sql}\0`)))
      try {
        return await done.promise
      } finally {
        handler = null
      }
    },
    close: () => socket.end(clientMessage('X', Buffer.alloc(0))),
  }
}

/** One message of the client. */
export function clientMessage(type: string, body: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + body.length)
  bytes.write(type, 0, 'latin1')
  bytes.writeUInt32BE(4 + body.length, 1)
  body.copy(bytes, headerBytes)
  return bytes
}

async function openPlain(port: number, receive: (bytes: Buffer) => void): Promise<Socket> {
  const buffer = Buffer.allocUnsafeSlow(readBufferBytes)
  const onread = {
    buffer,
    callback: (count: number): boolean => {
      receive(buffer.subarray(0, count))
      return true
    },
  }
  const socket = connect({ port, host: '127.0.0.1', onread })
  await once(socket, 'connect')
  return socket
}

async function openTls(port: number): Promise<Socket> {
  const raw = connect(port, '127.0.0.1')
  await once(raw, 'connect')
  raw.write(Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])) // SSLRequest
  const [answer] = (await once(raw, 'data')) as [Buffer]
  if (answer.toString('latin1') !== 'S') throw new Error('the server offers no TLS')
  const socket = connectTls({ socket: raw, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  return socket
}

/** Cuts the server's bytes into frames. Rows ('D') and COPY data ('d') are only counted: nothing of them is held. */
function frameCutter(onFrame: (frame: Frame) => void, onRow: () => void): (chunk: Buffer) => void {
  let held = Buffer.alloc(0)
  let skip = 0
  return (chunk) => {
    let start = Math.min(skip, chunk.length)
    skip -= start
    const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    while (bytes.length - start >= headerBytes) {
      const type = bytes[start]!
      const frameBytes = 1 + bytes.readUInt32BE(start + 1)
      if (type === 0x44 || type === 0x64) {
        onRow()
        skip = Math.max(0, start + frameBytes - bytes.length)
        start = Math.min(bytes.length, start + frameBytes)
        continue
      }
      if (frameBytes > heldFrameBytesMax) throw new Error(`the server sent a frame of ${frameBytes} bytes`)
      if (bytes.length - start < frameBytes) break
      onFrame({ type: String.fromCharCode(type), body: bytes.subarray(start + headerBytes, start + frameBytes) })
      start += frameBytes
    }
    held = Buffer.from(bytes.subarray(start)) // A copy: the read buffer is about to be reused.
  }
}

async function logIn(socket: Socket, target: Target, listen: (handler: Handler) => void): Promise<void> {
  const done = Promise.withResolvers<void>()
  const nonce = randomBytes(18).toString('base64')
  const clientFirst = `n=,r=${nonce}`
  let expectedSignature = ''
  const answers: Record<number, (body: Buffer) => void> = {
    0: () => undefined, // AuthenticationOk
    10(body) {
      if (!body.toString('latin1').split('\0').includes('SCRAM-SHA-256')) throw new Error('the server offers no SCRAM-SHA-256')
      const first = Buffer.from(`n,,${clientFirst}`)
      const length = Buffer.alloc(4)
      length.writeUInt32BE(first.length)
      socket.write(clientMessage('p', Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), length, first])))
    },
    11(body) {
      const proof = scramProof(target.password, clientFirst, body.toString('utf8'))
      expectedSignature = proof.serverSignature
      socket.write(clientMessage('p', Buffer.from(proof.clientFinal)))
    },
    12(body) {
      if (body.toString('utf8') !== `v=${expectedSignature}`) throw new Error('the server does not know the password')
    },
  }
  listen({
    onData: () => undefined,
    onRow: () => undefined,
    onLost: done.reject,
    onFrame({ type, body }) {
      if (type === 'E') done.reject(new Error(errorText(body)))
      if (type === 'Z') done.resolve()
      if (type !== 'R') return
      const answer = answers[body.readUInt32BE(0)]
      try {
        if (answer === undefined) throw new Error('the server wants an authentication that this client does not know')
        answer(body.subarray(4))
      } catch (error) {
        done.reject(error)
      }
    },
  })
  const parameters = Buffer.from(`user\0${target.user}\0database\0${target.database}\0\0`)
  const startup = Buffer.alloc(8 + parameters.length)
  startup.writeUInt32BE(startup.length, 0)
  startup.writeUInt32BE(0x0003_0000, 4)
  parameters.copy(startup, 8)
  socket.write(startup)
  await done.promise
}

/** RFC 5802 with SHA-256. The name in the first message is empty, as PostgreSQL takes it from the start-up packet. */
function scramProof(password: string, clientFirst: string, serverFirst: string): { clientFinal: string; serverSignature: string } {
  const fields = new Map(serverFirst.split(',').map((field) => [field.slice(0, 1), field.slice(2)]))
  const [nonce, salt, iterations] = [fields.get('r'), fields.get('s'), Number(fields.get('i'))]
  if (nonce === undefined || salt === undefined || !Number.isInteger(iterations)) throw new Error('the server-first message is malformed')
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), iterations, 32, 'sha256')
  const clientKey = hmac(salted, 'Client Key')
  const withoutProof = `c=biws,r=${nonce}`
  const signed = `${clientFirst},${serverFirst},${withoutProof}`
  const signature = hmac(createHash('sha256').update(clientKey).digest(), signed)
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ signature[index]!))
  return {
    clientFinal: `${withoutProof},p=${proof.toString('base64')}`,
    serverSignature: hmac(hmac(salted, 'Server Key'), signed).toString('base64'),
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function errorText(body: Buffer): string {
  const fields = body.toString('utf8').split('\0')
  const field = (letter: string): string => fields.find((value) => value.startsWith(letter))?.slice(1) ?? ''
  return `${field('S')} ${field('C')}: ${field('M')}`
}
