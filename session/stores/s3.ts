/**
 * A store in a bucket that speaks S3: Amazon's, Ceph's radosgw, MinIO and others that honour `If-None-Match: *`.
 *
 * Every object is one PUT: completing a multipart upload ignores the condition on some servers, and an object that appears in parts is no
 * object. 412 says that the name is taken; 409 says that somebody puts at the same moment, or on some servers that it is taken, so a look
 * decides. Holds one object at a time in memory. Knows nothing of retention or object lock, which a bucket may add.
 */
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { KnownError, messageOf, systemCodeOf } from '../../base/errors.ts'
import { checkKey, checkPrefix } from './keys.ts'
import { StoreUnavailable, type ObjectInformation, type Store } from './store.ts'

const connectMilliseconds = 5_000
/** Without a byte in either direction for so long, a request has failed. */
const silentMilliseconds = 30_000
const attemptsMax = 3
const listPageObjects = 1_000

export type S3Place = {
  readonly bucket: string
  /** Put before every key, with a slash between; empty for none. */
  readonly prefix: string
  /** Null for Amazon's own. */
  readonly endpoint: string | null
  /** Null: `AWS_REGION` or the shared configuration says it; with an endpoint `us-east-1`, which other servers take. */
  readonly region: string | null
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
  readonly pathStyle: boolean
}

export type S3Credentials = { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string }

/** The server does not know conditional puts, so nothing could be kept from being overwritten. */
export class StoreConditionUnsupported extends KnownError {
  readonly code = 'STORE_CONDITION_UNSUPPORTED'
  readonly safeToRetry = true
  readonly remedy = 'Use a store that honours If-None-Match: * on PUT: Amazon S3, Ceph radosgw or MinIO; Swift’s S3 layer does not.'
}

/** `s3://bucket/prefix?region=…&endpoint=https://…&path-style=true`. @throws S3UrlWrong */
export function parseS3Url(url: string): S3Place {
  const parsed = URL.parse(url)
  if (parsed === null || parsed.protocol !== 's3:' || parsed.hostname === '') throw new S3UrlWrong('the URL names no bucket')
  if (parsed.username !== '' || parsed.password !== '') throw new S3UrlWrong('the URL carries a credential')
  // A host is read in lower case, and so are the names of buckets.
  if (!/^[a-z0-9][a-z0-9._-]{1,62}$/.test(parsed.host)) throw new S3UrlWrong(`${JSON.stringify(parsed.host)} is not a bucket's name`)
  const known = new Set(['region', 'endpoint', 'path-style'])
  for (const name of parsed.searchParams.keys()) {
    if (!known.has(name)) throw new S3UrlWrong(`the URL has a parameter ${JSON.stringify(name)}, which is not known`)
  }
  const pathStyle = parsed.searchParams.get('path-style') ?? 'false'
  if (!['true', 'false'].includes(pathStyle)) throw new S3UrlWrong('path-style is true or false')
  const endpoint = parsed.searchParams.get('endpoint')
  if (endpoint !== null && !/^https?:\/\/[^@]+$/i.test(endpoint))
    throw new S3UrlWrong('endpoint is an http or https URL without a credential')
  const prefix = parsed.pathname.replace(/^\/+|\/+$/g, '')
  checkPrefix(prefix)
  return { bucket: parsed.host, prefix, endpoint, region: parsed.searchParams.get('region'), pathStyle: pathStyle === 'true' }
}

/** The URL of an S3 store cannot be taken as it is written. */
export class S3UrlWrong extends KnownError {
  readonly code = 'S3_URL_WRONG'
  readonly remedy =
    'Write s3://BUCKET/PREFIX?region=REGION, and for other servers &endpoint=https://HOST&path-style=true; credentials come from the environment.'
  readonly safeToRetry = true
}

/**
 * Opens nothing yet. Without `credentials` they come from where the AWS tools look: environment, shared files, workload identity.
 */
