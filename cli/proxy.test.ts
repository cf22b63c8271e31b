// Goal: what the command line says is what the proxy is told, also where Node would take it for something else.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { command, settingsFrom } from './proxy.ts'

const settings = (args: readonly string[]): ReturnType<typeof settingsFrom> => {
  const own = command()
  assert.deepEqual(own.parseOptions([...args]).unknown, [])
  return settingsFrom(own.opts(), { STENO_UPSTREAM: 'postgresql://shop@db.internal/shop' })
}

test('a limit of years for the start-up is not one of a millisecond, which is what Node makes of a timer over 2^31 - 1', () => {
  assert.equal(settings(['--startup-milliseconds-max', '999999999999']).startupMillisecondsMax, 2 ** 31 - 1)
  assert.equal(settings(['--startup-milliseconds-max', '300']).startupMillisecondsMax, 300)
})

test('the live view is on as JSON with 1,000 characters of SQL, unless told otherwise', () => {
  assert.deepEqual(settings([]).liveView, { format: 'json', sqlCharacters: 1_000 })
  assert.deepEqual(settings(['--log-format', 'pretty', '--live-sql-characters', '0']).liveView, { format: 'pretty', sqlCharacters: 0 })
  assert.equal(settings(['--live', 'off']).liveView, null)
})
