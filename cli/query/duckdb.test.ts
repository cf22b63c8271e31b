import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asked, loadDuckDb } from './duckdb.ts'

test('without DuckDB the error says how to get it and what does without', async () => {
  for (const [code, message] of [
    ['ERR_MODULE_NOT_FOUND', "Cannot find package '@duckdb/node-api'"],
    ['MODULE_NOT_FOUND', "Cannot find module '@duckdb/node-bindings-linux-x64/duckdb.node'"],
    ['ERR_DLOPEN_FAILED', 'libduckdb.so: cannot open shared object file'],
  ]) {
    const load = (): Promise<never> => Promise.reject(Object.assign(new Error(message), { code }))
    await assert.rejects(loadDuckDb(load), (error: { code: string; remedy: string }) => {
      assert.equal(error.code, 'DUCKDB_MISSING')
      assert.match(error.remedy, /npm install @duckdb\/node-api.*steno export --format parquet/)
      return true
    })
  }
  await assert.rejects(
    loadDuckDb(() => Promise.reject(new TypeError('a defect'))),
    TypeError,
  )
})

test("DuckDB's message may quote what was recorded, and cannot move the cursor", async () => {
  await assert.rejects(
    asked(() => Promise.reject(new Error("Conversion Error: '\x1b[2J'\n"))),
    { code: 'QUERY_FAILED', message: "Conversion Error: '\\x1B[2J'" },
  )
})
