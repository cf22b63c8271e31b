/**
 * The chart as helm renders it without a cluster, for tests: its objects with the fields that are looked at, one by kind and name, the pods
 * of all. Values are helm's own options. It knows nothing of what a cluster says to them.
 */
import assert from 'node:assert/strict'
import { parseAllDocuments } from 'yaml'
import { renderChart } from './helm.ts'

type Rule = { readonly apiGroups: string[]; readonly resources: string[]; readonly verbs: string[]; readonly resourceNames?: string[] }
type Container = {
  readonly name: string
  readonly image: string
  readonly args?: string[]
  readonly resources?: { readonly requests?: object; readonly limits?: object }
  readonly securityContext?: Readonly<Record<string, unknown>>
}
export type PodSpec = {
  readonly containers: Container[]
  readonly securityContext?: Readonly<Record<string, unknown>>
  readonly volumes?: object[]
}
export type PodTemplate = {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> }
  readonly spec: PodSpec & {
    readonly nodeSelector?: object
    readonly priorityClassName?: string
    readonly tolerations?: object[]
    readonly serviceAccountName?: string
    readonly terminationGracePeriodSeconds?: number
  }
}
export type Closed = { readonly spec: { readonly policyTypes: string[]; readonly ingress: object[]; readonly egress: object[] } }
export type Object_ = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly annotations?: Record<string, string> }
  readonly rules?: Rule[]
  readonly webhooks?: (Record<string, unknown> & { readonly matchConditions?: readonly unknown[] })[]
  readonly spec?: {
    readonly replicas?: number
    readonly strategy?: { readonly type?: string }
    readonly template?: { readonly spec: PodSpec }
    readonly images?: string[]
    readonly type?: string
    readonly groups?: { readonly rules: { readonly alert: string }[] }[]
  }
}

export const s3 = 'store.type=s3,store.s3.bucket=recordings,store.s3.region=eu-west-1'
export const digest = `sha256:${'ab'.repeat(32)}`
export const authority = '-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n'

export async function rendered(args: readonly string[]): Promise<Object_[]> {
  const text = await renderChart(args)
  return parseAllDocuments(text).flatMap((document) => {
    assert.deepEqual(document.errors, [])
    const object = document.toJS() as Object_ | null
    return object === null ? [] : [object]
  })
}
export const named = (objects: readonly Object_[], kind: string, name: string): Object_ => {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name)
  assert.ok(found, `${kind} ${name}`)
  return found
}
export const podSpecs = (objects: readonly Object_[]): PodSpec[] =>
  objects.flatMap(({ spec }) => (spec?.template === undefined ? [] : [spec.template.spec]))
