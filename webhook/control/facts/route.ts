/** `POST /v1/facts`: what a sidecar says of its way and its recording (session/pod-facts.ts). Answers 204; the conditions follow. */
import { podFactsBytesMax, podFactsIn, type PodFacts } from '../../../session/pod-facts.ts'
import { BadDocument } from '../../../session/shape.ts'
import { Refusal } from '../refusal.ts'
import { bodyLength, readBody } from '../request-body.ts'
import type { DescribePod } from '../pod-description.ts'
import type { Route } from '../routes.ts'
import type { PodConditions } from './pod-conditions.ts'

const fitMax = 20_000

/** Only a pod that steno gave a sidecar is believed, which is asked once. */
export function factsRoute({
  conditions,
  describePod,
}: {
  readonly conditions: Pick<PodConditions, 'heard'>
  readonly describePod: DescribePod
}): Route {
  const fit = new Set<string>()
  return {
    method: 'POST',
    path: '/v1/facts',
    async handle({ request, response, pod }) {
      const bytes = await readBody(request, bodyLength(request, podFactsBytesMax))
      let facts: PodFacts
      try {
        facts = podFactsIn(bytes)
      } catch (error) {
        if (error instanceof BadDocument) throw new Refusal('BAD_REQUEST', error.message, { cause: error })
        throw error
      }
      if (!fit.has(pod.podUid)) {
        const description = await describePod(pod)
        if (description.kind === 'unfit') throw new Refusal('POD_UNFIT', `the pod may not report: ${description.reason}`)
        fit.add(pod.podUid)
        if (fit.size > fitMax) fit.delete(fit.values().next().value!)
      }
      conditions.heard(pod, facts)
      response.writeHead(204).end()
    },
  }
}
