/**
 * What people give to `kubectl steno check`: YAML or JSON of any kinds, several documents in one, a folder, `-` for standard input.
 *
 * Finds the pods in them, also as templates of workloads, the policies, and the namespaces; other kinds are left aside. Bounded by
 * `bytesMax` for each file. Errors name the place and never the text, which may hold a credential.
 */
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { V1Pod } from '@kubernetes/client-node'
import { parseAllDocuments } from 'yaml'
import { KnownError, messageOf } from '../../base/errors.ts'
import type { ClusterSessionPolicy } from '../../crds/cluster-session-policy.ts'
import { readClusterSessionPolicy, readSessionPolicy, unknownFieldsOf } from '../../crds/read-object.ts'
import type { SessionPolicy } from '../../crds/session-policy.ts'
import { readPod } from '../../injection/explain-injection.ts'

export const bytesMax = 16 * 1024 * 1024
/** As kubectl takes them from a folder. */
const extensions = ['.json', '.yaml', '.yml']

/** A file cannot be read as Kubernetes objects. */
export class BadObjectFile extends KnownError {
  readonly code = 'BAD_OBJECT_FILE'
  readonly remedy = 'Give YAML or JSON as kubectl apply takes it, with pods or workloads in it.'
  readonly safeToRetry = true
}

/** `what` is `Deployment shop`; `namespace` is null where the object names none. */
export type FoundPod = { readonly what: string; readonly namespace: string | null; readonly pod: V1Pod }

export type Documents = {
  readonly pods: readonly FoundPod[]
  readonly policies: readonly SessionPolicy[]
  readonly clusterPolicies: readonly ClusterSessionPolicy[]
  /** Labels of the namespaces in the files, by name. */
  readonly namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>
  /** ConfigMaps and Secrets in the files: `ConfigMap/shop/orders-ca`. */
  readonly objects: ReadonlySet<string>
  /** What the API server would leave out of policies without a word. */
  readonly warnings: readonly string[]
}

type Node = { readonly [field: string]: unknown }

/** @throws BadObjectFile, ObjectNotValid for a policy that the API server would refuse */
export async function readDocuments(
  given: readonly string[],
  defaultNamespace: string,
  input: AsyncIterable<Buffer> = process.stdin as AsyncIterable<Buffer>,
): Promise<Documents> {
  const pods: FoundPod[] = []
  const policies: SessionPolicy[] = []
  const clusterPolicies: ClusterSessionPolicy[] = []
  const namespaces = new Map<string, Readonly<Record<string, string>>>()
  const objects = new Set<string>()
  const warnings: string[] = []
  for (const file of (await Promise.all(given.map(filesIn))).flat()) {
    for (const object of objectsIn(await textOf(file, input), file)) {
      const metadata = node(object['metadata'])
      const kind = String(object['kind'])
      const unknown = unknownFieldsOf(object).map(
        (field) => `${kind} ${String(metadata['name'])}: ${field} is no field, and would be left out`,
      )
      warnings.push(...unknown)
      if (kind === 'SessionPolicy') policies.push(readSessionPolicy({ ...object, metadata: { namespace: defaultNamespace, ...metadata } }))
      else if (kind === 'ClusterSessionPolicy') clusterPolicies.push(readClusterSessionPolicy(object))
      else if (kind === 'Namespace') namespaces.set(String(metadata['name']), labelsIn(metadata))
      else if (kind === 'ConfigMap' || kind === 'Secret')
        objects.add(
          `${kind}/${typeof metadata['namespace'] === 'string' ? metadata['namespace'] : defaultNamespace}/${String(metadata['name'])}`,
        )
      else pods.push(...podsIn(object, file))
    }
  }
  if (pods.length === 0) throw new BadObjectFile(`there is no pod and no workload in ${given.join(', ')}`)
  return { pods, policies, clusterPolicies, namespaces, objects, warnings }
}

/** A folder stands for the files in it, not for those further below. */
async function filesIn(given: string): Promise<string[]> {
  if (given === '-') return [given]
  try {
    if (!(await stat(given)).isDirectory()) return [given]
    const names = (await readdir(given)).filter((name) => extensions.includes(path.extname(name))).sort()
    return names.map((name) => path.join(given, name))
  } catch (cause) {
    throw new BadObjectFile(`${given} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

async function textOf(file: string, input: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  try {
    for await (const piece of file === '-' ? input : (createReadStream(file) as AsyncIterable<Buffer>)) {
      bytes += piece.length
      if (bytes > bytesMax) throw new BadObjectFile(`${file} is longer than ${bytesMax / 1024 / 1024} MiB`)
      pieces.push(piece)
    }
  } catch (cause) {
    if (cause instanceof KnownError) throw cause
    throw new BadObjectFile(`${file} cannot be read: ${messageOf(cause)}`, { cause })
  }
  return Buffer.concat(pieces).toString('utf8')
}

function objectsIn(text: string, file: string): Node[] {
  try {
    return [...parseAllDocuments(text)].flatMap((document) => {
      const [error] = document.errors
      if (error !== undefined) throw new BadObjectFile(`${file} is not YAML: ${error.code} at line ${error.linePos?.[0].line ?? '?'}`)
      return listed(node(document.toJS({ maxAliasCount: 100 })))
    })
  } catch (cause) {
    if (cause instanceof KnownError) throw cause
    // Nested deeper than a stack, or aliases that multiply.
    throw new BadObjectFile(`${file} is not YAML that can be read`, { cause })
  }
}

function listed(object: Node): Node[] {
  if (Object.keys(object).length === 0) return []
  const isList = typeof object['kind'] === 'string' && object['kind'].endsWith('List') && Array.isArray(object['items'])
  return isList ? (object['items'] as unknown[]).flatMap((item) => listed(node(item))) : [object]
}

/** Where each kind of workload has its pods' template (Kubernetes API reference, workloads); unknown kinds mostly have it there as well. */
function templateOf(kind: string, object: Node): Node {
  const spec = node(object['spec'])
  if (kind === 'Pod') return object
  if (kind === 'PodTemplate') return node(object['template'])
  if (kind === 'CronJob') return node(node(node(spec['jobTemplate'])['spec'])['template'])
  return node(spec['template'])
}

function podsIn(object: Node, file: string): FoundPod[] {
  const kind = String(object['kind'])
  const metadata = node(object['metadata'])
  const { name, generateName, namespace } = metadata
  const called = typeof name === 'string' ? name : typeof generateName === 'string' ? `${generateName}*` : 'without a name'
  const template = templateOf(kind, object)
  if (kind !== 'Pod' && node(template['spec'])['containers'] === undefined) return []
  const reading = readPod({ apiVersion: 'v1', kind: 'Pod', ...template })
  if (reading.kind === 'unreadable') throw new BadObjectFile(`${kind} ${called} in ${file}: ${reading.problem}`)
  return [{ what: `${kind} ${called}`, namespace: typeof namespace === 'string' ? namespace : null, pod: reading.pod }]
}

function labelsIn(metadata: Node): Record<string, string> {
  return Object.fromEntries(
    Object.entries(node(metadata['labels'])).filter((label): label is [string, string] => typeof label[1] === 'string'),
  )
}

function node(value: unknown): Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Node) : {}
}
