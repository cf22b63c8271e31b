/**
 * POST /v1/probe of the relay: which addresses a name has, and which of them the relay reaches.
 *
 * Each question has a connection of its own, which the relay closes behind its answer.
 */
import https from 'node:https'
import { isIP } from 'node:net'
import { RelayFailure, refusalOf } from './failure.ts'
import type { RelayTarget } from './relay-client.ts'
import { headerText, unfit, unreachable, type RelayEndpoint } from './relay-socket.ts'
import type { TokenFile } from './token.ts'

export type ReachedAddress = { readonly address: string; readonly isReachable: boolean }

const connectionsMax = 4
/** The relay takes 2 s at most for addresses that do not answer. */
const answerMillisecondsMax = 5_000
const bodyBytesMax = 64 * 1024
const addressesMax = 64

/** What it gives throws RelayFailure, or `signal`'s reason. */
export function createProbing({ host, port, context }: RelayEndpoint, file: TokenFile) {
  const agent = new https.Agent({ keepAlive: false, maxSockets: connectionsMax, secureContext: context })

  function send(
    { database, host: name, port: targetPort }: RelayTarget,
    token: string,
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly body: Buffer }> {
    const body = Buffer.from(JSON.stringify({ database, host: name, port: targetPort }))
    const headers = {
      'proxy-authorization': `Bearer ${token}`,
      'steno-database': headerText(database),
      'content-type': 'application/json',
      'content-length': body.length,
    }
    return new Promise((resolve, reject) => {
      const outgoing = https.request({ host, port, method: 'POST', path: '/v1/probe', headers, agent, signal }, (answer) => {
        const pieces: Buffer[] = []
        let length = 0
        answer.on('data', (piece: Buffer) => {
          length += piece.length
          if (length > bodyBytesMax) answer.destroy(unfit(host, 'its answer is too long'))
          else pieces.push(piece)
        })
        answer.on('error', reject)
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(pieces) }))
      })
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  }

  return async function probe(target: RelayTarget, { signal }: { readonly signal: AbortSignal }): Promise<readonly ReachedAddress[]> {
    const late = AbortSignal.timeout(answerMillisecondsMax)
    const within = AbortSignal.any([signal, late])
    try {
      for (const again of [false, true]) {
        const { status, body } = await send(target, await file.token({ again }), within)
        if (status === 200) return addressesOf(body, host)
        const refusal = refusalOf(status, body)
        if (refusal.relayCode !== 'TOKEN_UNFIT' || again) throw refusal
      }
      throw unfit(host, 'it refused twice')
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (error instanceof RelayFailure) throw error
      throw unreachable(host, late.aborted ? new Error(`no answer within ${answerMillisecondsMax / 1000} s`, { cause: error }) : error)
    }
  }
}

function addressesOf(body: Buffer, host: string): ReachedAddress[] {
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch {
    throw unfit(host, 'its answer is no JSON')
  }
  const list = typeof value === 'object' && value !== null && 'addresses' in value ? value.addresses : null
  if (!Array.isArray(list)) throw unfit(host, 'its answer has no addresses')
  return list.slice(0, addressesMax).map((each: unknown) => {
    const { address, isReachable } = (typeof each === 'object' && each !== null ? each : {}) as Record<string, unknown>
    if (typeof address !== 'string' || isIP(address) === 0 || typeof isReachable !== 'boolean')
      throw unfit(host, 'an address of its answer is none')
    return { address, isReachable }
  })
}
