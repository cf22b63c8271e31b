/** For tests: pods with random parts, some of which no sidecar can live with. */
import type { V1Pod } from '@kubernetes/client-node'
import fc from 'fast-check'

const seldom = <T>(usual: fc.Arbitrary<T>, ...others: T[]) =>
  fc.oneof({ weight: 40, arbitrary: usual }, { weight: 1, arbitrary: fc.constantFrom(...others) })
const text = seldom(fc.constantFrom('agent', 'other', 'third', 'DATABASE_URL', 'PGHOST'), 'steno', 'steno-spool', '')
const env = fc.array(
  fc.oneof(
    fc.record({ name: text, value: text }),
    fc.record({ name: text, valueFrom: fc.record({ secretKeyRef: fc.record({ name: text, key: text }) }) }),
  ),
  { maxLength: 3 },
)
const container = fc.record(
  {
    name: text,
    image: text,
    env,
    restartPolicy: fc.constant('Always'),
    ports: fc.array(fc.record({ containerPort: seldom(fc.constantFrom(80, 81), 15_432, 15_090) }), { maxLength: 2 }),
    securityContext: fc.record({ runAsUser: seldom(fc.constantFrom(0, 1_000), 64_242) }, { requiredKeys: [] }),
    volumeMounts: fc.array(fc.record({ name: text, mountPath: fc.constant('/x') }), { maxLength: 2 }),
  },
  { requiredKeys: ['name'] },
)
const volume = fc.oneof(
  fc.record({ name: text, emptyDir: fc.constant({}) }),
  fc.record({ name: text, secret: fc.record({ secretName: text }) }),
)
const spec = fc.record(
  {
    containers: fc.array(container, { minLength: 1, maxLength: 3 }),
    initContainers: fc.array(container, { maxLength: 3 }),
    volumes: fc.array(volume, { maxLength: 3 }),
    terminationGracePeriodSeconds: fc.integer({ min: 0, max: 60 }),
    hostNetwork: seldom(fc.constant(false), true),
  },
  { requiredKeys: ['containers'] },
)

export const anyPod: fc.Arbitrary<V1Pod> = spec.map(
  (one) => JSON.parse(JSON.stringify({ metadata: { name: 'agent' }, spec: one })) as V1Pod,
)
