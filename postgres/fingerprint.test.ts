import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fingerprint } from './fingerprint.ts'

const same: string[][] = [
  [
    'select a from t where b = 1',
    'SELECT a -- x\n FROM t /* y */ WHERE b = $1;',
    `select "a" from t where b=-1`,
    `select a from t where b = E'x\\''`,
  ],
  ['select * from t where a in (1,2,3)', 'select * from t where a in ($1)', `select * from t where a in ('a', NULL)`],
  ['select * from t where (a, b) in ((1,2),(3,4))', 'select * from t where (a, b) in ((1,2))'],
  ['insert into t values (1,null),(2,$$x$$),(default,now())', 'insert into t values (3,true),(1,now())'],
  ['select array[1,2,3]', 'select array[1]'],
]
const different: [string, string][] = [
  ['select a from t where b = 1', 'select a from t where c = 1'],
  ['select f(1, 2)', 'select f(1)'],
  ['insert into t values (1, 2)', 'insert into t values (1)'],
  ['select "A" from t', 'select a from t'],
  ['select a b from t', 'select ab from t'],
  ['insert into t values (1),((select 2))', 'insert into t values (1)'],
  ['select 1', 'select 1, 2'],
]
for (const group of same) {
  test(`the same fingerprint: ${group.join('  |  ')}`, () => assert.equal(new Set(group.map(fingerprint)).size, 1))
}
for (const [left, right] of different) {
  test(`another fingerprint: ${left}  |  ${right}`, () => assert.notEqual(fingerprint(left), fingerprint(right)))
}

test('the value is the prefix of the algorithm and 16 hexadecimal characters, and pinned', () => {
  assert.match(fingerprint(''), /^l1:[0-9a-f]{16}$/)
  assert.equal(fingerprint('select * from accounts where id = 7'), 'l1:53bd47c1d580e95f')
})

test('any text has a fingerprint, and the same one when asked again', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (sql) => {
      assert.match(fingerprint(sql), /^l1:[0-9a-f]{16}$/)
      assert.equal(fingerprint(sql), fingerprint(sql))
    }),
  )
})

test('10,000 statements of different shapes have 10,000 fingerprints', () => {
  const values = new Set<string>()
  for (let number = 0; number < 10_000; number++) values.add(fingerprint(`select c${number} from t where a = 1`))
  assert.equal(values.size, 10_000)
})
