/** A TCP recorder that tracks what passes between a client and a real server, and a client that sends written messages, for tests. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { createFrameAssembler } from '../frame-assembler.ts'
import { createStatementTracker } from '../statement-tracker.ts'
import type { ErrorFields, StatementSummary } from '../statement.ts'

export type Recorder = AsyncDisposable & {
  readonly port: number
  /** In the order they began. */
  statements(): StatementSummary[]
  readonly rows: Map<number, number>
  readonly sessionErrors: ErrorFields[]
  /** Resolves when every session has been closed. */
  closed(): Promise<void>
}

/** The server must trust the client, so that everything up to the first ReadyForQuery is start-up. */
export async function startRecorder(target: { readonly host: string; readonly port: number }): Promise<Recorder> {
  const statements: StatementSummary[] = []
  const rows = new Map<number, number>()
  const sessionErrors: ErrorFields[] = []
  const sessions: Promise<void>[] = []
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const database = connect({ ...target, noDelay: true })
    sockets.add(client).add(database)
    client.setNoDelay(true)
    let place = 0
    const tracker = createStatementTracker({
      onStatement: (statement) => statements.push(statement),
      onRow: (statement) => rows.set(statement, (rows.get(statement) ?? 0) + 1),
      onSessionError: (fields) => sessionErrors.push(fields),
    })
    const toTracker = {
      client: behindStartup('client', (bytes) => tracker.frontend(bytes, Date.now(), place++, false)),
      database: behindStartup('database', (bytes) => tracker.backend(bytes, Date.now(), place++)),
    }
    client.on('data', (bytes: Buffer) => {
      toTracker.client(bytes)
      database.write(bytes)
    })
    database.on('data', (bytes: Buffer) => {
      toTracker.database(bytes)
      client.write(bytes)
    })
    for (const [one, other] of [
      [client, database],
      [database, client],
    ] as const) {
      one.on('end', () => other.end())
      one.on('error', () => other.destroy())
    }
    sessions.push(once(database, 'close').then(() => tracker.close(Date.now(), place++)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    statements: () => statements.toSorted((one, other) => one.number - other.number),
    rows,
    sessionErrors,
    closed: async () => void (await Promise.all(sessions)),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Gives what stands behind the StartupMessage, or behind the first ReadyForQuery. */
function behindStartup(side: 'client' | 'database', take: (bytes: Buffer) => void): (bytes: Buffer) => void {
  let held = Buffer.alloc(0)
  let isPast = false
  return (bytes) => {
    if (isPast) return take(bytes)
    held = Buffer.concat([held, bytes])
    const lengthAt = side === 'client' ? 0 : 1
    while (!isPast && held.length >= lengthAt + 4) {
      const length = lengthAt + held.readUInt32BE(lengthAt)
      if (held.length < length) return
      isPast = side === 'client' || held[0] === 0x5a
      held = held.subarray(length)
    }
    if (isPast && held.length > 0) take(held)
  }
}

export type RawClient = AsyncDisposable & {
  send(...messages: readonly Buffer[]): void
  /** Resolves when the server has sent a message of this type `count` times more. */
  until(type: string, count?: number): Promise<void>
  /** Type letters of everything the server sent since start-up. */
  readonly heard: string[]
  end(): Promise<void>
}

export async function connectRaw(port: number): Promise<RawClient> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  await once(socket, 'connect')
  const heard: string[] = []
  let wake: () => void = () => {}
  const assembler = createFrameAssembler('backend', {
    onFrame: (type) => heard.push(String.fromCharCode(type)),
    onSize: () => {},
  })
  socket.on('data', (bytes: Buffer) => {
    assembler.push(bytes)
    wake()
  })
  socket.on('close', () => wake())
  socket.on('error', () => wake())
  const startup = Buffer.from('\0\0\0\0\0\x03\0\0user\0postgres\0database\0postgres\0\0')
  startup.writeUInt32BE(startup.length)
  socket.write(startup)
  const used: Record<string, number> = {}
  async function until(type: string, count = 1): Promise<void> {
    const wanted = (used[type] ?? 0) + count
    used[type] = wanted
    while (heard.filter((letter) => letter === type).length < wanted) {
      if (socket.destroyed) throw new Error(`the connection ended before ${type}; heard ${heard.join('')}`)
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  await until('Z')
  return {
    send: (...messages) => void socket.write(Buffer.concat(messages)),
    until,
    heard,
    async end() {
      if (socket.destroyed) return
      socket.end(Buffer.from('X\0\0\0\x04', 'latin1'))
      await once(socket, 'close')
    },
    async [Symbol.asyncDispose]() {
      socket.destroy()
    },
  }
}
