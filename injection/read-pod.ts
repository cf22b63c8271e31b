/**
 * Takes what somebody says is a pod, and gives it as one: the fields that an injection reads have their types, nulls are gone.
 *
 * The API server sends pods that it has decoded, but others can reach the webhook too, and `kubectl steno check` reads files. Checks types
 * only, not what the API server would say to the values, and keeps fields that it does not know.
 */
import type { V1Pod } from '@kubernetes/client-node'
import { printableLine } from '../base/printable.ts'

/** No pod nests deeper than about twelve; JSON can nest as deep as it is long, and a stack cannot. */
const depthMax = 64

export type PodReading = { readonly kind: 'pod'; readonly pod: V1Pod } | { readonly kind: 'unreadable'; readonly problem: string }

type Shape =
  | 'text'
  | 'number'
  | 'boolean'
  | { readonly listOf: Shape }
  | { readonly mapOf: Shape }
  | { readonly fields: Readonly<Record<string, Shape>>; readonly needs?: readonly string[] }

const anything: Shape = { fields: {} }
const keyReference: Shape = { fields: { name: 'text', key: 'text', optional: 'boolean' }, needs: ['key'] }
const envVariable: Shape = {
  fields: {
    name: 'text',
    value: 'text',
    valueFrom: {
      fields: {
        secretKeyRef: keyReference,
        configMapKeyRef: keyReference,
        fieldRef: { fields: { fieldPath: 'text' }, needs: ['fieldPath'] },
        resourceFieldRef: anything,
      },
    },
  },
  needs: ['name'],
}
const nameReference: Shape = { fields: { name: 'text', optional: 'boolean' } }
const items: Shape = { listOf: { fields: { key: 'text', path: 'text' } } }
const securityContext: Shape = {
  fields: { runAsUser: 'number', runAsGroup: 'number', fsGroup: 'number', supplementalGroups: { listOf: 'number' } },
}
const container: Shape = {
  fields: {
    name: 'text',
    image: 'text',
    command: { listOf: 'text' },
    args: { listOf: 'text' },
    env: { listOf: envVariable },
    envFrom: { listOf: { fields: { prefix: 'text', secretRef: nameReference, configMapRef: nameReference } } },
    ports: { listOf: { fields: { name: 'text', containerPort: 'number', protocol: 'text' }, needs: ['containerPort'] } },
    volumeMounts: { listOf: { fields: { name: 'text', mountPath: 'text' }, needs: ['name'] } },
    resources: anything,
    restartPolicy: 'text',
    securityContext,
  },
  needs: ['name'],
}
const secretVolume: Shape = { fields: { secretName: 'text', items } }
const volume: Shape = {
  fields: {
    name: 'text',
    emptyDir: { fields: { medium: 'text' } },
    secret: secretVolume,
    configMap: { fields: { name: 'text', items } },
    projected: {
      fields: {
        sources: {
          listOf: {
            fields: {
              secret: { fields: { name: 'text', items } },
              configMap: { fields: { name: 'text', items } },
              serviceAccountToken: { fields: { audience: 'text', path: 'text' } },
            },
          },
        },
      },
    },
    csi: anything,
  },
  needs: ['name'],
}
const podShape: Shape = {
  fields: {
    metadata: {
      fields: { name: 'text', generateName: 'text', namespace: 'text', labels: { mapOf: 'text' }, annotations: { mapOf: 'text' } },
    },
    spec: {
      fields: {
        containers: { listOf: container },
        initContainers: { listOf: container },
        ephemeralContainers: { listOf: container },
        volumes: { listOf: volume },
        securityContext,
        os: { fields: { name: 'text' } },
        nodeSelector: { mapOf: 'text' },
        hostNetwork: 'boolean',
        hostPID: 'boolean',
        hostIPC: 'boolean',
        shareProcessNamespace: 'boolean',
        terminationGracePeriodSeconds: 'number',
        serviceAccountName: 'text',
      },
      needs: ['containers'],
    },
  },
  needs: ['spec'],
}

/** A problem names the path and never a value. */
export function readPod(value: unknown): PodReading {
  const pod = withoutNulls(withoutManagedFields(value), 0)
  if (pod === tooDeep) return { kind: 'unreadable', problem: `the pod nests deeper than ${depthMax}` }
  const problem = faultOf(pod, podShape, '')
  if (problem !== null) return { kind: 'unreadable', problem }
  return { kind: 'pod', pod: pod as V1Pod }
}

/** Who wrote which field: nothing to judge, and nested as deep as a pod's author likes (`fieldsV1` may be part of a pod that is created). */
function withoutManagedFields(value: unknown): unknown {
  if (!isObject(value) || !isObject(value['metadata']) || value['metadata']['managedFields'] === undefined) return value
  const { managedFields: _, ...metadata } = value['metadata']
  return { ...value, metadata }
}

function isObject(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const tooDeep = Symbol('too deep')

/** To the API server null is absent (Kubernetes, API conventions); what is absent here needs no second word for it. */
function withoutNulls(value: unknown, depth: number): unknown {
  // As the API server decodes it (Go, encoding/json): halves of characters become U+FFFD. Encoders of URLs throw on them.
  if (typeof value === 'string') return value.toWellFormed()
  if (typeof value !== 'object' || value === null) return value
  if (depth > depthMax) return tooDeep
  if (Array.isArray(value)) {
    const list = value.map((item: unknown) => withoutNulls(item, depth + 1))
    return list.includes(tooDeep) ? tooDeep : list
  }
  const entries: [string, unknown][] = []
  for (const [name, field] of Object.entries(value)) {
    if (field === null || field === undefined) continue
    const kept = withoutNulls(field, depth + 1)
    if (kept === tooDeep) return tooDeep
    entries.push([name, kept])
  }
  return Object.fromEntries(entries)
}

function faultOf(value: unknown, shape: Shape, path: string): string | null {
  const place = path === '' ? 'the pod' : printableLine(path).slice(0, 200)
  switch (shape) {
    case 'text':
      return typeof value === 'string' ? null : `${place} is no text`
    case 'number':
      return typeof value === 'number' ? null : `${place} is no number`
    case 'boolean':
      return typeof value === 'boolean' ? null : `${place} is neither true nor false`
    default:
  }
  if ('listOf' in shape) {
    if (!Array.isArray(value)) return `${place} is no list`
    return firstFault(value.entries(), ([index, item]) => faultOf(item, shape.listOf, `${path}[${index}]`))
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return `${place} is no object`
  const object = value as Readonly<Record<string, unknown>>
  const join = (name: string) => (path === '' ? name : `${path}.${name}`)
  if ('mapOf' in shape) return firstFault(Object.entries(object), ([name, item]) => faultOf(item, shape.mapOf, join(name)))
  const missing = (shape.needs ?? []).find((name) => !Object.hasOwn(object, name))
  if (missing !== undefined) return `${place} has no ${missing}`
  return firstFault(Object.entries(shape.fields), ([name, field]) =>
    Object.hasOwn(object, name) ? faultOf(object[name], field, join(name)) : null,
  )
}

function firstFault<T>(parts: Iterable<T>, judge: (part: T) => string | null): string | null {
  for (const part of parts) {
    const fault = judge(part)
    if (fault !== null) return fault
  }
  return null
}
