// Goal: when the way is closed to agents, what runs ends at once with the reason's own words, what comes is refused with them, and the recording
// says so; it is open again only when no reason is left. Method: a recorder between real clients and a real PostgreSQL.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import pg from 'pg'
import { createLog } from '../base/log.ts'
import { parseConnectionString } from '../postgres/connection-string.ts'
import { startPostgres } from '../tools/embedded-postgres.ts'
import { startRecorder } from './recorder.ts'
import { defaultSegmentLimits } from './settings.ts'
import { defaultSpoolLimits } from './spool/spool-writer.ts'

const refusal = { code: '57P01', message: 'the policy was withdrawn', hint: 'Ask whoever withdrew it.' }

test(
  'a way that is closed ends sessions in any state and refuses others, until its last reason is gone',
  { timeout: 120_000 },
  async (t) => {
    const database = await startPostgres()
    t.after(() => database.stop('immediate'))
    const folder = await mkdtemp(join(tmpdir(), 'steno-way-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    await mkdir(join(folder, 'store'))
    const recorder = await startRecorder(
      {
        listeners: [
          {
            addresses: [{ host: '127.0.0.1', port: 0 }],
            upstream: parseConnectionString(database.url),
            databases: 'any',
            agentToken: null,
            allowCleartextPassword: false,
          },
        ],
        storeUrl: pathToFileURL(join(folder, 'store')).href,
        spoolFolder: join(folder, 'spool'),
        spoolLimits: defaultSpoolLimits,
        segment: defaultSegmentLimits,
        onRecordFailure: 'block',
        recordWaitMilliseconds: 1_000,
        connectionsMax: 10,
        startupMillisecondsMax: 10_000,
        drainMilliseconds: 0,
        metricsListen: null,
      },
      createLog({ level: 'silent' }),
    )
    t.after(() => recorder.stop())
    const { port } = recorder.addresses[0]!
    const connect = async () => {
      const client = new pg.Client({ host: '127.0.0.1', port, user: 'agent', database: 'postgres' })
      const ended = new Promise<pg.DatabaseError>((resolve) => client.on('error', (error) => resolve(error as pg.DatabaseError)))
      await client.connect()
      return { client, ended }
    }
    const idle = await connect()
    const inTransaction = await connect()
    await inTransaction.client.query('begin')
    const running = await connect()
    const statement = running.client.query('select pg_sleep(60)').then(
      () => null,
      (error: unknown) => error as pg.DatabaseError,
    )
    while ((await database.query("select 1 from pg_stat_activity where query = 'select pg_sleep(60)'")).length === 0);
    recorder.setWay('withdrawn', refusal)
    for (const error of [await idle.ended, await inTransaction.ended, await statement]) {
      assert.deepEqual([error?.code, error?.message, error?.hint], ['57P01', 'steno: the policy was withdrawn', 'Ask whoever withdrew it.'])
    }
    recorder.setWay('open-path', { ...refusal, message: 'a way is open' })
    assert.deepEqual(recorder.reasonsNotReady(), [
      'the way is closed to agents: the policy was withdrawn',
      'the way is closed to agents: a way is open',
    ])
    const isRefused = (message: string) =>
      assert.rejects(connect(), (error: pg.DatabaseError) => error.code === '57P01' && error.message === message)
    await isRefused('steno: the policy was withdrawn')
    recorder.setWay('withdrawn', null)
    await isRefused('steno: a way is open')
    recorder.setWay('open-path', null)
    assert.deepEqual(recorder.reasonsNotReady(), [])
    const again = await connect()
    assert.deepEqual((await again.client.query('select 1 as one')).rows, [{ one: 1 }])
    await again.client.end()
  },
)
