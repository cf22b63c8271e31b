/** Goal: the standard variables mean what OpenTelemetry says, and nothing in them keeps the proxy from starting or shows a secret. Method: tables. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { traceSettingsFrom } from './traces-settings.ts'

const read = (environment: Record<string, string>) => traceSettingsFrom(environment, { queryText: 'sanitized' })
const endpoint = 'http://collector:4318'

const endpoints: [environment: Record<string, string>, endpoint: string | null][] = [
  [{}, null],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, null],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, `${endpoint}/v1/traces`],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: `${endpoint}/` }, `${endpoint}/v1/traces`],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: `${endpoint}/otlp` }, `${endpoint}/otlp/v1/traces`],
  [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${endpoint}/own`, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://other' }, `${endpoint}/own`],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://me:pass@collector/?key=secret' }, 'https://collector/'],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SDK_DISABLED: 'TRUE' }, null],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SDK_DISABLED: 'no' }, `${endpoint}/v1/traces`],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_EXPORTER: 'none' }, null],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_EXPORTER: 'console,otlp' }, `${endpoint}/v1/traces`],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' }, `${endpoint}/v1/traces`],
]
for (const [environment, expected] of endpoints) {
  test(`spans go where the variables say: ${JSON.stringify(environment)}`, () => {
    const { settings, warnings } = read(environment)
    assert.equal(settings?.endpoint ?? null, expected)
    assert.deepEqual(warnings, [])
  })
}

const refused: [environment: Record<string, string>, warning: RegExp, traced: boolean][] = [
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318/secret' }, /OTEL_EXPORTER_OTLP_ENDPOINT is no http/, false],
  [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'secret' }, /OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no http/, false],
  [{ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, /OTEL_EXPORTER_OTLP_PROTOCOL .* http\/protobuf/, false],
  [{ OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'secret' }, /OTEL_EXPORTER_OTLP_TRACES_PROTOCOL/, false],
  [{ OTEL_TRACES_EXPORTER: 'zipkin' }, /OTEL_TRACES_EXPORTER/, false],
  [{ OTEL_TRACES_SAMPLER: 'secret' }, /OTEL_TRACES_SAMPLER .* parentbased_always_on is used/, true],
  [{ OTEL_TRACES_SAMPLER: 'toString' }, /OTEL_TRACES_SAMPLER/, true],
  [{ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '1.5' }, /OTEL_TRACES_SAMPLER_ARG/, true],
  [{ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: 'secret' }, /OTEL_TRACES_SAMPLER_ARG/, true],
  [{ OTEL_BSP_MAX_QUEUE_SIZE: '-1' }, /OTEL_BSP_MAX_QUEUE_SIZE .* 2048 is used/, true],
  [{ OTEL_BSP_SCHEDULE_DELAY: 'secret' }, /OTEL_BSP_SCHEDULE_DELAY/, true],
]
for (const [environment, warning, traced] of refused) {
  test(`what has no effect is warned about, without its value: ${JSON.stringify(environment)}`, () => {
    const { settings, warnings } = read({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...environment })
    assert.equal(settings !== null, traced)
    assert.equal(warnings.length, 1)
    assert.match(warnings[0]!, warning)
    assert.doesNotMatch(warnings[0]!, /secret/)
  })
}

const samplers: [sampler: string, argument: string | undefined, expected: object][] = [
  ['', undefined, { root: 'always_on', ratio: 1, parentBased: true }],
  ['always_on', '0.5', { root: 'always_on', ratio: 1, parentBased: false }],
  ['parentbased_always_off', undefined, { root: 'always_off', ratio: 1, parentBased: true }],
  ['parentbased_traceidratio', '0.25', { root: 'traceidratio', ratio: 0.25, parentBased: true }],
  ['traceidratio', undefined, { root: 'traceidratio', ratio: 1, parentBased: false }],
]
for (const [sampler, argument, expected] of samplers) {
  test(`the sampler is the one that is named: ${sampler === '' ? 'none' : sampler}`, () => {
    const { settings } = read({
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_TRACES_SAMPLER: sampler,
      ...(argument === undefined ? {} : { OTEL_TRACES_SAMPLER_ARG: argument }),
    })
    assert.deepEqual(settings?.sampler, expected)
  })
}

test('a batch is never larger than the queue', () => {
  const { settings } = read({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_BSP_MAX_QUEUE_SIZE: '10', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '100' })
  assert.deepEqual([settings?.queue.spansMax, settings?.queue.batchSpansMax], [10, 10])
})
