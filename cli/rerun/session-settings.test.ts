import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testEpoch, testIdentity, testSessionId } from '../../session/test-recording.ts'
import { settingsOf } from './session-settings.ts'

const identity = testIdentity(testSessionId(testEpoch, 1), testEpoch, 'r')
const reported = [['client_encoding', 'UTF8']]

test('what agent and operator asked for at the start is set again, as the server applied it', () => {
  const { settings, notSet } = settingsOf({
    ...identity,
    startup: {
      agent: {
        options: '-c role=boss -c search_path=shadow,public -c statement_timeout=1',
        role: 'clerk',
        extra_float_digits: '1',
        'Work-Mem': '1MB',
      },
      operator: { options: '-c statement_timeout=5s --lock-timeout=3s' },
    },
  })
  assert.deepEqual(settings, [
    ...reported,
    ['role', 'clerk'],
    ['search_path', 'shadow,public'],
    ['statement_timeout', '5s'],
    ['lock_timeout', '3s'],
    ['extra_float_digits', '1'],
    ['Work-Mem', '1MB'],
  ])
  assert.deepEqual(notSet, [])
})

test('what the operator fixed is not set as the agent asked', () => {
  const { settings } = settingsOf({ ...identity, startup: { agent: { role: 'boss' }, operator: { options: '-c role=reader' } } })
  assert.deepEqual(settings, [...reported, ['role', 'reader']])
})

test('what the server reported counts, and what cannot be set is said', () => {
  const { settings, notSet } = settingsOf({
    ...identity,
    startup: {
      agent: {
        client_encoding: 'LATIN1',
        options: '-B 5 -c app.token=[redacted] -c log_connections=on',
        replication: 'database',
        '_pq_.x': '1',
      },
      operator: {},
    },
  })
  assert.deepEqual(settings, reported)
  assert.deepEqual(notSet, [
    'the option -B: it is for the server process, not a setting',
    'the option 5: it is for the server process, not a setting',
    'app.token: its value was replaced before it was recorded, because it may be a credential',
    'log_connections = on: it can be given at the start of a connection only',
  ])
})

test('a recording that has no start-up parameters gives what the server reported', () => {
  assert.deepEqual(settingsOf(identity), { settings: reported, notSet: [] })
})
