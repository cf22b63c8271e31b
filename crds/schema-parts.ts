/**
 * The pieces that the kinds' schemas are made of: bounded strings and lists, rules that the API server and zod both check, selectors, status.
 *
 * Every string, list and map has an upper bound, because the API server refuses CEL rules whose worst case costs too much, and because
 * what is read here is held in memory. Knows nothing of YAML; `structural.ts` turns the schemas into what a CustomResourceDefinition takes.
 */
import { z } from 'zod'
import { addressRangeOf } from './address-range.ts'
import { celIsAddress, celIsAddressRange } from './cel.ts'
import { isHostPattern } from './host-pattern.ts'
import { bytesOf, isQuantity } from './quantity.ts'

/** The version of the API that these schemas are. */
export const apiVersion = 'steno.dev/v1alpha1'

/**
 * A rule with one message for both readers: `rule` is CEL (Kubernetes' `x-kubernetes-validations`), `holds` the same for zod.
 * The message names the fix. `holds` is called only with values whose types fit.
 */
export type Rule<Value> = { readonly rule: string; readonly message: string; readonly holds: (value: Value) => boolean }

export function withRules<S extends z.ZodType>(schema: S, rules: readonly Rule<z.output<S>>[]): S {
  const checked = schema.check((context) => {
    for (const { message, holds } of rules) {
      if (!holds(context.value)) context.issues.push({ code: 'custom', message, input: context.value })
    }
  })
  const validations = rules.map(({ rule, message }) => ({ rule, message }))
  return checked.meta({ 'x-kubernetes-validations': [...validationsOf(schema), ...validations] })
}

function validationsOf(schema: z.ZodType): object[] {
  const known = schema.meta()?.['x-kubernetes-validations']
  return Array.isArray(known) ? known : []
}

/** A string of 1 to `charactersMax` characters. `pattern` must mean the same in RE2, so: no lookaround, no backreference. */
export function text(charactersMax: number, description: string, pattern?: RegExp): z.ZodString {
  const schema = z.string().min(1).max(charactersMax)
  return (pattern === undefined ? schema : schema.regex(pattern)).meta({ description })
}

export function integer(smallest: number, largest: number, description: string): z.ZodInt {
  return z.int().min(smallest).max(largest).meta({ description })
}

const momentPattern = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,3})?Z$/

/** A moment as RFC 3339 writes it, in UTC and no finer than a millisecond, which JavaScript and CEL read alike. */
export function momentText(description: string): z.ZodString {
  return withRules(text(24, description, momentPattern), [
    {
      rule: "timestamp(self) > timestamp('2000-01-01T00:00:00Z')",
      message: 'a moment is written as 2026-11-21T10:00:00Z: take a date that there is',
      holds: (moment) => {
        const milliseconds = Date.parse(moment)
        // Some days that there are not count as days of the next month.
        return milliseconds > Date.UTC(2000) && new Date(milliseconds).toISOString().slice(0, 19) === moment.slice(0, 19)
      },
    },
  ])
}

