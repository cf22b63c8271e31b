/**
 * The pod of `kubectl steno probe`: steno's own image somewhere that is not the relay, for as long as one question takes.
 *
 * Fits Pod Security `restricted`, has no token of a ServiceAccount, and no label that steno's NetworkPolicies select. It is taken away whatever
 * happens, as long as this process can ask the cluster; if not, it has ended by itself within its deadline and only its record stays.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { KnownError } from '../../base/errors.ts'
import type { ProbeRequest } from '../probe/probe-targets.ts'
import { BadUsage } from '../failure-report.ts'
import { printableLine } from '../text.ts'
import { ObjectNotFound } from './errors.ts'
import { getObjects, kubectl, type ContextOptions } from './kubectl-program.ts'
import { sidecarName } from './world.ts'

/** The pod of a probe did not come to ask anything, or what it printed is no answer. */
export class ProbePodFailed extends KnownError {
  readonly code = 'PROBE_POD_FAILED'
  readonly remedy =
    'Look at what the message says of the pod; --from names another namespace to run it in, --image another name of steno’s image, --node another node.'
  readonly safeToRetry = true
}

/** Image and how it is pulled, as the release runs it. */
export type ProbeImage = { readonly image: string; readonly pullPolicy: string | undefined; readonly pullSecrets: readonly object[] }

export type ProbePodOptions = ProbeImage & {
  readonly name: string
  readonly namespace: string
  readonly stenoNamespace: string
  /** Null: where the scheduler likes, rather not beside a relay. */
  readonly node: string | null
  readonly request: ProbeRequest
}

export const probeName = 'steno-probe'
/** As the image's own user. */
const userId = 64_242
const deadlineSeconds = 150
const waitMillisecondsMax = 160_000
const lookMilliseconds = 500
/** Less than what Linux takes as one argument (128 KiB). */
const requestCharactersMax = 100_000
const deletionsMax = 3

/** @throws BadUsage for more databases than fit */
export function probePod({ name, namespace, stenoNamespace, node, request, image, pullPolicy, pullSecrets }: ProbePodOptions): object {
  const text = JSON.stringify(request)
  if (text.length > requestCharactersMax)
    throw new BadUsage('these policies have more databases than one probe can ask: name one SessionPolicy')
  const relays = { 'app.kubernetes.io/name': 'steno', 'app.kubernetes.io/component': 'relay' }
  const away = { namespaces: [stenoNamespace], topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: relays } }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { 'app.kubernetes.io/name': probeName, 'app.kubernetes.io/managed-by': 'kubectl-steno' } },
    spec: {
      restartPolicy: 'Never',
      activeDeadlineSeconds: deadlineSeconds,
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...(node === null
        ? { affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: away }] } } }
        : { nodeName: node }),
      ...(pullSecrets.length > 0 ? { imagePullSecrets: pullSecrets } : {}),
      securityContext: { runAsNonRoot: true, runAsUser: userId, runAsGroup: userId, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'probe',
          image,
          ...(pullPolicy === undefined ? {} : { imagePullPolicy: pullPolicy }),
          // The kubelet replaces $(NAME) in arguments, and $$ by $.
          args: ['probe-target', text.replaceAll('$', '$$$$')],
          env: [{ name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } }],
          resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '256Mi' } },
          securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  }
}

type LivePod = {
  readonly spec?: { readonly nodeName?: string; readonly initContainers?: readonly { readonly name: string }[] }
  readonly status?: {
    readonly phase?: string
    readonly message?: string
    readonly podIP?: string
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[]
    readonly containerStatuses?: readonly {
      readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string } }
    }[]
  }
}

/** Where it ran, and what it printed. */
export type PodAnswer = { readonly node: string | null; readonly address: string | null; readonly printed: string }

