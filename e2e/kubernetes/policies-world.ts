/**
 * A namespace under steno's admission policies, and people in it: what the tests of the policies share.
 *
 * The policies are rendered from the chart's own templates, under names, a namespace label and an API group for their parameters that are
 * this run's alone: so they hit no other namespace of the cluster, and no other release's hit this one. There is no webhook here: pods come
 * with their sidecar, as the builder of the webhook makes it, or without.
 */
import assert from 'node:assert/strict'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { definitionOf, kinds } from '../../crds/kinds.ts'
import { connectApi, type Answer, type Api, type Caller } from './policies-api.ts'
import { apply, eventually, kubectl, ran } from './support/kubectl.ts'

const templates = fileURLToPath(new URL('../../charts/steno/templates/', import.meta.url))

/** Of a release that was rolled back. */
export const formerSidecarImage = 'localhost/steno/steno:former'
/** The next authority, the one that signs and one before them. */
export const controlCas = ['next', 'active', 'former'].map((name) => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`)
export const controlPublicKey = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString()
/** An image that every node of the test cluster has, so that a pod with such a sidecar runs; what it does is another test's. */
export const sidecarImage = 'localhost/steno/pause:1'
export const exemptLabels = { 'example.com/sort': 'exporter' }
export const foreignInit = { name: 'mesh-init', image: 'mesh.example/init' }

export type People = {
  /** Has the ClusterRole `admin` in the namespace. */
  readonly admin: Caller
  /** Has the ClusterRole `edit` there. */
  readonly edit: Caller
  /** `admin`, and what clusters sometimes give besides: ephemeral containers, resize, status, bindings, labels of the namespace. */
  readonly more: Caller
  /** `admin`, and may edit SessionPolicies. */
  readonly policyEditor: Caller
  /** As `more`, and may edit SessionPolicies and ClusterSessionPolicies. */
  readonly clusterPolicyEditor: Caller
  /** The ServiceAccounts of steno, with `more` in the namespace, and in the whole cluster with what they may by RBAC and not by admission. */
  readonly webhook: Caller
  readonly control: Caller
  readonly relay: Caller
  /** The one who made the cluster: `system:masters`. */
  readonly master: undefined
}

export type PoliciesWorld = AsyncDisposable & {
  readonly api: Api
  readonly namespace: string
  readonly prefix: string
  readonly injectLabel: string
  readonly stenoNamespace: string
  readonly people: People
  readonly policyNames: readonly string[]
  /** A path under the namespace, such as `pods`. */
  in(resource: string): string
  create(resource: string, body: unknown, as?: Caller, options?: { readonly dryRun: boolean }): Promise<Answer>
  setParameters(parameters: object | null): Promise<void>
}

export type RenderSwitches = { readonly namePrefix: string; readonly injectLabel: string; readonly parametersGroup: string }

/** The policies' manifests, as helm renders them from the chart's templates in a chart of nothing else. */
export async function renderPolicies(namespace: string, switches: Partial<RenderSwitches> = {}): Promise<string> {
  const chart = await mkdtemp(path.join(tmpdir(), 'steno-policies-chart-'))
  try {
    await writeFile(path.join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: steno\nversion: 0.0.0\n')
    await cp(path.join(templates, 'admission-policies'), path.join(chart, 'templates', 'admission-policies'), { recursive: true })
    await cp(path.join(templates, '_policies.tpl'), path.join(chart, 'templates', '_policies.tpl'))
    const settings = Object.entries(switches).flatMap(([name, value]) => ['--set-string', `admissionPolicies.${name}=${value}`])
    const { code, stdout, stderr } = await ran('helm', ['template', 'steno', chart, '--namespace', namespace, ...settings])
    assert.equal(code, 0, stderr)
    return stdout
  } finally {
    await rm(chart, { recursive: true })
  }
}

export async function createPoliciesWorld(): Promise<PoliciesWorld> {
  const run = randomBytes(3).toString('hex')
  const group = `policies-${run}.steno.dev`
  const injectLabel = `${group}/inject`
  const prefix = `t-policies-${run}`
  const namespace = `${prefix}-shop`
  const stenoNamespace = `${prefix}-system`
  const definition = JSON.stringify(parametersDefinition(group))
  const parameters = {
    images: [sidecarImage],
    stenoNamespace,
    exemptPods: [{ namespace, matchLabels: exemptLabels }],
    foreignInitContainers: [foreignInit],
    controlPublicKeys: [controlPublicKey],
    knownImages: [formerSidecarImage],
    controlCas,
  }
  const manifests = await renderPolicies(stenoNamespace, { namePrefix: prefix, injectLabel, parametersGroup: group })
  const people = peopleOf(prefix, stenoNamespace)
  const api = await connectApi()
  const world: PoliciesWorld = {
    api,
    namespace,
    prefix,
    injectLabel,
    stenoNamespace,
    people,
    policyNames: [...manifests.matchAll(/^kind: ValidatingAdmissionPolicy\nmetadata:\n {2}name: (\S+)$/gm)].map(([, name = '']) => name),
    in: (resource) => `/api/v1/namespaces/${namespace}/${resource}`,
    create: (resource, body, as, { dryRun } = { dryRun: true }) =>
      api.send({ method: 'POST', path: `/api/v1/namespaces/${namespace}/${resource}${dryRun ? '?dryRun=All' : ''}`, as, body }),
    async setParameters(spec) {
      if (spec === null) await kubectl(['delete', `admissionparameters.${group}`, 'steno'])
      else
        await apply({
          apiVersion: `${group}/v1alpha1`,
          kind: 'AdmissionParameters',
          metadata: { name: 'steno' },
          spec: { ...parameters, ...spec },
        })
    },
    async [Symbol.asyncDispose]() {
      api.close()
      await kubectl(['delete', '--ignore-not-found', '--wait=false', '-f', '-'], manifests)
      await kubectl(['delete', 'clusterroles,clusterrolebindings', '-l', `test=${prefix}`])
      await kubectl(['delete', '--ignore-not-found', 'namespace', namespace, '--wait=false'])
      await kubectl(['delete', '--ignore-not-found', '--wait=false', 'crd', `admissionparameters.${group}`])
    },
  }
  try {
    await apply(definition)
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
    await apply(rights(world))
    await eventually('the kind of the parameters is served', async () => {
      await world.setParameters({})
      return true
    })
    // Pods of before the namespace was opted in: what the cluster had when steno came.
    await apply([plainPod('before', namespace)])
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: { [injectLabel]: 'enabled' } } })
    await apply(manifests)
    await untilInForce(world)
    return world
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
}

/** Policies, bindings and parameters come into force some time after they are stored; each kind in the order of its storing. */
async function untilInForce(world: PoliciesWorld): Promise<void> {
  await eventually('the last policy and the last binding are in force', async () => {
    const token = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences: ['steno-control'] } }
    return (await world.create('serviceaccounts/default/token', token)).message.includes('TokenAudience') ? true : null
  })
  await eventually('the parameters are read', async () => {
    const { message } = await world.create('pods', plainPod('probe', world.namespace))
    return message.includes('SidecarMissing') ? true : null
  })
}

function parametersDefinition(group: string): object {
  const kind = kinds.find((candidate) => candidate.kind === 'AdmissionParameters')
  assert.ok(kind)
  const definition = definitionOf(kind)
  const spec = definition['spec'] as object
  return { ...definition, metadata: { name: `${kind.plural}.${group}` }, spec: { ...spec, group } }
}

function peopleOf(prefix: string, stenoNamespace: string): People {
  const account = (component: string): Caller => ({
    user: `system:serviceaccount:${stenoNamespace}:steno-${component}`,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${stenoNamespace}`, 'system:authenticated'],
  })
  const person = (name: string): Caller => ({ user: `${prefix}-${name}`, groups: ['system:authenticated'] })
  return {
    admin: person('admin'),
    edit: person('edit'),
    more: person('more'),
    policyEditor: person('policy-editor'),
    clusterPolicyEditor: person('cluster-policy-editor'),
    webhook: account('webhook'),
    control: account('control'),
    relay: account('relay'),
    master: undefined,
  }
}

