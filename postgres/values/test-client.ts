/** A PostgreSQL client of few words, for tests: runs a query that gives each value in both formats, and keeps the raw bytes. */
import { once } from 'node:events'
import { createConnection } from 'node:net'

export type BothFormats = { readonly typeOid: number; readonly text: Buffer | null; readonly binary: Buffer | null }
export type RawClient = Awaited<ReturnType<typeof connect>>

type Message = { readonly type: string; readonly body: Buffer }

/** The server must ask for no password. */
export async function connect({ host, port, superuser }: { readonly host: string; readonly port: number; readonly superuser: string }) {
  const socket = createConnection({ host, port, noDelay: true })
  await once(socket, 'connect')
  const parameters: Record<string, string> = {}
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let held: Buffer = Buffer.alloc(0)

  async function message(): Promise<Message> {
    while (held.length < 5 || held.length < 1 + held.readUInt32BE(1)) {
      const next = await chunks.next()
      if (next.done === true) throw new Error('the server hung up')
      held = Buffer.concat([held, next.value])
    }
    const end = 1 + held.readUInt32BE(1)
    const found = { type: String.fromCharCode(held[0]!), body: held.subarray(5, end) }
    held = held.subarray(end)
    return found
  }

  async function untilReady(): Promise<Message[]> {
    const found: Message[] = []
    for (;;) {
      const one = await message()
      found.push(one)
      const words = one.body.toString('utf8').split('\0')
      if (one.type === 'S') parameters[words[0]!] = words[1]!
      if (one.type === 'Z') break
      if (one.type === 'E' && /^S(FATAL|PANIC)/.test(words[0]!)) break
    }
    const failure = found.find(({ type }) => type === 'E')
    if (failure !== undefined) throw new Error(failure.body.toString('utf8').replaceAll('\0', ' '))
    return found
  }

  const startup = Buffer.from(`\0\0\0\0\0\x03\0\0user\0${superuser}\0database\0postgres\0client_encoding\0UTF8\0\0`)
  startup.writeInt32BE(startup.length, 0)
  socket.write(startup)
  await untilReady()

  return {
    /** ParameterStatus values, kept up to date. */
    parameters: parameters as Readonly<Record<string, string>>,

    async run(sql: string): Promise<void> {
      socket.write(framed('Q', Buffer.from(`${sql}\0`)))
      await untilReady()
    },

    /** `select` gives one column named `v`. Every message of the answer of a row has the text first and then the binary value. */
    async twice(select: string): Promise<BothFormats[]> {
      const sql = `with q as materialized (${select}) select v, v from q`
      const formats = Buffer.from([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]) // Unnamed portal and statement, no parameters, text and binary.
      socket.write(
        Buffer.concat([
          framed('P', Buffer.from(`\0${sql}\0\0\0`)),
          framed('B', formats),
          framed('D', Buffer.from('P\0')),
          framed('E', Buffer.from([0, 0, 0, 0, 0])),
          framed('S', Buffer.alloc(0)),
        ]),
      )
      const messages = await untilReady()
      const description = messages.find(({ type }) => type === 'T')!.body
      const typeOid = description.readUInt32BE(2 + 'v\0'.length + 6)
      return messages.filter(({ type }) => type === 'D').map(({ body }) => ({ typeOid, ...bothOf(body) }))
    },

    end(): void {
      socket.destroy()
    },
  }
}

function framed(type: string, body: Buffer): Buffer {
  const frame = Buffer.alloc(5 + body.length)
  frame.write(type)
  frame.writeInt32BE(4 + body.length, 1)
  body.copy(frame, 5)
  return frame
}

function bothOf(row: Buffer): { text: Buffer | null; binary: Buffer | null } {
  const values: (Buffer | null)[] = []
  for (let at = 2; at < row.length;) {
    const length = row.readInt32BE(at)
    at += 4
    values.push(length < 0 ? null : Buffer.from(row.subarray(at, at + length)))
    at += Math.max(0, length)
  }
  return { text: values[0] ?? null, binary: values[1] ?? null }
}
