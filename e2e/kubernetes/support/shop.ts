/**
 * What the proofs play with: a PostgreSQL with TLS and two users in a namespace that steno does not know, and beside it the namespace of a
 * shop, labelled, with a policy and the Secret of its credential.
 *
 * Both are gone when disposed of. The database logs every connection, so that a test can prove that there was none.
 */
import { createAuthority, issueLeaf } from '../../../tools/certificates.ts'
import { apply, createNamespace, eventually, getJson, kubectl } from './kubectl.ts'
import { clientImage, postgresImage } from './test-images.ts'

/** What only the sidecar may know. */
export const password = 'sesame-of-the-shop'
export const adminPassword = 'sesame-of-the-admin'
export const databaseUser = 'shop_agent'

export type Shop = AsyncDisposable & {
  readonly namespace: string
  readonly databaseNamespace: string
  /** The name that the certificate is for. */
  readonly databaseHost: string
  /** The real one, with the credential: what the Secret `orders` holds under `url`. */
  readonly url: string
  readonly authorityPem: string
  /** The pod's policy, as applied. */
  readonly policy: PolicyObject
  /** The database's own log. */
  databaseLog(): Promise<string>
  /** SQL as the database's superuser, inside its pod. */
  query(sql: string): Promise<string>
}

type PolicyObject = { readonly spec: Record<string, unknown> } & Record<string, unknown>

export type ShopOptions = {
  /** Fields of the policy's one database, beside or instead of the usual. */
  readonly database?: Readonly<Record<string, unknown>>
  /** Fields of the policy's spec. */
  readonly spec?: Readonly<Record<string, unknown>>
  /** Labels of the shop's namespace; opted in unless told. */
  readonly labels?: Readonly<Record<string, string>>
}

const initial = `
create role ${databaseUser} login password '${password}';
create role reporter login password 'sesame-of-the-reporter';
create database shop owner ${databaseUser};
\\c shop
create table orders (id int primary key, customer text, total numeric);
insert into orders select number, 'customer ' || number, number * 1.5 from generate_series(1, 1000) number;
alter table orders owner to ${databaseUser};
grant select on orders to reporter;
`

