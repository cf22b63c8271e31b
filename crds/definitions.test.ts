/**
 * Goal: what is made from the schemas is current, structural, bounded and described. Method: every node of every schema is looked at;
 * spoiled schemas show that the look finds something; the files are compared with what would be written.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { z } from 'zod'
import { generatedFiles } from './generated-files.ts'
import { definitionOf, kinds, schemaOf } from './kinds.ts'
import { faultsOfSchema, structural, type StructuralSchema, type Validation } from './structural.ts'

const project = fileURLToPath(new URL('..', import.meta.url))

test('the definitions and reference pages are those that `node crds/generate.ts` writes, and there are no others', () => {
  const files = generatedFiles()
  for (const [file, text] of files) assert.equal(readFileSync(path.join(project, file), 'utf8'), text, file)
  for (const folder of ['charts/steno/crds', 'docs/reference']) {
    const there = readdirSync(path.join(project, folder)).map((name) => `${folder}/${name}`)
    assert.deepEqual(
      there.filter((file) => !files.has(file)),
      [],
    )
  }
})

test('the written definitions are YAML that says exactly what was meant', () => {
  for (const kind of kinds) {
    const text = generatedFiles().get(`charts/steno/crds/${kind.plural}.steno.dev.yaml`) ?? ''
    for (const version of ['1.1', '1.2'] as const)
      assert.deepEqual(parse(text, { version }), JSON.parse(JSON.stringify(definitionOf(kind))), version)
  }
})

for (const kind of kinds) {
  test(`${kind.kind}: spec and status are structural, every field is described, every string, list, map and number bounded`, () => {
    const { spec, status } = schemaOf(kind).properties ?? {}
    assert.deepEqual(faultsOfSchema(spec ?? {}, 'spec'), [])
    assert.deepEqual(faultsOfSchema(status ?? {}, 'status'), [])
  })

  test(`${kind.kind}: each rule's message is a sentence that says what to do`, () => {
    const actions = /\b(write|add|remove|give|choose|raise|leave|split|fill|name|paste|shorten|edit|take)\b/
    const rules = rulesOf(schemaOf(kind))
    for (const { message } of rules) assert.match(message, actions)
    assert.ok(rules.length > 0)
  })
}

function rulesOf(schema: StructuralSchema): Validation[] {
  const below = [...Object.values(schema.properties ?? {}), schema.items, schema.additionalProperties]
  return [...(schema['x-kubernetes-validations'] ?? []), ...below.flatMap((field) => (field === undefined ? [] : rulesOf(field)))]
}

// What a CustomResourceDefinition may call on Kubernetes 1.30 (k8s.io/apiserver/pkg/cel/environment): functions of release 1.29 and before.
const macros = [
  'has',
  'all',
  'exists',
  'exists_one',
  'filter',
  'size',
  'type',
  'int',
  'string',
  'matches',
  'contains',
  'split',
  'trim',
  'timestamp',
]
const libraries = ['isURL', 'isQuantity', 'quantity', 'compareTo', 'isLessThan']

test('rules call only what the API server of the oldest supported Kubernetes has', () => {
  for (const kind of kinds) {
    for (const { rule } of rulesOf(schemaOf(kind))) {
      const bare = rule.replaceAll(/'[^']*'/g, "''")
      for (const [, called = ''] of bare.matchAll(/\b([A-Za-z_]+)\(/g))
        assert.ok([...macros, ...libraries].includes(called), `${called} in ${rule}`)
    }
  }
})

const described = { description: 'A field.' }
const spoiled: Readonly<Record<string, StructuralSchema>> = {
  'has no type': { ...described },
  'has a type beside int-or-string': { ...described, type: 'string', maxLength: 1, 'x-kubernetes-int-or-string': true },
  'has no description': { type: 'boolean' },
  'its description is no sentence': { type: 'boolean', description: 'a field' },
  'has no maxLength': { ...described, type: 'string' },
  'has no maxItems': { ...described, type: 'array', 'x-kubernetes-list-type': 'atomic', items: { type: 'boolean' } },
  'has no items': { ...described, type: 'array', 'x-kubernetes-list-type': 'atomic', maxItems: 1 },
  'does not say how apply merges it': { ...described, type: 'array', maxItems: 1, items: { type: 'boolean' } },
  'is not bounded': { ...described, type: 'integer', minimum: 0 },
  'has no maxProperties': { ...described, type: 'object', additionalProperties: { type: 'boolean' } },
  'has no fields': { ...described, type: 'object' },
  'requires a, which it has not': { ...described, type: 'object', properties: {}, required: ['a'] },
  'requires a, which has a default': {
    ...described,
    type: 'object',
    properties: { a: { ...described, type: 'boolean', default: true } },
    required: ['a'],
  },
}

for (const [fault, schema] of Object.entries(spoiled)) {
  test(`a schema is found out when it ${fault}, however deep`, () => {
    const nested: StructuralSchema = {
      ...described,
      type: 'array',
      maxItems: 1,
      'x-kubernetes-list-type': 'atomic',
      items: { type: 'object', properties: { deep: schema } },
    }
    assert.deepEqual(faultsOfSchema(nested, 'spec'), [`spec[].deep: ${fault}`])
  })
}

test('shapes that one field tells apart become one object with rules for what belongs together', () => {
  const shapes = z.discriminatedUnion('type', [
    z.object({ type: z.literal('file'), path: z.string().max(9), mode: z.exactOptional(z.int()) }),
    z.object({ type: z.literal('none') }),
  ])
  const schema = structural(z.toJSONSchema(shapes, { target: 'openapi-3.0', io: 'input' }))
  assert.deepEqual(schema.required, ['type'])
  assert.deepEqual(Object.keys(schema.properties ?? {}), ['type', 'path', 'mode'])
  assert.deepEqual(schema.properties?.['type']?.enum, ['file', 'none'])
  assert.deepEqual(
    schema['x-kubernetes-validations']?.map(({ rule }) => rule),
    ["self.type != 'file' || has(self.path)", "self.type != 'none' || !has(self.path)", "self.type != 'none' || !has(self.mode)"],
  )
})

test('what a structural schema cannot say is refused, never dropped', () => {
  const convert = (schema: z.ZodType): unknown => structural(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input' }))
  assert.throws(() => convert(z.union([z.boolean(), z.string()])), /anyOf is only for int-or-string/)
  assert.throws(() => convert(z.tuple([z.string()])), /invariant broken/)
  assert.throws(() => convert(z.number().multipleOf(2)), /has no multipleOf/)
})
