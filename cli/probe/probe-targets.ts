/**
 * What `steno probe-target` is asked and what it answers: the databases of a policy, resolved from here and each address asked.
 *
 * Names are resolved as the relay resolves them for a pod of the policy's namespace (`relay/resolve-name.ts`), so that both speak of the same
 * addresses. Bounded: so many hosts, addresses, questions at a time, and so long altogether; what was not asked in time says so.
 */
import { z } from 'zod'
import { KnownError, messageOf } from '../../base/errors.ts'
import { askServer, type Answer, type Question } from './ask-server.ts'

const target = z.strictObject({
  /** As who asks calls it; the plugin writes `POLICY/DATABASE`. */
  database: z.string().min(1).max(320),
  host: z.string().min(1).max(255),
  port: z.int().min(1).max(65_535),
  databaseNames: z.array(z.string().min(1).max(63)).min(1).max(64),
})
const request = z.strictObject({
  /** Whose search list names are completed with. */
  namespace: z.string().min(1).max(63),
  user: z.string().min(1).max(63),
  targets: z.array(target).min(1).max(256),
})

export type ProbeTarget = z.output<typeof target>
export type ProbeRequest = z.output<typeof request>

/** One address; `address` is null for a host that could not be resolved, and nothing was asked then. */
export type Probed = Pick<ProbeTarget, 'database' | 'host' | 'port'> & { readonly address: string | null; readonly answer: Answer }

/** What was asked for is not a request of this command. */
export class BadProbeRequest extends KnownError {
  readonly code = 'BAD_PROBE_REQUEST'
  readonly remedy = 'Let `kubectl steno probe` make the request, with a plugin of the release that runs in the cluster.'
  readonly safeToRetry = true
}

export const databaseNamesMax = 8
const askedAtOnceMax = 32
const askMilliseconds = 3_000
const millisecondsMax = 60_000

/** @throws BadProbeRequest */
export function readProbeRequest(text: string): ProbeRequest {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new BadProbeRequest('the request is not JSON', { cause })
  }
  const parsed = request.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new BadProbeRequest(`the request does not fit: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`)
}

export type ProbeSeams = {
  readonly resolve: (host: string, namespace: string) => Promise<readonly { readonly text: string }[]>
  readonly ask?: (question: Question) => Promise<Answer>
  readonly now?: () => number
}

/** One entry for each address, in the order of the request. Never throws. */
export async function probeTargets(
  { namespace, user, targets }: ProbeRequest,
  { resolve, ask = askServer, now = () => performance.now() }: ProbeSeams,
): Promise<Probed[]> {
  const until = now() + millisecondsMax
  const inTurn = createTurns(askedAtOnceMax)

  async function probe({ database, host, port, databaseNames }: ProbeTarget): Promise<Probed[]> {
    const at = { database, host, port }
    let addresses: readonly string[]
    try {
      addresses = (await inTurn(() => resolve(host, namespace))).map(({ text }) => text)
    } catch (error) {
      return [{ ...at, address: null, answer: { kind: 'unclear', detail: messageOf(error) } }]
    }
    const asked = { port, user, databaseNames: databaseNames.slice(0, databaseNamesMax), millisecondsMax: askMilliseconds }
    const late: Answer = { kind: 'unclear', detail: `it was not asked: ${millisecondsMax / 1000} s were over` }
    return Promise.all(
      addresses.map(async (address) => ({
        ...{ ...at, address },
        answer: await inTurn(() => (now() < until ? ask({ ...asked, address }) : Promise.resolve(late))),
      })),
    )
  }
  return (await Promise.all(targets.map(probe))).flat()
}

function createTurns(max: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let underWay = 0
  return async (work) => {
    if (underWay >= max) await new Promise<void>((go) => waiting.push(go))
    else underWay++
    try {
      return await work()
    } finally {
      const next = waiting.shift() // Which takes over this turn.
      if (next === undefined) underWay--
      else next()
    }
  }
}
