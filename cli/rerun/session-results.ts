/**
 * The statements of one recording with what each was answered, in the order in which they ended, numbered by the requests they came
 * in, so that two recordings of one conversation can be paired.
 *
 * Of each statement so many rows are held; of the others only a digest and their number. Memory is bounded by `heldBytesMax` over all
 * statements that are open.
 */
import { createHash, type Hash } from 'node:crypto'
import { KnownError } from '../../base/errors.ts'
import type { StatementSummary } from '../../postgres/statement.ts'
import { createStatementTracker } from '../../postgres/statement-tracker.ts'
import { settingsFrom, type ValueSettings } from '../../postgres/values/settings.ts'
import { readLeftOut } from '../../session/left-out.ts'
import { readRecords } from '../../session/read-session.ts'
import { recordFlag, recordType } from '../../session/records.ts'
import type { Store } from '../../session/stores/store.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { copyTypes, createRequestCutter } from './request-frames.ts'

export type Results = {
  /** The request that the statement began with; statements of one simple query share it. */
  readonly request: number
  readonly statement: StatementSummary
  /** DataRow bodies, the first ones. */
  readonly rows: readonly Buffer[]
  /** Of the rows behind those, in their order. */
  readonly rest: { readonly rows: number; readonly digest: string }
  /** COPY data that the server sent: its head, its length, and a digest of all. */
  readonly copyOut: { readonly head: Buffer; readonly bytes: number; readonly digest: string } | null
  readonly settings: ValueSettings
}

export type ResultsOptions = {
  readonly store: Store
  readonly identity: SessionIdentity
  /** The requests of the other recording that were left out in this one. */
  readonly leftOut: ReadonlySet<number>
  readonly heldBytesMax?: number
}

const heldBytesMaxDefault = 32 * 1024 * 1024
const copyHeadBytesMax = 64 * 1024
const sqlCharactersMax = 4 * 1024

type Open = {
  rows: Buffer[]
  bytes: number
  restRows: number
  rest: Hash | null
  copy: { head: Buffer[]; bytes: number; hash: Hash } | null
}

/** @throws RecordingDamaged; what cannot be framed ends the statements there */
export async function* resultsOf({
  store,
  identity,
  leftOut,
  heldBytesMax = heldBytesMaxDefault,
}: ResultsOptions): AsyncGenerator<Results> {
  const { serverParameters } = identity
  const parameters = { ...serverParameters }
  let settings = settingsFrom(parameters)
  const open = new Map<number, Open>()
  let heldBytes = 0
  let ended: Results[] = []

  function openOf(statement: number): Open {
    let found = open.get(statement)
    if (found === undefined) open.set(statement, (found = { rows: [], bytes: 0, restRows: 0, rest: null, copy: null }))
    return found
  }

  const tracker = createStatementTracker({
    serverParameters,
    sqlCharactersMax,
    onStatement(statement) {
      const { rows, bytes, restRows, rest, copy } = openOf(statement.number)
      open.delete(statement.number)
      heldBytes -= bytes
      ended.push({
        request: statement.place.first,
        statement,
        rows,
        rest: { rows: restRows, digest: rest?.digest('hex') ?? '' },
        copyOut: copy === null ? null : { head: Buffer.concat(copy.head), bytes: copy.bytes, digest: copy.hash.digest('hex') },
        settings,
      })
    },
    onRow(number, row, wholeBytes) {
      const held = openOf(number)
      if (held.rest === null && heldBytes + row.length <= heldBytesMax) {
        held.rows.push(Buffer.from(row))
        held.bytes += row.length
        heldBytes += row.length
        return
      }
      held.rest ??= createHash('sha256')
      held.restRows++
      held.rest.update(`${wholeBytes}:`).update(row)
    },
    onCopyData(number, direction, data, wholeBytes) {
      if (direction === 'in') return
      const held = openOf(number)
      held.copy ??= { head: [], bytes: 0, hash: createHash('sha256') }
      if (held.copy.bytes < copyHeadBytesMax) held.copy.head.push(Buffer.from(data.subarray(0, copyHeadBytesMax - held.copy.bytes)))
      held.copy.bytes += wholeBytes
      held.copy.hash.update(data)
    },
    onParameterStatus(name, value) {
      parameters[name] = value
      settings = settingsFrom(parameters)
    },
  })

  const cutter = createRequestCutter()
  let request = -1
  let lastTime = identity.opened
  try {
    for await (const { type, flags, time, payload } of readRecords(store, identity.session)) {
      lastTime = time
      const redacted = (flags & recordFlag.redacted) !== 0
      if (type === recordType.backend) tracker.backend(payload, time, Math.max(0, request))
      else if (type === recordType.leftOut) tracker.leftOut(readLeftOut(payload), time, Math.max(0, request))
      else if (type === recordType.frontend) {
        for (const piece of cutter.push(payload, redacted)) {
          if (piece.first && !copyTypes.has(piece.type)) {
            request++
            while (leftOut.has(request)) request++
          }
          tracker.frontend(piece.bytes, time, Math.max(0, request), redacted)
        }
      }
      yield* ended
      ended = []
    }
    tracker.close(lastTime, Math.max(0, request))
  } catch (error) {
    if (!(error instanceof KnownError) || error.code !== 'BAD_FRAME') throw error
    tracker.close(lastTime, Math.max(0, request))
  }
  yield* ended
}