/** Returns when the database answers. */
export async function openShop(options: ShopOptions = {}): Promise<Shop> {
  const database = await createNamespace('shop-db')
  const shop = await createNamespace('shop', options.labels ?? { 'steno.dev/inject': 'enabled' })
  const databaseHost = `orders-db.${database.name}.svc.cluster.local`
  const authority = await createAuthority('the shop’s database authority')
  const leaf = await issueLeaf(authority, { kind: 'server', commonName: databaseHost, names: [databaseHost] })
  const url = `postgresql://${databaseUser}:${password}@${databaseHost}:5432/shop`
  const at = { namespace: database.name }
  await apply([
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'certificates', ...at },
      stringData: { 'tls.crt': leaf.certificatePem, 'tls.key': leaf.keyPem },
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'initial', ...at }, data: { 'shop.sql': initial } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'orders-db', ...at },
      spec: { selector: { app: 'orders-db' }, ports: [{ port: 5432 }] },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'orders-db', ...at, labels: { app: 'orders-db' } },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            name: 'postgres',
            image: postgresImage,
            imagePullPolicy: 'Never',
            env: [{ name: 'PASSWORD', value: adminPassword }],
            volumeMounts: [
              { name: 'certificates', mountPath: '/certificates' },
              { name: 'initial', mountPath: '/initial' },
            ],
            readinessProbe: { exec: { command: ['psql', '-h', '/tmp', '-U', 'postgres', '-d', 'shop', '-c', '\\q'] }, periodSeconds: 1 },
            ports: [{ containerPort: 5432 }],
          },
        ],
        volumes: [
          { name: 'certificates', secret: { secretName: 'certificates', defaultMode: 0o444 } },
          { name: 'initial', configMap: { name: 'initial' } },
        ],
      },
    },
  ])
  const policy: PolicyObject = {
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'SessionPolicy',
    metadata: { name: 'orders', namespace: shop.name },
    spec: {
      databases: [
        {
          name: 'orders',
          hosts: [databaseHost],
          databaseNames: ['shop'],
          tls: { mode: 'verify-full', ca: { configMapKeyRef: { name: 'orders-ca', key: 'ca.crt' } } },
          ...options.database,
        },
      ],
      enforcement: { mode: 'CredentialsOnly' },
      ...options.spec,
    },
  }
  await apply([
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'orders', namespace: shop.name }, stringData: { url, token: 'for-the-agent' } },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'orders-ca', namespace: shop.name },
      data: { 'ca.crt': authority.certificatePem },
    },
    policy,
  ])
  await kubectl(['-n', database.name, 'wait', '--for=condition=Ready', 'pod/orders-db', '--timeout=180s'])
  const inDatabase = (...command: string[]): Promise<string> => kubectl(['-n', database.name, 'exec', 'orders-db', '--', ...command])
  await eventually('the shop’s database answers', () =>
    inDatabase('psql', '-h', '/tmp', '-U', 'postgres', '-d', 'shop', '-qc', 'select from orders'),
  )
  return {
    namespace: shop.name,
    databaseNamespace: database.name,
    databaseHost,
    url,
    authorityPem: authority.certificatePem,
    policy,
    databaseLog: () => kubectl(['-n', database.name, 'logs', 'orders-db']),
    query: (sql) => inDatabase('psql', '-h', '/tmp', '-U', 'postgres', '-d', 'shop', '-qAtc', sql),
    async [Symbol.asyncDispose]() {
      await shop[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

/** The variable by which the shop's agents know their database. */
export const databaseUrlVariable = { name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders', key: 'url' } } }

export type AgentOptions = {
  /** The container's program; it sleeps unless told. */
  readonly command?: readonly string[]
  readonly env?: readonly object[]
  /** Fields of the container. */
  readonly container?: Readonly<Record<string, unknown>>
  /** Fields of the pod's spec. */
  readonly spec?: Readonly<Record<string, unknown>>
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

export type AgentPod = {
  readonly apiVersion: 'v1'
  readonly kind: 'Pod'
  readonly metadata: { readonly name: string } & Readonly<Record<string, unknown>>
  readonly spec: Readonly<Record<string, unknown>>
}

/** A pod of one agent, as its developer writes it; also good as a template. Runs as UID 1000. */
export function agentPod(name: string, options: AgentOptions = {}): AgentPod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name, ...options.labels }, ...(options.annotations && { annotations: options.annotations }) },
    spec: {
      containers: [
        {
          name: 'agent',
          image: clientImage,
          imagePullPolicy: 'Never',
          command: options.command ?? ['sleep', '3600'],
          env: options.env ?? [databaseUrlVariable],
          ...options.container,
        },
      ],
      terminationGracePeriodSeconds: 20,
      ...options.spec,
    },
  }
}

/** The same as the template of a workload. */
export function podTemplate(name: string, options: AgentOptions = {}): Pick<AgentPod, 'metadata' | 'spec'> {
  const { metadata, spec } = agentPod(name, options)
  return { metadata, spec }
}

export type LivePod = {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly labels: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec: {
    readonly containers: readonly LiveContainer[]
    readonly initContainers?: readonly LiveContainer[]
    readonly volumes?: readonly { readonly name: string }[]
  }
  readonly status: {
    readonly phase: string
    readonly podIP?: string
    readonly initContainerStatuses?: readonly LiveStatus[]
    readonly containerStatuses?: readonly LiveStatus[]
  }
}
export type LiveContainer = {
  readonly name: string
  readonly image: string
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[]
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[]
}
type LiveStatus = {
  readonly name: string
  readonly ready: boolean
  readonly started?: boolean
  readonly restartCount: number
  readonly state: {
    readonly running?: { readonly startedAt: string }
    readonly waiting?: { readonly reason: string; readonly message?: string }
    readonly terminated?: {
      readonly exitCode: number
      readonly reason?: string
      readonly message?: string
      readonly startedAt: string
      readonly finishedAt: string
    }
  }
  readonly lastState?: { readonly terminated?: { readonly exitCode: number; readonly reason?: string; readonly message?: string } }
}

export async function podOf(namespace: string, name: string): Promise<LivePod> {
  return getJson<LivePod>(['-n', namespace, 'pod', name])
}

/** Creates the pod and returns it once its containers run. @throws Error with what the pod says of itself */
export async function startAgent(namespace: string, pod: AgentPod): Promise<LivePod> {
  await kubectl(['-n', namespace, 'create', '-f', '-'], JSON.stringify(pod))
  return untilRunning(namespace, pod.metadata.name)
}

export async function untilRunning(namespace: string, name: string): Promise<LivePod> {
  try {
    return await eventually(`pod ${name} runs`, async () => {
      const pod = await podOf(namespace, name)
      const { phase, containerStatuses = [] } = pod.status
      return phase === 'Running' && containerStatuses.every(({ state }) => state.running !== undefined) ? pod : null
    })
  } catch (cause) {
    const described = await kubectl(['-n', namespace, 'describe', 'pod', name])
    const logs = await kubectl(['-n', namespace, 'logs', name, '--all-containers', '--prefix', '--tail=20']).catch(String)
    throw new Error(`the pod does not run:\n${described.slice(-4_000)}\n${logs}`, { cause })
  }
}

/** Standard output of a command in the agent's container, through the API as an administrator with all rights. */
export async function inAgent(namespace: string, pod: string, command: readonly string[], container = 'agent'): Promise<string> {
  return kubectl(['-n', namespace, 'exec', pod, '-c', container, '--', ...command])
}
