// Goal: start-up parameters stay readable for ever, recordings without them too, and FORMAT.md tells the truth of them. Method: an identity that
// was made once and is kept.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { checkIdentity } from './identity.ts'
import { readIdentity, sessionIds } from './read-session.ts'
import { BadDocument, parseJson } from './shape.ts'
import { openDirectoryStore } from './stores/directory.ts'

const golden = await readFile(`${import.meta.dirname}/golden/startup-identity.json`)
const startup = {
  agent: {
    application_name: 'test',
    options: '-c role=boss -c search_path=shadow,public -c app.token=[redacted]',
    DateStyle: 'ISO',
  },
  operator: { options: '-c statement_timeout=5s' },
}

test('an identity with start-up parameters is read, and FORMAT.md shows them', async () => {
  assert.deepEqual(checkIdentity(parseJson(golden, 'the identity'), 'the identity').startup, startup)
  const document = await readFile(`${import.meta.dirname}/FORMAT.md`, 'utf8')
  assert.ok(document.includes(`<!-- start-up parameters -->\n\`\`\`text\n${JSON.stringify(startup)}\n\`\`\`\n`))
})

test('a recording that is older is read without them', async () => {
  const store = openDirectoryStore(`${import.meta.dirname}/golden/v1/store`)
  const [session = ''] = await Array.fromAsync(sessionIds(store, 'oldest'))
  assert.equal((await readIdentity(store, session)).startup, undefined)
})

test('start-up parameters that are none are refused by name', () => {
  const identity = parseJson(golden, 'the identity') as object
  for (const wrong of [null, {}, { agent: {} }, { agent: { options: 1 }, operator: {} }, []])
    assert.throws(() => checkIdentity({ ...identity, startup: wrong }, 'the identity'), BadDocument)
})