/** `stopping` ends the waiting; the pod is taken away then, too. @throws ProbePodFailed, as `kubectl`; the signal's reason */
export async function runProbePod(options: ContextOptions, pod: ProbePodOptions, stopping: AbortSignal): Promise<PodAnswer> {
  const at = ['-n', pod.namespace]
  const folder = await mkdtemp(path.join(tmpdir(), 'steno-probe-'))
  try {
    const file = path.join(folder, 'pod.json')
    await writeFile(file, JSON.stringify(probePod(pod)), { mode: 0o600 })
    try {
      await kubectl(options, ['create', '-f', file])
      const ended = await untilEnded(options, pod, stopping)
      return { ...ended, printed: await kubectl(options, [...at, 'logs', pod.name]) }
    } finally {
      await takeAway(options, [...at, 'delete', 'pod', pod.name, '--ignore-not-found', '--wait=false'])
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Also after an attempt to create it that failed: it may be there all the same. A second Ctrl-C reaches kubectl too, so more than once. */
async function takeAway(options: ContextOptions, args: readonly string[]): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await kubectl(options, args)
      return
    } catch (error) {
      if (attempt >= deletionsMax) throw error
    }
  }
}

async function untilEnded(
  options: ContextOptions,
  asked: ProbePodOptions,
  stopping: AbortSignal,
): Promise<Pick<PodAnswer, 'node' | 'address'>> {
  const { namespace, name } = asked
  const until = performance.now() + waitMillisecondsMax
  for (;;) {
    stopping.throwIfAborted()
    const pod = await look(options, asked)
    const { phase, podIP = null } = pod?.status ?? {}
    if (pod?.spec?.initContainers?.some((container) => container.name === sidecarName) === true)
      throw new BadUsage(
        `namespace ${namespace} is opted in, so the pod was given a sidecar and the network of an agent: it says nothing of others. Name another with --from.`,
      )
    if (phase === 'Succeeded') return { node: pod?.spec?.nodeName ?? null, address: podIP }
    const trouble = troubleOf(pod)
    if (phase === 'Failed')
      throw new ProbePodFailed(`the pod ${namespace}/${name} failed: ${trouble ?? (await lastWords(options, namespace, name))}`)
    if (trouble !== null && isFinal(pod)) throw new ProbePodFailed(`the pod ${namespace}/${name} cannot start: ${trouble}`)
    if (performance.now() > until)
      throw new ProbePodFailed(
        `the pod ${namespace}/${name} has not ended within ${waitMillisecondsMax / 1000} s: ${trouble ?? phase ?? 'nothing is known of it'}`,
      )
    await pause(lookMilliseconds, undefined, { signal: stopping })
  }
}

/** @throws ProbePodFailed when the pod was taken away, as the control plane does with pods of a node that is not there */
async function look(options: ContextOptions, { namespace, name, node }: ProbePodOptions): Promise<LivePod | undefined> {
  try {
    return (await getObjects<LivePod>(options, ['-n', namespace, 'pod', name]))[0]
  } catch (error) {
    if (!(error instanceof ObjectNotFound)) throw error
    const why = node === null ? '' : `; so it goes when the cluster has no node ${printableLine(node)}: kubectl get nodes`
    throw new ProbePodFailed(`the pod ${namespace}/${name} was deleted before it ended${why}`, { cause: error })
  }
}

/** What will not mend itself within the time that there is (kubelet, reasons of waiting containers). */
function isFinal(pod: LivePod | undefined): boolean {
  const reason = pod?.status?.containerStatuses?.[0]?.state?.waiting?.reason ?? ''
  return ['ErrImageNeverPull', 'InvalidImageName', 'ImagePullBackOff', 'CreateContainerConfigError', 'CreateContainerError'].includes(
    reason,
  )
}

function troubleOf(pod: LivePod | undefined): string | null {
  const { message, conditions = [], containerStatuses = [] } = pod?.status ?? {}
  const waiting = containerStatuses[0]?.state?.waiting
  const unscheduled = conditions.find(({ type, status }) => type === 'PodScheduled' && status === 'False')
  const words = [message, unscheduled?.message, waiting?.reason, waiting?.message].filter((word) => word !== undefined && word !== '')
  return words.length === 0 ? null : printableLine(words.join(': '))
}

/** Of its log; an error that says where it came from says more than a phase. */
async function lastWords(options: ContextOptions, namespace: string, name: string): Promise<string> {
  const text = await kubectl(options, ['-n', namespace, 'logs', name, '--tail=3'])
  return printableLine(text.trim().replaceAll('\n', ' ')) || 'its log is empty'
}