/** A list of `itemsMin` to `itemsMax`. `set`: equal items are refused. `mapKeys`: items are told apart by these fields, and apply merges them so. */
export function list<S extends z.ZodType>(
  item: S,
  bounds: { readonly itemsMin?: number; readonly itemsMax: number; readonly set?: true; readonly mapKeys?: readonly string[] },
  description: string,
): z.ZodArray<S> {
  const schema = z
    .array(item)
    .min(bounds.itemsMin ?? 0)
    .max(bounds.itemsMax)
  const keys = bounds.mapKeys
  if (bounds.set !== true && keys === undefined) return schema.meta({ description, 'x-kubernetes-list-type': 'atomic' })
  const unique = schema.check((context) => {
    const seen = new Set<string>()
    for (const entry of context.value) {
      const key = JSON.stringify(keys === undefined ? entry : keys.map((name) => (entry as Record<string, unknown>)[name]))
      if (seen.has(key)) context.issues.push({ code: 'custom', message: `Duplicate value: ${key}`, input: context.value })
      seen.add(key)
    }
  })
  if (keys === undefined) return unique.meta({ description, 'x-kubernetes-list-type': 'set' })
  return unique.meta({ description, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': keys })
}

/** A map from strings to strings with at most `entriesMax` entries. */
export function stringMap(entriesMax: number, charactersMax: number, description: string) {
  const message = `must have at most ${entriesMax} items`
  return z
    .record(z.string(), z.string().max(charactersMax))
    .check((context) => {
      if (Object.keys(context.value).length > entriesMax) context.issues.push({ code: 'custom', message, input: context.value })
    })
    .meta({ description, maxProperties: entriesMax, 'x-kubernetes-map-type': 'atomic' })
}

export const dnsLabelPattern = /^[a-z0-9]+(-+[a-z0-9]+)*$/
export const dnsSubdomainPattern = /^[a-z0-9]+([-.]+[a-z0-9]+)*$/
/** What Kubernetes takes as the name of a variable that shells can use as well. */
export const variablePattern = /^[A-Za-z_][A-Za-z0-9_]*$/

export const dnsLabel = (description: string): z.ZodString => text(63, description, dnsLabelPattern)
export const objectName = (description: string): z.ZodString => text(253, description, dnsSubdomainPattern)
export const objectKey = (description: string): z.ZodString => text(253, description, /^[-._a-zA-Z0-9]+$/)
export const variableName = (description: string): z.ZodString => text(128, description, variablePattern)
export const portNumber = (description: string): z.ZodInt => integer(1, 65_535, description)

const hostNamePattern = '^([*][.])?([A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?[.])*[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?[.]?$'

/** A host as policies write it; `any: true` also takes `*` alone. */
export function hostPattern(description: string, { any = false }: { readonly any?: boolean } = {}): z.ZodString {
  const star = any ? ` || self == '*'` : ''
  return withRules(text(253, description), [
    {
      rule: `${celIsAddress('self')} || (self.matches('${hostNamePattern}') && !self.matches('^[0-9.]+$'))${star}`,
      message:
        'a host is a name (db.example.com), a wildcard for whole labels at the front (*.example.com) or an address (10.0.0.5, fd00::5): ' +
        'write it without scheme, port, path or brackets',
      holds: (host) => isHostPattern(host) || (any && host === '*'),
    },
  ])
}

export function addressRange(description: string): z.ZodString {
  return withRules(text(43, description), [
    {
      rule: celIsAddressRange('self'),
      message: 'an address range is written as 10.0.0.0/8 or fd00::/8: add the prefix length (a single address has /32 or /128)',
      holds: (range) => addressRangeOf(range) !== null,
    },
  ])
}

/** A Kubernetes quantity as a string; a bare number in YAML is taken as well. */
export function quantity(description: string) {
  const schema = z
    .union([z.int().min(0), z.string().min(1).max(32)])
    .transform(String)
    .meta({ description, 'x-kubernetes-int-or-string': true })
  return withRules(schema, [
    {
      rule: "type(self) == int ? int(self) >= 0 : isQuantity(string(self)) && !quantity(string(self)).isLessThan(quantity('0'))",
      message: 'write a quantity as 100m, 512Mi or 2Gi: a number, and behind it at most one unit of Kubernetes',
      holds: (value) => isQuantity(value),
    },
  ])
}

/** A number of bytes as a quantity within bounds, both inclusive. */
export function byteQuantity(smallest: string, largest: string, description: string): z.ZodString {
  const schema = text(32, description, /^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$/)
  return withRules(schema, [
    {
      rule:
        `isQuantity(self) && quantity(self).compareTo(quantity('${smallest}')) >= 0 && ` +
        `quantity(self).compareTo(quantity('${largest}')) <= 0`,
      message: `must be from ${smallest} to ${largest}: write it as a quantity of bytes, such as 512Mi`,
      holds: (value) => {
        const bytes = bytesOf(value)
        return bytes !== null && bytes >= (bytesOf(smallest) ?? Infinity) && bytes <= (bytesOf(largest) ?? 0)
      },
    },
  ])
}

const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const

const labelExpression = withRules(
  z.object({
    key: text(317, 'The label that is looked at.'),
    operator: z.enum(operators).meta({ description: 'In and NotIn compare with `values`; Exists and DoesNotExist take none.' }),
    values: z.exactOptional(list(z.string().max(63), { itemsMax: 64 }, 'The values for In and NotIn.')),
  }),
  [
    {
      rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
      message: 'operators In and NotIn need `values`, Exists and DoesNotExist take none: add or remove `values`',
      holds: ({ operator, values = [] }) => (operator === 'In' || operator === 'NotIn') === values.length > 0,
    },
  ],
)

/** `matchLabels` as a field of its own: at most 64 labels. */
export const matchLabels = (description: string) => stringMap(64, 63, description)

/** A label selector (`metav1.LabelSelector`); the empty one selects everything. */
export function labelSelector(description: string) {
  return z
    .object({
      matchLabels: z.exactOptional(matchLabels('Labels that must all be there with exactly these values.')),
      matchExpressions: z.exactOptional(list(labelExpression, { itemsMax: 16 }, 'Conditions on labels that must all hold.')),
    })
    .meta({ description, 'x-kubernetes-map-type': 'atomic' })
}

/** What the API server keeps for every object, as far as steno reads it; whatever else is there stays. */
export const objectMeta = z.looseObject({
  name: z.string(),
  namespace: z.exactOptional(z.string()),
  uid: z.exactOptional(z.string()),
  generation: z.exactOptional(z.int()),
  resourceVersion: z.exactOptional(z.string()),
  labels: z.exactOptional(z.record(z.string(), z.string())),
  annotations: z.exactOptional(z.record(z.string(), z.string())),
})

/** A rule on the name of the object; names appear where Kubernetes admits 63 characters only. */
export const shortName: Rule<{ readonly metadata: { readonly name: string } }> = {
  rule: 'size(self.metadata.name) <= 63',
  message: 'the name of the object stands in annotations of pods, in URLs and in recordings: shorten it to 63 characters',
  holds: ({ metadata }) => metadata.name.length <= 63,
}

const condition = z.object({
  type: text(
    63,
    'What the condition is about: Ready, StoreReachable, RecordingStored, EgressEnforced or CredentialsIsolated.',
    /^[A-Za-z]+$/,
  ),
  status: z.enum(['True', 'False', 'Unknown']).meta({ description: 'Whether it holds; Unknown when it could not be found out.' }),
  reason: text(256, 'One word for the cause, for programs.', /^[A-Za-z][A-Za-z0-9_]*([,:]+[A-Za-z0-9_]+)*$/),
  message: z.string().max(4096).meta({ description: 'The cause and what to do about it, for people.' }),
  lastTransitionTime: z.string().max(64).meta({ description: 'When `status` last changed (RFC 3339).', format: 'date-time' }),
  observedGeneration: z.exactOptional(integer(0, Number.MAX_SAFE_INTEGER, 'The generation of the object that this was said of.')),
})

/** The fields that every kind's status has. */
export const statusFields = {
  observedGeneration: z.exactOptional(integer(0, Number.MAX_SAFE_INTEGER, 'The generation of the object that this status was made from.')),
  conditions: z.exactOptional(list(condition, { itemsMax: 16, mapKeys: ['type'] }, 'What was found, one entry for each type.')),
}
