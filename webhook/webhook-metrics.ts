/** What the webhook counts, for `/metrics`. Labels are outcomes, states and opted-in namespaces: never a pod. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { addProcessMetrics } from '../cluster/process-metrics.ts'
import type { ReviewFacts } from './admission/server.ts'
import { certificatesIn, endOf } from '../cluster/certificates/authority.ts'
import type { Certificates } from '../cluster/certificates/certificates.ts'
import type { Reconcile } from './reconcile/reconcile.ts'

const outcomes: readonly ReviewFacts['outcome'][] = [
  'injected',
  'unchanged',
  'exempt',
  'ignored',
  'refused',
  'postponed',
  'unreadable',
  'unknown-world',
  'failed',
]

export type WebhookFacts = {
  readonly certificates: () => Certificates | null
  /** Null unless this replica leads. */
  readonly reconcile: () => Reconcile | null
  /** Milliseconds since the API server was last heard, by kind. */
  readonly silence: () => readonly { readonly resource: string; readonly milliseconds: number }[]
}

/** Adds the metrics to `registry`; returns who is to be told of reviews. */
export function addWebhookMetrics(registry: Registry, facts: WebhookFacts): { reviewed(review: ReviewFacts): void } {
  const registers = [registry]
  const asked = (name: string, help: string, read: () => number): Gauge =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.set(read())
      },
    })
  const reviews = new Counter({
    ...{ name: 'steno_admission_reviews_total', help: 'Admission requests, by what came of them.', labelNames: ['outcome'], registers },
  })
  // Every series is there from the start: a rate over one that appears with its first count would miss that.
  for (const outcome of outcomes) reviews.labels(outcome).inc(0)
  const seconds = new Histogram({
    ...{ name: 'steno_admission_review_seconds', help: 'From a request’s last byte to the answer’s.', registers },
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1],
  })
  asked(
    'steno_certificate_expiry_timestamp_seconds',
    'When the certificate that serves now ends, in seconds since 1970; 0 for none.',
    () => {
      const [leaf] = certificatesIn(facts.certificates()?.current().cert ?? '')
      return leaf === undefined ? 0 : endOf(leaf) / 1000
    },
  )
  asked('steno_leader', '1 while this replica keeps statuses and certificates.', () => (facts.reconcile() === null ? 0 : 1))
  asked('steno_reconcile_waiting', 'Objects whose turn has not come.', () => facts.reconcile()?.waiting() ?? 0)
  asked('steno_reconcile_done', 'Rounds of work since this replica began to lead.', () => facts.reconcile()?.counts.done ?? 0)
  asked('steno_reconcile_failed', 'Those of them that failed and come again.', () => facts.reconcile()?.counts.failed ?? 0)
  const pods = new Gauge({
    ...{ name: 'steno_pods', help: 'Pods of opted-in namespaces, as the leader counts them: with a sidecar, or bare.', registers },
    labelNames: ['namespace', 'state'],
    collect() {
      pods.reset()
      for (const { namespace, injected, bare } of facts.reconcile()?.podTotals() ?? []) {
        pods.labels(namespace, 'injected').set(injected)
        pods.labels(namespace, 'bare').set(bare)
      }
    },
  })
  const egress = new Gauge({
    ...{
      name: 'steno_pods_egress',
      help: 'Pods with a sidecar, by what is known of the ways past it, as the leader counts them.',
      registers,
    },
    labelNames: ['namespace', 'state'],
    collect() {
      egress.reset()
      for (const { namespace, egress: counts } of facts.reconcile()?.podTotals() ?? [])
        for (const [state, count] of Object.entries(counts)) egress.labels(namespace, state).set(count)
    },
  })
  const recorded = new Gauge({
    ...{
      name: 'steno_pods_recording',
      help: 'Pods with a sidecar, by what becomes of their recordings as they say, as the leader counts them.',
      registers,
    },
    labelNames: ['namespace', 'state'],
    collect() {
      recorded.reset()
      for (const { namespace, recorded: counts } of facts.reconcile()?.podTotals() ?? [])
        for (const [state, count] of Object.entries(counts)) recorded.labels(namespace, state).set(count)
    },
  })
  asked(
    'steno_network_policies_repaired',
    'NetworkPolicies of steno that somebody else had changed or deleted, since this replica began to lead.',
    () => facts.reconcile()?.repaired ?? 0,
  )
  const silence: Gauge = new Gauge({
    ...{
      name: 'steno_watch_silence_seconds',
      help: 'Since the API server was last heard of these objects; about 60 when nothing changes.',
      registers,
    },
    labelNames: ['resource'],
    collect() {
      for (const { resource, milliseconds } of facts.silence()) silence.labels(resource).set(milliseconds / 1000)
    },
  })
  addProcessMetrics(registry)
  return {
    reviewed({ outcome, milliseconds }) {
      reviews.labels(outcome).inc()
      seconds.observe(milliseconds / 1000)
    },
  }
}
