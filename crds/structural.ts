/**
 * Turns zod's JSON Schema into a structural schema, the only kind a CustomResourceDefinition takes, and says what keeps a schema from being one.
 *
 * Source: Kubernetes, "Specifying a structural schema" and apiextensions.k8s.io/v1 JSONSchemaProps. Handles what the kinds of this folder
 * use and throws on anything else, so that no part of a schema is lost silently.
 */
import { invariant } from '../base/invariant.ts'

export type Validation = { readonly rule: string; readonly message: string }

/** The part of JSONSchemaProps that these schemas use, in the order in which YAML shows it. */
export type StructuralSchema = {
  description?: string
  type?: string
  'x-kubernetes-int-or-string'?: true
  format?: string
  enum?: readonly string[]
  default?: unknown
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  pattern?: string
  minItems?: number
  maxItems?: number
  maxProperties?: number
  'x-kubernetes-list-type'?: string
  'x-kubernetes-list-map-keys'?: readonly string[]
  'x-kubernetes-map-type'?: string
  'x-kubernetes-validations'?: readonly Validation[]
  required?: readonly string[]
  properties?: Readonly<Record<string, StructuralSchema>>
  additionalProperties?: StructuralSchema
  items?: StructuralSchema
}

/** A node of zod's JSON Schema. */
export type Node = Readonly<Record<string, unknown>>

const copied = [
  'description',
  'type',
  'x-kubernetes-int-or-string',
  'format',
  'enum',
  'default',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'pattern',
  'minItems',
  'maxItems',
  'maxProperties',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-map-type',
  'x-kubernetes-validations',
  'required',
] as const
/** Keys with a meaning of their own here. */
const handled = ['properties', 'additionalProperties', 'items', 'oneOf', 'anyOf', 'fieldDescriptions']

/** `node` is what `z.toJSONSchema(…, { target: 'openapi-3.0', io: 'input' })` gave. */
export function structural(node: Node): StructuralSchema {
  const unknown = Object.keys(node).find((key) => !handled.includes(key) && !copied.some((known) => known === key))
  invariant(unknown === undefined, `a structural schema has no ${unknown}`)
  if (Array.isArray(node['oneOf'])) return variants(node, node['oneOf'] as Node[])
  if (node['x-kubernetes-int-or-string'] === true) {
    // The API server knows what an int-or-string is; the alternatives that zod lists would be refused beside the mark.
    return pick({ ...node, ...boundsOf(node) })
  }
  invariant(node['anyOf'] === undefined, 'anyOf is only for int-or-string')
  const schema = pick(node)
  if (isNode(node['properties'])) {
    schema.properties = Object.fromEntries(Object.entries(node['properties']).map(([name, field]) => [name, structural(asNode(field))]))
  } else if (isNode(node['additionalProperties'])) schema.additionalProperties = structural(node['additionalProperties'])
  if (isNode(node['items'])) schema.items = structural(node['items'])
  return schema
}

/** Bounds of the string among the alternatives hold for strings only, so they may stand beside the mark. */
function boundsOf(node: Node): Node {
  const alternatives = Array.isArray(node['anyOf']) ? (node['anyOf'] as Node[]) : []
  const text = alternatives.find(({ type }) => type === 'string')
  return { maxLength: text?.['maxLength'] }
}

/**
 * Shapes told apart by one field become one object with the fields of all, and rules that say which belong together. Fields of one shape
 * lose their own default at the top level: the API server would fill it in for the other shapes too.
 */
function variants(node: Node, shapes: readonly Node[]): StructuralSchema {
  const key = discriminatorOf(shapes)
  const descriptions = asNode(node['fieldDescriptions'])
  const named = shapes.map((shape) => {
    const fields = asNode(shape['properties'])
    const [name] = asNode(fields[key])['enum'] as string[]
    invariant(name !== undefined, 'a shape has a name')
    const required = (shape['required'] as string[]).filter((field) => field !== key)
    return { name, fields: Object.keys(fields).filter((field) => field !== key), required, properties: fields }
  })
  const properties: Record<string, StructuralSchema> = {
    [key]: { description: String(descriptions[key]), type: 'string', enum: named.map(({ name }) => name) },
  }
  for (const [field, schema] of named.flatMap((shape) => Object.entries(shape.properties))) {
    if (field === key) continue
    invariant(properties[field] === undefined, `two shapes have the field ${field}`)
    const own = structural(asNode(schema))
    delete own.default
    properties[field] = own
  }
  const rules = named.flatMap((shape) => [
    ...shape.required.map((field) => ({
      rule: `self.${key} != '${shape.name}' || has(self.${field})`,
      message: missingFieldMessage(key, shape.name, field),
    })),
    ...named
      .filter((other) => other !== shape)
      .flatMap((other) => other.fields)
      .map((field) => ({
        rule: `self.${key} != '${shape.name}' || !has(self.${field})`,
        message: foreignFieldMessage(key, shape.name, field),
      })),
  ])
  const own = (node['x-kubernetes-validations'] as Validation[] | undefined) ?? []
  return { ...pick(node), type: 'object', 'x-kubernetes-validations': [...own, ...rules], required: [key], properties }
}

