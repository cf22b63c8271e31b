/**
 * Speaks JSON with the API server: one request and its answer, or the lines of a watch.
 *
 * The client library only finds server and credentials (a kubeconfig, or the pod's own ServiceAccount, whose token it reads again when it
 * has grown old). Its generated classes are left aside: they build whole object trees, of which steno keeps a few fields.
 * Bounded: an answer larger than `answerBytesMax` is refused, a request that is not answered in time ends.
 */
import http from 'node:http'
import https from 'node:https'
import { KubeConfig } from '@kubernetes/client-node'
import { messageOf, systemCodeOf } from '../base/errors.ts'
import { stenoVersion } from '../base/version.ts'
import { AnswerTooLarge, ClusterRefused, ClusterUnreachable, NoCluster } from './errors.ts'

const patchTypes = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  // JSON is YAML.
  apply: 'application/apply-patch+yaml',
} as const

export type ClusterRequest = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** As `pathOf` makes it. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly body?: unknown
  /** How a PATCH is to be read: RFC 6902 (`json`), RFC 7386 (`merge`), by the lists' own keys as Kubernetes has it (`strategic`), or as all that a field manager says (`apply`). */
  readonly patch?: keyof typeof patchTypes
  readonly timeoutMilliseconds?: number
  /** What the answer may have, if less than the most that is held. */
  readonly answerBytesMax?: number
  readonly signal?: AbortSignal
}

export type ClusterClient = {
  /** The parsed answer. @throws ClusterRefused, ClusterUnreachable, AnswerTooLarge */
  request<T>(request: ClusterRequest): Promise<T>
  /** An answer that goes on: its bytes as they come. The caller destroys it. @throws ClusterRefused, ClusterUnreachable */
  openStream(request: Pick<ClusterRequest, 'path' | 'query' | 'signal'>): Promise<http.IncomingMessage>
  /** Ends idle connections; requests that follow open others. */
  close(): void
}

const requestMillisecondsMax = 30_000
const answerBytesMax = 64 * 1024 * 1024
/** Below the five minutes after which many load balancers forget a connection. */
const keepAliveProbeMilliseconds = 30_000

/**
 * `kubeconfig` is a file; without it the environment decides: KUBECONFIG, else the pod's ServiceAccount.
 * @throws NoCluster
 */
export function openCluster({ kubeconfig }: { readonly kubeconfig: string | null }): ClusterClient {
  const config = new KubeConfig()
  try {
    if (kubeconfig !== null) config.loadFromFile(kubeconfig)
    else if ((process.env['KUBECONFIG'] ?? '') !== '') config.loadFromDefault()
    else if ((process.env['KUBERNETES_SERVICE_HOST'] ?? '') !== '') config.loadFromCluster()
    else throw new NoCluster('no API server is known: there is no KUBECONFIG, and this is no pod')
  } catch (error) {
    if (error instanceof NoCluster) throw error
    throw new NoCluster(`the kubeconfig cannot be used: ${messageOf(error)}`, { cause: error })
  }
  return clusterClientOf(config)
}

/** @throws NoCluster when the configuration names no server */
export function clusterClientOf(config: KubeConfig): ClusterClient {
  const cluster = config.getCurrentCluster()
  if (cluster === null) throw new NoCluster('the kubeconfig names no current cluster')
  const server = new URL(cluster.server)
  const isPlain = server.protocol === 'http:'
  const agents = createAgents(isPlain)

  async function open(request: Omit<ClusterRequest, 'body'>, body: string | null): Promise<http.IncomingMessage> {
    const options: https.RequestOptions = {}
    try {
      await config.applyToHTTPSOptions(options)
    } catch (error) {
      throw new ClusterUnreachable(`the credentials for the API server cannot be had: ${messageOf(error)}`, { cause: error })
    }
    const url = new URL(server.pathname.replace(/\/$/, '') + request.path, server)
    for (const [name, value] of Object.entries(request.query ?? {})) if (value !== undefined) url.searchParams.set(name, value)
    const headers: http.OutgoingHttpHeaders = { ...(options.headers as http.OutgoingHttpHeaders | undefined), accept: 'application/json' }
    headers['user-agent'] = `steno/${stenoVersion}`
    if (body !== null) {
      headers['content-type'] = request.method !== 'PATCH' ? 'application/json' : patchTypes[request.patch ?? 'json']
      headers['content-length'] = Buffer.byteLength(body)
    }
    const agent = cluster?.proxyUrl === undefined ? agents.agentFor(options) : options.agent
    const send = (mayRepeat: boolean): Promise<http.IncomingMessage> =>
      new Promise((resolve, reject) => {
        const outgoing = (isPlain ? http : https).request(url, {
          method: request.method,
          headers,
          ...(agent === undefined ? {} : { agent }),
          ...(typeof options.auth === 'string' ? { auth: options.auth } : {}),
          ...(request.signal === undefined ? {} : { signal: request.signal }),
        })
        outgoing.on('socket', (socket) => socket.setKeepAlive(true, keepAliveProbeMilliseconds))
        outgoing.on('response', resolve)
        outgoing.on('error', (error) => {
          // The server closed an idle connection just as it was chosen; a read may go again, a write is repeated by who knows what it means.
          if (mayRepeat && outgoing.reusedSocket && systemCodeOf(error) === 'ECONNRESET') return resolve(send(false))
          reject(new ClusterUnreachable(`the API server at ${server.host} did not answer: ${messageOf(error)}`, { cause: error }))
        })
        outgoing.end(body ?? undefined)
      })
    return await send(request.method === 'GET')
  }

  return {
    async request<T>(request: ClusterRequest): Promise<T> {
      const limit = AbortSignal.timeout(request.timeoutMilliseconds ?? requestMillisecondsMax)
      const signal = request.signal === undefined ? limit : AbortSignal.any([limit, request.signal])
      const response = await open({ ...request, signal }, request.body === undefined ? null : JSON.stringify(request.body))
      const text = await textOf(response, server.host, request.answerBytesMax)
      if (response.statusCode === undefined || response.statusCode >= 300) throw refusalOf(request, response, text)
      try {
        return JSON.parse(text) as T
      } catch (error) {
        throw new ClusterUnreachable(`the API server at ${server.host} answered something that is no JSON`, { cause: error })
      }
    },
    async openStream(request) {
      const response = await open({ ...request, method: 'GET' }, null)
      if (response.statusCode === 200) return response
      throw refusalOf({ ...request, method: 'GET' }, response, await textOf(response, server.host))
    },
    close: () => agents.close(),
  }
}

