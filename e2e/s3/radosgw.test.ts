/** Goal: the S3 store keeps its promises on a server that others wrote. Method: the stores' own suite, against a real radosgw. */
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { after, test } from 'node:test'
import { storeConformance } from '../../session/stores/conformance.ts'
import { openS3Store } from '../../session/stores/s3.ts'
import { startRadosgw } from '../../tools/radosgw.ts'

// It fetches 73 MB and takes 700 MB of memory, so it is asked for: `make e2e` does.
if (process.env['E2E'] === undefined)
  test('the S3 store on a real radosgw', { skip: 'a radosgw is fetched and started by make e2e' }, () => undefined)
else {
  const server = startRadosgw()
  let buckets = 0
  storeConformance('radosgw', async () => {
    const { endpoint, ...credentials } = await server
    const bucket = `recordings-${++buckets}`
    const client = new S3Client({ endpoint, region: 'us-east-1', credentials, forcePathStyle: true })
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    return {
      open: () => Promise.resolve(openS3Store({ bucket, prefix: 'teams/shop', endpoint, region: null, pathStyle: true }, credentials)),
      [Symbol.asyncDispose]: () => Promise.resolve(client.destroy()),
    }
  })
  after(async () => (await server)[Symbol.asyncDispose]())
}
