import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createRedactor } from './redactor.ts'
import { notification, query, readNotification, readReported, readResponse, reported, response } from './test-frames.ts'

const secret = 'hunter2-Zq9x'
const bytes = (text: string): string => Buffer.from(text).toString('latin1')
/** As the server cuts and cleans it, up to PostgreSQL 15 and since. */
const cut = (value: string): string => value.slice(0, 63)
const asked = (value: string): string => cut(value).replace(/[^ -~]/g, '?')
const escaped = (value: string): string => cut(value).replace(/[^ -~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`)

for (const [sql, value] of [
  [`set application_name = 'password=${secret}'`, `password=${secret}`],
  [`select set_config('application_name', '${secret}', false), 'password'`, secret],
  [`set application_name = '${secret}' -- password`, secret],
  [`set application_name = 'it''s ${secret}, a secret'`, `it's ${secret}, a secret`],
  [`set application_name = '${'a'.repeat(55)} ${secret} password'`, cut(`${'a'.repeat(55)} ${secret} password`)],
  [`set application_name = '${bytes('hünter2')}' -- password`, asked(bytes('hünter2'))],
  [`set application_name = '${bytes('hünter2')}' -- password`, escaped(bytes('hünter2'))],
  [`set application_name = '${bytes(`${'ä'.repeat(25)} ${secret} password`)}'`, escaped(bytes(`${'ä'.repeat(25)} ${secret}`))],
] as const) {
  test(`a setting that repeats what was redacted is redacted: ${sql} as ${value}`, () => {
    const redactor = createRedactor()
    redactor.frontend(query(sql))
    assert.deepEqual(readReported(redactor.backend(reported('application_name', value))), { name: 'application_name', value: '[redacted]' })
    // A pooler's or an extension's own.
    assert.equal(readReported(redactor.backend(reported('pool.client', value))).value, '[redacted]')
  })
}

test('a setting is redacted for what it says itself, whoever gave it', () => {
  const redactor = createRedactor()
  for (const [name, value] of [
    ['application_name', `psql postgres://u:${secret}@h/d`],
    ['application_name', `password=${secret}`],
    ['pool.token', secret],
  ] as const)
    assert.deepEqual(readReported(redactor.backend(reported(name, value))), { name, value: '[redacted]' })
  assert.equal(redactor.isActive(), false)
})

test('what readers need of settings stays, whatever was redacted before, and so does what repeats nothing', () => {
  const redactor = createRedactor()
  redactor.frontend(query(`select password('UTF8', 'UTC', 'on', 'bob', 'ISO, MDY', 'reporting', 'public')`))
  for (const [name, value] of [
    ['client_encoding', 'UTF8'],
    ['TimeZone', 'UTC'],
    ['standard_conforming_strings', 'on'],
    ['session_authorization', 'bob'],
    ['DateStyle', 'ISO, MDY'],
    ['application_name', 'psql'],
    ['application_name', '?'],
    ['application_name', ''],
    ['search_path', '"$user", shop'],
  ] as const) {
    const frame = reported(name, value)
    assert.equal(redactor.backend(frame), frame)
  }
})

test('the payload of a notification is redacted where it repeats what was, its channel stays', () => {
  const redactor = createRedactor()
  const frame = notification('jobs', `password=${secret}, order 5`)
  assert.equal(redactor.backend(frame), frame)
  redactor.frontend(query(`select pg_notify('jobs', 'password=${secret}' || $1)`))
  assert.deepEqual(readNotification(redactor.backend(frame)), { process: 77, channel: 'jobs', payload: '[redacted], order 5' })
  const other = notification('jobs', 'done')
  assert.equal(redactor.backend(other), other)
})

test('a name that the server cuts is redacted in its notice, and what follows it stays', () => {
  const redactor = createRedactor()
  const name = `${'a'.repeat(50)} ${secret} and more of it`
  redactor.frontend(query(`alter role x password "${name}"`))
  const notice = response('N', { M: `identifier "${name}" will be truncated to "${cut(name)}"` })
  assert.match(readResponse(redactor.backend(notice))['M']!, /^identifier "?\[redacted\]"? will be truncated to "?\[redacted\]"?$/)
})

test('a frame that contradicts itself keeps its length and loses what is remembered', () => {
  const redactor = createRedactor()
  redactor.frontend(query(`select password('${secret}')`))
  for (const frame of [reported('a', 'b'), notification('a', 'b')]) {
    for (const body of [secret, `x\0${secret}`, `x\0${secret}\0y`, `x\0y\0${secret}\0`, `\0\0\0\0x${secret}`]) {
      const broken = Buffer.concat([frame.subarray(0, 5), Buffer.from(body, 'latin1')])
      broken.writeUInt32BE(broken.length - 1, 1)
      const recorded = redactor.backend(broken)
      assert.deepEqual([recorded.length, recorded.includes(secret)], [broken.length, false], body)
    }
  }
})

// Goal: no setting that a session makes comes back with its secret. Method: any text around one, cut and cleaned as the server does it.
test('a secret comes back in no form that the server gives an application name', () => {
  const text = fc.string({ unit: fc.constantFrom('a', ' ', 'ü', '=', '?', '\\', "'", '日', '%'), maxLength: 40 })
  fc.assert(
    fc.property(text, text, fc.constantFrom(cut, asked, escaped), (before, after, told) => {
      const value = bytes(`${before}${secret}${after}`)
      const redactor = createRedactor()
      redactor.frontend(query(`set application_name = '${value.replaceAll("'", "''")}' -- password`))
      const { value: recorded } = readReported(redactor.backend(reported('application_name', told(value))))
      assert.ok(!recorded.includes('hunter2'), recorded)
    }),
    { numRuns: 2_000 },
  )
})
