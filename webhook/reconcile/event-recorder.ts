/**
 * Events (events.k8s.io/v1): what people see with `kubectl describe` and `kubectl events`.
 *
 * An event's name is made of what it says, so telling it again while the API server still has it (an hour, unless set otherwise) changes
 * nothing, whichever replica tells. Bounded: so many wait, and so many go out a second; what is beyond is dropped, for the status says it too.
 */
import { createHash } from 'node:crypto'
import { messageOf } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import { isNamespaceTerminating, isRefusal } from '../../cluster/errors.ts'
import { pause } from '../../cluster/pause.ts'
import { apiVersionOf, pathOf, resources, type Resource } from '../../cluster/resources.ts'

export type Regarding = {
  readonly resource: Resource
  readonly namespace: string | undefined
  readonly name: string
  readonly uid: string
}

export type EventFacts = {
  readonly regarding: Regarding
  readonly type: 'Normal' | 'Warning'
  /** CamelCase. */
  readonly reason: string
  /** What steno did or would not do, CamelCase. */
  readonly action: string
  readonly note: string
}

const waitingMax = 100
const spacingMilliseconds = 50
/** The API server refuses more than 1,024 bytes. */
const noteBytesMax = 1_000

export type EventRecorder = { tell(event: EventFacts): void; readonly dropped: number }

export function createEventRecorder(options: {
  readonly cluster: Pick<ClusterClient, 'request'>
  /** Of this replica: its pod's name. */
  readonly instance: string
  readonly log: Log
  readonly signal: AbortSignal
}): EventRecorder {
  const { cluster, instance, log, signal } = options
  const waiting: EventFacts[] = []
  let isSending = false
  let dropped = 0

  async function send(): Promise<void> {
    if (isSending) return
    isSending = true
    for (let event = waiting.shift(); event !== undefined && !signal.aborted; event = waiting.shift()) {
      try {
        const namespace = event.regarding.namespace ?? 'default' // Where events of what has no namespace belong.
        await cluster.request({
          method: 'POST',
          path: pathOf(resources.events, { namespace }),
          body: bodyOf(event, namespace, instance),
          signal,
        })
      } catch (error) {
        // Of what goes with its namespace nobody reads events.
        if (!isRefusal(error, 'AlreadyExists') && !isNamespaceTerminating(error) && !signal.aborted)
          log.warn({ reason: event.reason, error: messageOf(error) }, 'an event could not be written')
      }
      await pause(spacingMilliseconds, signal)
    }
    isSending = false
  }

  return {
    tell(event) {
      if (waiting.length >= waitingMax) {
        dropped++
        return
      }
      waiting.push(event)
      void send()
    },
    get dropped() {
      return dropped
    },
  }
}

/** Of a name of at most 253 characters; what is cut off must not leave it with an end that no name may have. */
function nameStart(name: string): string {
  return name.slice(0, 230).replace(/[^a-z0-9]+$/, '')
}

function noteOf(note: string): string {
  const bytes = Buffer.from(note.toWellFormed())
  // What the cut leaves of a character is none.
  return bytes.length <= noteBytesMax ? bytes.toString() : `${bytes.toString('utf8', 0, noteBytesMax).replace(/\uFFFD$/, '')}…`
}

function bodyOf({ regarding, type, reason, action, note }: EventFacts, namespace: string, instance: string): object {
  const { resource, name, uid } = regarding
  const digest = createHash('sha256')
    .update(JSON.stringify([uid, reason, note]))
    .digest('hex')
    .slice(0, 16)
  return {
    apiVersion: apiVersionOf(resources.events),
    kind: resources.events.kind,
    metadata: { namespace, name: `${nameStart(name)}.${digest}` },
    eventTime: new Date().toISOString().replace('Z', '000Z'), // MicroTime.
    reportingController: 'steno.dev/webhook',
    reportingInstance: instance.slice(0, 128),
    ...{ type, reason, action },
    note: noteOf(note),
    regarding: {
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      name,
      uid,
      ...(regarding.namespace === undefined ? {} : { namespace: regarding.namespace }),
    },
  }
}
