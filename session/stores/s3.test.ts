import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startS3Double, type ConditionalPut, type S3Double } from '../../tools/s3-double/server.ts'
import { storeConformance } from './conformance.ts'
import { probeStore, StoreOverwrites } from './probe.ts'
import { openS3Store, parseS3Url, S3UrlWrong, StoreConditionUnsupported } from './s3.ts'
import { StoreUnavailable, type Store } from './store.ts'

function storeOf(double: S3Double, { prefix = '', secret = double.secretAccessKey } = {}): Store {
  const place = { bucket: double.bucket, prefix, endpoint: double.endpoint, region: null, pathStyle: true }
  return openS3Store(place, { accessKeyId: double.accessKeyId, secretAccessKey: secret })
}

for (const prefix of ['', 'teams/shop']) {
  storeConformance(`s3${prefix && ' below a prefix'}`, async () => {
    const double = await startS3Double({ pageObjects: 2 })
    return {
      open: () => Promise.resolve(storeOf(double, { prefix })),
      [Symbol.asyncDispose]: () => double[Symbol.asyncDispose](),
    }
  })
}

// Goal: create-once is proven or the store is refused. Method: each way in which servers answer a second conditional put.
const ways: readonly [ConditionalPut, (new (...given: never[]) => Error) | null][] = [
  ['412', null],
  ['409', null],
  ['501', StoreConditionUnsupported],
  ['overwrites', StoreOverwrites],
]
for (const [conditionalPut, expected] of ways) {
  test(`a server whose second conditional put is ${conditionalPut} is ${expected === null ? 'taken' : `refused as ${expected.name}`}`, async () => {
    await using double = await startS3Double({ conditionalPut })
    const probing = probeStore(storeOf(double))
    if (expected === null) await probing
    else await assert.rejects(probing, expected)
    assert.deepEqual([...double.objects.keys()], [], 'the probe leaves nothing behind')
  })
}

// Goal: each trouble is told with what to do, loses nothing, and passes. Method: make the double have it, then take it away.
for (const [fault, remedy] of [
  ['down', /endpoint/],
  ['full', /more space/],
  ['over quota', /more space/],
  ['shedding', /sheds load/],
] as const) {
  test(`a store that is ${fault} says what to do, and takes the object afterwards`, async () => {
    await using double = await startS3Double()
    const store = storeOf(double)
    double.fail(fault)
    await assert.rejects(
      store.putIfAbsent('a/b', Buffer.from('x')),
      (error) =>
        error instanceof StoreUnavailable &&
        remedy.test(error.remedy) &&
        error.isFull === ['full', 'over quota'].includes(fault) &&
        !String(error).includes(double.secretAccessKey),
    )
    double.fail('none')
    assert.equal(await store.putIfAbsent('a/b', Buffer.from('x')), 'stored')
  })
}

test('a slow store is waited for', async () => {
  await using double = await startS3Double()
  double.fail('slow')
  assert.equal(await storeOf(double).putIfAbsent('a/b', Buffer.from('x')), 'stored')
})

test('a put whose reply was lost is found stored, and only once', async () => {
  await using double = await startS3Double()
  const store = storeOf(double)
  double.fail('lost reply')
  await assert.rejects(store.putIfAbsent('a/b', Buffer.from('x')), StoreUnavailable)
  double.fail('none')
  assert.equal(await store.putIfAbsent('a/b', Buffer.from('y')), 'exists')
  assert.equal(String(await store.get('a/b')), 'x')
})

test('a wrong key is told without the key', async () => {
  await using double = await startS3Double()
  const store = storeOf(double, { secret: 'a-wrong-secret' })
  for (const call of [
    () => store.putIfAbsent('a/b', Buffer.from('x')),
    () => store.head('a/b'),
    () => store.get('a/b'),
    () => store.folders(''),
  ])
    await assert.rejects(
      call,
      (error) =>
        error instanceof StoreUnavailable && /access key/.test(error.remedy) && !/a-wrong-secret/.test(error.message + error.remedy),
    )
})

test('a bucket that is not there is told as such', async () => {
  await using double = await startS3Double()
  const place = { bucket: 'other', prefix: '', endpoint: double.endpoint, region: null, pathStyle: true }
  const store = openS3Store(place, { accessKeyId: double.accessKeyId, secretAccessKey: double.secretAccessKey })
  const isMissing = (error: unknown): boolean => error instanceof StoreUnavailable && /Create the bucket/.test(error.remedy)
  await assert.rejects(store.get('a/b'), isMissing)
  await assert.rejects(Array.fromAsync(store.list('')), isMissing)
  await assert.rejects(store.putIfAbsent('a/b', Buffer.from('x')), isMissing)
})

test('the URL says all but the credential', () => {
  assert.deepEqual(parseS3Url('s3://recordings/teams/shop?region=eu-west-1&endpoint=https://s3.internal:9000&path-style=true'), {
    ...{ bucket: 'recordings', prefix: 'teams/shop', region: 'eu-west-1' },
    ...{ endpoint: 'https://s3.internal:9000', pathStyle: true },
  })
  assert.deepEqual(parseS3Url('s3://recordings'), { bucket: 'recordings', prefix: '', region: null, endpoint: null, pathStyle: false })
})

for (const url of [
  's3://',
  's3://key:secret@recordings',
  's3://recordings?acl=public',
  's3://recordings?path-style=yes',
  's3://recordings?endpoint=ftp://x',
  's3://recordings?endpoint=https://key:secret@x',
  's3://Re cordings',
]) {
  test(`${url} is refused without being quoted`, () => {
    assert.throws(
      () => parseS3Url(url),
      (error) => error instanceof S3UrlWrong && !/secret/.test(error.message + error.remedy),
    )
  })
}
