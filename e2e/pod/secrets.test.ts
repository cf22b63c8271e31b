// Goal: the credential that moved here from the agent is in nothing that the sidecar writes, prints or shows. Method: a session, a failed
// sign-in and a refused database under a password with every kind of character; then all that is left behind is searched, in each form.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { freePort } from '../../tools/free-port.ts'
import { connectRemembering } from '../nothing-lost/remembering-client.ts'
import { findSecrets, placesIn, processArguments, type Place } from '../secrets/search.ts'
import { listenerFor, startSidecar } from './sidecar-process.ts'

const password = 'Zq9 ü/@:#?&=%\'"\\-käse-7Xw'
const wrongPassword = 'never-was-a-password-of-anybody-3Vn'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres({ tls: true })
  await database.query(`create user keeper password '${password.replaceAll("'", "''")}'`)
})
after(() => database.stop())

test('no password is in log, live view, spool, store, metrics, arguments or termination message', { timeout: 300_000 }, async (t) => {
  const ports = [await freePort(), await freePort()] as const
  const tls = { mode: 'verify-full', caVariable: 'STENO_CA_0' } as const
  const url = (secret: string): string => `postgresql://keeper:${encodeURIComponent(secret)}@127.0.0.1:${database.port}/postgres`
  const sidecar = await startSidecar(t, {
    listeners: ports.map((localPort, number) => listenerFor(number, { localPort, port: database.port, tls })),
    variables: {
      STENO_SOURCE_0_DATABASE_URL: url(password),
      STENO_SOURCE_1_DATABASE_URL: url(wrongPassword),
      STENO_CA_0: readFileSync(database.certificates!.ca, 'utf8'),
    },
  })
  const client = await connectRemembering(ports[0], 'agent')
  await client.query('select current_user')
  await client.query(`alter role keeper password '${password.replaceAll("'", "''")}'`)
  await assert.rejects(connectRemembering(ports[1], 'agent'), /28P01/)
  await assert.rejects(connectRemembering(ports[0], 'agent', { database: 'other' }), /3D000/)
  const metrics = (await sidecar.get('/metrics')).text
  const whileRunning: Place[] = [processArguments(sidecar.pid), ...(await placesIn(sidecar.folder))]
  assert.ok(
    whileRunning.some(({ name }) => name.includes('/spool-')),
    'there is a spool to search',
  )
  await client.end()
  assert.equal(await sidecar.stop(), 0)
  const texts = {
    stdout: sidecar.stdout(),
    stderr: sidecar.stderr(),
    termination: sidecar.terminationMessage(),
    metrics,
    url: url(password),
  }
  assert.match(texts.stdout, /select current_user/)
  const places = [
    ...whileRunning,
    ...(await placesIn(sidecar.folder)),
    ...Object.entries(texts).map(([name, text]) => ({ name, bytes: Buffer.from(text) })),
  ]
  const secrets = new Map([
    ['the password', password],
    ['the wrong password', wrongPassword],
  ])
  const found = findSecrets(places, secrets)
  assert.deepEqual(
    found.filter((line) => !line.includes(' in url at ')),
    [],
  )
  assert.ok(found.length > 0, 'the search finds what is there')
})
