/**
 * Reads objects of `steno.dev` that come from a cluster or a file: what is bad is named by path with what to do, what is absent gets its default.
 *
 * The same rules with the same messages as the API server applies. Fields that this release does not know are left out, as the API server
 * prunes them; `unknownFieldsOf` names them for people who wrote them by hand. Bounded by what the reader of the file or response admits.
 */
import type { z } from 'zod'
import { KnownError } from '../base/errors.ts'
import { type AdmissionParameters, admissionParametersSchema } from './admission-parameters.ts'
import { type ClusterSessionPolicy, clusterSessionPolicySchema } from './cluster-session-policy.ts'
import { jsonSchemaOf, type Kind, kinds } from './kinds.ts'
import { type RecordingStore, recordingStoreSchema } from './recording-store.ts'
import { apiVersion } from './schema-parts.ts'
import { type SessionPolicy, sessionPolicySchema } from './session-policy.ts'
import { asNode, discriminatorOf, foreignFieldMessage, isNode, missingFieldMessage, type Node } from './structural.ts'

/** Where in the object, such as `spec.databases[0].port`, and what is wrong there. Holds no values. */
export type FieldProblem = { readonly path: string; readonly message: string }

/** How many problems one message names; the rest are counted. */
const namedMax = 8

/** An object of `steno.dev` that the API server would refuse, or that another release wrote. */
export class ObjectNotValid extends KnownError {
  readonly code = 'OBJECT_NOT_VALID'
  readonly remedy = 'Correct the fields that are named; docs/reference has every field, and kubectl explain too.'
  readonly safeToRetry = true
  readonly problems: readonly FieldProblem[]
  constructor(what: string, problems: readonly FieldProblem[]) {
    const named = problems.slice(0, namedMax).map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
    const more = problems.length > namedMax ? [`and ${problems.length - namedMax} more`] : []
    super(`${what} is not valid: ${[...named, ...more].join('; ')}`)
    this.problems = problems
  }
}

/** Each throws ObjectNotValid. */
export const readSessionPolicy = (value: unknown): SessionPolicy => read('SessionPolicy', sessionPolicySchema, value)
export const readClusterSessionPolicy = (value: unknown): ClusterSessionPolicy =>
  read('ClusterSessionPolicy', clusterSessionPolicySchema, value)
export const readRecordingStore = (value: unknown): RecordingStore => read('RecordingStore', recordingStoreSchema, value)
export const readAdmissionParameters = (value: unknown): AdmissionParameters =>
  read('AdmissionParameters', admissionParametersSchema, value)

/** Any object of the four kinds. Throws ObjectNotValid, also for another kind or version. */
export function readObject(value: unknown): SessionPolicy | ClusterSessionPolicy | RecordingStore | AdmissionParameters {
  const kind = asNode(value)['kind']
  switch (kind) {
    case 'SessionPolicy':
      return readSessionPolicy(value)
    case 'ClusterSessionPolicy':
      return readClusterSessionPolicy(value)
    case 'RecordingStore':
      return readRecordingStore(value)
    case 'AdmissionParameters':
      return readAdmissionParameters(value)
    default:
      throw new ObjectNotValid('the object', [{ path: 'kind', message: `must be one of ${kinds.map((known) => known.kind).join(', ')}` }])
  }
}

/** Paths of fields of `spec` that no schema knows: typing mistakes, or fields of a later release. */
export function unknownFieldsOf(value: unknown): string[] {
  const kind = kinds.find((known) => known.kind === asNode(value)['kind'])
  return kind === undefined ? [] : walk(fieldsOf(kind), asNode(value)['spec'], 'spec').unknown
}

function read<S extends z.ZodType>(kindName: Kind['kind'], schema: S, value: unknown): z.output<S> {
  const object = asNode(value)
  const { name, namespace } = asNode(object['metadata'])
  const label = [namespace, name].filter((part) => typeof part === 'string').join('/')
  const what = label === '' ? `the ${kindName}` : `${kindName} ${label.slice(0, 512)}`
  if (object['apiVersion'] !== apiVersion) throw new ObjectNotValid(what, [{ path: 'apiVersion', message: `must be ${apiVersion}` }])
  const kind = kinds.find((known) => known.kind === kindName)
  const misplaced = kind === undefined ? [] : walk(fieldsOf(kind), object['spec'], 'spec').misplaced
  const parsed = schema.safeParse(value, { reportInput: true })
  const named = new Set(misplaced.map(({ path }) => path))
  const problems = [...misplaced, ...(parsed.error?.issues ?? []).map(problemOf).filter(({ path }) => !named.has(path))]
  if (!parsed.success || problems.length > 0) throw new ObjectNotValid(what, problems)
  return parsed.data
}

