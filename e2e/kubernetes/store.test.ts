/**
 * Goal: recordings reach the shared store, whatever happens between, each once and unchanged; and who runs it is told what is wrong.
 * Method: a real radosgw on the node's address as a RecordingStore, agents that go on working while it is in trouble, then statement for
 * statement what the store has against what the database says that it ran. What a real server cannot be made to do, a double does.
 */
import assert from 'node:assert/strict'
import { after, before, type TestContext } from 'node:test'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { openS3Store } from '../../session/stores/s3.ts'
import { startRadosgw, type Radosgw } from '../../tools/radosgw.ts'
import { startS3Double, type Fault, type S3Double } from '../../tools/s3-double/server.ts'
import { steno } from '../support/proxy.ts'
import {
  addressForStores,
  applyPolicy,
  controlMetrics,
  createRecordingStore,
  letControlRead,
  settleMillisecondsMax,
  startSpeaker,
  untilCondition,
  writeSecret,
  type RecordingStoreProof,
} from './store-world.ts'
import { clusterTest, eventually, kubectl } from './support/kubectl.ts'
import { openRecordings } from './support/recordings.ts'
import { untilNotStored, untilStored } from './support/recording-told.ts'
import { databaseUser, openShop, type Shop } from './support/shop.ts'

const isThere = process.env['KUBECONFIG'] !== undefined
const bucket = 'recordings'
const secrets = { radosgw: 'steno-e2e-radosgw', double: 'steno-e2e-double' }

type World = {
  readonly address: string
  readonly radosgw: Radosgw
  readonly double: S3Double
  readonly shop: Shop
  readonly stores: { readonly real: RecordingStoreProof; readonly double: RecordingStoreProof }
}

let opened: World | null = null
const things = new AsyncDisposableStack()

