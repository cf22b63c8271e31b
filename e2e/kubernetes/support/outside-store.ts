/**
 * A RecordingStore that outlives control: a radosgw on the node's address. The store of the tests' release is a folder in control's pod, and ends
 * with it.
 */
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { startRadosgw, type Radosgw } from '../../../tools/radosgw.ts'
import { addressForStores, createRecordingStore, letControlRead, writeSecret } from '../store-world.ts'
import { kubectl } from './kubectl.ts'

const bucket = 'recordings'

export type OutsideStore = AsyncDisposable & {
  readonly name: string
  readonly radosgw: Pick<Radosgw, 'stopServing' | 'serveAgain'>
  /** Lets the control of a release that was installed anew read the key. */
  letControlRead(): Promise<void>
}

/** Null where pods cannot reach this process. */
export async function openOutsideStore(prefix: string): Promise<OutsideStore | null> {
  const address = await addressForStores()
  if (address === null) return null
  await using things = new AsyncDisposableStack()
  const radosgw = things.use(await startRadosgw({ host: address }))
  const { endpoint, accessKeyId, secretAccessKey } = radosgw
  const client = new S3Client({ endpoint, region: 'us-east-1', credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  const secretName = `${prefix}-key`
  const allow = async (): Promise<void> => {
    await writeSecret(secretName, radosgw)
    await letControlRead([secretName])
  }
  things.defer(async () => {
    await letControlRead([])
    await kubectl(['-n', 'steno-system', 'delete', 'secret', secretName, '--ignore-not-found'])
  })
  await allow()
  const store = things.use(await createRecordingStore(prefix, { bucket, endpoint, secretName }))
  await store.untilReachable('True', /^Proven$/)
  const owned = things.move()
  return { name: store.name, radosgw, letControlRead: allow, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
