/**
 * What is known of one statement after it ran: the shape that the index, the commands and the live view share.
 *
 * Plain data that survives JSON; holds no rows (those are read from the recording by `place`).
 */

/** Where in a session's recording something lies: the session's record count from 0, in the order they were spooled. */
export type Place = number

/** One Bind parameter. `value` is text as it came (text format) or base64 (binary), cut at a stated limit. */
export type Parameter = {
  readonly typeOid: number
  readonly format: 'text' | 'binary'
  /** The value's whole length; null for SQL NULL. */
  readonly bytes: number | null
  readonly value: string | null
  readonly truncated?: true
}

/** A result column as RowDescription gives it. */
export type Column = {
  readonly name: string
  readonly typeOid: number
  readonly typeModifier: number
  readonly format: 'text' | 'binary'
}

/** ErrorResponse or NoticeResponse fields, named as in the PostgreSQL documentation, "Error and Notice Message Fields". */
export type ErrorFields = {
  readonly severity: string
  /** SQLSTATE, five characters. */
  readonly code: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
  readonly position?: string
  readonly where?: string
  readonly schema?: string
  readonly table?: string
  readonly column?: string
  readonly dataType?: string
  readonly constraint?: string
  readonly file?: string
  readonly line?: string
  readonly routine?: string
}

/** W3C trace context as the statement's text carries it in a comment: what it is joined to in the agent's own trace. */
export type TraceContext = {
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string
  /** The agent's span, 16 lower-case hexadecimal digits, not all zero. */
  readonly parentSpanId: string
  /** Whether the agent's own span is kept. */
  readonly sampled: boolean
}

export type StatementKind =
  /** One statement of a simple query. */
  | 'query'
  /** A portal's execution by the extended protocol. */
  | 'execute'
  /** The legacy FunctionCall message. */
  | 'function'
  /** Parse, Describe, Close or Sync that failed without an execution to blame. */
  | 'protocol'

export type StatementOutcome =
  | 'completed'
  | 'failed'
  /** Sent, but not executed: an earlier statement failed and the server skipped it. */
  | 'skipped'
  /** A portal fetched in part and then dropped. */
  | 'suspended'
  /** The session ended, or the recording has a gap, before an answer came. */
  | 'unfinished'

export type StatementSummary = {
  /** 1 for the session's first. */
  readonly number: number
  readonly kind: StatementKind
  readonly sql: string
  /** Length of the whole text in UTF-8 bytes; larger than `sql` when that was cut. */
  readonly sqlBytes: number
  readonly sqlTruncated?: true
  /** True when literals were replaced before recording because the statement carries a credential. */
  readonly redacted?: true
  /** For SQL-level EXECUTE and FETCH: the text that PREPARE or DECLARE gave. */
  readonly preparedSql?: string
  /** The protocol-level prepared statement and portal, when named. */
  readonly statementName?: string
  readonly portal?: string
  readonly parameters: readonly Parameter[]
  readonly columns: readonly Column[] | null
  readonly outcome: StatementOutcome
  /** CommandComplete's tag, as `SELECT 3`. */
  readonly tag: string | null
  /** DataRows that were sent to the client. */
  readonly rows: number
  /** Bytes of DataRow, CopyData and FunctionCallResponse frames to the client. */
  readonly resultBytes: number
  /** Of `resultBytes`, and of the messages they came in, what the recording does not hold because it is made without the content of results. */
  readonly notKept?: { readonly messages: number; readonly bytes: number }
  readonly copy?: { readonly direction: 'in' | 'out' | 'both'; readonly messages: number; readonly bytes: number }
  readonly error: ErrorFields | null
  readonly notices: readonly ErrorFields[]
  /** As the server said in the ReadyForQuery before this statement: I idle, T in a transaction, E failed transaction. */
  readonly transactionBefore: 'I' | 'T' | 'E'
  /** Milliseconds since the epoch; `started` is its first message, `finished` its completion. */
  readonly started: number
  readonly finished: number
  /** Records from its first message to the one that settled how it ended, both included. */
  readonly place: { readonly first: Place; readonly last: Place }
  /** Same for statements that differ only in literals; see `fingerprint.ts`. */
  readonly fingerprint: string
  /** Present when a comment of the text, or of the simple query it is part of, carries a valid `traceparent`. */
  readonly trace?: TraceContext
  /** What policy said. Until a policy is configured every statement is recorded and allowed. */
  readonly decision: { readonly kind: 'allow'; readonly rule: string }
}
