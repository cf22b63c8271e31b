// Goal: webhook and control begin, are ready, fall out and end as their parts promise, together. Method: both started as their commands
// start them, with a kubeconfig that leads to a double of the API server; the same on a real cluster is e2e/kubernetes.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { standardAuthorityIntervals, standardLeafIntervals, startControl, startWebhook } from './main.ts'
import { startTestApi, type TestApi } from '../cluster/test-api.ts'
import { testLog, until } from '../cluster/test-support.ts'
import type { Condition } from '../cluster/conditions.ts'
import type { ControlSettings, WebhookSettings } from './settings.ts'

const timeout = 120_000
const storePath = '/apis/steno.dev/v1alpha1/recordingstores/default'
const leasePath = '/apis/coordination.k8s.io/v1/namespaces/steno-system/leases/steno-control'
const webhookLeasePath = '/apis/coordination.k8s.io/v1/namespaces/steno-system/leases/steno-webhook'
const keyPath = '/api/v1/namespaces/steno-system/secrets/steno-control-key'
const caPath = '/api/v1/namespaces/steno-system/secrets/steno-ca'
const configurationPath = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/steno'
const anyPort = { host: '127.0.0.1', port: 0 }

async function createWorld(context: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'steno-start-'))
  const api = await startTestApi()
  const running: { stop(): Promise<void> }[] = []
  context.after(async () => {
    await Promise.all(running.map((each) => each.stop()))
    await api[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })
  const kubeconfig = join(folder, 'kubeconfig')
  const named = {
    name: 'double',
    cluster: { server: api.address, 'insecure-skip-tls-verify': true },
    user: {},
    context: { cluster: 'double', user: 'double' },
  }
  await writeFile(
    kubeconfig,
    JSON.stringify({ apiVersion: 'v1', kind: 'Config', 'current-context': 'double', clusters: [named], users: [named], contexts: [named] }),
  )
  const common = {
    ...{ kubeconfig, namespace: 'steno-system', listen: anyPort, metricsListen: anyPort, drainDelayMilliseconds: 0 },
    certificate: {
      ...({ kind: 'own', secret: 'steno-ca', names: ['127.0.0.1'] } as const),
      ...{ authority: standardAuthorityIntervals, leaf: standardLeafIntervals },
    },
    watchTiming: { retryMillisecondsFirst: 5 },
    reportTiming: { beatMilliseconds: 20, silenceMillisecondsMax: 2_000 },
  }
  const told = { controlUrl: 'https://control', relayEndpoint: 'relay:8443' }
  const control: ControlSettings = { ...common, ...told, instance: 'control-1', readerListen: anyPort }
  const webhook: WebhookSettings = {
    ...{
      ...common,
      ...told,
      instance: 'webhook-1',
      sidecarImage: 'steno:1',
      webhookConfiguration: 'steno',
    },
    ...{ parametersName: 'steno', leaseName: 'steno-webhook', statusMilliseconds: 5, rightsMilliseconds: 1_000 },
    leaseTiming: { durationMilliseconds: 2_000, renewMillisecondsMax: 1_000, retryMilliseconds: 50 },
  }
  api.put(configurationPath, { metadata: { name: 'steno' }, webhooks: [{ name: 'pods.steno.dev', clientConfig: { url: 'https://here' } }] })
  api.put(storePath, { metadata: { name: 'default' }, spec: { type: 'volume', volume: { path: join(folder, 'store') } } })
  return { api, control, webhook, running }
}

const conditionOf = (api: TestApi, type: string): Condition | undefined =>
  ((api.get(storePath)?.['status'] ?? {}) as { conditions?: Condition[] }).conditions?.find((condition) => condition.type === type)
const says = (api: TestApi, type: string, reason: string): boolean => conditionOf(api, type)?.reason === reason

