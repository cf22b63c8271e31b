/**
 * Where the attempts of "cannot go around" are made: a shop in mode Relay, and around it what an attacker could use.
 *
 * `shop` is opted in, in mode Relay; `friend` is opted in, in mode CredentialsOnly; `open` is not opted in, and has the same agents, so that
 * what is refused to the ones succeeds there: the positive control. Bridges forward to the database: a neighbour in each namespace, and one
 * on the node's own network. Attempts run in four places of a pod: two init containers, the first one first, and two containers, each once
 * as UID 1000 without capabilities and once as root with the default ones.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { apply, createNamespace, eventually, getJson, kubectl, ran } from '../support/kubectl.ts'
import { agentPod, databaseUrlVariable, openShop, podOf, untilRunning, type AgentPod, type Shop } from '../support/shop.ts'
import { clientImage } from '../support/test-images.ts'
import type { Outcome } from './in-pod/run-attempts.ts'

export const attackers = {
  agent: 'UID 1000',
  root: 'root',
  'first-agent': 'the first init container',
  'first-root': 'an init container as root',
}
export type Attacker = keyof typeof attackers
export type Attempt = { readonly name: string; readonly command: string; readonly by: readonly Attacker[] }

/** Of the bridges; none that anything else of a node listens at. */
export const bridgePort = 17432
export const nodePort = 31_432
const stenoNamespace = 'steno-system'

export type Places = {
  readonly database: { readonly ip: string; readonly service: string; readonly headless: string; readonly serviceIp: string }
  readonly node: { readonly name: string; readonly ip: string }
  readonly neighbour: string
  readonly friend: string
  readonly stranger: string
  readonly components: Readonly<Record<'control' | 'relay' | 'webhook', string>>
  readonly services: Readonly<Record<'control' | 'relay' | 'webhook' | 'kubernetes' | 'dns', string>>
  readonly dnsPod: string
}

export type World = AsyncDisposable & {
  readonly shop: Shop
  readonly friend: string
  readonly open: string
  readonly places: Places
  /** Pods of agents under enforcement: none of these addresses may ever be in the database's log. */
  readonly agentAddresses: Set<string>
  /** What each attempt gave, in the shop and where steno is not. */
  outcome(where: 'shop' | 'open', by: Attacker, name: string): Outcome
}

const programs = ['run-attempts.ts', 'reach.ts', 'bridge.ts', 'raw.py', 'ask-relay.ts']
const capabilities = { agent: { runAsUser: 1000, capabilities: { drop: ['ALL'] } }, root: { runAsUser: 0 } }

