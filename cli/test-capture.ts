/**
 * A recording of a real conversation for this folder's tests: a pipe between a client and a server that notes every piece,
 * and its sealing into a store as a session.
 */
import { once } from 'node:events'
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net'
import { createStatementTracker } from '../postgres/statement-tracker.ts'
import { sha256Of } from '../session/digest.ts'
import type { Gap, SessionClose, SessionIdentity } from '../session/identity.ts'
import { readLeftOut } from '../session/left-out.ts'
import { sealManifest } from '../session/manifest.ts'
import { manifestKey, segmentKey, statementIndexKey } from '../session/object-keys.ts'
import { encodeRecord, recordType, type SessionRecord } from '../session/records.ts'
import { sealSegment } from '../session/segment.ts'
import { encodeStatementIndex, type IndexedStatement } from '../session/statement-index.ts'
import type { Store } from '../session/stores/store.ts'
import { payloadOf, testEpoch, testIdentity, testKey, testSessionId } from '../session/test-recording.ts'

export type Captured = {
  readonly serverParameters: Record<string, string>
  readonly pieces: { readonly type: number; readonly payload: Buffer }[]
}

/** Listens on a free port and pipes each connection to `target`, one session each. The client must not ask for TLS. */
export async function startCapture(target: { readonly host: string; readonly port: number }) {
  const sessions: Captured[] = []
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = createConnection(target)
    const captured: Captured = { serverParameters: {}, pieces: [] }
    sessions.push(captured)
    let startup: Buffer | null = Buffer.alloc(0)
    client.on('data', (payload) => {
      if (startup === null) captured.pieces.push({ type: recordType.frontend, payload })
      upstream.write(payload)
    })
    upstream.on('data', (payload) => {
      if (startup !== null) {
        startup = Buffer.concat([startup, payload])
        if (endsStartup(startup, captured.serverParameters)) startup = null
      } else captured.pieces.push({ type: recordType.backend, payload })
      client.write(payload)
    })
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one)
      one
        .on('error', () => other.destroy())
        .on('end', () => other.end())
        .on('close', () => sockets.delete(one))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    sessions,
    async stop(): Promise<void> {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Notes ParameterStatus messages; true once the whole of ReadyForQuery came. */
function endsStartup(bytes: Buffer, parameters: Record<string, string>): boolean {
  for (let at = 0; at + 5 <= bytes.length; at += 1 + bytes.readUInt32BE(at + 1)) {
    const type = String.fromCharCode(bytes[at]!)
    const [name = '', value = ''] = bytes.toString('utf8', at + 5, at + 1 + bytes.readUInt32BE(at + 1)).split('\0')
    if (type === 'S') parameters[name] = value
    if (type === 'Z') return true
  }
  return false
}

export type SealOptions = {
  readonly manifest: boolean
  readonly gap?: Gap
  readonly twistIndex?: (line: IndexedStatement) => IndexedStatement
}

/** Stores the conversation as one session of two segments, a millisecond between pieces; gives its id. */
export async function sealCaptured(
  store: Store,
  { serverParameters, pieces }: Captured,
  seed: number,
  options: SealOptions,
): Promise<string> {
  const key = testKey(seed)
  const session = testSessionId(testEpoch, seed)
  const identity: SessionIdentity = { ...testIdentity(session, testEpoch, key.id), serverParameters }
  const close: SessionClose = { closed: testEpoch + 1_000, reason: 'terminated', recovered: false }
  const records: SessionRecord[] = [
    { type: recordType.sessionOpen, payload: payloadOf(identity) },
    ...pieces,
    ...(options.gap === undefined ? [] : [{ type: recordType.gap, payload: payloadOf(options.gap) }]),
    { type: recordType.sessionClose, payload: payloadOf(close) },
  ].map((piece, ordinal) => ({ ...piece, flags: 0, session: 1, time: testEpoch + ordinal }))
  const middle = Math.ceil(records.length / 2)
  let statements: IndexedStatement[] = []
  const tracker = createStatementTracker({
    serverParameters,
    onStatement: (statement) => statements.push(options.twistIndex?.(statement) ?? statement),
  })
  const segments = []
  let previous: string | null = null
  for (const [number, from, to] of [
    [1, 0, middle],
    [2, middle, records.length],
  ] as const) {
    records.slice(from, to).forEach(({ type, payload, time }, index) => {
      if (type === recordType.frontend) tracker.frontend(payload, time, from + index, false)
      if (type === recordType.backend) tracker.backend(payload, time, from + index)
      if (type === recordType.leftOut) tracker.leftOut(readLeftOut(payload), time, from + index)
      if (type === recordType.gap) tracker.gap(time, from + index)
      if (type === recordType.sessionClose) tracker.close(time, from + index)
    })
    const part = records.slice(from, to)
    const sealed = sealSegment(
      {
        session,
        number,
        recorder: key.id,
        previous,
        records: { from, to },
        firstTime: part[0]!.time,
        lastTime: part.at(-1)!.time,
        spoolEnd: { file: 1, offset: to },
        last: number === 2,
        recovered: false,
        identity,
      },
      part.map(encodeRecord),
    )
    const index = encodeStatementIndex(session, number, statements)
    const reference = {
      key: statementIndexKey(session, number),
      sha256: sha256Of(index),
      bytes: index.length,
      statements: statements.length,
    }
    statements = []
    await store.putIfAbsent(segmentKey(session, number), sealed.bytes)
    await store.putIfAbsent(reference.key, index)
    const { sha256, rawBytes } = sealed
    segments.push({
      number,
      key: segmentKey(session, number),
      sha256,
      bytes: sealed.bytes.length,
      rawBytes,
      records: { from, to },
      index: reference,
    })
    previous = sha256
  }
  if (!options.manifest) return session
  const count = segments.reduce((sum, { index }) => sum + index.statements, 0)
  const gaps = options.gap === undefined ? [] : [options.gap]
  const fields = { session, identity, opened: testEpoch, closed: close.closed, close, segments, statements: count, gaps, recovered: false }
  await store.putIfAbsent(manifestKey(session), sealManifest(fields, key).bytes)
  return session
}
