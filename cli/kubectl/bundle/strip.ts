/**
 * Kubernetes objects cut down to what help needs, by lists of what is kept: what nobody thought of is left out. Pure.
 *
 * Of containers the names of variables are kept, never a value; of volumes what they are, of annotations those of steno. Specifications of steno's own
 * kinds and of NetworkPolicies are kept whole: they name hosts, Secrets and keys, and hold none.
 */
import { createHash } from 'node:crypto'

/** An object as kubectl gives it; what is read of it is looked at first. */
export type Raw = Readonly<Record<string, unknown>>

export function part(value: unknown, name: string): Raw {
  const found = isRaw(value) ? value[name] : undefined
  return isRaw(found) ? found : {}
}

export function parts(value: unknown, name: string): readonly Raw[] {
  const found = isRaw(value) ? value[name] : undefined
  return Array.isArray(found) ? found.filter(isRaw) : []
}

export function word(value: unknown, name: string): string {
  const found = isRaw(value) ? value[name] : undefined
  return typeof found === 'string' ? found : ''
}

function isRaw(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const only = (value: Raw, names: readonly string[]): Raw =>
  Object.fromEntries(names.flatMap((name) => (name in value ? [[name, value[name]]] : [])))

export function metadataOf(object: Raw): Raw {
  const metadata = part(object, 'metadata')
  const annotations = Object.entries(part(metadata, 'annotations')).filter(([name]) => /(^|\.)steno\.dev\//.test(name))
  return {
    ...only(metadata, ['name', 'namespace', 'uid', 'resourceVersion', 'generation', 'creationTimestamp', 'deletionTimestamp', 'labels']),
    ...(annotations.length === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
    owners: parts(metadata, 'ownerReferences').map((owner) => `${word(owner, 'kind')}/${word(owner, 'name')}`),
  }
}

/** Arguments are left out: a program may be given a password there. */
function container(given: Raw): Raw {
  return {
    ...only(given, ['name', 'image', 'imagePullPolicy', 'restartPolicy', 'ports', 'resources', 'securityContext', 'volumeMounts']),
    variables: parts(given, 'env').map((variable) => word(variable, 'name')),
  }
}

function podSpec(spec: Raw): Raw {
  return {
    ...only(spec, ['nodeName', 'serviceAccountName', 'priorityClassName', 'restartPolicy', 'terminationGracePeriodSeconds']),
    ...only(spec, ['hostNetwork', 'dnsPolicy', 'securityContext', 'tolerations', 'nodeSelector', 'topologySpreadConstraints']),
    initContainers: parts(spec, 'initContainers').map(container),
    containers: parts(spec, 'containers').map(container),
    volumes: parts(spec, 'volumes').map((volume) => ({
      name: volume['name'],
      kinds: Object.keys(volume).filter((name) => name !== 'name'),
    })),
  }
}

export function strippedPod(pod: Raw): Raw {
  const status = part(pod, 'status')
  return {
    metadata: metadataOf(pod),
    spec: podSpec(part(pod, 'spec')),
    status: only(status, [
      ...['phase', 'reason', 'message', 'conditions', 'podIPs', 'hostIPs', 'startTime', 'qosClass'],
      ...['containerStatuses', 'initContainerStatuses'],
    ]),
  }
}

/** What is told of a pod that is somebody's: its sidecar, and how its containers fare. */
export function sidecarStatus(pod: Raw): Raw {
  const { metadata, status } = strippedPod(pod)
  const sidecar = parts(part(pod, 'spec'), 'initContainers').find(({ name }) => name === 'steno')
  const states = part({ status }, 'status')
  const brief = (given: Raw): Raw => only(given, ['name', 'ready', 'started', 'restartCount', 'state', 'lastState', 'image'])
  return {
    metadata: {
      ...only(metadata as Raw, ['name', 'namespace', 'uid', 'creationTimestamp', 'deletionTimestamp', 'annotations', 'owners']),
      labels: stenoOnly(part(part(pod, 'metadata'), 'labels')),
    },
    sidecar: sidecar === undefined ? null : container(sidecar),
    phase: states['phase'],
    conditions: states['conditions'],
    statuses: parts(states, 'initContainerStatuses')
      .filter(({ name }) => name === 'steno')
      .map(brief),
    others: [...parts(states, 'initContainerStatuses'), ...parts(states, 'containerStatuses')]
      .filter(({ name }) => name !== 'steno')
      .map((given) => only(given, ['name', 'ready', 'started', 'restartCount'])),
  }
}

const stenoOnly = (labels: Raw): Raw => Object.fromEntries(Object.entries(labels).filter(([name]) => name.startsWith('steno.dev/')))

export function strippedDeployment(deployment: Raw): Raw {
  const spec = part(deployment, 'spec')
  return {
    metadata: metadataOf(deployment),
    spec: {
      ...only(spec, ['replicas', 'strategy', 'selector', 'minReadySeconds']),
      template: podSpec(part(part(spec, 'template'), 'spec')),
    },
    status: part(deployment, 'status'),
  }
}

/** For steno's kinds and NetworkPolicies. */
export function whole(object: Raw): Raw {
  return { kind: object['kind'], metadata: metadataOf(object), ...only(object, ['spec', 'status']) }
}

export function strippedEvent(event: Raw): Raw {
  return {
    ...only(event, ['type', 'reason', 'message', 'count', 'firstTimestamp', 'lastTimestamp', 'eventTime', 'reportingComponent']),
    of: only(part(event, 'involvedObject'), ['kind', 'namespace', 'name']),
  }
}

export function strippedNode(node: Raw): Raw {
  const status = part(node, 'status')
  const info = only(part(status, 'nodeInfo'), ['kubeletVersion', 'containerRuntimeVersion', 'kernelVersion', 'osImage', 'architecture'])
  const conditions = parts(status, 'conditions').map((condition) => only(condition, ['type', 'status', 'reason']))
  return { name: part(node, 'metadata')['name'], ...info, conditions }
}

/** Names, generations, and of a webhook how it is asked; authorities as digests. */
export function registration(object: Raw): Raw {
  const webhooks = parts(object, 'webhooks').map((webhook) => {
    const bundle = word(part(webhook, 'clientConfig'), 'caBundle')
    return {
      ...only(webhook, [
        'name',
        'failurePolicy',
        'timeoutSeconds',
        'reinvocationPolicy',
        'matchPolicy',
        'namespaceSelector',
        'objectSelector',
      ]),
      authoritySha256: bundle === '' ? null : createHash('sha256').update(Buffer.from(bundle, 'base64')).digest('hex'),
    }
  })
  const { name, generation } = part(object, 'metadata')
  const bound = word(part(object, 'spec'), 'policyName')
  return {
    kind: object['kind'],
    name,
    generation,
    ...(bound === '' ? {} : { policyName: bound }),
    ...(webhooks.length === 0 ? {} : { webhooks }),
  }
}
