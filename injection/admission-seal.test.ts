// Goal: what a running pod's sidecar was made by is the webhook's word, never the pod's author's. Method: pods as an API server keeps them, sealed at one
// time and created at another, and each way in which somebody without control's key would make one.
import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { parseSidecarConfig, writeSidecarConfig } from '../crds/sidecar-config.ts'
import { admissionAnnotation, bearsSeal, sealMillisecondsMax, type SealKey } from './admission-seal.ts'
import type { AdmissionWorld } from './inject-pod.ts'
import { judgeLivePod, type LivePodVerdict, type LiveWorld } from './judge-live-pod.ts'
import { reviewPod } from './review-pod.ts'
import { defaulted, liveWorldOf, running } from './test-live-pods.ts'
import { agentPod, ordersPolicy, requestFor, testWorld } from './test-world.ts'

const now = Date.parse('2026-03-01T12:00:00Z')
const minute = 60_000
const hostsOf = (host: string): string => ordersPolicy.replace('orders-db.data', host)

function createKey(): SealKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { publicKeyPem: String(publicKey.export({ type: 'spki', format: 'pem' })), sign: (bytes) => sign(null, bytes, privateKey) }
}

const key = createKey()

function worldOf(policies = ordersPolicy, sealKey: SealKey | null = key): AdmissionWorld {
  return { ...testWorld(policies), controlPublicKey: key.publicKeyPem, ...(sealKey === null ? {} : { sealKey }) }
}

/** As it runs, admitted and created at `time`. */
function admitted(world = worldOf(), time = now): V1Pod {
  const pod = defaulted(agentPod())
  const review = reviewPod({ uid: 'u', ...requestFor(pod), dryRun: false, operation: 'CREATE' }, world, time)
  assert.ok(review.allowed)
  return created(running(patched(pod, review.patch)), time)
}

/** What the API server does with a patch of this webhook's: whole members of the pod. */
function patched(pod: V1Pod, patch: readonly { readonly path: string; readonly op: string }[]): V1Pod {
  const copy = structuredClone(pod) as unknown as Record<string, unknown>
  for (const operation of patch) {
    const parts = operation.path
      .slice(1)
      .split('/')
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    const last = parts.pop() ?? ''
    let at = copy
    for (const part of parts) at = at[part] as Record<string, unknown>
    if (operation.op === 'remove') delete at[last]
    else at[last] = (operation as unknown as { value: unknown }).value
  }
  return copy
}

function created(pod: V1Pod, time: number): V1Pod {
  Object.assign(pod.metadata ?? {}, { creationTimestamp: new Date(time).toISOString() })
  return pod
}

const sinceThen = (policies = ordersPolicy, more: Partial<LiveWorld> = {}): LiveWorld =>
  liveWorldOf(worldOf(policies), { admissionsSignedSince: now - minute, ...more })

function assertUnfit(verdict: LivePodVerdict): void {
  assert.equal(verdict.kind, 'unfit')
  assert.match(verdict.kind === 'unfit' ? verdict.reason : '', /steno\.dev\/admission .*must be made again/)
}

/** As somebody writes a sidecar that names a policy and mode of its own choice. */
function withConfig(
  pod: V1Pod,
  change: (config: ReturnType<typeof parseSidecarConfig>) => Partial<ReturnType<typeof parseSidecarConfig>>,
): V1Pod {
  const copy = structuredClone(pod)
  const variable = copy.spec?.initContainers?.[0]?.env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')
  assert.ok(variable?.value)
  const config = parseSidecarConfig(variable.value)
  const changed = Object.assign({}, config, change(config))
  variable.value = writeSidecarConfig(changed)
  Object.assign(copy.metadata?.annotations ?? {}, { 'steno.dev/policy-hash': changed.policy.hash })
  Object.assign(copy.metadata?.labels ?? {}, { 'steno.dev/enforcement': changed.enforcement.mode })
  return copy
}

const invented = { names: ['shop/orders'], hash: 'ab'.repeat(16) }

test('a pod that the webhook admitted is fit, and stays so when its policy changes, its mode too', () => {
  const pod = admitted()
  assert.deepEqual(judgeLivePod(pod, sinceThen()).kind, 'fit')
  for (const policies of [hostsOf('other-db.data'), `${ordersPolicy}  enforcement: { mode: CredentialsOnly }\n`]) {
    const verdict = judgeLivePod(pod, sinceThen(policies))
    assert.deepEqual(verdict.kind === 'fit' && verdict.isCurrent, false)
  }
})

