// Goal: what is said names commands that whoever reads it can type.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asTyped, pluginName } from './program-name.ts'

test('in the plugin commands are the plugin’s, and a forwarded port is the RecordingStore', () => {
  const remedy = 'Run `steno verify 0199` and `kubectl steno show`; see steno sessions, not steno proxy.'
  assert.equal(
    asTyped(remedy, pluginName),
    'Run `kubectl steno verify 0199` and `kubectl steno show`; see kubectl steno sessions, not steno proxy.',
  )
  assert.equal(
    asTyped('control+http://127.0.0.1:37687/default has no such object', pluginName),
    'RecordingStore default has no such object',
  )
})

test('elsewhere a text stays as it is', () => {
  for (const startedBy of [undefined, '', 'other']) assert.equal(asTyped('Run `steno verify 0199`.', startedBy), 'Run `steno verify 0199`.')
})
