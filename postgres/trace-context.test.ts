/**
 * Goal: what is taken for a trace context is one by W3C, stands in a comment, and no other text is ever taken for one.
 * Method: a table of spellings, generated texts around a known context, and a megabyte of hostile repetition.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseTraceparent, traceContextOf } from './trace-context.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const parentSpanId = 'b7ad6b7169203331'
const value = `00-${traceId}-${parentSpanId}-01`
const found = { traceId, parentSpanId, sampled: true }
const zeros = '0'.repeat(32)

const traceparents: [traceparent: string, expected: typeof found | null, why: string][] = [
  [value, found, 'version 00'],
  [`00-${traceId}-${parentSpanId}-00`, { ...found, sampled: false }, 'not sampled'],
  [`00-${traceId}-${parentSpanId}-03`, found, 'a flag that version 00 does not know beside the sampled one'],
  [`00-${traceId}-${parentSpanId}-fe`, { ...found, sampled: false }, 'only flags that version 00 does not know'],
  [`cc-${traceId}-${parentSpanId}-01`, found, 'a later version of the same length'],
  [`cc-${traceId}-${parentSpanId}-01-what-comes-then`, found, 'a later version with more behind a dash'],
  [`cc-${traceId}-${parentSpanId}-01x`, null, 'a later version with more behind no dash'],
  [`ff-${traceId}-${parentSpanId}-01`, null, 'the version that is forbidden'],
  [`${value}-more`, null, 'version 00 with more'],
  [`00-${zeros}-${parentSpanId}-01`, null, 'a trace id of zeros'],
  [`00-${traceId}-${'0'.repeat(16)}-01`, null, 'a parent id of zeros'],
  [value.toUpperCase(), null, 'capitals'],
  [value.slice(0, -1), null, 'too short'],
  [` ${value}`, null, 'white space in front'],
  [`${value}\n`, null, 'a line end behind'],
  [value.replaceAll('-', '_'), null, 'other separators'],
  ['', null, 'nothing'],
]
for (const [traceparent, expected, why] of traceparents) {
  test(`a traceparent is read as W3C says: ${why}`, () => assert.deepEqual(parseTraceparent(traceparent), expected))
}

const inComments: [sql: string, expected: typeof found | null][] = [
  [`select 1 /*traceparent='${value}'*/`, found],
  [`select 1 /* traceparent=${value} */`, found],
  [`select 1 /*traceparent="${value}"*/`, found],
  [`/*action='a%20b',traceparent='${value.replaceAll('-', '%2D')}',tracestate='congo%3Dt61'*/ select 1`, found],
  [`select 1 -- traceparent=${value}`, found],
  [`select 1 --traceparent=${value}\n`, found],
  [`select 1; /*traceparent='${value}'*/`, found],
  [`select 1 /*traceparent='00-${zeros}-${parentSpanId}-01'*/ /*traceparent='${value}'*/`, found],
  // The last that is valid counts.
  [`select 1 /*traceparent='00-${'a'.repeat(32)}-${parentSpanId}-01'*/ /*traceparent='${value}',traceparent='00'*/`, found],
  [`select ' \\' /*traceparent='${value}'*/`, found],
  [`select '/*traceparent=${value}*/'`, null],
  [`select ' traceparent=''${value}'' '`, null],
  [`select ' traceparent=${value} '`, null],
  [`select $$ traceparent='${value}' $$`, null],
  [`select " traceparent=${value} "`, null],
  [`select $$/*traceparent='${value}'*/$$`, null],
  [`select $a$ $$ /*traceparent='${value}'*/ $a$`, null],
  [`select e'\\' /*traceparent=${value}*/'`, null],
  [`select "/*traceparent='${value}'*/"`, null],
  [`select traceparent='${value}'`, null],
  [`select '--' , 'traceparent=${value}'`, null],
  [`select 1 /*xtraceparent='${value}'*/`, null],
  [`select 1 /*x-traceparent='${value}'*/`, null],
  [`select 1 /*traceparent='${value}*/`, null],
  [`select 1 /*traceparent='${value}"*/`, null],
  [`select 1 /*traceparent: '${value}'*/`, null],
  [`select 1 /*traceparent='${value}'`, null],
  [`select 1 /*traceparent='${value}%'*/`, null],
  [`select 1 /*traceparent='%zz${value}'*/`, null],
  ['select 1 /*traceparent=*/', null],
  ['select 1 /*traceparent*/', null],
  ['', null],
]
for (const [sql, expected] of inComments) {
  test(`a context is found in comments and nowhere else: ${sql.slice(0, 70)}`, () => assert.deepEqual(traceContextOf(sql), expected))
}