/** One agent for as long as CA and client certificate stay what they are; connections of the one before end when they are idle. */
function createAgents(isPlain: boolean) {
  let agent: http.Agent | null = null
  let madeOf = ''
  return {
    agentFor({ ca, cert, key, rejectUnauthorized, servername }: https.RequestOptions): http.Agent {
      const text = [ca, cert, key, rejectUnauthorized, servername].map(String).join('\n')
      if (agent !== null && text === madeOf) return agent
      endIdle(agent)
      const secured = { ca, cert, key, ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }), servername }
      const kept = { keepAlive: true, keepAliveMsecs: keepAliveProbeMilliseconds, maxFreeSockets: 16, scheduling: 'lifo' as const }
      agent = isPlain ? new http.Agent(kept) : new https.Agent({ ...kept, ...defined(secured) })
      madeOf = text
      return agent
    },
    close: () => endIdle(agent),
  }
}

/** Connections with a request under way stay until it is answered. */
function endIdle(agent: http.Agent | null): void {
  for (const sockets of Object.values(agent?.freeSockets ?? {})) for (const socket of sockets ?? []) socket.destroy()
}

function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}

async function textOf(response: http.IncomingMessage, host: string, bytesMax = answerBytesMax): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length
      if (bytes > bytesMax) {
        response.destroy()
        throw new AnswerTooLarge(`the answer of the API server at ${host} is larger than ${bytesMax} bytes`)
      }
      chunks.push(chunk as Buffer)
    }
  } catch (error) {
    if (error instanceof AnswerTooLarge) throw error
    throw new ClusterUnreachable(`the API server at ${host} did not end its answer: ${messageOf(error)}`, { cause: error })
  }
  return Buffer.concat(chunks, bytes).toString('utf8')
}

function refusalOf(request: Pick<ClusterRequest, 'method' | 'path'>, response: http.IncomingMessage, text: string): ClusterRefused {
  const status = response.statusCode ?? 0
  const seconds = Number(response.headers['retry-after'])
  return new ClusterRefused(`${request.method} ${request.path}`, {
    status,
    ...reasonOf(text, status),
    retryAfterMilliseconds: Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : null,
  })
}

/** The API server answers with `metav1.Status`; what stands before it (a proxy, an aggregator) may answer anything. */
function reasonOf(text: string, status: number): { reason: string; message: string; causes: string[] } {
  const fallback = {
    reason: http.STATUS_CODES[status]?.replaceAll(' ', '') ?? 'Unknown',
    message: text.slice(0, messageCharactersMax),
    causes: [],
  }
  try {
    const { reason, message, details } = JSON.parse(text) as { reason?: unknown; message?: unknown; details?: { causes?: unknown } | null }
    const causes: unknown[] = Array.isArray(details?.causes) ? details.causes.slice(0, causesMax) : []
    return {
      reason: typeof reason === 'string' && reason !== '' ? reason : fallback.reason,
      message: typeof message === 'string' ? message.slice(0, messageCharactersMax) : '',
      causes: causes.map((cause) => String((cause as { reason?: unknown } | null)?.reason).slice(0, reasonCharactersMax)),
    }
  } catch {
    return fallback // No JSON: its text is the message.
  }
}

const messageCharactersMax = 2_000
const causesMax = 16
const reasonCharactersMax = 100
