/**
 * How much of a pod is judged: more than any real pod has, and little enough that no pod keeps a webhook from answering for the others.
 *
 * The API server asks before it looks at the size itself: what it would not store (etcd takes 1.5 MiB) arrives here too. A pod that is too
 * large is refused; left unanswered it would pass by the webhook's failurePolicy.
 */
import type { V1Pod } from '@kubernetes/client-node'
import type { Refusal } from './refusal.ts'

/** Of a pod's spec. */
export const podSizeMax = { containers: 128, variables: 20_000, envFrom: 256, volumes: 1_024, characters: 1_536 * 1024 } as const

/** At most one: what is too much is said once. */
export function faultsOfSize({ spec }: V1Pod): Refusal[] {
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]
  const sum = (count: (container: (typeof containers)[number]) => number): number =>
    containers.reduce((all, container) => all + count(container), 0)
  const found: Readonly<Record<keyof typeof podSizeMax, number>> = {
    containers: containers.length,
    variables: sum(({ env }) => env?.length ?? 0),
    envFrom: sum(({ envFrom }) => envFrom?.length ?? 0),
    volumes: spec?.volumes?.length ?? 0,
    characters: charactersIn(spec),
  }
  const words: Readonly<Record<keyof typeof podSizeMax, string>> = {
    containers: 'containers',
    variables: 'variables in env',
    envFrom: 'items of envFrom',
    volumes: 'volumes',
    characters: 'characters in all',
  }
  const tooMany = (Object.keys(found) as (keyof typeof found)[]).find((what) => found[what] > podSizeMax[what])
  if (tooMany === undefined) return []
  return [
    {
      rule: 'PodTooLarge',
      where: 'spec',
      message: `it has ${found[tooMany]} ${words[tooMany]}, and steno judges no more than ${podSizeMax[tooMany]}`,
      remedy: 'Make the pod smaller: put large texts into a ConfigMap that is mounted, or split the pod',
    },
  ]
}

/** Names of fields included: a map's keys are its author's. */
function charactersIn(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null) return 0
  let characters = 0
  for (const [name, item] of Object.entries(value)) characters += name.length + charactersIn(item)
  return characters
}
