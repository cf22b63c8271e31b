/**
 * Small messages to control beside the recordings: one POST and its answer, with the token, the trust and the bounds that recordings have.
 *
 * Connections of its own: a mark must not wait behind a segment. An answer's body is small and read whole; nothing is ever repeated.
 */
import { KnownError } from '../../../base/errors.ts'
import { isObject } from '../../../session/shape.ts'
import { openControlConnection } from '../../../session/stores/control-connection.ts'

/** `code` is control's for what it refuses; null for an answer that says yes. */
export type PostAnswer = { readonly status: number; readonly code: string | null; readonly message: string; readonly number: number | null }

export type ControlPost = {
  /** @throws StoreUnavailable when there is no answer */
  post(path: string, body: Buffer, headers?: Readonly<Record<string, string>>): Promise<PostAnswer>
  close(): void
}

const timeouts = { answerMilliseconds: 5_000, silenceMilliseconds: 5_000 }
const answerBytesMax = 16 * 1024
const tokenFileStandard = '/var/run/secrets/steno.dev/token'

/** Null for a store that is not control's: then nobody listens to marks. */
export function openControlPost(
  storeUrl: string,
  environment: NodeJS.ProcessEnv = process.env,
): (ControlPost & { readonly store: string }) | null {
  if (!storeUrl.startsWith('control+https:')) return null
  const origin = new URL(storeUrl.slice('control+'.length))
  const connection = openControlConnection({
    origin,
    tokenFile: environment['STENO_CONTROL_TOKEN_FILE'] ?? tokenFileStandard,
    caPem: environment['STENO_CONTROL_CA'] ?? null,
    timeouts,
  })
  return {
    store: origin.pathname.slice(1),
    async post(path, body, headers = {}) {
      const { answer } = await connection.open({ method: 'POST', path, body, headers })
      const status = answer.statusCode ?? 0
      const told = Number(answer.headers['steno-mark-number'])
      const number = Number.isSafeInteger(told) ? told : null
      const pieces: Buffer[] = []
      let length = 0
      try {
        for await (const piece of answer as AsyncIterable<Buffer>) {
          length += piece.length
          if (length > answerBytesMax) break
          pieces.push(piece)
        }
      } finally {
        answer.destroy()
      }
      if (status === 204) return { status, code: null, message: '', number }
      const { code, message } = refusalIn(Buffer.concat(pieces))
      return { status, code, message, number }
    },
    close: () => connection.close(),
  }
}

function refusalIn(body: Buffer): { readonly code: string; readonly message: string } {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    if (isObject(value) && typeof value['code'] === 'string' && typeof value['message'] === 'string')
      return { code: value['code'].slice(0, 100), message: value['message'].slice(0, 500) }
  } catch {
    // Something that is not control answered; its status is all there is to say.
  }
  return { code: 'UNKNOWN', message: 'the answer is not of control' }
}

/** What a log line says of a failure; never a token. */
export function codeOf(error: unknown): string {
  return error instanceof KnownError ? error.code : 'UNKNOWN'
}