before(async () => {
  const address = isThere ? await addressForStores() : null
  if (address === null) return
  const radosgw = things.use(await startRadosgw({ host: address }))
  const double = things.use(await startS3Double({ host: address, conditionalPut: '409' }))
  const { endpoint, ...credentials } = radosgw
  const client = new S3Client({ endpoint, region: 'us-east-1', credentials, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  await Promise.all([writeSecret(secrets.radosgw, radosgw), writeSecret(secrets.double, double)])
  things.defer(async () => {
    await kubectl(['-n', 'steno-system', 'delete', 'secret', ...Object.values(secrets)])
  })
  await letControlRead(Object.values(secrets))
  things.defer(() => letControlRead([]))
  const stores = {
    real: things.use(await createRecordingStore('e2e-radosgw', { bucket, endpoint, secretName: secrets.radosgw })),
    double: things.use(
      await createRecordingStore('e2e-double', { bucket: double.bucket, endpoint: double.endpoint, secretName: secrets.double }),
    ),
  }
  const shop = things.use(await openShop({ spec: { selector: { matchLabels: { store: 'none' } } } }))
  await shop.query(`alter role ${databaseUser} set log_statement = 'all'`)
  await Promise.all([
    applyPolicy(shop, 'real', { store: stores.real.name }),
    applyPolicy(shop, 'double', { store: stores.double.name }),
    applyPolicy(shop, 'small', { store: stores.double.name, spoolBytesMax: '64Mi' }),
  ])
  await Promise.all(Object.values(stores).map((store) => store.untilReachable('True', /^Proven$/)))
  opened = { address, radosgw, double, shop, stores }
})
after(() => things.disposeAsync())

function storeTest(name: string, run: (world: World, context: TestContext) => Promise<void>, timeoutMilliseconds = 180_000): void {
  clusterTest(
    name,
    async (context) => {
      if (opened !== null) await run(opened, context)
      else context.skip('pods cannot reach this process: set E2E_HOST_ADDRESS to an address of this machine that they reach')
    },
    { timeoutMilliseconds },
  )
}

/** Whoever looks at the store, at a policy that names it, or at the metrics of control and sidecar is told the same. */
async function assertTold(
  { shop }: World,
  store: RecordingStoreProof,
  { label, reason, remedy }: { readonly label: string; readonly reason: RegExp; readonly remedy: RegExp },
): Promise<void> {
  const told = await store.untilReachable('False', reason)
  assert.match(told.message, remedy)
  const ofPolicy = await untilCondition(['-n', shop.namespace, 'sessionpolicy', `store-${label}`], { status: 'False', reason })
  assert.match(ofPolicy.message, remedy)
  const metric = await store.metric()
  assert.equal(metric.value, 0)
  assert.match(metric.reason, reason)
}

async function assertWorksAgain({ shop }: World, store: RecordingStoreProof, label: string): Promise<void> {
  await store.untilReachable('True', /^Proven$/)
  await untilCondition(['-n', shop.namespace, 'sessionpolicy', `store-${label}`], { status: 'True', reason: /^Proven$/ })
  assert.deepEqual(await store.metric(), { value: 1, reason: 'Proven' })
}

storeTest(
  'what an agent says is in the bucket that its policy names, and an auditor reads the same through control and directly',
  async (world) => {
    const { radosgw, shop, stores } = world
    const speaker = await startSpeaker(shop, 'first', 'real')
    await speaker.speak(3)
    await speaker.untilAllArrived(stores.real.name)

    const { endpoint, accessKeyId, secretAccessKey } = radosgw
    const credentials = { accessKeyId, secretAccessKey }
    const place = { bucket, prefix: 'cluster/one', endpoint, region: null, pathStyle: true }
    const keys = (await Array.fromAsync(openS3Store(place, credentials).list(''))).map(({ key }) => key)
    assert.ok(
      keys.some((key) => key.startsWith('attested/')),
      'control says whose recordings these are',
    )
    assert.ok(!keys.some((key) => key.startsWith('probe/')), 'the proof leaves nothing behind')

    await using throughControl = await openRecordings(stores.real.name)
    const environment = { STENO_STORE: stores.real.url, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
    const directly = (args: readonly string[]) => steno(args, { environment })
    const sessions = await throughControl.sessionsOf(speaker.uid)
    assert.equal(sessions.length, 3)
    for (const { session, identity } of sessions) {
      assert.equal(identity.attested['podName'], 'first')
      assert.ok(keys.some((key) => key.includes(session)))
      const [one, other] = [await throughControl.run(['show', session]), await directly(['show', session])]
      assert.match(one.stdout, /as number \/\* first \*\//)
      assert.equal(one.stdout, other.stdout, 'both ways show the same')
    }
    const verified = await directly(['verify', '--all'])
    assert.equal(verified.status, 0, verified.stdout + verified.stderr)
    await using others = await openRecordings('default')
    assert.deepEqual(await others.sessionsOf(speaker.uid), [], 'nothing of it is in another store')
    const log = await kubectl(['-n', 'steno-system', 'logs', 'deployment/steno-control', '--tail=-1'])
    assert.ok(!log.includes(secretAccessKey) && !log.includes(accessKeyId), 'control logs no key')
  },
)

storeTest('while the store is down agents work, all is told, and everything arrives once it is back', async (world) => {
  const { radosgw, shop, stores } = world
  const speaker = await startSpeaker(shop, 'down', 'real')
  await speaker.speak(1)
  await radosgw.stopServing()
  try {
    await speaker.speak(10)
    await assertTold(world, stores.real, { label: 'real', reason: /^Unavailable$/, remedy: /Check endpoint/ })
    await speaker.speak(10)
    await eventually('the sidecar says so', async () => ((await speaker.metric('steno_store_failing_seconds')) > 0 ? true : null))
    assert.ok((await speaker.metric('steno_spool_bytes')) > 0)
    assert.ok((await speaker.metric('steno_store_failures_total')) > 0)
  } finally {
    await radosgw.serveAgain()
  }
  await assertWorksAgain(world, stores.real, 'real')
  await speaker.untilAllArrived(stores.real.name)
  await eventually('the sidecar’s spool is empty', async () => ((await speaker.metric('steno_spool_bytes')) === 0 ? true : null))
  assert.equal(await speaker.metric('steno_store_failing_seconds'), 0)
})

storeTest('a pod that starts while the store is down works from its first statement on', async (world) => {
  const { radosgw, shop, stores } = world
  await radosgw.stopServing()
  let speaker
  try {
    speaker = await startSpeaker(shop, 'started-without', 'real')
    await speaker.speak(5)
  } finally {
    await radosgw.serveAgain()
  }
  await speaker.untilAllArrived(stores.real.name)
})

storeTest('a bucket whose quota is used up is told as full, also while it can be read, and takes all once there is room', async (world) => {
  const { radosgw, shop, stores } = world
  const speaker = await startSpeaker(shop, 'quota', 'real')
  const told = { namespace: shop.namespace, policy: 'store-real' }
  await radosgw.limit(1)
  try {
    await speaker.speak(5)
    await assertTold(world, stores.real, { label: 'real', reason: /^Full$/, remedy: /more space or quota/ })
    await using recordings = await openRecordings(stores.real.name)
    assert.equal((await recordings.run(['sessions', '--json'])).status, 0, 'what is there can be read')
    assert.deepEqual(await stores.real.metric(), { value: 0, reason: 'Full' }, 'that it can be read does not make it work')
    await speaker.speak(5)
    await untilNotStored({ ...told, pod: speaker.name }, 'StoreRefuses', /STORE_FULL.*below 25 %.*space/)
  } finally {
    await radosgw.limit(null)
  }
  await assertWorksAgain(world, stores.real, 'real')
  await speaker.untilAllArrived(stores.real.name)
  await untilStored({ ...told, pod: speaker.name })
})

storeTest('a key that was replaced is told without the key, and works from when the Secret has the next', async (world) => {
  const { radosgw, shop, stores } = world
  const speaker = await startSpeaker(shop, 'key', 'real')
  const secretAccessKey = await radosgw.changeSecret()
  try {
    await speaker.speak(5)
    await assertTold(world, stores.real, { label: 'real', reason: /^Unavailable$/, remedy: /access key and its secret/ })
    assert.ok(!(await stores.real.untilReachable('False', /./)).message.includes(radosgw.secretAccessKey))
  } finally {
    await writeSecret(secrets.radosgw, { ...radosgw, secretAccessKey })
  }
  await assertWorksAgain(world, stores.real, 'real')
  await speaker.untilAllArrived(stores.real.name)
})

storeTest('control’s pod is deleted twice under load, and everything arrives', async ({ shop, stores }) => {
  const speaker = await startSpeaker(shop, 'load', 'real')
  let isEnough = false
  let sessions = 0
  const load = (async () => {
    while (!isEnough) {
      await speaker.speak(10)
      sessions += 10
    }
  })()
  for (let round = 0; round < 2; round++) {
    const soFar = sessions
    await eventually('agents speak', () => Promise.resolve(sessions > soFar ? true : null))
    await kubectl(['-n', 'steno-system', 'delete', 'pod', '-l', 'app.kubernetes.io/component=control', '--wait=false'])
    await kubectl(['-n', 'steno-system', 'rollout', 'status', 'deployment/steno-control', '--timeout=180s'])
  }
  isEnough = true
  await load
  await speaker.untilAllArrived(stores.real.name)
})

// Troubles that a real server does not have on demand.
for (const [fault, reason, remedy] of [
  ['silent', /^(Slow|Unavailable)$/, /./],
  ['shedding', /^Unavailable$/, /sheds load/],
  ['full', /^Full$/, /more space or quota/],
  ['lost reply', /^Unavailable$/, /./],
  ['slow', null, null],
] as const satisfies readonly (readonly [Fault, RegExp | null, RegExp | null])[]) {
  storeTest(`a store in trouble holds nobody up and has everything once afterwards: ${fault}`, async (world) => {
    const { double, shop, stores } = world
    const speaker = await startSpeaker(shop, fault.replace(' ', '-'), 'double')
    double.fail(fault)
    try {
      await speaker.speak(5)
      if (reason !== null) await assertTold(world, stores.double, { label: 'double', reason, remedy })
      else await eventually('it takes what comes', async () => ((await speaker.metric('steno_segments_stored_total')) >= 5 ? true : null))
      await speaker.speak(5)
    } finally {
      double.fail('none')
    }
    await assertWorksAgain(world, stores.double, 'double')
    await speaker.untilAllArrived(stores.double.name)
  })
}

// Nothing may be put where a second put would replace it.
for (const [conditionalPut, reason, told] of [
  ['overwrites', /^Overwrites$/, /STORE_OVERWRITES/],
  ['501', /^Unfit$/, /STORE_CONDITION_UNSUPPORTED/],
] as const) {
  storeTest(
    `a store that answers a second conditional put with ${conditionalPut} is told as such and gets nothing; agents work`,
    async ({ address, shop }) => {
      await using unfit = await startS3Double({ host: address, conditionalPut })
      await using store = await createRecordingStore('e2e-unfit', { bucket, endpoint: unfit.endpoint, secretName: secrets.double })
      assert.match((await store.untilReachable('False', reason)).message, told)
      await applyPolicy(shop, conditionalPut, { store: store.name })
      const speaker = await startSpeaker(shop, `unfit-${conditionalPut}`, conditionalPut)
      await speaker.speak(3)
      await eventually('the sidecar has tried', async () => ((await speaker.metric('steno_store_failures_total')) > 0 ? true : null))
      assert.match(await controlMetrics(), /steno_control_refusals_total\{code="STORE_UNFIT"\} [1-9]/)
      assert.deepEqual(
        [...unfit.objects.keys()].filter((key) => !key.includes('probe/')),
        [],
      )
      await untilCondition(['-n', shop.namespace, 'sessionpolicy', `store-${conditionalPut}`], { status: 'False', reason })
      await kubectl(['-n', shop.namespace, 'delete', 'pod', speaker.name, '--wait=false'])
    },
  )
}

storeTest(
  'a spool at its cap makes statements wait and then fail clearly; what passed is recorded, and then the agent works again',
  async (world) => {
    const { double, shop, stores } = world
    const speaker = await startSpeaker(shop, 'cap', 'small')
    const told = { namespace: shop.namespace, policy: 'store-small' }
    await speaker.speak(1)
    double.fail('down')
    let failure = ''
    try {
      // 4 MB of rows each.
      const much = `psql "$DATABASE_URL" -qAtc "select repeat('x', 100000) from generate_series(1, 40) /* cap */" 2>&1 >/dev/null`
      failure = await eventually(
        'the cap is reached',
        async () => {
          const said = await speaker.shell(`${much} || true`)
          return said === '' ? null : said
        },
        { withinMilliseconds: 150_000 },
      )
      assert.match(failure, /steno could not record|server closed the connection/)
      // While nothing else is under way the session lives on.
      const started = performance.now()
      const refused = await speaker.shell(`printf 'select 1 /* cap refused */;\\n' | psql "$DATABASE_URL" -qAt 2>&1 || true`)
      assert.match(refused, /steno could not record[^]*bytes wait for the store, more than the 67108864 allowed/, failure)
      assert.ok(performance.now() - started < settleMillisecondsMax)
      assert.ok((await speaker.metric('steno_statements_refused_total')) + (await speaker.metric('steno_spool_bytes')) > 0)
      assert.equal(await speaker.metric('steno_recording'), 0)
      await untilNotStored({ ...told, pod: speaker.name }, 'SpoolFull', /SPOOL_FULL.*53100.*Bring the store back/)
    } finally {
      double.fail('none')
    }
    await eventually('the agent works again', async () => {
      await speaker.speak(1)
      return true
    })
    const log = await shop.databaseLog()
    assert.ok(!log.includes('cap refused'), 'what was refused did not reach the database')
    await speaker.untilAllArrived(stores.double.name)
    await untilStored({ ...told, pod: speaker.name })
  },
  300_000,
)
