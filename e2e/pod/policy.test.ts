// Goal: what holds for a pod changes while it runs: within two seconds, without a session lost, and each statement says by what it was judged; nobody
// but control, and nothing that is old, changes it. Method: the sidecar as a process, control's real server and stream, a real PostgreSQL.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { assertOnceWithin } from '../../base/test-durations.ts'
import { checkPolicyChange } from '../../session/identity.ts'
import { sealPolicyDocument, type PolicyDocument } from '../../session/policy-document.ts'
import { findSession, readRecords } from '../../session/read-session.ts'
import { recordType } from '../../session/records.ts'
import { parseJson } from '../../session/shape.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { controlKeyOf } from '../../webhook/control/control-key.ts'
import type { Route } from '../../webhook/control/routes.ts'
import type { ControlParts } from '../../webhook/control/start.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering, ConnectionEnded, firstColumn } from '../nothing-lost/remembering-client.ts'
import { steno } from '../support/proxy.ts'
import { createPolicyTestWorld } from './policy-world.ts'
import { testPolicy, untilLogged, type SidecarProcess } from './sidecar-process.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
  await database.query('create database stock')
})
after(() => database.stop())

const effectMillisecondsMax = 2_000

let tries = 0

/** Whether a session to `name` may be opened, and with what hint not. */
async function opening(localPort: number, name: string): Promise<'opened' | ReadonlyMap<string, string>> {
  try {
    const client = await connectRemembering(localPort, `try ${++tries} of ${name}`, { database: name })
    await client.end()
    return 'opened'
  } catch (error) {
    assert.ok(error instanceof ConnectionEnded && error.fields !== null)
    return error.fields
  }
}

async function untilOpening(
  localPort: number,
  name: string,
  wanted: (is: Awaited<ReturnType<typeof opening>>) => boolean,
): Promise<number> {
  const begun = performance.now()
  while (!wanted(await opening(localPort, name))) {
    assert.ok(performance.now() - begun < 120_000, `sessions to ${name} never became what they should be`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return performance.now() - begun
}

/** What the sidecar's log has said since `from`. */
async function untilSaid(sidecar: SidecarProcess, text: string, from = 0): Promise<void> {
  while (!sidecar.stderr().slice(from).includes(text)) await new Promise((resolve) => setTimeout(resolve, 10))
}

test(
  'a change takes effect within two seconds; a session that runs goes on, and its statements say by what they were judged',
  { timeout: 300_000 },
  async (t) => {
    const { control, localPort, putPolicy, start } = await createPolicyTestWorld(t, database)
    await putPolicy()
    const sidecar = await start()
    await untilLogged(sidecar, 'the policy changed')
    await assertOnceWithin(effectMillisecondsMax, async () => {
      await putPolicy({ databaseNames: ['postgres', 'stock'] })
      const milliseconds = await untilOpening(localPort, 'stock', (is) => is === 'opened')
      await putPolicy()
      await untilOpening(localPort, 'stock', (is) => is !== 'opened')
      return milliseconds
    })
    const client = await connectRemembering(localPort, 'agent')
    await client.query("select 'before'")
    assert.notEqual(await opening(localPort, 'stock'), 'opened')
    await putPolicy({ databaseNames: ['postgres', 'stock'] })
    await untilOpening(localPort, 'stock', (is) => is === 'opened')
    assert.deepEqual(firstColumn(await client.query("select 'after'")), ['after'])
    await client.end()
    assert.equal(await sidecar.stop(), 0)

    const folder = join(control.folder, 'store')
    await assertVerified(folder, sidecar.spoolFolder)
    const recorded = await readRecorded(folder)
    const agent = recorded.get('agent')!
    assert.ok(agent.backend.equals(client.received()))
    const [first, second] = [agent.statements[0]?.policy, agent.statements[1]?.policy]
    assert.equal(first, agent.identity.policy?.hash)
    assert.match(second ?? '', /^[0-9a-f]{32}$/)
    assert.notEqual(first, second)
    assert.notEqual(first, testPolicy.hash, 'control had another policy than the admission')
    const later = [...recorded.values()].find(({ identity }) => identity.database === 'stock')
    assert.equal(later?.identity.policy?.hash, second, 'a session that is opened later has it from its beginning')

    const store = openDirectoryStore(folder)
    const changes = (await Array.fromAsync(readRecords(store, await findSession(store, agent.session))))
      .filter(({ type }) => type === recordType.policyChange)
      .map(({ payload }) => checkPolicyChange(parseJson(payload, 'the record'), 'the record'))
    assert.deepEqual(
      changes.map(({ before: from, policy }) => [from?.hash, policy.hash]),
      [[first, second]],
    )
    const shown = await steno(['show', agent.session, '--json', '--store', `file://${folder}`])
    assert.deepEqual(
      shown.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { type: string; policy?: string })
        .filter(({ type }) => type === 'statement')
        .map(({ policy }) => policy),
      [first, second],
    )
    const found = await steno([
      'search',
      '--policy',
      second!.slice(0, 8),
      '--application',
      'agent',
      '--json',
      '--store',
      `file://${folder}`,
    ])
    assert.deepEqual(
      found.stdout
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { sql: string }).sql),
      ["select 'after'"],
    )
    assert.match(
      (await steno(['show', agent.session, '--statement', '2', '--store', `file://${folder}`])).stdout,
      new RegExp(`policy +${second}`),
    )
  },
)

