// Goal: what Kubernetes shows is whole characters within its limit, and a file that cannot be written stops nothing. Method: real files.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createLog } from '../../base/log.ts'
import { openTerminationLog } from './termination-log.ts'

test('the last text is kept, cut at a character to what the kubelet reads', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-termination-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'log')
  const termination = openTerminationLog(file, createLog({ level: 'silent' }))
  termination.write('ü'.repeat(10_000))
  const bytes = readFileSync(file)
  assert.ok(bytes.length <= 4096 && bytes.length > 3_000)
  assert.match(bytes.toString('utf8'), /^ü+$/)
  termination.write('short')
  assert.equal(readFileSync(file, 'utf8'), 'short')
  termination.write('')
  assert.equal(readFileSync(file, 'utf8'), '')
})

test('a place that cannot be written is no failure', () => {
  const termination = openTerminationLog('/proc/none/log', createLog({ level: 'silent' }))
  assert.doesNotThrow(() => termination.write('text'))
})
