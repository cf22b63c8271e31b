/**
 * Trouble for the parts that a recorded session leans on: steno's Deployments, the cluster's DNS, the enforcer of NetworkPolicies. Each is killed, all
 * replicas at once, or slowed until it gets a tenth of its time; and each returns by itself.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Enforcer } from './enforcer.ts'
import { eventually, getJson, kubectl } from './kubectl.ts'
import { processesOf } from './node.ts'

export type Part = {
  readonly name: string
  kill(): Promise<void>
  /** Whose time is taken when it is slowed. */
  processes(): Promise<number[]>
  /** Returns when it runs as before. */
  untilBack(): Promise<void>
}

type Pods = {
  readonly items: readonly {
    readonly metadata: { readonly name: string }
    readonly spec: { readonly containers: readonly { name: string }[] }
  }[]
}

/** All pods of a Deployment. */
export function deploymentPart(
  name: string,
  { namespace, deployment, selector }: Record<'namespace' | 'deployment' | 'selector', string>,
): Part {
  return {
    name,
    async kill() {
      await kubectl(['-n', namespace, 'delete', 'pods', '-l', selector, '--force', '--grace-period=0', '--wait=false'])
    },
    async processes() {
      const { items } = await getJson<Pods>(['-n', namespace, 'pods', '-l', selector])
      const found = items.flatMap(({ metadata, spec }) =>
        spec.containers.map((container) => processesOf(namespace, metadata.name, container.name)),
      )
      return (await Promise.all(found)).flat()
    },
    async untilBack() {
      await kubectl(['-n', namespace, 'rollout', 'status', `deployment/${deployment}`, '--timeout=180s'])
    },
  }
}

export function enforcerPart(enforcer: Enforcer): Part {
  return {
    name: 'the enforcer of NetworkPolicies',
    async kill() {
      enforcer.kill()
      // Long enough for pods that are made meanwhile to find it missing.
      await sleep(enforcerAwayMilliseconds)
      enforcer.startAgain()
    },
    processes: () => Promise.resolve([enforcer.pid()]),
    async untilBack() {
      await eventually('the enforcer runs', () => {
        process.kill(enforcer.pid(), 0)
        return Promise.resolve(true)
      })
    },
  }
}

const enforcerAwayMilliseconds = 3_000
const haltedMilliseconds = 900
const runningMilliseconds = 100

/** For so long the processes run a tenth of the time; then they go on as before, also when this throws. */
export async function slow(parts: readonly Part[], milliseconds: number): Promise<void> {
  const pids = (await Promise.all(parts.map((part) => part.processes()))).flat()
  const until = performance.now() + milliseconds
  try {
    while (performance.now() < until) {
      signal(pids, 'SIGSTOP')
      await sleep(haltedMilliseconds)
      signal(pids, 'SIGCONT')
      await sleep(runningMilliseconds)
    }
  } finally {
    signal(pids, 'SIGCONT')
  }
}

function signal(pids: readonly number[], name: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // The kubelet may have replaced it.
    }
  }
}
