// Goal: a RecordingStore leads to the place that it names, with the credentials of its Secret, and says what is missing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StoreUnavailable } from '../../session/stores/store.ts'
import { createOpenRecordingStore, secretsOf, storeUrlOf, type ReadSecret } from './open-recording-store.ts'
import type { StoreObject } from './stores.ts'

const bucket: StoreObject['spec'] = {
  type: 's3',
  s3: {
    bucket: 'recordings',
    prefix: 'a/b',
    endpoint: 'https://s3.internal:9000',
    region: 'eu-1',
    pathStyle: true,
    credentials: { secretName: 'keys' },
  },
}
const full = new Map([
  ['accessKeyId', 'id'],
  ['secretAccessKey', 'hunter2'],
])

test('a spec has one URL, which names its place and no credential', () => {
  assert.equal(storeUrlOf({ type: 'volume', volume: { path: '/var/lib/steno/store' } }), 'file:///var/lib/steno/store')
  assert.equal(storeUrlOf(bucket), 's3://recordings/a/b?region=eu-1&endpoint=https%3A%2F%2Fs3.internal%3A9000&path-style=true')
})

test('a bucket is opened with the credentials of its Secret; without them it says what to do, and quotes nothing', async () => {
  const open = (readSecret: ReadSecret | null) => createOpenRecordingStore({ readSecret })(bucket)
  assert.match((await open(() => Promise.resolve(full))).url, /^s3:\/\/recordings\/a\/b/)
  const without: (ReadSecret | null)[] = [
    null,
    () => Promise.reject(new Error('not found')),
    () => Promise.resolve(new Map([['secretAccessKey', 'hunter2']])),
  ]
  for (const readSecret of without)
    await assert.rejects(
      open(readSecret),
      (error) => error instanceof StoreUnavailable && /Secret keys/.test(error.remedy) && !/hunter2/.test(String(error)),
    )
})

test('a Secret is read from the API server and decoded', async () => {
  const paths: string[] = []
  const readSecret = secretsOf(
    { request: <T>({ path }: { path: string }) => (paths.push(path), Promise.resolve({ data: { accessKeyId: 'aWQ=' } } as T)) },
    'steno-system',
  )
  assert.deepEqual([...(await readSecret('keys'))], [['accessKeyId', 'id']])
  assert.deepEqual(paths, ['/api/v1/namespaces/steno-system/secrets/keys'])
})