test(
  'a policy that is withdrawn ends sessions and refuses more, with a hint, also after a restart without control; one that returns opens the way',
  { timeout: 300_000 },
  async (t) => {
    const { control, localPort, putPolicy, removePolicy, start } = await createPolicyTestWorld(t, database)
    await putPolicy()
    const sidecar = await start()
    await untilLogged(sidecar, 'the policy changed')
    await assertOnceWithin(effectMillisecondsMax, async () => {
      await putPolicy()
      await untilOpening(localPort, 'postgres', (is) => is === 'opened')
      const client = await connectRemembering(localPort, 'agent')
      await client.query('select 1')
      const begun = performance.now()
      removePolicy()
      const ended = await client.ended
      assert.equal(ended.fields?.get('C'), '57P01')
      return performance.now() - begun
    })
    const refused = await opening(localPort, 'postgres')
    assert.ok(refused !== 'opened')
    assert.match(refused.get('M') ?? '', /policy of this pod was withdrawn: no SessionPolicy/)
    assert.match(refused.get('H') ?? '', /Ask whoever keeps the SessionPolicies/)
    await sidecar.kill()
    await control.server.stop()
    const again = await start({ folder: sidecar.folder })
    const still = await opening(localPort, 'postgres')
    assert.match(still === 'opened' ? still : (still.get('M') ?? ''), /withdrawn/)
    await putPolicy()
    await control.restart()
    await untilOpening(localPort, 'postgres', (is) => is === 'opened')
    assert.equal(await again.stop(), 0)
    await assertVerified(join(control.folder, 'store'), again.spoolFolder)
  },
)

test(
  'without control the snapshot of the admission counts; control that comes brings what holds; one that goes and comes back goes on',
  { timeout: 300_000 },
  async (t) => {
    const { control, localPort, putPolicy, start } = await createPolicyTestWorld(t, database)
    await control.server.stop()
    await putPolicy({ databaseNames: ['postgres', 'stock'] })
    const sidecar = await start()
    const client = await connectRemembering(localPort, 'agent')
    await client.query("select 'snapshot'")
    assert.notEqual(await opening(localPort, 'stock'), 'opened')
    await control.restart()
    await untilOpening(localPort, 'stock', (is) => is === 'opened')
    await control.server.stop()
    assert.equal(await opening(localPort, 'stock'), 'opened', 'what holds goes on to hold')
    await putPolicy({ databaseNames: ['postgres'] })
    await control.restart()
    await untilOpening(localPort, 'stock', (is) => is !== 'opened')
    await client.query("select 'the session is there'")
    await client.end()
    assert.equal(await sidecar.stop(), 0)
    const { statements } = (await readRecorded(join(control.folder, 'store'))).get('agent')!
    assert.equal(statements[0]?.policy, testPolicy.hash)
    assert.notEqual(statements[1]?.policy, testPolicy.hash)
  },
)

test('a database that the policy names no more is refused for itself', { timeout: 300_000 }, async (t) => {
  const { localPort, putPolicy, start } = await createPolicyTestWorld(t, database)
  await putPolicy({ database: 'another' })
  const sidecar = await start()
  await untilOpening(localPort, 'postgres', (is) => is !== 'opened' && /in no policy of this pod/.test(is.get('M') ?? ''))
  await putPolicy({ hosts: ['db.example.com'] })
  await untilOpening(localPort, 'postgres', (is) => is !== 'opened' && /the policy allows db\.example\.com/.test(is.get('M') ?? ''))
  assert.match(sidecar.stderr(), /database another has no listener/)
  assert.equal(await sidecar.stop(), 0)
})

