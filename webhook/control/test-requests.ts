/** For tests of control: requests by hand, which no client would make, and a store whose puts a test holds in its hand. */
import type http from 'node:http'
import https from 'node:https'
import type { Store } from '../../session/stores/store.ts'
import { testToken, type TestControl } from './test-control.ts'

/** A store whose puts are in a test's hand. */
export function gated(): {
  over: (directory: Store) => Store
  onPut: { now: ((key: string, put: () => Promise<'stored' | 'exists'>) => Promise<'stored' | 'exists'>) | null }
} {
  const onPut: ReturnType<typeof gated>['onPut'] = { now: null }
  return {
    onPut,
    over: (directory) => ({
      ...directory,
      putIfAbsent: (key, bytes) => {
        const put = (): Promise<'stored' | 'exists'> => directory.putIfAbsent(key, bytes)
        return onPut.now === null || key.startsWith('probe/') ? put() : onPut.now(key, put)
      },
    }),
  }
}
export type Sent = {
  readonly method: string
  readonly path: string
  readonly body?: Buffer
  readonly headers?: Record<string, string>
  readonly pod?: string
  /** Absent: a connection of its own, which ends with the answer. */
  readonly agent?: https.Agent
}
export type Answer = { readonly status: number; readonly headers: http.IncomingHttpHeaders }

export function requestTo(control: TestControl, { method, path, headers = {}, pod = 'a', agent }: Sent): http.ClientRequest {
  const { hostname, port } = new URL(control.origin)
  return https.request({
    ...{ host: hostname, port, path, method, ca: control.authority.certificatePem, agent: agent ?? false },
    headers: { authorization: `Bearer ${testToken(pod)}`, ...headers },
  })
}

export async function requested(control: TestControl, sent: Sent): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const outgoing = requestTo(control, sent)
    outgoing.on('response', (answer) => {
      answer.resume()
      resolve({ status: answer.statusCode!, headers: answer.headers })
    })
    outgoing.on('error', reject)
    outgoing.end(sent.body)
  })
}
