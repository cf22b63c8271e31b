/**
 * What the standard variables of OpenTelemetry say about traces, read and checked without loading any of its packages.
 *
 * A platform may set these variables for everything it runs, so what is wrong in them is warned about and never keeps the recorder
 * from starting, as the specification asks. Holds no header and no other secret: where spans go to, and with what headers, the
 * exporter reads itself. Source: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter Configuration".
 */

export type TraceSettings = {
  /** Host, port and path that spans are sent to, for people; without user, password and query. */
  readonly endpoint: string
  readonly sampler: TraceSampler
  readonly queryText: TraceQueryText
  readonly queue: TraceQueueLimits
}

export type TraceSampler = {
  /** Of a statement that begins a trace; and of all, when not `parentBased`. */
  readonly root: 'always_on' | 'always_off' | 'traceidratio'
  /** From 0 to 1, for `traceidratio`. */
  readonly ratio: number
  /** A statement that belongs to the agent's trace is kept when the agent's span is. */
  readonly parentBased: boolean
}

/** `sanitized`: without literals and comments, and only where that is certain. */
export type TraceQueryText = 'sanitized' | 'none'

export type TraceQueueLimits = {
  /** Spans that wait; further ones are dropped and counted. */
  readonly spansMax: number
  /** Spans in one request. */
  readonly batchSpansMax: number
  /** How long the first span of a request waits for others. */
  readonly delayMilliseconds: number
  /** How long one request, with its retries, may take. */
  readonly exportMillisecondsMax: number
}

export type TraceReading = {
  /** Null when no endpoint is set, or tracing is turned off. */
  readonly settings: TraceSettings | null
  /** What was set and has no effect, with what to set instead. Never with a value that may be a secret. */
  readonly warnings: readonly string[]
}

type Environment = Readonly<Record<string, string | undefined>>

const samplers: Readonly<Record<string, Omit<TraceSampler, 'ratio'>>> = {
  always_on: { root: 'always_on', parentBased: false },
  always_off: { root: 'always_off', parentBased: false },
  traceidratio: { root: 'traceidratio', parentBased: false },
  parentbased_always_on: { root: 'always_on', parentBased: true },
  parentbased_always_off: { root: 'always_off', parentBased: true },
  parentbased_traceidratio: { root: 'traceidratio', parentBased: true },
}
const standardSampler = 'parentbased_always_on'
const timerMillisecondsMax = 2 ** 31 - 1

export function traceSettingsFrom(environment: Environment, { queryText }: { readonly queryText: TraceQueryText }): TraceReading {
  const warnings: string[] = []
  const off: TraceReading = { settings: null, warnings }
  // An empty variable counts as one that is not set.
  const read = (name: string): string | undefined => environment[name]?.trim() || undefined
  const endpoint = endpointOf(read, warnings)
  if (endpoint === null || read('OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return off
  const exporters = (read('OTEL_TRACES_EXPORTER') ?? 'otlp').split(',').map((name) => name.trim())
  if (!exporters.includes('otlp')) {
    if (!exporters.includes('none'))
      warnings.push('OTEL_TRACES_EXPORTER names no exporter that steno has, so there are no traces: set it to otlp')
    return off
  }
  if (!speaksProtobuf(read, warnings)) return off
  return { settings: { endpoint, sampler: samplerOf(read, warnings), queryText, queue: queueOf(read, warnings) }, warnings }
}

type Read = (name: string) => string | undefined

/** The variable for traces wins over the one for all signals, which gets `/v1/traces` behind it. */
function endpointOf(read: Read, warnings: string[]): string | null {
  const own = read('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT')
  const name = own === undefined ? 'OTEL_EXPORTER_OTLP_ENDPOINT' : 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'
  const text = own ?? read('OTEL_EXPORTER_OTLP_ENDPOINT')
  if (text === undefined) return null
  const url = URL.parse(own === undefined ? `${text.replace(/\/$/, '')}/v1/traces` : text)
  if (url !== null && (url.protocol === 'http:' || url.protocol === 'https:')) return `${url.origin}${url.pathname}`
  warnings.push(`${name} is no http or https URL, so there are no traces: give one, as http://127.0.0.1:4318`)
  return null
}

function speaksProtobuf(read: Read, warnings: string[]): boolean {
  const own = read('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL')
  if ((own ?? read('OTEL_EXPORTER_OTLP_PROTOCOL') ?? 'http/protobuf') === 'http/protobuf') return true
  const name = own === undefined ? 'OTEL_EXPORTER_OTLP_PROTOCOL' : 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'
  warnings.push(
    `${name} names a protocol that steno does not speak, so there are no traces: set it to http/protobuf, whose usual port is 4318`,
  )
  return false
}

function samplerOf(read: Read, warnings: string[]): TraceSampler {
  const name = read('OTEL_TRACES_SAMPLER') ?? standardSampler
  const known = Object.hasOwn(samplers, name)
  if (!known) warnings.push(`OTEL_TRACES_SAMPLER names no sampler that steno has; ${standardSampler} is used`)
  const sampler = samplers[known ? name : standardSampler]!
  if (sampler.root !== 'traceidratio') return { ...sampler, ratio: 1 }
  const text = read('OTEL_TRACES_SAMPLER_ARG')
  const ratio = Number(text ?? 1)
  if (ratio >= 0 && ratio <= 1) return { ...sampler, ratio }
  warnings.push('OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1; 1 is used')
  return { ...sampler, ratio: 1 }
}

function queueOf(read: Read, warnings: string[]): TraceQueueLimits {
  const whole = (name: string, standard: number, least: number, most: number): number => {
    const text = read(name)
    if (text === undefined) return standard
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= least && value <= most) return value
    warnings.push(`${name} is no whole number from ${least} to ${most}; ${standard} is used`)
    return standard
  }
  const spansMax = whole('OTEL_BSP_MAX_QUEUE_SIZE', 2048, 1, 65_536)
  return {
    spansMax,
    batchSpansMax: Math.min(spansMax, whole('OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512, 1, 8192)),
    // The specification's 5 s is as long as the sealing thread lives without sessions; a trace is looked at sooner.
    delayMilliseconds: whole('OTEL_BSP_SCHEDULE_DELAY', 1_000, 0, timerMillisecondsMax),
    exportMillisecondsMax: whole('OTEL_BSP_EXPORT_TIMEOUT', 30_000, 1, timerMillisecondsMax),
  }
}
