/**
 * Goal: a shared bucket takes recordings as a folder does, and its troubles lose nothing. Method: the real proxy before a real PostgreSQL
 * and an S3 server that fails on cue; then the commands read the bucket.
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import pg from 'pg'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { startS3Double, type Fault, type S3Double } from '../../tools/s3-double/server.ts'
import { startProxyProcess, steno, type RunningProxy } from '../support/proxy.ts'

const database = await startPostgres()
after(() => database.stop())

function worldOf(double: S3Double) {
  const url = `s3://${double.bucket}/team?endpoint=${double.endpoint}&path-style=true`
  const environment = { AWS_ACCESS_KEY_ID: double.accessKeyId, AWS_SECRET_ACCESS_KEY: double.secretAccessKey }
  return { url, environment, start: () => startProxyProcess({ upstream: database.url, arguments: ['--store', url], environment }) }
}

async function ask(proxy: RunningProxy, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: proxy.url() })
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

test('bin/steno reads a bucket as it reads a folder', async () => {
  await using double = await startS3Double()
  const { url, environment, start } = worldOf(double)
  {
    await using proxy = await start()
    assert.deepEqual(await ask(proxy, 'select 42 as answer'), [{ answer: 42 }])
    assert.equal(await proxy.stop(), 0)
  }
  const listed = await steno(['sessions', '--store', url, '--json'], { environment })
  assert.equal(listed.status, 0, listed.stderr)
  assert.match(listed.stdout, /"statements":\s*1\b/)
  const shown = await steno(['show', 'last', '--statement', '1', '--store', url], { environment })
  assert.match(shown.stdout, /select 42 as answer[\s\S]*42/, shown.stderr)
  const verified = await steno(['verify', '--all', '--store', url], { environment })
  assert.equal(verified.status, 0, verified.stdout + verified.stderr)
})

// Goal: whatever the store's trouble, agents are served from the spool, and all arrives afterwards exactly once.
for (const fault of ['down', 'slow', 'full', 'shedding', 'lost reply'] satisfies readonly Fault[]) {
  test(`a store that is in trouble loses nothing and stores nothing twice: ${fault}`, async () => {
    await using double = await startS3Double()
    const { url, environment, start } = worldOf(double)
    await using proxy = await start()
    double.fail(fault)
    for (let asked = 1; asked <= 5; asked++) assert.deepEqual(await ask(proxy, `select ${asked} as number`), [{ number: asked }])
    double.fail('none')
    assert.equal(await proxy.stop(), 0, proxy.log())
    const listed = await steno(['sessions', '--store', url, '--json'], { environment })
    assert.equal(listed.stdout.trim().split('\n').length, 5, listed.stdout)
    const verified = await steno(['verify', '--all', '--store', url], { environment })
    assert.equal(verified.status, 0, verified.stdout + verified.stderr)
    assert.ok(!proxy.log().includes(double.secretAccessKey))
  })
}

test('a store that overwrites is refused before anything is recorded', async () => {
  await using double = await startS3Double({ conditionalPut: 'overwrites' })
  await assert.rejects(worldOf(double).start(), /STORE_OVERWRITES/)
})

test('a process that is killed while the store is down has all stored by the next', async () => {
  await using double = await startS3Double()
  const { url, environment, start } = worldOf(double)
  await using first = await start()
  double.fail('down')
  assert.deepEqual(await ask(first, 'select 7 as number'), [{ number: 7 }])
  await first.kill()
  double.fail('none')
  const again = { upstream: database.url, folder: first.folder, arguments: ['--store', url], environment }
  const second = await startProxyProcess(again)
  assert.equal(await second.stop(), 0, second.log())
  const shown = await steno(['show', 'last', '--store', url], { environment })
  assert.match(shown.stdout, /select 7 as number/, shown.stderr)
  const verified = await steno(['verify', '--all', '--store', url], { environment })
  assert.equal(verified.status, 0, verified.stdout + verified.stderr)
})
