/**
 * What a sidecar asks of the relay: a tunnel to a database, and which addresses a name has and whether the relay reaches them.
 *
 * A tunnel that fails for a reason that may pass (a replica that stops, is full, or is gone) is asked for again, at a connection of its
 * own that the Service may lead elsewhere, until the caller's time is over or `retryMillisecondsMax` are. No statement was sent by then,
 * so nothing can run twice.
 */
import { isIP } from 'node:net'
import type tls from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import { RelayFailure, refusalOf } from './failure.ts'
import { createProbing, type ReachedAddress } from './probing.ts'
import { askHead, headerText, openRelaySocket, readBody, relayEndpoint, unfit, type RelayAnswer } from './relay-socket.ts'
import { openTokenFile, relayTokenFileStandard } from './token.ts'

export type RelayTarget = {
  /** The database's name in the policy. */
  readonly database: string
  /** A name or an address, as the connection string has it. */
  readonly host: string
  readonly port: number
}

export type Tunnel = {
  /** Paused; the bytes behind the relay's answer are the database's. */
  readonly socket: tls.TLSSocket
  /** The address that the relay connected to. */
  readonly address: string
}

export type RelayClient = {
  /** `pinned`: which of the name's addresses; null for any. @throws RelayFailure, or `signal`'s reason when nothing was tried by then */
  connect(target: RelayTarget, pinned: string | null, options: { readonly signal: AbortSignal }): Promise<Tunnel>
  /** @throws RelayFailure, or `signal`'s reason */
  probe(target: RelayTarget, options: { readonly signal: AbortSignal }): Promise<readonly ReachedAddress[]>
}

export type RelayClientOptions = {
  /** `host:port`. */
  readonly endpoint: string
  /** Certificates of the authorities to trust, concatenated. */
  readonly caPem: string
  readonly tokenFile?: string
}

const retryMillisecondsMax = 10_000
const pauseMilliseconds = { first: 50, most: 1_000 } as const
const answerMillisecondsMax = 30_000

export function createRelayClient({ endpoint, caPem, tokenFile = relayTokenFileStandard }: RelayClientOptions): RelayClient {
  const relay = relayEndpoint({ endpoint, caPem })
  const file = openTokenFile(tokenFile)
  const probe = createProbing(relay, file)
  const host = endpoint

  /** One request on a connection of its own; a token that the kubelet replaced meanwhile is read once more. */
  async function ask(
    requestOf: (token: string) => string,
    signal: AbortSignal,
  ): Promise<{ readonly socket: tls.TLSSocket; readonly answer: RelayAnswer }> {
    for (const again of [false, true]) {
      const token = await file.token({ again })
      const socket = await openRelaySocket(relay, { signal })
      const answer = await askHead(socket, requestOf(token), host, { signal })
      if (answer.status === 200) return { socket, answer }
      const refusal = refusalOf(answer.status, await readBody(socket, answer, host, { signal }))
      if (refusal.relayCode !== 'TOKEN_UNFIT' || again) throw refusal
    }
    throw unfit(host, 'it refused twice')
  }

  async function connectOnce(target: RelayTarget, pinned: string | null, signal: AbortSignal): Promise<Tunnel> {
    const authority = `${isIP(target.host) === 6 ? `[${target.host}]` : target.host}:${target.port}`
    const more = pinned === null ? '' : `Steno-Address: ${pinned}\r\n`
    const { socket, answer } = await ask(
      (token) =>
        `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: Bearer ${token}\r\n` +
        `Steno-Database: ${headerText(target.database)}\r\n${more}\r\n`,
      signal,
    )
    const address = answer.headers.get('steno-address') ?? ''
    if (isIP(address) === 0) {
      socket.destroy()
      throw unfit(host, 'it names no address that it connected to')
    }
    if (answer.rest.length > 0) socket.unshift(answer.rest)
    return { socket, address }
  }

  return {
    async connect(target, pinned, { signal }) {
      const until = performance.now() + retryMillisecondsMax
      for (let pause: number = pauseMilliseconds.first; ; pause = Math.min(pause * 2, pauseMilliseconds.most)) {
        let failure: RelayFailure
        try {
          return await connectOnce(target, pinned, AbortSignal.any([signal, AbortSignal.timeout(answerMillisecondsMax)]))
        } catch (error) {
          if (!(error instanceof RelayFailure) || !error.mayPass) throw error
          failure = error
        }
        const wait = pause * (0.5 + Math.random())
        if (performance.now() + wait > until) throw failure
        // A time that is over while the relay is tried again says less than why it is tried again.
        await sleep(wait, undefined, { signal }).catch(() => undefined)
        if (signal.aborted) throw failure
      }
    },
    probe,
  }
}
