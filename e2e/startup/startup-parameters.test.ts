/**
 * Goal: what an agent asks for when it connects changes what its statements mean, so it stands in the recording, is told by every command that tells
 * of the session, and is said again by a script. What cannot be recorded does not reach the database.
 * Method: psql with PGOPTIONS through both modes; the statements land in another schema, under another role.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connectRaw } from '../notices-nothing/raw-client.ts'
import { startProxyProcess, steno, type RunningProxy } from '../support/proxy.ts'

let server: EmbeddedPostgres
before(async () => {
  server = await startPostgres({ authentication: 'trust' })
  await server.query(`
    create role agent login; create role boss; grant boss to agent; create schema shadow;
    grant all on schema shadow to agent, boss; create table public.orders (a int); create table shadow.orders (a int);
    grant all on public.orders, shadow.orders to boss; grant select on public.orders to agent`)
})
after(() => server.stop())

const options = '-c role=boss -c search_path=shadow -c app.session_token=hunter2-Zq9x'
const redacted = '-c role=boss -c search_path=shadow -c app.session_token=[redacted]'

const program = 'psql'
async function psql(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<string> {
  const child = spawn(program, ['-X', '-At', ...args], { env: { ...process.env, ...environment } })
  const [out, error] = await Promise.all([text(child.stdout), text(child.stderr)])
  return `${out}${error}`.trim()
}

const count = async (): Promise<number> => Number((await server.query('select count(*) as count from shadow.orders'))[0]!['count'])

async function told(proxy: RunningProxy, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await steno([...args, '--store', proxy.storeUrl])
  assert.equal(status, 0, stderr)
  return stdout
}

const upstreams = { custody: 'user=agent', 'pass-through': '' }
for (const [mode, user] of Object.entries(upstreams)) {
  test(`role and search_path that an agent starts with are told and said again: ${mode}`, async () => {
    await using proxy = await startProxyProcess({
      upstream: `host=${server.host} port=${server.port} ${user} dbname=postgres sslmode=disable`,
    })
    const countBefore = await count()
    const url = `postgresql://agent@${proxy.host}:${proxy.port}/postgres?sslmode=disable`
    assert.equal(await psql([url, '-c', 'insert into orders values (1)'], { PGOPTIONS: options }), 'INSERT 0 1')
    assert.equal(await proxy.stop(), 0)

    assert.match(
      await told(proxy, 'show', 'last'),
      /^start-up +options="-c role=boss -c search_path=shadow -c app\.session_token=\[redacted\]"/m,
    )
    assert.match(await told(proxy, 'replay', 'last', '--plain'), /^start-up +options="-c role=boss/m)
    const [first = ''] = (await told(proxy, 'show', 'last', '--json')).split('\n')
    const { identity } = JSON.parse(first) as { identity: { startup: { agent: Record<string, string> } } }
    assert.equal(identity.startup.agent['options'], redacted)
    assert.ok((await told(proxy, 'export', 'last', '--format', 'jsonl')).includes(redacted))

    const script = await told(proxy, 'replay', 'last', '--as', 'sql')
    assert.match(script, /^-- NOT SET: app\.session_token: /m)
    const file = `${proxy.folder}/again.sql`
    await writeFile(file, script)
    await psql([`postgresql://agent@${server.host}:${server.port}/postgres`, '--file', file])
    // Once when it was recorded, and once by the script.
    assert.deepEqual([(await count()) - countBefore, script.includes('hunter2')], [2, false])
  })
}

test('parameters that a recording has no room for reach no database', async () => {
  await using proxy = await startProxyProcess({ upstream: `host=${server.host} port=1 user=agent dbname=postgres sslmode=disable` })
  const client = connectRaw({
    host: proxy.host,
    port: proxy.port,
    parameters: { user: 'agent', database: 'postgres', options: '\u0001'.repeat(9_000) },
  })
  await client.start()
  // Nothing listens on port 1: had it been tried, the answer were another.
  assert.match(client.received().toString('latin1'), /longer than a recording can hold/)
  await client.destroy()
  assert.equal(await proxy.stop(), 0)
})
