/**
 * Goal: steno's own pods are as restricted, as available and as closed in as the chart says. Method: helm renders it without a cluster, and
 * the pods and what surrounds them are looked at.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chartFolder, helm, oldestKubernetes } from './helm.ts'
import { parseAllDocuments } from 'yaml'
import { s3, digest, rendered, named, podSpecs, type PodSpec, type PodTemplate, type Closed, type Object_ } from './test-chart.ts'

test('one image is everywhere: in the pods, in what the webhook injects, and in what the policies admit', async () => {
  const objects = await rendered(['--set', `image.repository=registry.example/steno,image.digest=${digest}`])
  const image = `registry.example/steno@${digest}`
  for (const { containers } of podSpecs(objects)) for (const container of containers) assert.equal(container.image, image)
  const webhook = named(objects, 'Deployment', 'steno-webhook').spec?.template?.spec.containers[0]
  assert.ok(webhook?.args?.includes(`--sidecar-image=${image}`))
  assert.deepEqual(named(objects, 'AdmissionParameters', 'steno').spec?.images, [image])
})

test('every pod keeps to Pod Security `restricted`, runs as 64242 on a read-only root, and says what it needs', async () => {
  const text = await helm(['template', 'steno', chartFolder, '--kube-version', oldestKubernetes])
  const hooks = parseAllDocuments(text).map((document) => document.toJS() as Object_ & { spec?: PodSpec })
  const specs = [...podSpecs(hooks), ...hooks.flatMap(({ kind, spec }) => (kind === 'Pod' && spec !== undefined ? [spec as PodSpec] : []))]
  assert.equal(specs.length, 4)
  for (const { securityContext, containers } of specs) {
    assert.equal(securityContext?.['runAsNonRoot'], true)
    assert.equal(securityContext['runAsUser'], 64_242)
    assert.deepEqual(securityContext['seccompProfile'], { type: 'RuntimeDefault' })
    for (const container of containers) {
      const expected = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } }
      assert.deepEqual(container.securityContext, expected)
      assert.deepEqual(
        [Object.keys(container.resources?.requests ?? {}), Object.keys(container.resources?.limits ?? {})],
        [['cpu', 'memory'], ['memory']],
      )
    }
  }
})

test('whatever a switch gives to one component is in its pods, and in no other', async () => {
  const args = ['webhook', 'control', 'relay'].flatMap((component) => [
    ...['--set', `${component}.nodeSelector.for=${component},${component}.podAnnotations.for=${component}`],
    ...['--set', `${component}.priorityClassName=${component},${component}.resources.limits.memory=1Gi`],
    ...['--set-json', `${component}.tolerations=[{"key":"${component}","operator":"Exists"}]`],
  ])
  const objects = await rendered(args)
  for (const component of ['webhook', 'control', 'relay']) {
    const template = named(objects, 'Deployment', `steno-${component}`).spec?.template as PodTemplate
    assert.deepEqual(
      [template.metadata.annotations['for'], template.spec.nodeSelector, template.spec.priorityClassName, template.spec.tolerations],
      [component, { for: component }, component, [{ key: component, operator: 'Exists' }]],
    )
    assert.equal(template.spec.serviceAccountName, `steno-${component}`)
    assert.deepEqual(template.spec.containers[0]?.resources?.limits, { memory: '1Gi' })
  }
})

test('the relay has two replicas of which one stays, and ends no sooner than its tunnels may go on', async () => {
  const objects = await rendered(['--set', 'relay.drainSeconds=120'])
  const { replicas, template } = named(objects, 'Deployment', 'steno-relay').spec ?? {}
  assert.equal(replicas, 2)
  assert.ok(((template as PodTemplate).spec.terminationGracePeriodSeconds ?? 0) > 120)
  named(objects, 'PodDisruptionBudget', 'steno-relay')
  const { spec } = named(objects, 'Service', 'steno-relay') as unknown as { spec: { ports: { port: number; targetPort: string }[] } }
  assert.deepEqual(
    spec.ports.map(({ port, targetPort }) => [port, targetPort]),
    [
      [8443, 'https'],
      [8080, 'metrics'],
    ],
  )
  const single = await rendered(['--set', 'relay.replicas=1'])
  assert.ok(single.every(({ kind, metadata }) => kind !== 'PodDisruptionBudget' || metadata.name !== 'steno-relay'))
})

test('closed networks: sidecars alone reach control and relay, and the relay reaches everything unless it is narrowed', async () => {
  const policyOf = async (component: string, ...args: string[]) =>
    (named(await rendered(['--set', 'networkPolicy.enabled=true', ...args]), 'NetworkPolicy', `steno-${component}`) as unknown as Closed)
      .spec
  // Control takes what pods recorded before their namespace lost its label.
  for (const [component, matchLabels] of [
    ['control', undefined],
    ['relay', { 'steno.dev/inject': 'enabled' }],
  ] as const) {
    const { ingress, policyTypes } = await policyOf(component)
    assert.deepEqual(policyTypes, ['Ingress', 'Egress'])
    assert.deepEqual(ingress[0], {
      ports: [{ port: 'https', protocol: 'TCP' }],
      from: [
        {
          namespaceSelector: matchLabels === undefined ? {} : { matchLabels },
          podSelector: { matchLabels: { 'steno.dev/injected': 'true' } },
        },
      ],
    })
  }
  const isOpen = ({ egress }: Closed['spec']) => egress.some((rule) => Object.keys(rule).length === 0)
  assert.deepEqual(
    [isOpen(await policyOf('relay')), isOpen(await policyOf('control')), isOpen(await policyOf('webhook'))],
    [true, false, false],
  )
  const databases = { to: [{ ipBlock: { cidr: '10.20.0.0/16' } }], ports: [{ port: 5432 }] }
  const narrowed = await policyOf('relay', '--set-json', `networkPolicy.relayEgress=${JSON.stringify([databases])}`)
  assert.equal(isOpen(narrowed), false)
  assert.deepEqual(narrowed.egress.at(-1), databases)
  assert.equal(narrowed.egress.length, 3)
})

test('a volume has one control that is replaced whole, and a claim that stays; a bucket has two', async () => {
  const onVolume = await rendered([])
  const one = named(onVolume, 'Deployment', 'steno-control').spec
  assert.deepEqual([one?.replicas, one?.strategy?.type], [1, 'Recreate'])
  assert.equal(named(onVolume, 'PersistentVolumeClaim', 'steno-store').metadata.annotations?.['helm.sh/resource-policy'], 'keep')
  const onBucket = await rendered(['--set', `${s3},store.s3.workloadIdentity=true`])
  assert.equal(named(onBucket, 'Deployment', 'steno-control').spec?.replicas, 2)
  named(onBucket, 'PodDisruptionBudget', 'steno-control')
  assert.ok(onBucket.every(({ kind }) => kind !== 'PersistentVolumeClaim'))
})