/** A control that sends what it is told to, signed with its own key unless told otherwise. */
function scripted() {
  const streams: ((line: string) => void)[] = []
  let key: ControlParts['key'] | null = null
  const route: Route = {
    method: 'GET',
    path: '/v1/stream',
    isLong: true,
    handle({ response }) {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      const send = (line: string): void => void response.write(`${line}\n`)
      send('{"kind":"alive"}')
      streams.push(send)
      return Promise.resolve()
    },
  }
  return {
    routes: (parts: ControlParts): readonly Route[] => {
      key = parts.key
      return [route]
    },
    streams,
    bytesOf: (change: Partial<PolicyDocument>, signer?: ControlParts['key']): Buffer => {
      const databases = [
        { name: 'database-0', hosts: ['127.0.0.1'], port: database.port, databaseNames: ['postgres', 'stock'], tlsMode: 'disable' },
      ] as const
      const { bytes } = sealPolicyDocument(
        {
          ...{
            podUid: 'uid-agent-0',
            podNamespace: 'shop',
            podName: 'agent-0',
            generation: '100',
            time: 1_000,
            state: 'in-force',
            reason: '',
          },
          policy: { names: ['shop/orders'], hash: 'f'.repeat(32) },
          recording: { level: 'results', onFailure: 'block', spoolBytesMax: 64 * 1024 * 1024, spoolAgeMillisecondsMax: 3_600_000 },
          enforcement: { mode: 'CredentialsOnly', onOpenPath: 'Report' },
          databases,
          ...change,
        },
        signer ?? key!,
      )
      return bytes
    },
    send(bytes: Buffer): void {
      for (const send of streams) send(JSON.stringify({ kind: 'policy', document: bytes.toString('base64') }))
    },
  }
}

test(
  'an older document, one of another pod, of another key, and a damaged one are refused; also after a restart',
  { timeout: 300_000 },
  async (t) => {
    const script = scripted()
    const { localPort, start } = await createPolicyTestWorld(t, database, script.routes)
    let sidecar = await start()
    while (script.streams.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    const older = script.bytesOf({ generation: '99' })
    script.send(older)
    await untilOpening(localPort, 'stock', (is) => is === 'opened')
    const narrow = [
      { name: 'database-0', hosts: ['127.0.0.1'], port: database.port, databaseNames: ['postgres'], tlsMode: 'disable' },
    ] as const
    const newer = script.bytesOf({ databases: narrow })
    script.send(newer)
    await untilOpening(localPort, 'stock', (is) => is !== 'opened')
    const other = controlKeyOf(generateKeyPairSync('ed25519').privateKey)
    const attempts: (readonly [Buffer, string])[] = [
      [older, 'or it was signed earlier (generation 99 after generation 100)'],
      [script.bytesOf({ time: 999 }), 'or it was signed earlier'],
      [script.bytesOf({ generation: '200', podUid: 'uid-agent-1' }), 'it is for pod shop/agent-0 (uid-agent-1)'],
      [script.bytesOf({ generation: '200' }, other), 'no key that this pod trusts has signed it'],
      [script.bytesOf({ generation: '200' }).fill(0x78, 60, 61), 'a policy document is refused'],
      [Buffer.from('no document'), 'a policy document is refused'],
    ]
    for (const round of ['in the first process', 'in the second']) {
      for (const [bytes, reason] of attempts) {
        const from = sidecar.stderr().length
        script.send(bytes)
        await untilSaid(sidecar, reason, from)
        assert.notEqual(await opening(localPort, 'stock'), 'opened', `${reason}, ${round}`)
      }
      assert.ok((await readFile(join(sidecar.spoolFolder, 'policy-document'))).equals(newer))
      if (round === 'in the second') break
      await sidecar.kill()
      script.streams.length = 0
      sidecar = await start({ folder: sidecar.folder })
      assert.notEqual(await opening(localPort, 'stock'), 'opened', 'what was kept counts from the first connection on')
      while (script.streams.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    assert.equal(await sidecar.stop(), 0)
  },
)
