/**
 * The API server as the tests of the admission policies speak to it: one request, one answer, as whomever they like.
 *
 * Plain requests instead of kubectl, because many paths under test have no command (bindings, resize, token requests as a node), and because
 * the answer is the API server's own Status. Impersonates by header, so the caller must be a cluster's administrator.
 */
import { KubeConfig } from '@kubernetes/client-node'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'

export type Caller = { readonly user: string; readonly groups?: readonly string[] }

export type Answer = {
  readonly code: number
  /** What the Status says; empty when the answer is no Status. */
  readonly message: string
  readonly body: unknown
}

export type Request = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly as?: Caller | undefined
  readonly body?: unknown
  readonly contentType?: string
}

export type Api = { send(request: Request): Promise<Answer>; close(): void }

export const jsonPatch = 'application/json-patch+json'
export const mergePatch = 'application/merge-patch+json'

export async function connectApi(): Promise<Api> {
  const config = new KubeConfig()
  config.loadFromDefault()
  const server = config.getCurrentCluster()?.server
  if (server === undefined) throw new Error('the kubeconfig has no current cluster')
  const agent = new https.Agent({ keepAlive: true, maxSockets: 8 })
  const basis: https.RequestOptions = {}
  await config.applyToHTTPSOptions(basis)
  const authentication = Object.fromEntries(
    (['ca', 'cert', 'key', 'rejectUnauthorized'] as const).flatMap((name) => (basis[name] === undefined ? [] : [[name, basis[name]]])),
  )
  return {
    async send({ method, path, as, body, contentType = 'application/json' }) {
      const text = body === undefined ? '' : JSON.stringify(body)
      const request = https.request(new URL(path, server), {
        ...authentication,
        agent,
        method,
        headers: Object.assign({}, basis.headers, {
          accept: 'application/json',
          ...(text !== '' && { 'content-type': contentType, 'content-length': Buffer.byteLength(text) }),
          ...(as !== undefined && { 'impersonate-user': as.user }),
          ...(as?.groups !== undefined && { 'impersonate-group': [...as.groups] }),
        }),
      })
      request.end(text)
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      const chunks: Buffer[] = []
      for await (const chunk of response) chunks.push(chunk as Buffer)
      return answerOf(response.statusCode ?? 0, Buffer.concat(chunks).toString('utf8'))
    },
    close: () => agent.destroy(),
  }
}

function answerOf(code: number, text: string): Answer {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    return { code, message: text, body: null } // Some failures of a connection that was to be upgraded are plain text.
  }
  const isStatus = typeof body === 'object' && body !== null && 'kind' in body && body.kind === 'Status'
  return { code, message: isStatus && 'message' in (body as object) ? String((body as { message: unknown }).message) : '', body }
}
