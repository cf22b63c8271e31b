/**
 * Adds up the statements that ended, for `/metrics`: how many of which kind and outcome, how long, how many rows and bytes, why
 * they failed.
 *
 * The sums are numbers in shared memory, each written by the sealing thread alone and read by the connection thread (see
 * `spool-position.ts` for why that is whole). So nothing is lost when the thread ends, is woken or fails, and a statement costs no
 * message. Behind a failure of the thread, what it had told and not stored is read again and counts twice.
 *
 * Every place in the sums is one of a fixed list: nothing that an agent or a database says makes a label.
 */
import type { StatementKind, StatementOutcome, StatementSummary } from '../../postgres/statement.ts'
import type { StatementObserver } from './observer.ts'

export const statementKinds = ['query', 'execute', 'function', 'protocol'] as const satisfies readonly StatementKind[]
export const statementOutcomes = [
  'completed',
  'failed',
  'skipped',
  'suspended',
  'unfinished',
] as const satisfies readonly StatementOutcome[]

/** Upper bounds, included; what took longer is beyond the last. */
export const durationBucketsSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const

/** The classes of PostgreSQL's own errors ("PostgreSQL Error Codes"), without those of success and warnings; and all else. */
export const sqlStateClasses = [
  ...['03', '08', '09', '0A', '0B', '0F', '0L', '0P', '0Z', '10', '20', '21', '22', '23', '24', '25', '26', '27', '28', '2B', '2D', '2F'],
  ...['34', '38', '39', '3B', '3D', '3F', '40', '42', '44', '53', '54', '55', '57', '58', '72', 'F0', 'HV', 'P0', 'XX', 'other'],
] as const

const kindPlace = new Map<string, number>(statementKinds.map((kind, at) => [kind, at]))
const outcomePlace = new Map<string, number>(statementOutcomes.map((outcome, at) => [outcome, at]))
const classPlace = new Map<string, number>(sqlStateClasses.map((name, at) => [name, at]))

const outcomesAt = 0
const durationsAt = outcomesAt + statementKinds.length * statementOutcomes.length
const classesAt = durationsAt + durationBucketsSeconds.length + 1
const durationSumAt = classesAt + sqlStateClasses.length
const rowsAt = durationSumAt + 1
const toDatabaseAt = rowsAt + 1
const fromDatabaseAt = toDatabaseAt + 1
const numbers = fromDatabaseAt + 1

export type SharedStatementCounts = SharedArrayBuffer

export function createSharedStatementCounts(): SharedStatementCounts {
  return new SharedArrayBuffer(Float64Array.BYTES_PER_ELEMENT * numbers)
}

/** For the sealing thread. One at a time may write to the same numbers. */
export function createStatementCounter(shared: SharedStatementCounts): StatementObserver {
  const sums = new Float64Array(shared)
  return {
    statement(_identity, statement) {
      const { kind, outcome } = statement
      sums[outcomesAt + kindPlace.get(kind)! * statementOutcomes.length + outcomePlace.get(outcome)!]! += 1
      sums[rowsAt]! += statement.rows
      sums[toDatabaseAt]! += bytesToDatabase(statement)
      sums[fromDatabaseAt]! += statement.resultBytes
      // The others have no answer to wait for, or not their own.
      if (outcome === 'completed' || outcome === 'failed') {
        const seconds = Math.max(0, statement.finished - statement.started) / 1000
        sums[durationsAt + bucketOf(seconds)]! += 1
        sums[durationSumAt]! += seconds
      }
      if (outcome === 'failed') sums[classesAt + classOf(statement.error?.code ?? '')]! += 1
    },
    // Whoever reads the sums has them already.
    end: () => Promise.resolve(),
  }
}

export type StatementCounts = ReturnType<typeof statementCounts>

/** For the connection thread. */
export function statementCounts(shared: SharedStatementCounts) {
  const sums = new Float64Array(shared)
  return {
    ended: (kind: (typeof statementKinds)[number], outcome: (typeof statementOutcomes)[number]): number =>
      sums[outcomesAt + kindPlace.get(kind)! * statementOutcomes.length + outcomePlace.get(outcome)!]!,
    failed: (sqlStateClass: (typeof sqlStateClasses)[number]): number => sums[classesAt + classPlace.get(sqlStateClass)!]!,
    /** How many took at most each bound, and beneath them all, as Prometheus wants them: cumulative. */
    durations(): { readonly atMost: readonly number[]; readonly count: number; readonly sumSeconds: number } {
      let count = 0
      const cumulative = [...durationBucketsSeconds, Infinity].map((_, at) => (count += sums[durationsAt + at]!))
      return { atMost: cumulative.slice(0, -1), count, sumSeconds: sums[durationSumAt]! }
    },
    get rows(): number {
      return sums[rowsAt]!
    },
    /** Text and parameters of each execution, and what COPY brought. */
    get bytesToDatabase(): number {
      return sums[toDatabaseAt]!
    },
    /** Rows, COPY data and function results, as frames. */
    get bytesFromDatabase(): number {
      return sums[fromDatabaseAt]!
    },
  }
}

function bytesToDatabase({ sqlBytes, parameters, copy }: StatementSummary): number {
  let bytes = sqlBytes
  for (const parameter of parameters) bytes += parameter.bytes ?? 0
  // `both` is replication's own; the bytes of its two ways are not told apart.
  return copy?.direction === 'in' ? bytes + copy.bytes : bytes
}

function bucketOf(seconds: number): number {
  let at = 0
  while (at < durationBucketsSeconds.length && seconds > durationBucketsSeconds[at]!) at++
  return at
}

function classOf(sqlState: string): number {
  return classPlace.get(sqlState.slice(0, 2)) ?? sqlStateClasses.length - 1
}
