/**
 * The reference page of a kind, in Markdown, from the schema that the API server has: every field with type, default, bounds and rules.
 */
import { group, type Kind, schemaOf, version } from './kinds.ts'
import type { StructuralSchema } from './structural.ts'

/** Says where the page comes from; the test that compares it with the source names the same command. */
const origin = '<!-- Written by `node crds/generate.ts` from the schemas in crds/. Edit those. -->'

export function referencePageOf(kind: Kind): string {
  const schema = schemaOf(kind)
  const { spec, status } = schema.properties ?? {}
  const scope = kind.scope === 'Namespaced' ? 'lives in a namespace' : 'belongs to the cluster'
  const short = kind.shortNames.map((name) => `, short \`${name}\``).join('')
  const rules = rulesOf(schema)
  return [
    origin,
    `# ${kind.kind}`,
    '',
    kind.description,
    '',
    `\`apiVersion: ${group}/${version}\`, \`kind: ${kind.kind}\`, \`kubectl get ${kind.plural}\`${short}; the object ${scope}.`,
    ...(rules === '' ? [] : ['', `Rules: ${rules}`]),
    '',
    '## spec',
    '',
    table(spec),
    '',
    '## status',
    '',
    table(status),
    '',
    '## Columns of kubectl get',
    '',
    '| column | meaning |',
    '| --- | --- |',
    ...kind.columns.map(
      ({ name, description, priority }) => `| ${name} | ${cell(description)}${priority === 1 ? ' Shown with `-o wide`.' : ''} |`,
    ),
    '',
  ].join('\n')
}

/** The index of the pages. */
export function referenceIndexOf(kinds: readonly Kind[]): string {
  const rows = kinds.map((kind) => `| [${kind.kind}](${pageName(kind)}) | ${kind.scope} | ${cell(kind.description)} |`)
  const head = ['# Kinds of steno.dev/v1alpha1', '', '| kind | scope | what it says |', '| --- | --- | --- |']
  return [origin, ...head, ...rows, '', 'What several policies for one pod mean together: [policies.md](../policies.md).', ''].join('\n')
}

/** SessionPolicy is `session-policy.md`. */
export const pageName = (kind: Kind): string => `${kind.kind.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase()}.md`

/** The file name of a kind's CustomResourceDefinition. */
export const definitionName = (kind: Kind): string => `${kind.plural}.${group}.yaml`

function table(schema: StructuralSchema | undefined): string {
  const rows = schema === undefined ? [] : rowsOf(schema, '')
  return ['| field | type | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

function rowsOf(schema: StructuralSchema, path: string): string[] {
  const required = new Set(schema.required)
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const here = path === '' ? name : `${path}.${name}`
    const rules = rulesOf(field) + rulesOf(field.items)
    const meaning = [field.description ?? '', boundsOf(field), rules].filter((part) => part !== '').join(' ')
    const initial = field.default === undefined ? (required.has(name) ? 'required' : '') : `\`${JSON.stringify(field.default)}\``
    const row = `| \`${here}\` | ${typeOf(field)} | ${initial} | ${cell(meaning)} |`
    const below = field.items === undefined ? rowsOf(field, here) : rowsOf(field.items, `${here}[]`)
    return [row, ...below]
  })
}

function typeOf(schema: StructuralSchema): string {
  if (schema['x-kubernetes-int-or-string'] === true) return 'number or string'
  if (schema.type === 'array') return `list of ${schema.items === undefined ? 'values' : typeOf(schema.items)}`
  if (schema.additionalProperties !== undefined) return 'map of strings'
  return schema.enum === undefined ? (schema.type ?? '') : schema.enum.map((value) => `\`${value}\``).join(', ')
}

function boundsOf(schema: StructuralSchema): string {
  const bounds = [
    schema.minimum !== undefined && schema.maximum !== undefined && schema.maximum < Number.MAX_SAFE_INTEGER
      ? `${schema.minimum} to ${schema.maximum}`
      : '',
    schema.maxLength === undefined ? '' : `at most ${schema.maxLength} characters`,
    schema.maxItems === undefined ? '' : `${schema.minItems ?? 0} to ${schema.maxItems} items`,
    schema.maxProperties === undefined ? '' : `at most ${schema.maxProperties} entries`,
    schema.pattern === undefined ? '' : `matches \`${schema.pattern}\``,
  ].filter((bound) => bound !== '')
  return bounds.length === 0 ? '' : `(${bounds.join(', ')})`
}

/** A rule's message is what somebody sees who breaks it. */
function rulesOf(schema: StructuralSchema | undefined): string {
  return (schema?.['x-kubernetes-validations'] ?? []).map(({ message }) => `Refused otherwise: “${message}”.`).join(' ')
}

const cell = (text: string): string => text.replaceAll('|', '\\|')
