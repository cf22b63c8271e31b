/**
 * HTTP to control, for `control.ts`: one request and its answer, over a few connections that are kept.
 *
 * The token is read from its file for each request, because the kubelet replaces it; when control refuses it, it is read once more.
 * Bounded: connections, time until an answer begins, silence within it, and the bytes of an answer that is held whole.
 * Nothing of an object, and no token, is ever in an error.
 */
import { readFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, systemCodeOf } from '../../base/errors.ts'
import { StoreUnavailable } from './store.ts'

export type ControlRequest = {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Path and query, encoded. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
}

export type ControlConnection = {
  /** The answer, whose body the caller reads or destroys. @throws StoreUnavailable when there is none */
  open(request: ControlRequest): Promise<{ readonly answer: http.IncomingMessage; readonly isRepeated: boolean }>
  close(): void
}

export type ConnectionOptions = {
  /** `https://host:port` or `http://127.0.0.1:port`. */
  readonly origin: URL
  readonly tokenFile: string | null
  readonly caPem: string | null
  readonly timeouts?: ControlTimeouts
}

/** `answer`: until it begins, the sending of a body included. `silence`: between two of its pieces. */
export type ControlTimeouts = { readonly answerMilliseconds: number; readonly silenceMilliseconds: number }

const standardTimeouts: ControlTimeouts = { answerMilliseconds: 90_000, silenceMilliseconds: 30_000 }
/** Of a reader, who brings no body: what a port-forward loses is asked again on another connection. */
const standardReaderTimeouts: ControlTimeouts = { answerMilliseconds: 30_000, silenceMilliseconds: 30_000 }
const beforeAskingAgainMilliseconds = 250
const connectionsMax = 4
/** Shorter than control keeps an idle connection, so that a request rarely meets one that is being closed. */
const idleMilliseconds = 45_000
const tokenBytesMax = 16 * 1024

export function openControlConnection({ origin, tokenFile, caPem, ...options }: ConnectionOptions): ControlConnection {
  const isPlain = origin.protocol === 'http:'
  const timeouts = options.timeouts ?? timeoutsTo(origin)
  const common = { keepAlive: true, maxSockets: connectionsMax, timeout: idleMilliseconds, scheduling: 'lifo' as const }
  const agent = isPlain
    ? new http.Agent(common)
    : new https.Agent({ ...common, minVersion: 'TLSv1.3', ...(caPem === null ? {} : { ca: caPem }) })

  async function send(request: ControlRequest, through: http.Agent | false = agent): Promise<http.IncomingMessage> {
    const headers: Record<string, string | number> = { ...request.headers }
    if (tokenFile !== null) headers['authorization'] = `Bearer ${await tokenFrom(tokenFile)}`
    if (request.body !== undefined) headers['content-length'] = request.body.length
    return await new Promise((resolve, reject) => {
      const outgoing = (isPlain ? http : https).request(new URL(request.path, origin), { method: request.method, headers, agent: through })
      const timer = setTimeout(
        () => outgoing.destroy(Object.assign(new Error('it did not answer in time'), { code: 'ETIMEDOUT' })),
        timeouts.answerMilliseconds,
      )
      // An idle connection must not keep a process that is done.
      outgoing.on('socket', (socket) => socket.ref())
      outgoing.on('response', (answer) => {
        clearTimeout(timer)
        answer.setTimeout(timeouts.silenceMilliseconds, () => answer.destroy(new Error('it fell silent')))
        resolve(answer)
      })
      outgoing.on('error', (error) => {
        clearTimeout(timer)
        // Whether control had it already cannot be told: repeating is what create-once is for.
        reject(Object.assign(error, { wasKept: outgoing.reusedSocket }))
      })
      outgoing.end(request.body)
    })
  }

  /** A kept connection that was closed meanwhile says nothing of control, nor does one through a port-forward that hangs: once more, on another. */
  async function sendTwice(request: ControlRequest): Promise<{ readonly answer: http.IncomingMessage; readonly isRepeated: boolean }> {
    try {
      return { answer: await send(request), isRepeated: false }
    } catch (error) {
      const code = systemCodeOf(error) ?? ''
      const isStale = (error as { wasKept?: boolean }).wasKept === true && ['ECONNRESET', 'EPIPE'].includes(code)
      const isUnheard = isPlain && code === 'ETIMEDOUT'
      if (!isStale && !isUnheard) throw error
      // What forwards takes note of a connection that was left.
      if (isUnheard) await sleep(beforeAskingAgainMilliseconds)
      return { answer: await send(request, isUnheard ? false : agent), isRepeated: true }
    }
  }

  return {
    async open(request) {
      try {
        const first = await sendTwice(request)
        if (first.answer.statusCode !== 401 || tokenFile === null) return first
        // The kubelet may have replaced the token between reading and sending.
        first.answer.resume()
        return { answer: await send(request), isRepeated: first.isRepeated }
      } catch (error) {
        throw unreachable(origin, error)
      }
    },
    close: () => agent.destroy(),
  }
}

export function timeoutsTo(origin: URL): ControlTimeouts {
  return origin.protocol === 'http:' ? standardReaderTimeouts : standardTimeouts
}

async function tokenFrom(file: string): Promise<string> {
  let token: string
  try {
    token = (await readFile(file, 'latin1')).trim()
  } catch (error) {
    throw new StoreUnavailable(
      `cannot read the token for control: ${messageOf(error)}`,
      'Check that the pod has the volume steno-token, and that its ServiceAccount exists.',
      error,
    )
  }
  if (token === '' || token.length > tokenBytesMax || !/^[\x21-\x7e]+$/.test(token))
    throw new StoreUnavailable(`the file ${file} holds no token`, 'Check that the pod has the volume steno-token.')
  return token
}

/** What a request that has no answer means for the store behind it. */
export function unreachable(origin: URL, error: unknown): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error
  const code = systemCodeOf(error) ?? ''
  const isTrust = /^(?:CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT|ERR_SSL|EPROTO)/.test(code)
  return new StoreUnavailable(
    `control at ${origin.host} ${isTrust ? 'is not who this pod expects' : 'does not answer'}: ${messageOf(error)}`,
    isTrust
      ? 'Compare the CA in Secret steno-ca with STENO_CONTROL_CA of the pod: a pod that is older than the last two rotations must be made anew.'
      : 'Check Deployment steno-control and its Service; what waits in the spool is stored afterwards.',
    error,
  )
}
