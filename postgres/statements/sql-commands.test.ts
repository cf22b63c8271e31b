import assert from 'node:assert/strict'
import test from 'node:test'
import { readSqlCommand } from './sql-commands.ts'

const expected: Record<string, unknown> = {
  'PREPARE "A ""b" (int, numeric(3,1)) AS select $1': { kind: 'prepare', name: 'A "b', text: 'select $1' },
  '/* x */ prepare Q as select 1': { kind: 'prepare', name: 'q', text: 'select 1' },
  "prepare transaction 'x'": null,
  'execute Q (1)': { kind: 'execute', name: 'q' },
  'explain (analyze, buffers) execute q': { kind: 'execute', name: 'q' },
  'explain analyze verbose execute q': { kind: 'execute', name: 'q' },
  'explain select 1': null,
  'create temp table t as execute q(2)': { kind: 'execute', name: 'q' },
  'create trigger x after insert on t execute function f()': null,
  'deallocate prepare q': { kind: 'deallocate', name: 'q', all: false },
  'deallocate all': { kind: 'deallocate', name: 'all', all: true },
  'deallocate "all"': { kind: 'deallocate', name: 'all', all: false },
  'discard all': { kind: 'discardAll' },
  'discard plans': null,
  'declare C binary scroll cursor with hold for select 1': { kind: 'declare', name: 'c', text: 'select 1', hold: true },
  'declare c cursor without hold for select 1 for update': { kind: 'declare', name: 'c', text: 'select 1 for update', hold: false },
  'fetch c': { kind: 'fetch', name: 'c' },
  '-- x\nFETCH backward 5 in "C"': { kind: 'fetch', name: 'C' },
  'move forward all from c': { kind: 'fetch', name: 'c' },
  'close all': { kind: 'closeCursor', name: 'all', all: true },
  'close c': { kind: 'closeCursor', name: 'c', all: false },
  'delete from t': null,
  commit: null,
  prepare: null,
  declare: null,
  '': null,
}
for (const [sql, command] of Object.entries(expected)) {
  test(`reads ${JSON.stringify(sql)}`, () => {
    assert.deepEqual(readSqlCommand(sql, true), command)
  })
}