/** The RBAC of the people, in one list. */
function rights({ prefix, namespace, people }: PoliciesWorld): object[] {
  const rbac = 'rbac.authorization.k8s.io'
  const labels = { test: prefix }
  const role = (name: string, rules: object[]) => ({
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRole',
    metadata: { name: `${prefix}-${name}`, labels },
    rules,
  })
  const subjects = (...callers: Caller[]) => callers.map(({ user }) => ({ apiGroup: rbac, kind: 'User', name: user }))
  const bind = (scope: 'RoleBinding' | 'ClusterRoleBinding', name: string, clusterRole: string, ...callers: Caller[]) => ({
    apiVersion: `${rbac}/v1`,
    kind: scope,
    metadata: { name: `${prefix}-${name}`, labels, ...(scope === 'RoleBinding' && { namespace }) },
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: clusterRole },
    subjects: subjects(...callers),
  })
  const { admin, edit, more, policyEditor, clusterPolicyEditor, webhook, control, relay } = people
  const write = ['create', 'update', 'patch', 'delete']
  return [
    role('more', [
      {
        apiGroups: [''],
        resources: ['pods/ephemeralcontainers', 'pods/resize', 'pods/status', 'pods/binding', 'bindings'],
        verbs: ['create', 'update', 'patch'],
      },
    ]),
    role('namespace', [
      {
        apiGroups: [''],
        resources: ['namespaces', 'namespaces/status', 'namespaces/finalize'],
        resourceNames: [namespace],
        verbs: ['update', 'patch'],
      },
    ]),
    role('policies', [{ apiGroups: ['steno.dev'], resources: ['sessionpolicies'], verbs: write }]),
    role('own', [
      { apiGroups: [''], resources: ['pods/status'], verbs: ['patch'] },
      { apiGroups: [''], resources: ['secrets', 'configmaps'], verbs: ['create'] },
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
      { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: write },
    ]),
    role('cluster-policies', [{ apiGroups: ['steno.dev'], resources: ['clustersessionpolicies'], verbs: write }]),
    bind('RoleBinding', 'admin', 'admin', admin, more, policyEditor, clusterPolicyEditor, webhook, control, relay),
    bind('RoleBinding', 'edit', 'edit', edit),
    bind('RoleBinding', 'more', `${prefix}-more`, more, clusterPolicyEditor, webhook, control),
    bind('RoleBinding', 'policies', `${prefix}-policies`, policyEditor, clusterPolicyEditor),
    bind('ClusterRoleBinding', 'namespace', `${prefix}-namespace`, more, clusterPolicyEditor),
    bind('ClusterRoleBinding', 'own', `${prefix}-own`, webhook, control, relay),
    bind('ClusterRoleBinding', 'cluster-policies', `${prefix}-cluster-policies`, clusterPolicyEditor),
  ]
}

export function plainPod(name: string, namespace: string) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'app', image: sidecarImage }] },
  }
}