export async function createWorld(attemptsFor: (places: Places, databaseUrl: string) => readonly Attempt[]): Promise<World> {
  const shop = await openShop({ spec: { enforcement: { mode: 'Relay', onOpenPath: 'Block' } } })
  const friend = await createNamespace('t-around-friend', { 'steno.dev/inject': 'enabled' })
  const open = await createNamespace('t-around-open')
  const outcomes = new Map<string, Outcome>()
  const world = {
    shop,
    friend: friend.name,
    open: open.name,
    agentAddresses: new Set<string>(),
    outcome(where: string, by: Attacker, name: string) {
      const found = outcomes.get(`${where} ${by} ${name}`)
      if (found === undefined) throw new Error(`${attackers[by]} in ${where} has not tried: ${name}`)
      return found
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([shop, friend, open].map((one) => one[Symbol.asyncDispose]()))
    },
  }
  try {
    await addServices(shop.databaseNamespace)
    for (const namespace of [shop.namespace, friend.name, open.name]) await addPrograms(namespace)
    await friendPolicy(shop, friend.name)
    const bridges: [string, AgentPod][] = [
      [shop.namespace, bridge('neighbour', shop.databaseHost)],
      [friend.name, bridge('friend', shop.databaseHost)],
      [open.name, bridge('stranger', shop.databaseHost)],
      [open.name, bridge('node', (await serviceAddress(shop.databaseNamespace, 'orders-db'))!, { hostNetwork: true })],
    ]
    for (const [namespace, pod] of bridges) await kubectl(['-n', namespace, 'create', '-f', '-'], JSON.stringify(pod))
    for (const [namespace, pod] of bridges) await untilRunning(namespace, pod.metadata.name)
    const places = await findPlaces(shop, friend.name, open.name)
    world.agentAddresses.add(places.neighbour)
    const attempts = attemptsFor(places, shop.url)
    for (const namespace of [shop.namespace, open.name]) await addAttempts(namespace, attempts)
    for (const namespace of [open.name, shop.namespace]) {
      await kubectl(['-n', namespace, 'create', '-f', '-'], JSON.stringify(speaker()))
    }
    for (const [where, namespace] of [
      ['open', open.name],
      ['shop', shop.namespace],
    ] as const) {
      const { status } = await untilRunning(namespace, 'speaker')
      if (where === 'shop') world.agentAddresses.add(status.podIP!)
      for (const { by, said } of await heard(namespace, attempts)) outcomes.set(`${where} ${by} ${said.name}`, said)
    }
    return Object.assign(world, { places })
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
}

/** Runs it in the pod, with `input`; gives what it printed, whatever its exit code. */
export async function inPod(
  namespace: string,
  container: string,
  command: readonly string[],
  input = '',
  pod = 'speaker',
): Promise<string> {
  const { stdout, stderr } = await ran('kubectl', ['-n', namespace, 'exec', '-i', pod, '-c', container, '--', ...command], input)
  return stdout === '' ? stderr : stdout
}

async function heard(namespace: string, attempts: readonly Attempt[]): Promise<{ by: Attacker; said: Outcome }[]> {
  const all = (Object.keys(attackers) as Attacker[]).map(async (by) => {
    const own = attempts.filter((attempt) => attempt.by.includes(by))
    const text = by.startsWith('first-')
      ? await kubectl(['-n', namespace, 'logs', 'speaker', '-c', by])
      : await inPod(namespace, by, ['node', '/programs/run-attempts.ts', `/attempts/${by}.json`])
    const found = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Outcome)
    if (found.length !== own.length) throw new Error(`${by} tried ${found.length} of ${own.length} times: ${text}`)
    return found.map((said) => ({ by, said }))
  })
  return (await Promise.all(all)).flat()
}

export function mountOf(...names: string[]): object[] {
  return names.map((name) => ({ name, mountPath: `/${name}` }))
}

export const programsVolume = { name: 'programs', configMap: { name: 'programs' } }

/** An agent's pod in which every attacker is. */
function speaker(): AgentPod {
  const common = { image: clientImage, imagePullPolicy: 'Never', volumeMounts: mountOf('programs', 'attempts') }
  const first = (kind: 'agent' | 'root') => ({
    ...common,
    name: `first-${kind}`,
    securityContext: capabilities[kind],
    command: ['node', '/programs/run-attempts.ts', `/attempts/first-${kind}.json`],
  })
  const pod = agentPod('speaker', {
    container: { volumeMounts: common.volumeMounts, securityContext: capabilities.agent },
    spec: {
      initContainers: [first('agent'), first('root')],
      volumes: [programsVolume, { name: 'attempts', configMap: { name: 'attempts' } }],
      terminationGracePeriodSeconds: 2,
    },
  })
  const root = { ...common, name: 'root', securityContext: capabilities.root, command: ['sleep', '3600'] }
  // Where steno is not, the Secret of the credential is not, and the attackers bring the credential themselves.
  const containers = (pod.spec['containers'] as object[]).map((container) => ({ ...container, env: [] }))
  return { ...pod, spec: { ...pod.spec, containers: [...containers, root] } }
}

/** The neighbour is an agent, too. */
const bridgeVariables: Readonly<Record<string, object[]>> = {
  node: [{ name: 'UDP_ADDRESS', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } }],
  neighbour: [databaseUrlVariable],
}
/** With which what an agent may not do succeeds: the positive control. */
const powers = { capabilities: { add: ['NET_ADMIN', 'SYS_ADMIN'] } }

function bridge(name: string, host: string, spec: object = {}): AgentPod {
  const command = ['node', '/programs/bridge.ts', host, '5432', String(bridgePort), '53', '5433'].filter(
    (word) => word !== '53' || name !== 'node',
  )
  return agentPod(name, {
    command,
    env: bridgeVariables[name] ?? [],
    container: { volumeMounts: mountOf('programs'), securityContext: { runAsUser: 0, ...(name === 'stranger' && powers) } },
    spec: { volumes: [programsVolume], terminationGracePeriodSeconds: 0, ...spec },
  })
}