export function openS3Store(place: S3Place, credentials: S3Credentials | null = null): Store {
  const client = new S3Client(configurationOf(place, credentials))
  const Bucket = place.bucket
  const keyPrefix = place.prefix === '' ? '' : `${place.prefix}/`
  const url = urlOf(place)

  const keyOf = (key: string): string => {
    checkKey(key)
    return keyPrefix + key
  }

  /** Null when the server says that there is no such object. */
  async function asked<Answer>(what: string, request: () => Promise<Answer>): Promise<Answer | null> {
    try {
      return await request()
    } catch (error) {
      // HEAD has no body that could name a missing bucket; a list would.
      if (statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket') return null
      throw unavailable(what, error)
    }
  }

  function unavailable(what: string, error: unknown): KnownError {
    if (error instanceof KnownError) return error
    return new StoreUnavailable(`${what} in ${url}: ${describe(error)}`, remedyFor(error), error, { isFull: isFull(error) })
  }

  async function head(key: string): Promise<ObjectInformation | null> {
    const Key = keyOf(key)
    const answer = await asked(`cannot look for ${key}`, async () => {
      try {
        return await client.send(new HeadObjectCommand({ Bucket, Key }))
      } catch (error) {
        // The answer to a HEAD has no body that could say why; that to a GET has.
        if (statusOf(error) === 403) await client.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=0-0' }))
        throw error
      }
    })
    return answer === null ? null : { key, bytes: answer.ContentLength ?? 0 }
  }

  async function read(key: string, range: string | undefined): Promise<Buffer | null> {
    return asked(`cannot read ${key}`, async () => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: keyOf(key), Range: range }))
      return Body === undefined ? Buffer.alloc(0) : Buffer.from(await Body.transformToByteArray())
    })
  }

  async function* pages(prefix: string, delimiter: string | undefined) {
    let token: string | undefined
    do {
      const input = { Bucket, Prefix: keyPrefix + prefix, Delimiter: delimiter, MaxKeys: listPageObjects, ContinuationToken: token }
      let page
      try {
        page = await client.send(new ListObjectsV2Command(input))
      } catch (error) {
        throw unavailable(`cannot list ${prefix || 'the objects'}`, error)
      }
      yield page
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  return {
    url,
    async putIfAbsent(key, bytes) {
      const Key = keyOf(key)
      try {
        await client.send(new PutObjectCommand({ Bucket, Key, Body: bytes, ContentLength: bytes.length, IfNoneMatch: '*' }))
        return 'stored'
      } catch (error) {
        const status = statusOf(error)
        if (status === 412) return 'exists'
        if (status === 409 && (await head(key)) !== null) return 'exists'
        if (status === 501) {
          throw new StoreConditionUnsupported(
            `${url} answers 501 to a put with If-None-Match: it cannot keep an object from being overwritten`,
            {
              cause: error,
            },
          )
        }
        throw unavailable(`cannot store ${key}`, error)
      }
    },
    get: (key) => read(key, undefined),
    async range(key, start, end) {
      keyOf(key)
      if (end <= start) return (await head(key)) === null ? null : Buffer.alloc(0)
      try {
        return await read(key, `bytes=${start}-${end - 1}`)
      } catch (error) {
        // The range begins behind the object's end.
        if (error instanceof StoreUnavailable && statusOf(error.cause) === 416) return Buffer.alloc(0)
        throw error
      }
    },
    head,
    async *list(prefix) {
      checkPrefix(prefix)
      for await (const { Contents = [] } of pages(prefix, undefined)) {
        for (const { Key = '', Size = 0 } of Contents) yield { key: Key.slice(keyPrefix.length), bytes: Size }
      }
    },
    async folders(prefix) {
      checkPrefix(prefix)
      const found: string[] = []
      for await (const { CommonPrefixes = [] } of pages(prefix, '/')) {
        for (const { Prefix = '' } of CommonPrefixes) found.push(Prefix.slice(keyPrefix.length + prefix.length, -1))
      }
      return found.sort()
    },
    async delete(key) {
      await asked(`cannot delete ${key}`, () => client.send(new DeleteObjectCommand({ Bucket, Key: keyOf(key) })))
    },
  }
}

function configurationOf({ endpoint, region, pathStyle }: S3Place, credentials: S3Credentials | null): S3ClientConfig {
  const known = region ?? (endpoint === null ? null : 'us-east-1')
  return {
    ...(endpoint === null ? {} : { endpoint }),
    ...(known === null ? {} : { region: known }),
    ...(credentials === null ? {} : { credentials }),
    forcePathStyle: pathStyle,
    maxAttempts: attemptsMax,
    // TLS or the signature covers the bytes already; servers other than Amazon's refuse checksums in trailers.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: connectMilliseconds, socketTimeout: silentMilliseconds },
  }
}

/** For messages; names no credential. */
function urlOf({ bucket, prefix, endpoint, region, pathStyle }: S3Place): string {
  const query = [
    ...(region === null ? [] : [`region=${region}`]),
    ...(endpoint === null ? [] : [`endpoint=${endpoint}`]),
    ...(pathStyle ? ['path-style=true'] : []),
  ].join('&')
  return `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}${query === '' ? '' : `?${query}`}`
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('$metadata' in error)) return undefined
  return (error.$metadata as { httpStatusCode?: number }).httpStatusCode
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : ''
}

function describe(error: unknown): string {
  const status = statusOf(error)
  const message = messageOf(error)
  const name = nameOf(error)
  const text = message.includes(name) || message === 'UnknownError' ? name : `${name}: ${message}`
  return status === undefined ? message : `${text} (HTTP ${status})`
}

/** Ceph's quota is a 403, MinIO's a 400, a disk without room a 507. */
function isFull(error: unknown): boolean {
  return (
    statusOf(error) === 507 ||
    ['QuotaExceeded', 'ServiceQuotaExceededException', 'XMinioStorageFull', 'XMinioAdminBucketQuotaExceeded'].includes(nameOf(error))
  )
}

function remedyFor(error: unknown): string {
  const name = nameOf(error)
  if (isFull(error)) return 'Give the bucket more space or quota; what waits in the spool is stored afterwards.'
  if (name === 'NoSuchBucket') return 'Create the bucket, or correct its name; steno does not create buckets.'
  if (['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken'].includes(name))
    return 'Correct the access key and its secret; what waits in the spool is stored afterwards.'
  if (name === 'RequestTimeTooSkewed') return 'Set this machine’s clock: the store refuses signatures that are minutes off.'
  if (name === 'CredentialsProviderError')
    return 'Give credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a shared credentials file, or a workload identity.'
  if (/region is missing/i.test(messageOf(error))) return 'Name the region with ?region=… in the URL, or in AWS_REGION.'
  switch (statusOf(error)) {
    case 301:
    case 307:
      return 'Name the bucket’s own region with ?region=….'
    case 403:
      return 'Allow s3:GetObject, s3:PutObject and s3:ListBucket on the bucket, and s3:DeleteObject below probe/ and marks/, to this key.'
    case 503:
    case 429:
      return 'The store sheds load; steno tries again by itself.'
    default:
      break
  }
  if (/^(E[A-Z]+|CERT_|DEPTH_|SELF_SIGNED|UNABLE_)/.test(systemCodeOf(error) ?? ''))
    return 'Check endpoint, name resolution, firewall and the certificate of the store.'
  return 'Look at the store’s own log; what waits in the spool is stored when it works again.'
}
