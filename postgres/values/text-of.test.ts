import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { composed, definitions, samples } from './test-samples.ts'
import { connect, type BothFormats, type RawClient } from './test-client.ts'
import { settingsFrom } from './settings.ts'
import { textOf } from './text-of.ts'
import { builtInType } from './types.ts'

let server: EmbeddedPostgres
let client: RawClient

before(async () => {
  server = await startPostgres({ authentication: 'trust' })
  client = await connect(server)
  await client.run(definitions)
})
after(async () => {
  client.end()
  await server.stop()
})

/** Types of the catalogue whose binary form cannot be shown as psql shows the text form; `types.ts` says why. */
const exceptions = new Set([
  ...[
    'regproc',
    'regprocedure',
    'regoper',
    'regoperator',
    'regclass',
    'regtype',
    'regconfig',
    'regdictionary',
    'regnamespace',
    'regrole',
    'regcollation',
  ],
  ...['pg_ndistinct', 'pg_dependencies', 'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary', 'pg_mcv_list'],
])

/** Tables whose row types have fixed OIDs; `composed` prints such a row. */
const rowTypes = new Set(['pg_type', 'pg_attribute', 'pg_proc', 'pg_class'])

const sessionSettings = [
  { TimeZone: 'UTC', DateStyle: 'ISO, MDY', IntervalStyle: 'postgres' },
  { TimeZone: 'Europe/Berlin', DateStyle: 'ISO, DMY', IntervalStyle: 'postgres_verbose' },
  { TimeZone: 'America/New_York', DateStyle: 'SQL, MDY', IntervalStyle: 'sql_standard' },
  { TimeZone: 'Australia/Sydney', DateStyle: 'SQL, DMY', IntervalStyle: 'iso_8601' },
  { TimeZone: 'Asia/Kathmandu', DateStyle: 'Postgres, MDY', IntervalStyle: 'postgres' },
  { TimeZone: 'Asia/Tokyo', DateStyle: 'Postgres, DMY', IntervalStyle: 'postgres' },
  { TimeZone: 'America/Los_Angeles', DateStyle: 'German', IntervalStyle: 'sql_standard' },
  { TimeZone: '<+03>-03', DateStyle: 'SQL, YMD', IntervalStyle: 'postgres' },
]

/** Asks for the same values as text and as binary at once, and compares what we make of the binary with the server's text. */
async function compare(select: string): Promise<number> {
  const rows = await client.twice(select)
  for (const { typeOid, text, binary } of rows) {
    if (text === null || binary === null) {
      assert.deepEqual(binary, text)
      continue
    }
    const shown = textOf(binary, { typeOid, typeModifier: -1, format: 'binary' }, settingsFrom(client.parameters))
    assert.equal(shown, text.toString('utf8'), `${select.slice(0, 100)}: ${binary.subarray(0, 40).toString('hex')}`)
    assert.equal(textOf(text, { typeOid, typeModifier: -1, format: 'text' }, settingsFrom(client.parameters)), text.toString('utf8'))
  }
  return rows.length
}

// Goal: what a recording shows is what psql would have shown. Method: the server sends each value in both formats in one row.
test('values are what psql shows: for every built-in type, text and binary', async (t) => {
  for (const [type, expressions] of Object.entries(samples)) {
    let values = 0
    const select = expressions.map((expression) => `select (${expression})::"${type}" as v`).join(' union all ')
    values += await compare(type === 'unknown' ? "select 'literal' as v" : select)
    // The same values inside an array and a record: quoting, NULL, and the array's own OID.
    if (!['unknown', 'cstring', 'int2vector', 'oidvector', 'pg_node_tree'].includes(type)) {
      values += await compare(`select array_agg(v) || null || array_agg(v) as v from (${select}) q`)
      values += await compare(`select row(v, null, v) as v from (${select}) q`)
    }
    assert.ok(values > 0)
    t.diagnostic(`${type}: ${values} values`)
  }
})

test('values are what psql shows: arrays, records, and types that users define', async () => {
  for (const expression of composed) await compare(`select ${expression} as v`)
})