export async function addPrograms(namespace: string): Promise<void> {
  const data = programs.map((name) => [name, readFileSync(fileURLToPath(new URL(`./in-pod/${name}`, import.meta.url)), 'utf8')])
  await apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'programs', namespace }, data: Object.fromEntries(data) as object })
}

async function addAttempts(namespace: string, attempts: readonly Attempt[]): Promise<void> {
  const data = (Object.keys(attackers) as Attacker[]).map((by) => [
    `${by}.json`,
    JSON.stringify(attempts.flatMap(({ name, command, by: all }) => (all.includes(by) ? [{ name, command }] : []))),
  ])
  await apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'attempts', namespace }, data: Object.fromEntries(data) as object })
}

/** Ways to the database besides its Service. */
async function addServices(namespace: string): Promise<void> {
  const service = (name: string, spec: object) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { selector: { app: 'orders-db' }, ports: [{ port: 5432 }], ...spec },
  })
  await apply([
    service('orders-headless', { clusterIP: 'None' }),
    // Local: the database sees who it is.
    service('orders-node', { type: 'NodePort', externalTrafficPolicy: 'Local', ports: [{ port: 5432, nodePort }] }),
  ])
}

async function friendPolicy({ policy }: Shop, namespace: string): Promise<void> {
  const databases = (policy.spec['databases'] as object[]).map((database) => ({ ...database, tls: { mode: 'require' } }))
  await apply({
    ...policy,
    metadata: { name: 'orders', namespace },
    spec: { databases, enforcement: { mode: 'CredentialsOnly' } },
  })
}

async function serviceAddress(namespace: string, name: string): Promise<string | undefined> {
  return (await getJson<{ spec: { clusterIP: string } }>(['-n', namespace, 'service', name])).spec.clusterIP
}

type Listed = {
  items: { metadata: { name: string }; status: { podIP?: string; phase?: string; addresses?: { type: string; address: string }[] } }[]
}

/** Of all replicas. */
export async function relayAddresses(): Promise<string[]> {
  const { items } = await getJson<Listed>([
    '-n',
    stenoNamespace,
    'pods',
    '-l',
    'app.kubernetes.io/name=steno,app.kubernetes.io/component=relay',
  ])
  return items.flatMap(({ status }) => status.podIP ?? [])
}

/** Of a pod that runs, by its labels. */
async function addressOf(namespace: string, labels: string): Promise<string> {
  return eventually(`a pod ${labels} runs`, async () => {
    const { items } = await getJson<Listed>(['-n', namespace, 'pods', '-l', labels])
    return items.find(({ status }) => status.phase === 'Running')?.status.podIP
  })
}

async function findPlaces(shop: Shop, friend: string, open: string): Promise<Places> {
  const [node] = (await getJson<Listed>(['nodes'])).items
  const component = async (name: string) => addressOf(stenoNamespace, `app.kubernetes.io/name=steno,app.kubernetes.io/component=${name}`)
  const ip = async (namespace: string, name: string): Promise<string> => (await podOf(namespace, name)).status.podIP!
  const service = async (name: string, namespace = stenoNamespace): Promise<string> => (await serviceAddress(namespace, name))!
  return {
    database: {
      ip: await ip(shop.databaseNamespace, 'orders-db'),
      service: shop.databaseHost,
      headless: `orders-headless.${shop.databaseNamespace}.svc.cluster.local`,
      serviceIp: await service('orders-db', shop.databaseNamespace),
    },
    node: { name: node!.metadata.name, ip: node!.status.addresses!.find(({ type }) => type === 'InternalIP')!.address },
    neighbour: await ip(shop.namespace, 'neighbour'),
    friend: await ip(friend, 'friend'),
    stranger: await ip(open, 'stranger'),
    components: { control: await component('control'), relay: await component('relay'), webhook: await component('webhook') },
    services: {
      control: await service('steno-control'),
      relay: await service('steno-relay'),
      webhook: await service('steno-webhook'),
      kubernetes: await service('kubernetes', 'default'),
      dns: await service('kube-dns', 'kube-system'),
    },
    dnsPod: await addressOf('kube-system', 'k8s-app=kube-dns'),
  }
}