async function readiness(port: number): Promise<{ readonly status: number; readonly text: string }> {
  const answer = await fetch(`http://127.0.0.1:${port}/readyz`)
  return { status: answer.status, text: await answer.text() }
}

test('the webhook says what it waits for until control has made its key, and is ready then', { timeout }, async (context) => {
  const world = await createWorld(context)
  const webhook = await startWebhook(world.webhook, testLog().log)
  world.running.push(webhook)
  const before = await readiness(webhook.metricsPort)
  assert.equal(before.status, 503)
  assert.match(before.text, /steno-control-key is not there yet/)
  const control = await startControl(world.control, testLog().log)
  world.running.push(control)
  let status = 0
  while (status !== 200) ({ status } = await readiness(webhook.metricsPort))
  await until(() => webhook.isLeader())
  assert.equal((await fetch(`http://127.0.0.1:${control.readerPort}/v1/stores`)).status, 200)
  assert.equal((await readiness(control.metricsPort)).status, 200)
  await until(() => says(world.api, 'StoreReachable', 'Proven'))
})

test('a webhook that no API server trusts is not ready, and is while another holds the Lease', { timeout }, async (context) => {
  const world = await createWorld(context)
  const { api } = world
  const lease = { holderIdentity: 'of the release before', leaseDurationSeconds: 15, renewTime: '2026-01-01T00:00:00.000000Z' }
  api.put(webhookLeasePath, { metadata: { name: 'steno-webhook', namespace: 'steno-system' }, spec: lease })
  const configuration = api.get(configurationPath)!
  api.remove(configurationPath)
  world.running.push(await startControl(world.control, testLog().log))
  const webhook = await startWebhook(
    { ...world.webhook, leaseTiming: { durationMilliseconds: 20_000, renewMillisecondsMax: 1_000, retryMilliseconds: 50 } },
    testLog().log,
  )
  world.running.push(webhook)
  let text = ''
  while (text !== 'the webhook configuration steno is not there yet\n') ({ text } = await readiness(webhook.metricsPort))
  api.put(configurationPath, configuration)
  let status = 0
  while (status !== 200) ({ status } = await readiness(webhook.metricsPort))
  assert.equal(webhook.isLeader(), false)
})

test('what control said of a store turns unknown when control is gone, and is said again when it is back', { timeout }, async (context) => {
  const world = await createWorld(context)
  const { api } = world
  const first = await startControl(world.control, testLog().log)
  const webhook = await startWebhook(world.webhook, testLog().log)
  world.running.push(webhook)
  await until(() => says(api, 'StoreReachable', 'Proven') && says(api, 'Ready', 'Proven') && api.get(leasePath) !== undefined)
  const { lastTransitionTime } = conditionOf(api, 'StoreReachable')!
  await new Promise((resolve) => setTimeout(resolve, 2 * world.control.reportTiming!.silenceMillisecondsMax))
  assert.equal(conditionOf(api, 'StoreReachable')?.lastTransitionTime, lastTransitionTime, 'while control is there it stays as it is')
  await first.stop()
  await until(() => says(api, 'StoreReachable', 'ControlSilent') && says(api, 'Ready', 'ControlSilent'))
  assert.equal(conditionOf(api, 'StoreReachable')?.status, 'Unknown')
  const second = await startControl(world.control, testLog().log)
  world.running.push(second)
  await until(() => says(api, 'StoreReachable', 'Proven') && says(api, 'Ready', 'Proven'))
  // Somebody else's word, while control did not change its own: control says it again.
  const status = api.get(storePath)?.['status'] as { conditions: Condition[] }
  const wrong = status.conditions.map((condition) => ({ ...condition, status: 'Unknown' as const, reason: 'Wrong' }))
  api.put(storePath, { ...api.get(storePath)!, status: { conditions: wrong } })
  await until(() => says(api, 'StoreReachable', 'Proven') && says(api, 'Ready', 'Proven'))
})