export const missingFieldMessage = (key: string, shape: string, field: string): string =>
  `\`${key}: ${shape}\` needs \`${field}\`: add it, or choose another ${key}`
export const foreignFieldMessage = (key: string, shape: string, field: string): string =>
  `\`${field}\` does not belong to \`${key}: ${shape}\`: remove it, or choose another ${key}`

/** The field that has a different single value in each shape. */
export function discriminatorOf(shapes: readonly Node[]): string {
  const candidates = Object.keys(asNode(shapes[0]?.['properties']))
  const key = candidates.find((field) => {
    const names = shapes.map((shape) => asNode(asNode(shape['properties'])[field])['enum'] as string[] | undefined)
    return names.every((values) => values?.length === 1) && new Set(names.flat()).size === shapes.length
  })
  invariant(key !== undefined, 'shapes are told apart by a field')
  return key
}

function pick(node: Node): StructuralSchema {
  const pairs = copied.filter((key) => node[key] !== undefined && !(key === 'minItems' && node[key] === 0)).map((key) => [key, node[key]])
  return Object.fromEntries(pairs) as StructuralSchema
}

export function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0
}

export function asNode(value: unknown): Node {
  return isNode(value) ? value : {}
}

/** What keeps `schema` from being structural, described, or bounded; one sentence for each, with its path. None for a good one. */
export function faultsOfSchema(schema: StructuralSchema, path: string): string[] {
  const faults: string[] = []
  const fault = (what: string): void => void faults.push(`${path}: ${what}`)
  const mark = schema['x-kubernetes-int-or-string']
  if (schema.type === undefined && mark !== true) fault('has no type')
  if (schema.type !== undefined && mark === true) fault('has a type beside int-or-string')
  if ((schema.description ?? '').trim() === '') fault('has no description')
  if (schema.description !== undefined && !/[.]$/.test(schema.description)) fault('its description is no sentence')
  if ((schema.type === 'string' || mark === true) && schema.maxLength === undefined && schema.enum === undefined) fault('has no maxLength')
  if (schema.type === 'array' && schema.maxItems === undefined) fault('has no maxItems')
  if (schema.type === 'array' && schema.items === undefined) fault('has no items')
  if (schema.type === 'array' && schema['x-kubernetes-list-type'] === undefined) fault('does not say how apply merges it')
  if (schema.type === 'integer' && (schema.minimum === undefined || schema.maximum === undefined)) fault('is not bounded')
  if (schema.additionalProperties !== undefined && schema.maxProperties === undefined) fault('has no maxProperties')
  if (schema.additionalProperties !== undefined && schema.properties !== undefined) fault('has properties and additionalProperties')
  if (schema.type === 'object' && schema.additionalProperties === undefined && schema.properties === undefined) fault('has no fields')
  for (const { rule, message } of schema['x-kubernetes-validations'] ?? []) {
    if (/[\r\n]/.test(message) || message.length > 2048) fault(`its rule ${rule} has a message of several lines or beyond 2048 characters`)
  }
  for (const name of schema.required ?? []) {
    if (schema.properties?.[name] === undefined) fault(`requires ${name}, which it has not`)
    if (schema.properties?.[name]?.default !== undefined) fault(`requires ${name}, which has a default`)
  }
  for (const [name, field] of Object.entries(schema.properties ?? {})) faults.push(...faultsOfSchema(field, `${path}.${name}`))
  // What stands in a list or a map may be described where the list or the map is.
  const entry = schema.items ?? schema.additionalProperties
  if (entry !== undefined) faults.push(...faultsOfSchema({ description: 'An entry.', ...entry }, `${path}[]`))
  return faults
}
