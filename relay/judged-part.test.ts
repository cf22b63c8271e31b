// Goal: a verdict that is remembered is the verdict that would be given. Method: every pod that the injection makes, as it runs, with any one thing in
// it changed or gone; what judges sees the judged part alone, and pods of equal digests must have equal verdicts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import fc from 'fast-check'
import { judgedDigestOf, judgedPartOf } from '../cluster/judged-part.ts'
import { injectPod } from '../injection/inject-pod.ts'
import { judgeLivePod, judgeLiveSidecar } from '../injection/judge-live-pod.ts'
import { defaulted, liveWorldOf, running } from '../injection/test-live-pods.ts'
import { anyPod } from '../injection/test-pods.ts'
import { agentPod, requestFor, testWorld } from '../injection/test-world.ts'

const world = liveWorldOf(testWorld())

/** With all that a kubelet, an API server and control write. */
function livePod(pod: V1Pod): V1Pod | null {
  const injection = injectPod(requestFor(defaulted(pod)), testWorld())
  if (injection.kind !== 'injected') return null
  const made = running(structuredClone(injection.pod))
  Object.assign(made.metadata!, {
    annotations: { ...made.metadata?.annotations, 'cni.example.com/address': '10.42.0.7/32' },
    managedFields: [{ manager: 'kubelet', operation: 'Update', time: '2026-11-21T20:00:00Z' }],
    creationTimestamp: '2026-11-21T19:59:00Z',
  })
  Object.assign(made.status!, {
    hostIP: '10.0.0.1',
    startTime: '2026-11-21T20:00:00Z',
    qosClass: 'Burstable',
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'steno.dev/RecordingStored', status: 'True', message: 'all of it' },
      { type: 'steno.dev/PolicyFollowed', status: 'True', message: `the sidecar goes by policy ${'0'.repeat(32)}` },
    ],
    containerStatuses: [{ name: 'agent', imageID: 'sha256:f00', image: 'x', ready: true, restartCount: 1 }],
    initContainerStatuses: [{ name: 'steno', imageID: 'sha256:f00', image: 'x', ready: true, restartCount: 0 }],
  })
  return JSON.parse(JSON.stringify(made)) as V1Pod
}

type Place = readonly (string | number)[]

/** Of every value and every object in it. */
function placesIn(value: unknown, at: Place = []): Place[] {
  if (typeof value !== 'object' || value === null) return [at]
  return [...(at.length === 0 ? [] : [at]), ...Object.entries(value).flatMap(([name, inner]) => placesIn(inner, [...at, name]))]
}

function changedAt(pod: V1Pod, place: Place, value: unknown): V1Pod {
  const changed = structuredClone(pod)
  let inside = changed as unknown as Record<string, unknown>
  for (const name of place.slice(0, -1)) inside = inside[name] as Record<string, unknown>
  const last = String(place.at(-1))
  if (value === undefined) delete inside[last]
  else inside[last] = value
  return JSON.parse(JSON.stringify(changed)) as V1Pod
}

/** A list with a hole, or a number for a text, is nothing that an API server sends; a judge may throw for it. */
function verdictOn(pod: V1Pod): unknown {
  try {
    return [judgeLivePod(pod, world), judgeLiveSidecar(pod, world)]
  } catch (error) {
    return String(error)
  }
}

const livePods = anyPod.map(livePod).filter((pod) => pod !== null)

test('pods of equal digests have equal verdicts, and the judged part alone has the verdict of the whole pod', () => {
  const counts = { same: 0, others: 0 }
  fc.assert(
    fc.property(livePods, fc.nat(), fc.constantFrom(undefined, 'x', '', true, 64_242), (pod, nth, value) => {
      const places = placesIn(pod)
      const changed = changedAt(pod, places[nth % places.length]!, value)
      for (const each of [pod, changed]) assert.deepEqual(verdictOn(judgedPartOf(each)), verdictOn(each))
      const isSame = judgedDigestOf(pod) === judgedDigestOf(changed)
      counts[isSame ? 'same' : 'others']++
      if (isSame) assert.deepEqual(verdictOn(changed), verdictOn(pod))
    }),
    { numRuns: 1_000 },
  )
  assert.ok(counts.same > 50 && counts.others > 200, JSON.stringify(counts))
})

test('whatever changes in a pod but its status and the API server’s bookkeeping gives another digest', () => {
  const pod = livePod(agentPod())!
  const unheeded = /^(status,(?!podIPs)|metadata,(resourceVersion|managedFields)|apiVersion|kind)/
  for (const place of placesIn(pod).filter((one) => one.length > 1)) {
    const isHeeded = !unheeded.test(place.join(','))
    assert.equal(judgedDigestOf(changedAt(pod, place, 'another')) !== judgedDigestOf(pod), isHeeded, place.join('.'))
  }
})