test('pods that an unreadable policy may be for are refused with its name and what is wrong with it', { timeout }, async (context) => {
  const world = await createWorld(context)
  const { api } = world
  api.put('/api/v1/namespaces/shop', { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } })
  const policyPath = '/apis/steno.dev/v1alpha1/namespaces/shop/sessionpolicies/orders'
  api.put(policyPath, { metadata: { name: 'orders', namespace: 'shop' }, spec: { databases: 'orders' } })
  const control = await startControl(world.control, testLog().log)
  const webhook = await startWebhook(world.webhook, testLog().log)
  world.running.push(webhook, control)
  while ((await readiness(webhook.metricsPort)).status !== 200) await new Promise(setImmediate)
  const pod = { metadata: { name: 'agent', namespace: 'shop' }, spec: { containers: [{ name: 'agent', image: 'agent:1' }] } }
  const ask = async (): Promise<{ allowed: boolean; status?: { message: string } }> => {
    const review = {
      uid: 'x',
      namespace: 'shop',
      operation: 'CREATE',
      object: pod,
      resource: { group: '', version: 'v1', resource: 'pods' },
    }
    const body = JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request: review })
    const { data } = api.get(caPath) as unknown as { data: Record<string, string> }
    const ca = Buffer.from(data['ca.crt'] ?? '', 'base64').toString()
    const request = https.request({ host: '127.0.0.1', port: webhook.port, path: '/mutate', method: 'POST', ca, agent: false })
    request.setHeader('content-type', 'application/json').end(body)
    const [answer] = (await once(request, 'response')) as [AsyncIterable<Buffer>]
    const text = Buffer.concat(await Array.fromAsync(answer)).toString()
    return (JSON.parse(text) as { response: { allowed: boolean; status?: { message: string } } }).response
  }
  const refused = await ask()
  assert.equal(refused.allowed, false)
  assert.match(refused.status?.message ?? '', /cannot read SessionPolicy shop\/orders.*spec\.databases/)
  api.remove(policyPath)
  while (!(await ask()).allowed) await new Promise(setImmediate)
})

test('a start that fails leaves nothing behind, and says why', { timeout }, async (context) => {
  const world = await createWorld(context)
  world.api.put(keyPath, { metadata: { name: 'steno-control-key', namespace: 'steno-system' }, data: { 'private.pem': 'bm9uZQ==' } })
  await assert.rejects(startControl(world.control, testLog().log), { code: 'CONTROL_KEY_UNUSABLE' })
  world.api.remove(keyPath)
  const control = await startControl(world.control, testLog().log)
  world.running.push(control)
  const taken = { host: '127.0.0.1', port: control.port }
  await assert.rejects(startControl({ ...world.control, listen: taken }, testLog().log), { code: 'CONTROL_CANNOT_LISTEN' })
  await assert.rejects(startWebhook({ ...world.webhook, listen: taken }, testLog().log), { code: 'WEBHOOK_CANNOT_LISTEN' })
  await assert.rejects(startWebhook({ ...world.webhook, metricsListen: taken }, testLog().log), { code: 'WEBHOOK_CANNOT_LISTEN' })
  world.api.put(caPath, {
    metadata: { name: 'steno-ca', namespace: 'steno-system' },
    data: { 'tls.crt': 'bm9uZQ==' },
  })
  await assert.rejects(startWebhook(world.webhook, testLog().log), { code: 'AUTHORITY_UNUSABLE' })
})

test('a control that stops is told apart from one that is ready, and stops once', { timeout }, async (context) => {
  const world = await createWorld(context)
  const control = await startControl({ ...world.control, drainDelayMilliseconds: 2_000 }, testLog().log)
  await until(() => says(world.api, 'StoreReachable', 'Proven'))
  const stopped = control.stop()
  assert.match((await readiness(control.metricsPort)).text, /it is stopping/)
  assert.equal(control.stop(), stopped)
  await stopped
  await assert.rejects(readiness(control.metricsPort))
})
