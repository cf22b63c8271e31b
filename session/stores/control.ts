/**
 * A store that control keeps: objects go to it over TLS, each is proven stored by a signed receipt, and a sidecar sees only its own.
 *
 * The same calls over plain HTTP on the loopback interface read as an auditor does (control's reader, by `kubectl port-forward`).
 * Knows nothing of Kubernetes but the file of the pod's token. Holds one object at a time and call.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { KnownError } from '../../base/errors.ts'
import { sha256Of } from '../digest.ts'
import { isRecorderId } from '../object-keys.ts'
import { segmentBytesMax } from '../segment.ts'
import { isObject } from '../shape.ts'
import { openControlConnection, timeoutsTo, unreachable, type ControlRequest, type ControlTimeouts } from './control-connection.ts'
import { checkKey, checkPrefix } from './keys.ts'
import { provenReceipt, receiptBytesMax, ReceiptRefused } from './receipt.ts'
import { RecorderForgotten, StoreUnavailable, type ObjectInformation, type Store } from './store.ts'

/** Control does not take or give an object, and trying again changes nothing: it is another's, or not what its key promises. */
export class ControlRefused extends KnownError {
  readonly code = 'CONTROL_REFUSED'
  readonly remedy: string
  readonly safeToRetry = false
  constructor(what: string, remedy: string) {
    super(what)
    this.remedy = remedy
  }
}

/** There is nothing to check control's certificate or its receipts by. */
export class ControlTrustMissing extends KnownError {
  readonly code = 'CONTROL_TRUST_MISSING'
  readonly remedy =
    'Set STENO_CONTROL_CA (PEM) and STENO_CONTROL_PUBLIC_KEY (public.pem of Secret steno-control-key); in a pod the webhook does, so make the pod anew.'
  readonly safeToRetry = true
}

export type ControlStoreOptions = {
  /** `https://host:port`, or `http://127.0.0.1:port` for the reader. */
  readonly url: string
  /** Name of the RecordingStore. */
  readonly store: string
  readonly tokenFile: string | null
  /** Certificates of the authorities to trust, concatenated. Null: those that Node trusts. */
  readonly caPem: string | null
  /** SPKI PEM of the key that signs receipts. Null: nothing can be put. */
  readonly publicKeyPem: string | null
  readonly timeouts?: ControlTimeouts
}

/** What control takes; it says no to more, but only after it was sent. */
const putBytesMax = 64 * 1024 * 1024
/** Larger than any object of a store that something else wrote to. */
const objectBytesMax = segmentBytesMax
const answerBytesMax = 64 * 1024
const lineBytesMax = 16 * 1024