const cachedFields = new Map<Kind, Node>()

function fieldsOf(kind: Kind): Node {
  const known = cachedFields.get(kind) ?? jsonSchemaOf(kind).spec
  cachedFields.set(kind, known)
  return known
}

type Walk = { readonly unknown: string[]; readonly misplaced: FieldProblem[] }

/** What zod passes over in silence: fields that no schema has, and fields of another shape than the one chosen. */
function walk(node: Node, value: unknown, path: string): Walk {
  if (Array.isArray(value)) return joined(value.map((item, index) => walk(asNode(node['items']), item, `${path}[${index}]`)))
  if (!isNode(value)) return joined([])
  if (Array.isArray(node['oneOf'])) return walkShapes(node['oneOf'] as Node[], value, path)
  const fields = asNode(node['properties'])
  if (Object.keys(fields).length === 0) return joined([])
  return joined(
    Object.entries(value).map(([name, field]) =>
      Object.hasOwn(fields, name) ? walk(asNode(fields[name]), field, `${path}.${name}`) : { unknown: [`${path}.${name}`], misplaced: [] },
    ),
  )
}

function walkShapes(shapes: readonly Node[], value: Node, path: string): Walk {
  const key = discriminatorOf(shapes)
  const named = shapes.map((shape) => ({ shape, fields: asNode(shape['properties']) }))
  const chosen = named.find(({ fields }) => (asNode(fields[key])['enum'] as string[])[0] === value[key])
  if (chosen === undefined) return joined([])
  const name = String(value[key])
  const foreign = Object.keys(value).filter(
    (field) => !Object.hasOwn(chosen.fields, field) && named.some(({ fields }) => Object.hasOwn(fields, field)),
  )
  const missing = (chosen.shape['required'] as string[]).filter((field) => !Object.hasOwn(value, field))
  const misplaced = [
    ...missing.map((field) => ({ path: `${path}.${field}`, message: missingFieldMessage(key, name, field) })),
    ...foreign.map((field) => ({ path: `${path}.${field}`, message: foreignFieldMessage(key, name, field) })),
  ]
  const own = Object.fromEntries(Object.entries(value).filter(([field]) => !foreign.includes(field)))
  return joined([{ unknown: [], misplaced }, walk(chosen.shape, own, path)])
}

function joined(walks: readonly Walk[]): Walk {
  return { unknown: walks.flatMap(({ unknown }) => unknown), misplaced: walks.flatMap(({ misplaced }) => misplaced) }
}

function problemOf(issue: z.core.$ZodIssue): FieldProblem {
  const path = issue.path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('')
  return { path: path.replace(/^\./, ''), message: messageOfIssue(issue) }
}

/** In words, and without the value: zod's own texts speak of types of JavaScript. */
function messageOfIssue(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? `must be given: ${typeWord(issue.expected)}` : `must be ${typeWord(issue.expected)}`
    case 'too_big':
      return `must be at most ${issue.maximum}${unitOf(issue.origin)}`
    case 'too_small':
      return `must be at least ${issue.minimum}${unitOf(issue.origin)}`
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`
    case 'invalid_format':
      return issue.format === 'regex' ? `must match ${'pattern' in issue ? issue.pattern : 'the pattern of the field'}` : issue.message
    case 'invalid_union':
      return 'options' in issue && Array.isArray(issue.options) ? `must be one of ${issue.options.join(', ')}` : 'must be a number or text'
    default:
      return issue.message
  }
}

function typeWord(expected: string): string {
  const words: Readonly<Record<string, string>> = {
    string: 'text',
    int: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
    array: 'a list',
    object: 'a map of fields',
    record: 'a map of fields',
  }
  return words[expected] ?? expected
}

function unitOf(origin: string): string {
  return origin === 'string' ? ' characters long' : origin === 'array' ? ' items long' : ''
}
