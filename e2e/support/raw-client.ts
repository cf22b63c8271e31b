/** A client that says exactly what a test wants and shows every message that comes back. Plain connections, trust authentication. */
import { once } from 'node:events'
import net from 'node:net'
import { frameLength, headerBytes } from '../../postgres/frame-header.ts'
import { decodeBackendKeyData, encodeCancelRequest, encodeStartup } from '../../postgres/startup-messages.ts'

export type Message = { readonly type: string; readonly body: Buffer }

export type RawClient = Disposable & {
  send(bytes: Buffer): void
  /** The next message; null when the other side has closed. */
  next(): Promise<Message | null>
  /** Messages up to and with one of this type, or all until the connection ends. */
  until(type: string): Promise<Message[]>
  /** The next single byte, as the answer to SSLRequest is. */
  nextByte(): Promise<string>
}

export async function connectRaw({ host, port }: { readonly host: string; readonly port: number }): Promise<RawClient> {
  const socket = net.connect({ host, port })
  await once(socket, 'connect')
  let held: Buffer = Buffer.alloc(0)
  let ended = false
  let wake: () => void = () => undefined
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    wake()
  })
  const end = (): void => {
    ended = true
    wake()
  }
  socket.on('error', end) // A reset is an end like another.
  socket.on('close', end)
  /** False when the connection ends before so many bytes are there. */
  async function hold(bytes: number): Promise<boolean> {
    while (held.length < bytes && !ended) await new Promise<void>((resolve) => (wake = resolve))
    return held.length >= bytes
  }
  function take(bytes: number): Buffer {
    const taken = held.subarray(0, bytes)
    held = held.subarray(bytes)
    return taken
  }
  async function next(): Promise<Message | null> {
    if (!(await hold(headerBytes))) return null
    const length = frameLength('backend', held, 0)
    if (!(await hold(length))) return null
    const frame = take(length)
    return { type: String.fromCharCode(frame[0]!), body: frame.subarray(headerBytes) }
  }
  return {
    send: (bytes) => void socket.write(bytes),
    next,
    async until(type) {
      const messages: Message[] = []
      for (;;) {
        const message = await next()
        if (message !== null) messages.push(message)
        if (message === null || message.type === type) return messages
      }
    },
    async nextByte() {
      return (await hold(1)) ? take(1).toString('latin1') : ''
    },
    [Symbol.dispose]: () => socket.destroy(),
  }
}

/** Disposal closes the connection. */
export type StartedSession = Disposable & {
  readonly client: RawClient
  readonly messages: readonly Message[]
  readonly processId: number
  readonly key: Buffer
}

/** Starts a session of this protocol version; what came before ReadyForQuery is in `messages`. */
export async function startRawSession(
  address: { readonly host: string; readonly port: number },
  parameters: Readonly<Record<string, string>>,
  protocolMinor = 0,
): Promise<StartedSession> {
  const client = await connectRaw(address)
  client.send(encodeStartup({ protocolMinor, parameters: Object.entries(parameters) }))
  const messages = await client.until('Z')
  const keyData = messages.find(({ type }) => type === 'K')
  if (keyData === undefined) {
    client[Symbol.dispose]()
    throw new Error(`no session: ${messages.map(({ type, body }) => `${type} ${body.toString('latin1')}`).join(', ')}`)
  }
  return { client, messages, ...decodeBackendKeyData(keyData.body), [Symbol.dispose]: () => client[Symbol.dispose]() }
}

/** Sends a cancel request and waits until the other side has closed, which it does when it is through with it. */
export async function sendRawCancel(
  address: { readonly host: string; readonly port: number },
  processId: number,
  key: Buffer,
): Promise<void> {
  using client = await connectRaw(address)
  client.send(encodeCancelRequest(processId, key))
  await client.until('(the end)')
}

export function encodeQuery(sql: string): Buffer {
  const text = Buffer.from(`${sql}\0`)
  const header = Buffer.alloc(headerBytes)
  header.write('Q')
  header.writeUInt32BE(text.length + headerBytes - 1, 1)
  return Buffer.concat([header, text])
}