test('a sidecar that its author wrote is unfit, whatever policy and mode it says it is of', () => {
  const real = admitted()
  const withoutWay = withConfig(real, () => ({
    policy: invented,
    relay: null,
    enforcement: { mode: 'CredentialsOnly', onOpenPath: 'Report' },
  }))
  assertUnfit(judgeLivePod(withoutWay, sinceThen()))
  assertUnfit(
    judgeLivePod(
      withConfig(real, () => ({ policy: invented })),
      sinceThen(),
    ),
  )
  const unsealed = structuredClone(real)
  delete unsealed.metadata?.annotations?.[admissionAnnotation]
  assertUnfit(judgeLivePod(unsealed, sinceThen()))
  // Without the seal it would pass: as one of a policy that was.
  assert.equal(judgeLivePod(withoutWay, sinceThen(ordersPolicy, { admissionsSignedSince: null })).kind, 'fit')
})

test('a seal is of no use in another namespace, of another key, at another time, or changed', () => {
  const pod = admitted()
  const keys = [createKey().publicKeyPem, 'no key', key.publicKeyPem]
  assert.equal(bearsSeal(pod, keys), true)
  assert.equal(bearsSeal(pod, keys.slice(0, 2)), false)
  const elsewhere = structuredClone(pod)
  Object.assign(elsewhere.metadata ?? {}, { namespace: 'stock' })
  assert.equal(bearsSeal(elsewhere, keys), false)
  for (const [later, bears] of [
    [0, true],
    [sealMillisecondsMax, true],
    [-sealMillisecondsMax, true],
    [sealMillisecondsMax + 1, false],
    [-sealMillisecondsMax - 1, false],
  ] as const)
    assert.equal(bearsSeal(created(structuredClone(pod), now + later), keys), bears, `${later} ms`)
  const neverStored = structuredClone(pod)
  delete neverStored.metadata?.creationTimestamp
  assert.equal(bearsSeal(neverStored, keys), false)
  const seal = pod.metadata?.annotations?.[admissionAnnotation] ?? ''
  for (const other of ['', '1', `${now}.`, seal.slice(0, -1), `${seal}A`, ` ${seal}`, seal.replace(String(now), String(now + 1))]) {
    const changed = structuredClone(pod)
    Object.assign(changed.metadata?.annotations ?? {}, { [admissionAnnotation]: other })
    assert.equal(bearsSeal(changed, keys), false, other)
  }
})

test('a pod of the time before there were seals stays fit, and one of after does not pass for it', () => {
  const unsealed = admitted(worldOf(ordersPolicy, null))
  assert.equal(judgeLivePod(unsealed, sinceThen(ordersPolicy, { admissionsSignedSince: now + 1 })).kind, 'fit')
  assertUnfit(judgeLivePod(unsealed, sinceThen(ordersPolicy, { admissionsSignedSince: now })))
})

test('the second answer of one admission changes nothing, and a later one seals anew', () => {
  const pod = admitted()
  const again = reviewPod({ uid: 'u', ...requestFor(pod), dryRun: false, operation: 'CREATE' }, worldOf(), now + minute)
  assert.deepEqual(again.allowed && [again.outcome, again.patch], ['unchanged', []])
  const later = reviewPod({ uid: 'u', ...requestFor(pod), dryRun: false, operation: 'CREATE' }, worldOf(), now + minute + 1)
  assert.deepEqual(later.allowed && later.patch.length, 1)
  const foreign = structuredClone(pod)
  Object.assign(foreign.metadata?.annotations ?? {}, { [admissionAnnotation]: `${now}.${'A'.repeat(86)}` })
  const put = reviewPod({ uid: 'u', ...requestFor(foreign), dryRun: false, operation: 'CREATE' }, worldOf(), now)
  assert.equal(put.allowed && put.patch.length, 1)
})

const certificate = (name: string): string => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`

test('a sidecar trusts authorities that the installation knows, those before too, and no other beside them', () => {
  const controlCas = ['next', 'active', 'former'].map(certificate)
  const judged = (controlCa: string, known: readonly string[] = controlCas): string => {
    const pod = admitted({ ...worldOf(), controlCa })
    return judgeLivePod(pod, sinceThen(ordersPolicy, { controlCas: known })).kind
  }
  const known = [['active'], ['next', 'active'], ['active', 'former'], ['former']].map((names) => names.map(certificate).join(''))
  for (const bundle of known) assert.equal(judged(bundle), 'fit', bundle)
  const others = [
    certificate('mine'),
    `${certificate('active')}${certificate('mine')}`,
    `${certificate('mine')}${certificate('active')}`,
    `-----BEGIN CERTIFICATE-----\nmine\n-----END CERTIFICATE----- ${certificate('active')}`,
    `${certificate('active')}-----BEGIN TRUSTED CERTIFICATE-----`,
    `${certificate('active')}\n`,
    certificate('active').trim(),
  ]
  for (const bundle of others) assert.equal(judged(bundle), 'unfit', bundle)
  // While the authorities are not known yet, none is compared.
  assert.equal(judged(certificate('mine'), []), 'fit')
})