test('values are what psql shows: under every kind of DateStyle, IntervalStyle and TimeZone', async () => {
  for (const setting of sessionSettings) {
    for (const [name, value] of Object.entries(setting)) await client.run(`set ${name} = '${value}'`)
    for (const type of ['date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'tstzrange', 'tstzmultirange', 'daterange']) {
      await compare(samples[type]!.map((expression) => `select (${expression})::"${type}" as v`).join(' union all '))
    }
  }
  for (const name of ['TimeZone', 'DateStyle', 'IntervalStyle']) await client.run(`reset ${name}`)
})

test('values are what psql shows: bytea_output and extra_float_digits, where they are known', async () => {
  await client.run("set bytea_output = 'escape'; set extra_float_digits = 0")
  const known = { ...settingsFrom(client.parameters), byteaOutput: 'escape', extraFloatDigits: 0 }
  for (const type of ['bytea', 'float4', 'float8']) {
    const select = samples[type]!.map((expression) => `select (${expression})::${type} as v`).join(' union all ')
    for (const { typeOid, text, binary } of await client.twice(select)) {
      assert.equal(textOf(binary!, { typeOid, typeModifier: -1, format: 'binary' }, known), text!.toString())
    }
  }
  await client.run('reset bytea_output; reset extra_float_digits')
})

test('values are what psql shows: in other client encodings', async () => {
  for (const encoding of ['LATIN1', 'WIN1252', 'LATIN9', 'LATIN5', 'EUC_JP', 'SJIS']) {
    await client.run(`set client_encoding = '${encoding}'`)
    const word = encoding.includes('J') ? '日本' : 'üñé'
    const select = `select array['', convert_from('\\x${Buffer.from(word).toString('hex')}', 'UTF8')] as v`
    const [{ typeOid, text, binary }] = (await client.twice(select)) as [BothFormats]
    for (const [value, format] of [
      [text!, 'text'],
      [binary!, 'binary'],
    ] as const) {
      assert.equal(textOf(value, { typeOid, typeModifier: -1, format }, settingsFrom(client.parameters)), `{"",${word}}`)
    }
    await client.run("set client_encoding = 'UTF8'")
  }
})

// Goal: a type of a later PostgreSQL makes this red. Method: ask the server's own catalogue.
test('every type with a binary form is known and compared', async () => {
  const rows = await server.query(`
    select t.oid::int as oid, t.typname as name, t.typcategory as category from pg_type t left join pg_type e on e.oid = t.typelem
    where t.typsend <> 0 and t.typnamespace = 'pg_catalog'::regnamespace and t.typtype in ('b', 'r', 'm')
      and (t.typcategory <> 'A' or e.typsend <> 0)`)
  assert.ok(rows.length > 100)
  for (const row of rows) {
    const { oid, name, category } = row as { oid: number; name: string; category: string }
    // Row types of system tables and views get OIDs anew with each initdb; they are known by structure.
    if (category === 'A' && oid >= 10_000) continue
    assert.ok(builtInType(oid) !== undefined, `${name} (${oid}) has no decoder`)
    const inner = category === 'A' && name.startsWith('_') ? name.slice(1) : name
    if (exceptions.has(inner) || rowTypes.has(inner)) continue
    assert.ok(samples[inner] !== undefined, `${name} (${oid}) is not among the samples`)
  }
})

const binaryTypes = Array.from({ length: 6200 }, (_, oid) => oid).filter((oid) => builtInType(oid) !== undefined)

test('bytes that no type sent are shown as text or hexadecimal, never as a crash', () => {
  const settings = settingsFrom({ TimeZone: 'Europe/Berlin', DateStyle: 'Postgres, DMY' })
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.array(fc.constantFrom(0, 0, 0, 1, 2, 4, 23, 255), { maxLength: 64 }))
  fc.assert(
    fc.property(fc.oneof(fc.constantFrom(...binaryTypes), fc.nat()), bytes, (typeOid, values) => {
      assert.equal(typeof textOf(Buffer.from(values), { typeOid, typeModifier: -1, format: 'binary' }, settings), 'string')
    }),
    { numRuns: 20_000 },
  )
  assert.equal(textOf(Buffer.from([1]), { typeOid: 23, typeModifier: -1, format: 'binary' }, settings), '\\x01')
  assert.equal(textOf(Buffer.alloc(9), { typeOid: 20, typeModifier: -1, format: 'binary' }, settings), '\\x000000000000000000')
})

test('values nested without end and queries nested without end are shown in hexadecimal', () => {
  let record: Buffer = Buffer.from([0, 0, 0, 0])
  for (let depth = 0; depth < 5_000; depth++) {
    const head = Buffer.alloc(12)
    head.writeInt32BE(1, 0)
    head.writeInt32BE(2249, 4)
    head.writeInt32BE(record.length, 8)
    record = Buffer.concat([head, record])
  }
  const settings = settingsFrom({})
  assert.match(textOf(record, { typeOid: 2249, typeModifier: -1, format: 'binary' }, settings), /^\\x/)
  const nots = Buffer.alloc(4 + 2 * 1_000_000, Buffer.from([2, 1]))
  nots.writeInt32BE(1_000_001, 0)
  assert.match(textOf(nots, { typeOid: 3615, typeModifier: -1, format: 'binary' }, settings), /^\\x/)
})
