/**
 * Traces: a span for each statement, sent to an OTLP endpoint. Made in the sealing thread, for as long as that lives.
 *
 * OpenTelemetry's packages are loaded here and only here, and only when an endpoint is set: they take some 25 MB.
 * What cannot be traced is recorded all the same. `traces-span.ts` says what a span holds, `traces-queue.ts` how it leaves.
 */
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace, type Context } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
  serviceNameEnvDetector,
} from '@opentelemetry/resources'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
  type Sampler,
} from '@opentelemetry/sdk-trace'
import type { TraceContext } from '../../postgres/statement.ts'
import type { StatementObserver } from './observer.ts'
import { createSpanQueue, type SpanQueue, type TraceOutcome } from './traces-queue.ts'
import type { TraceSampler, TraceSettings } from './traces-settings.ts'
import { spanOf } from './traces-span.ts'

/** The thread's end, and with it the proxy's, waits no longer for an endpoint. */
const endMillisecondsMax = 2_000

export type Traces = StatementObserver & Pick<SpanQueue, 'room'>

export type TracesOptions = {
  readonly settings: TraceSettings
  readonly stenoVersion: string
  readonly onOutcome: (outcome: TraceOutcome) => void
}

/** Where to, with which headers, certificates and compression, the exporter reads from the process's environment. */
export function createTraces({ settings, stenoVersion, onOutcome }: TracesOptions): Traces {
  // The request's own time ends before the queue's: the exporter then says why.
  const queue = createSpanQueue(new OTLPTraceExporter(), settings.queue, onOutcome)
  let ids = { traceId: '', spanId: '' }
  const provider = new TracerProvider({
    resource: resourceOf(stenoVersion),
    sampler: samplerFrom(settings.sampler),
    idGenerator: { generateTraceId: () => ids.traceId, generateSpanId: () => ids.spanId },
    spanProcessors: [queue.processor],
  })
  const tracer = provider.getTracer('steno', stenoVersion)

  return {
    statement(identity, statement) {
      const { name, attributes, failure, start, end, parent, traceId, spanId } = spanOf(identity, statement, settings)
      ids = { traceId, spanId }
      const span = tracer.startSpan(
        name,
        { kind: SpanKind.CLIENT, attributes, startTime: start },
        parent === null ? ROOT_CONTEXT : contextOf(parent),
      )
      if (failure !== null) span.setStatus({ code: SpanStatusCode.ERROR, message: failure })
      span.end(end)
    },
    room: () => queue.room(),
    end: () => queue.end(endMillisecondsMax),
  }
}

function contextOf({ traceId, parentSpanId, sampled }: TraceContext): Context {
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId: parentSpanId, traceFlags, isRemote: true })
}

function samplerFrom({ root, ratio, parentBased }: TraceSampler): Sampler {
  const sampler =
    root === 'always_on' ? new AlwaysOnSampler() : root === 'always_off' ? new AlwaysOffSampler() : new TraceIdRatioBasedSampler(ratio)
  return parentBased ? new ParentBasedSampler({ root: sampler }) : sampler
}

/** What the environment says wins over what steno says of itself. */
function resourceOf(stenoVersion: string) {
  return defaultResource()
    .merge(resourceFromAttributes({ 'service.name': 'steno', 'service.version': stenoVersion }))
    .merge(detectResources({ detectors: [resourceAttributesEnvDetector, serviceNameEnvDetector] }))
}
