/** What whoever looks is told of a pod's recordings: the pod's condition, its policy's, `kubectl steno status` and `kubectl steno explain`. */
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { eventually, getJson, ran } from './kubectl.ts'

const plugin = fileURLToPath(new URL('../../../bin/kubectl-steno', import.meta.url))
/** Longer than a store may refuse before it is said, and than a sidecar waits between two words. */
const toldMillisecondsMax = 150_000

type Condition = { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }
type Asked = { readonly namespace: string; readonly pod: string; readonly policy: string }

/** Returns once all of them say that the pod's recordings are not stored for `reason`. */
export async function untilNotStored({ namespace, pod, policy }: Asked, reason: string, remedy: RegExp): Promise<void> {
  const condition = await untilCondition(['-n', namespace, 'pod', pod], 'steno.dev/RecordingStored', 'False', reason)
  assert.match(condition.message, remedy)
  const ofPolicy = await untilCondition(['-n', namespace, 'sessionpolicy', policy], 'RecordingStored', 'False')
  assert.ok(ofPolicy.message.includes(pod), ofPolicy.message)
  const { code, stdout } = await ran(plugin, ['status', '-n', namespace])
  assert.equal(code, 1, stdout)
  assert.match(stdout, new RegExp(`^ERROR +Pods \\S*${namespace}/${pod}\\b.*recordings that are not stored: ${reason}: `, 'm'))
  const explained = await ran(plugin, ['explain', pod, '-n', namespace])
  assert.match(explained.stdout, new RegExp(`^Outcome: +NOT STORED: .*\\(${reason}\\)`, 'm'))
  assert.match(explained.stdout, new RegExp(`^ +Recorded: +NO, ${reason} since 20`, 'm'))
}

/** Returns once all of them say that they are stored. */
export async function untilStored({ namespace, pod, policy }: Asked): Promise<void> {
  await untilCondition(['-n', namespace, 'pod', pod], 'steno.dev/RecordingStored', 'True', 'Stored')
  // Other pods of the policy may still be in trouble.
  await eventually('the policy no longer names the pod', async () => {
    const { message } = await untilCondition(['-n', namespace, 'sessionpolicy', policy], 'RecordingStored')
    return message.includes(pod) ? null : true
  })
  const { stdout } = await ran(plugin, ['status', '-n', namespace])
  assert.doesNotMatch(stdout, new RegExp(`${namespace}/${pod}\\b.*not stored`))
  const explained = await ran(plugin, ['explain', pod, '-n', namespace])
  assert.match(explained.stdout, /^ +Recorded: +what is recorded reaches the store since 20/m)
}

async function untilCondition(object: readonly string[], type: string, status?: string, reason?: string): Promise<Condition> {
  let last: Condition | undefined
  try {
    return await eventually(
      `${type} of ${object.join(' ')}`,
      async () => {
        const found = await getJson<{ status?: { conditions?: Condition[] } }>(object)
        last = found.status?.conditions?.find((condition) => condition.type === type)
        if (last === undefined || (status !== undefined && last.status !== status)) return null
        return reason === undefined || last.reason === reason ? last : null
      },
      { withinMilliseconds: toldMillisecondsMax },
    )
  } catch (cause) {
    throw new Error(`${type} of ${object.join(' ')} is ${JSON.stringify(last)}`, { cause })
  }
}