/** Sends nothing yet. @throws ControlTrustMissing when `publicKeyPem` is no Ed25519 key */
export function openControlStore(options: ControlStoreOptions): Store & { close(): void } {
  const origin = new URL(options.url)
  const url = `control+${origin.origin}/${options.store}`
  const publicKey = options.publicKeyPem === null ? null : publicKeyFrom(options.publicKeyPem)
  const connection = openControlConnection({
    origin,
    tokenFile: options.tokenFile,
    caPem: options.caPem,
    ...(options.timeouts === undefined ? {} : { timeouts: options.timeouts }),
  })
  const { silenceMilliseconds } = options.timeouts ?? timeoutsTo(origin)
  const base = `/v1/stores/${encodeURIComponent(options.store)}`
  /** Whose objects these are; a store that is written to serves one recorder, whose ledger is asked for first. */
  let recorder: string | null = null

  const pathOf = (key: string): string => {
    checkKey(key)
    const [top, name = ''] = key.split('/')
    const named = name.replace(/\.json$/, '')
    if ((top === 'ledger' || top === 'recorders') && isRecorderId(named)) recorder = named
    return `${base}/objects/${key}`
  }

  async function ask(request: ControlRequest, expected: readonly number[]): Promise<{ answer: IncomingMessage; isRepeated: boolean }> {
    const opened = await connection.open(request)
    const status = opened.answer.statusCode ?? 0
    if (expected.includes(status)) return opened
    throw refusalOf(`${request.method} ${request.path}`, opened.answer, await jsonOf(opened.answer))
  }

  async function whole(answer: IncomingMessage, bytesMax: number): Promise<Buffer> {
    const claimed = Number(answer.headers['content-length'] ?? Number.NaN)
    if (claimed > bytesMax) {
      answer.destroy()
      throw new StoreUnavailable(`${url} answers with ${claimed} bytes`, 'Check what stands between this program and control.')
    }
    const pieces: Buffer[] = []
    let length = 0
    try {
      for await (const piece of answer as AsyncIterable<Buffer>) {
        length += piece.length
        if (length > bytesMax) throw new Error(`its answer is longer than ${bytesMax} bytes`)
        pieces.push(piece)
      }
    } catch (error) {
      throw unreachable(origin, error)
    }
    return Buffer.concat(pieces, length)
  }

  async function jsonOf(answer: IncomingMessage): Promise<unknown> {
    const bytes = await whole(answer, answerBytesMax)
    try {
      return JSON.parse(bytes.toString('utf8'))
    } catch {
      return null // Something that is not control answered; the status says what there is to say.
    }
  }

  async function* lines(answer: IncomingMessage): AsyncGenerator<Readonly<Record<string, unknown>>> {
    let rest = ''
    let isEnded = false
    try {
      answer.setEncoding('utf8')
      for await (const piece of answer as AsyncIterable<string>) {
        rest += piece
        const found = rest.split('\n')
        rest = found.pop()!
        if (rest.length > lineBytesMax) throw new Error('a line of its answer is too long')
        for (const line of found) {
          const value: unknown = JSON.parse(line)
          if (!isObject(value)) throw new Error('a line of its answer is not what it should be')
          isEnded = value['end'] === true
          if (isEnded) continue
          // Nothing is read while the caller works on an entry, which is no silence of control. An answer that is whole has no socket any more.
          if (!answer.complete) answer.setTimeout(0)
          yield value
          if (!answer.complete) answer.setTimeout(silenceMilliseconds)
        }
      }
      // A list that was cut off must not pass for a short one.
      if (!isEnded) throw new Error('its answer has no end')
    } catch (error) {
      throw unreachable(origin, error)
    } finally {
      answer.destroy()
    }
  }

  async function head(key: string): Promise<ObjectInformation | null> {
    const { answer } = await ask({ method: 'HEAD', path: pathOf(key) }, [200, 404])
    answer.resume()
    return answer.statusCode === 404 ? null : { key, bytes: Number(answer.headers['content-length']) }
  }

  return {
    url,
    head,
    async putIfAbsent(key, bytes) {
      const path = pathOf(key)
      if (bytes.length > putBytesMax)
        throw new ControlRefused(`${key} has ${bytes.length} bytes, and control takes ${putBytesMax}`, 'Lower --segment-bytes-max.')
      if (publicKey === null) throw new ControlTrustMissing(`nothing can be stored through ${url}: no key is known to check a receipt by`)
      const headers = { 'content-type': 'application/octet-stream', ...(recorder === null ? {} : { 'steno-recorder': recorder }) }
      const { answer, isRepeated } = await ask({ method: 'PUT', path, headers, body: bytes }, [201, 409])
      const receipt = provenReceipt(parsed(await whole(answer, receiptBytesMax)), { store: options.store, key }, publicKey)
      const isOurs = receipt.sha256 === sha256Of(bytes) && receipt.bytes === bytes.length
      // A first try, whose answer was lost, may be what is there.
      if (answer.statusCode === 409) return isRepeated && isOurs ? 'stored' : 'exists'
      if (!isOurs) throw new ReceiptRefused(`the receipt for ${key} is for other bytes than were given`)
      return 'stored'
    },
    async get(key) {
      const { answer } = await ask({ method: 'GET', path: pathOf(key) }, [200, 404])
      return answer.statusCode === 404 ? discard(answer) : whole(answer, objectBytesMax)
    },
    async range(key, start, end) {
      const path = pathOf(key)
      if (end <= start) return (await head(key)) === null ? null : Buffer.alloc(0)
      const { answer } = await ask({ method: 'GET', path, headers: { range: `bytes=${start}-${end - 1}` } }, [206, 404, 416])
      if (answer.statusCode === 404) return discard(answer)
      if (answer.statusCode === 416) return discard(answer) ?? Buffer.alloc(0)
      return whole(answer, end - start)
    },
    async *list(prefix) {
      checkPrefix(prefix)
      const { answer } = await ask({ method: 'GET', path: `${base}/list?prefix=${encodeURIComponent(prefix)}` }, [200])
      for await (const { key, bytes } of lines(answer)) yield { key: String(key), bytes: Number(bytes) } satisfies ObjectInformation
    },
    async folders(prefix) {
      checkPrefix(prefix)
      const { answer } = await ask({ method: 'GET', path: `${base}/folders?prefix=${encodeURIComponent(prefix)}` }, [200])
      const names: string[] = []
      for await (const { name } of lines(answer)) names.push(String(name))
      return names
    },
    async delete(key) {
      const { answer } = await ask({ method: 'DELETE', path: pathOf(key) }, [204, 404])
      answer.resume()
    },
    close: () => connection.close(),
  }
}

function discard(answer: IncomingMessage): null {
  answer.resume()
  return null
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return null // No receipt, which is what the caller says of it.
  }
}

/** Codes of refusals that trying again, later or with another token, does not change. */
const lasting = ['BAD_KEY', 'NOT_YOURS', 'OBJECT_UNFIT', 'OBJECT_TOO_LONG']

/** Everything but what lasts is the store's to get over, so that recordings wait in the spool for it. */
function refusalOf(what: string, answer: IncomingMessage, body: unknown): KnownError {
  const answered = isObject(body) ? body : {}
  const said = (name: string, otherwise: string): string => {
    const value = answered[name]
    return typeof value === 'string' && value.length <= 2_000 ? value : otherwise
  }
  const code = said('code', '')
  const message = `${what}: ${said('message', `control answered with status ${answer.statusCode}`)}`
  const remedy = said('remedy', 'Look at the log of Deployment steno-control.')
  const told = { toldCode: code }
  if (code === 'RECORDER_UNKNOWN') return new RecorderForgotten(message, remedy, undefined, told)
  return lasting.includes(code) ? new ControlRefused(message, remedy) : new StoreUnavailable(message, remedy, undefined, told)
}

function publicKeyFrom(pem: string): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey(pem)
  } catch (cause) {
    throw new ControlTrustMissing('the public key of control is no key', { cause })
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new ControlTrustMissing('the public key of control is no Ed25519 key')
  return key
}
