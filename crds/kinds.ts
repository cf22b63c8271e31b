/**
 * The four kinds of `steno.dev`: names, scope, columns of `kubectl get`, and the schema that everything else about them is made from.
 */
import { z } from 'zod'
import { admissionParametersSchema } from './admission-parameters.ts'
import { clusterSessionPolicySchema } from './cluster-session-policy.ts'
import { recordingStoreSchema } from './recording-store.ts'
import { sessionPolicySchema } from './session-policy.ts'
import { asNode, type Node, structural, type StructuralSchema, type Validation } from './structural.ts'

export const group = 'steno.dev'
export const version = 'v1alpha1'

type Column = {
  readonly name: string
  readonly type: 'string' | 'integer' | 'date'
  readonly jsonPath: string
  readonly description: string
  readonly priority?: 1
}

export type Kind = {
  readonly kind: 'SessionPolicy' | 'ClusterSessionPolicy' | 'RecordingStore' | 'AdmissionParameters'
  readonly plural: string
  readonly singular: string
  readonly shortNames: readonly string[]
  readonly scope: 'Namespaced' | 'Cluster'
  readonly description: string
  readonly columns: readonly Column[]
  readonly schema: z.ZodType
}

const age: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: 'When it was made.' }

const condition = (name: string, type: string): Column[] => [
  {
    name,
    type: 'string',
    jsonPath: `.status.conditions[?(@.type=="${type}")].status`,
    description: `Whether the condition ${type} holds.`,
  },
]
const reason: Column = {
  name: 'Reason',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
  description: 'Why it is Ready or not.',
  priority: 1,
}
const pods = (count: string, description: string): Column => ({
  name: count[0]?.toUpperCase() + count.slice(1),
  type: 'integer',
  jsonPath: `.status.pods.${count}`,
  description,
})

export const kinds: readonly Kind[] = [
  {
    kind: 'SessionPolicy',
    plural: 'sessionpolicies',
    singular: 'sessionpolicy',
    shortNames: ['sp'],
    scope: 'Namespaced',
    description: 'Which pods of a namespace are recorded, which databases they may speak to, and how.',
    columns: [
      ...condition('Ready', 'Ready'),
      pods('matched', 'Pods that it is for.'),
      pods('injected', 'Those with the sidecar and this policy.'),
      pods('stale', 'Those with the sidecar and an earlier policy.'),
      pods('bare', 'Those without the sidecar.'),
      { name: 'Mode', type: 'string', jsonPath: '.spec.enforcement.mode', description: 'How other ways are closed.', priority: 1 },
      { name: 'Store', type: 'string', jsonPath: '.spec.recording.store', description: 'Where recordings go.', priority: 1 },
      reason,
      age,
    ],
    schema: sessionPolicySchema,
  },
  {
    kind: 'ClusterSessionPolicy',
    plural: 'clustersessionpolicies',
    singular: 'clustersessionpolicy',
    shortNames: ['csp'],
    scope: 'Cluster',
    description: 'What the administrators of the cluster hold every namespace to: a floor, a ceiling, exemptions.',
    columns: [...condition('Ready', 'Ready'), reason, age],
    schema: clusterSessionPolicySchema,
  },
  {
    kind: 'RecordingStore',
    plural: 'recordingstores',
    singular: 'recordingstore',
    // `rs` is ReplicaSet's; sharing it would have kubectl warn everybody who asks for those.
    shortNames: ['rstore'],
    scope: 'Cluster',
    description: 'Where recordings are kept: a volume behind control, or a bucket.',
    columns: [
      { name: 'Type', type: 'string', jsonPath: '.spec.type', description: 'The sort of store.' },
      { name: 'Bucket', type: 'string', jsonPath: '.spec.s3.bucket', description: 'The bucket, when it is one.', priority: 1 },
      ...condition('Ready', 'Ready'),
      ...condition('Reachable', 'StoreReachable'),
      reason,
      age,
    ],
    schema: recordingStoreSchema,
  },
  {
    kind: 'AdmissionParameters',
    // The word is a plural already, so both names are the same.
    plural: 'admissionparameters',
    singular: 'admissionparameters',
    shortNames: [],
    scope: 'Cluster',
    description: 'What steno’s ValidatingAdmissionPolicies compare pods with. Internal: written by the chart and by steno itself.',
    columns: [{ name: 'Image', type: 'string', jsonPath: '.spec.images[0]', description: 'The first image that a sidecar may run.' }, age],
    schema: admissionParametersSchema,
  },
]

/** What zod says of the fields that steno defines. */
export function jsonSchemaOf(kind: Kind): { readonly spec: Node; readonly status: Node; readonly rules: readonly Validation[] } {
  const whole = z.toJSONSchema(kind.schema, { target: 'openapi-3.0', io: 'input' })
  // Rules of the whole object are about its name.
  const rules = (whole['x-kubernetes-validations'] ?? []) as Validation[]
  return { spec: asNode(whole.properties?.['spec']), status: asNode(whole.properties?.['status']), rules }
}

/** The whole object's schema as the API server takes it: `metadata` is the server's own. */
export function schemaOf(kind: Kind): StructuralSchema {
  const { spec, status, rules } = jsonSchemaOf(kind)
  const schema: StructuralSchema = {
    description: kind.description,
    type: 'object',
    'x-kubernetes-validations': rules,
    properties: {
      apiVersion: { description: 'The version of the schema of this object: `steno.dev/v1alpha1`.', type: 'string' },
      kind: { description: `The kind of this object: \`${kind.kind}\`.`, type: 'string' },
      metadata: { type: 'object' },
      spec: structural(spec),
      status: structural(status),
    },
  }
  if (schema.properties?.['spec']?.default === undefined) schema.required = ['spec']
  return schema
}

/** The CustomResourceDefinition (apiextensions.k8s.io/v1). */
export function definitionOf(kind: Kind): Record<string, unknown> {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${kind.plural}.${group}`, labels: { 'app.kubernetes.io/name': 'steno', 'app.kubernetes.io/part-of': 'steno' } },
    spec: {
      group,
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        ...(kind.shortNames.length > 0 && { shortNames: kind.shortNames }),
        categories: ['steno'],
      },
      scope: kind.scope,
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          additionalPrinterColumns: kind.columns,
          schema: { openAPIV3Schema: schemaOf(kind) },
          subresources: { status: {} },
        },
      ],
    },
  }
}