test('a backslash hides a comment in a literal only when the session says so', () => {
  const sql = `select '\\' /*traceparent='${value}'*/ , '`
  assert.deepEqual(traceContextOf(sql), found)
  assert.equal(traceContextOf(sql, { standardConformingStrings: false }), null)
})

const hex = (length: number) =>
  fc
    .string({ unit: fc.constantFrom(...'0123456789abcdef'.split('')), minLength: length, maxLength: length })
    .filter((text) => /[^0]/.test(text))
const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom("'", '"', '/*', '*/', '--', '$$', "traceparent='", '%', '\\', '\n'))

test('what sqlcommenter writes is found again behind any statement', () => {
  fc.assert(
    fc.property(hex(32), hex(16), fc.boolean(), fc.nat({ max: 200_000 }), (trace, parent, sampled, padding) => {
      const text = encodeURIComponent(`00-${trace}-${parent}-${sampled ? '01' : '00'}`)
      const sql = `select '${'x'.repeat(padding)}' /*route='%2Fpolls',traceparent='${text}'*/`
      assert.deepEqual(traceContextOf(sql), { traceId: trace, parentSpanId: parent, sampled })
    }),
    { numRuns: 50 },
  )
})

test('a context inside a literal is never found, whatever stands around it', () => {
  fc.assert(
    fc.property(fc.array(anyText), fc.array(anyText), (before, behind) => {
      const inside = `${before.join('')}/*traceparent='${value}'*/${behind.join('')}`
      assert.equal(traceContextOf(`select '${inside.replaceAll("'", "''")}'`), null)
      assert.equal(traceContextOf(`select $tag$${inside.replaceAll('$', '')}$tag$`), null)
      assert.equal(traceContextOf(`select "${inside.replaceAll('"', '""')}"`), null)
    }),
  )
})

test('no text makes it throw, and what it finds is always valid', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(anyText, fc.constant(value), fc.constant('/*traceparent='))), (parts) => {
      const context = traceContextOf(parts.join(''))
      if (context === null) return
      assert.match(context.traceId, /^[0-9a-f]{32}$/)
      assert.match(context.parentSpanId, /^[0-9a-f]{16}$/)
    }),
    { numRuns: 1_000 },
  )
})

// A cost that grew with the square of the length would be 10^12 steps here, and the test would never end.
const mebibyte = 1024 * 1024
for (const [name, unit] of [
  ['keys', 'traceparent='],
  ['open quotes', "traceparent='"],
  ['values', `traceparent='${value.slice(0, -1)}',`],
  ['percent signs', 'traceparent=%25%25%25%25'],
  ['endless values', `traceparent=${'0'.repeat(500)}`],
  ['comments', '/*traceparent='],
] as const) {
  test(`a megabyte of ${name} in a comment is read in one pass`, () => {
    const filling = unit.repeat(Math.ceil(mebibyte / unit.length))
    assert.equal(traceContextOf(`select 1 /*${filling}*/`), null)
    assert.deepEqual(traceContextOf(`select 1 /*${filling.replaceAll('/*', '')} traceparent='${value}'*/`), found)
  })
}
