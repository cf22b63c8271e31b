// What somebody else puts into the store while a session is recorded. He can write to it, and has no key of the recorder's. The title is in the
// first column of docs/failures.md.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { sha256Of } from '../../session/digest.ts'
import { segmentKey } from '../../session/object-keys.ts'
import { sessionIds } from '../../session/read-session.ts'
import { decodeRecords, encodeRecord, recordType } from '../../session/records.ts'
import { openSegment, sealSegment } from '../../session/segment.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import type { Store } from '../../session/stores/store.ts'
import { payloadOf, queryFrame } from '../../session/test-recording.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { connectRemembering } from '../nothing-lost/remembering-client.ts'
import { startProxyProcess, steno } from '../support/proxy.ts'

const answer = Buffer.from('C\0\0\0\rSELECT 1\0Z\0\0\0\x05I', 'latin1')
const waitMillisecondsMax = 120_000

async function until<T>(what: string, find: () => Promise<T | null>): Promise<T> {
  for (const end = Date.now() + waitMillisecondsMax; ; await sleep(20)) {
    const found = await find()
    if (found !== null) return found
    assert.ok(Date.now() < end, `waited for: ${what}`)
  }
}

/** What ends the session innocently, and claims everything that the spool may still hold of it. */
function forgedNext(bytes: Buffer): Buffer {
  const { header, body } = openSegment(bytes)
  const number = [...decodeRecords(body)][0]!.session
  const time = header.lastTime + 5
  const records = [
    [recordType.frontend, queryFrame("select 'nothing to see here'")],
    [recordType.backend, answer],
    [recordType.frontend, Buffer.from('X\0\0\0\x04', 'latin1')],
    [recordType.sessionClose, payloadOf({ closed: time, reason: 'terminated', recovered: false })],
  ] as const
  return sealSegment(
    {
      ...header,
      ...{ number: header.number + 1, previous: sha256Of(bytes), firstTime: time, lastTime: time, last: true },
      records: { from: header.records.to, to: header.records.to + records.length },
      spoolEnd: { file: header.spoolEnd.file, offset: 2 ** 50 },
    },
    records.map(([type, payload]) => encodeRecord({ type, payload, flags: 0, session: number, time })),
  ).bytes
}

async function lastSegment(store: Store): Promise<{ readonly session: string; readonly number: number; readonly bytes: Buffer } | null> {
  for await (const session of sessionIds(store, 'newest')) {
    let number = 0
    while ((await store.head(segmentKey(session, number + 1))) !== null) number++
    const bytes = number === 0 ? null : await store.get(segmentKey(session, number))
    return bytes === null ? null : { session, number, bytes }
  }
  return null
}

test('a forged part of a session lies in the store when a killed process’s spool is recovered', async () => {
  await using database = await startPostgres()
  await using proxy = await startProxyProcess({ upstream: database.url })
  const store = openDirectoryStore(proxy.storeFolder)
  const client = await connectRemembering(proxy.port, 'forged')
  await client.query('create table evidence (a int)')
  const { session, number, bytes } = await until('a stored segment', () => lastSegment(store))
  assert.equal(await store.putIfAbsent(segmentKey(session, number + 1), forgedNext(bytes)), 'stored')
  await client.query('drop table evidence')
  await proxy.kill()
  await client.ended
  const next = await startProxyProcess({ upstream: database.url, folder: proxy.folder })
  assert.equal(await next.stop(), 0)
  assert.match(next.log(), /"level":"error".*set aside.*STORED_PART_FORGED|"level":"error".*STORED_PART_FORGED.*set aside/)
  const aside = (await readdir(proxy.spoolFolder)).filter((name) => name.startsWith('set-aside-'))
  assert.deepEqual(aside, [`set-aside-${session}.log`])
  const kept = await readFile(join(proxy.spoolFolder, aside[0]!))
  assert.ok(kept.includes('drop table evidence'), 'what was recorded is not deleted')
  const verified = await steno(['verify', '--all', '--store', proxy.storeUrl, '--spool', proxy.spoolFolder])
  assert.equal(verified.status, 1, verified.stdout)
  assert.match(verified.stdout, new RegExp(`OBJECT_(DIGEST|SIZE)[^]*${session}|${session}[^]*OBJECT_(DIGEST|SIZE)`))
  assert.ok(!(await steno(['show', session, '--store', proxy.storeUrl])).stdout.includes('nothing to see here'))
})
