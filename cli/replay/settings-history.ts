/**
 * The settings that decide how values read, at any place of a session: those of its start and every ParameterStatus since.
 *
 * Reads the recording forward once, as far as it was asked for, and keeps only the changes. Holds one segment while it reads.
 */
import { KnownError } from '../../base/errors.ts'
import { createFrameAssembler } from '../../postgres/frame-assembler.ts'
import { decodeParameterStatus } from '../../postgres/messages/backend.ts'
import { readRecords } from '../../session/read-session.ts'
import { recordType } from '../../session/records.ts'
import type { Store } from '../../session/stores/store.ts'
import { accountRead } from './read-account.ts'

type Parameters = Readonly<Record<string, string>>

const parameterStatus = 'S'.charCodeAt(0)
const onlyParameters = new Uint8Array(256).fill(1)
onlyParameters[parameterStatus] = 0
/** Of a session that changes its settings without end, the changes that are kept; `at` is exact up to there. */
const changesMax = 100_000

export type SettingsHistory = {
  /** What is known without reading; `exact` when nothing before record `ordinal` is unread. */
  known(ordinal: number): { readonly parameters: Parameters; readonly exact: boolean }
  /** What the server had said before record `ordinal`. @throws RecordingDamaged, StoreUnavailable, and `signal`'s reason */
  at(ordinal: number, signal: AbortSignal): Promise<Parameters>
}

export function createSettingsHistory(store: Store, session: string, atStart: Parameters): SettingsHistory {
  const changes: { readonly ordinal: number; readonly parameters: Parameters }[] = [{ ordinal: 0, parameters: atStart }]
  let readTo = 0
  let broken = false
  let now = 0
  const frames = createFrameAssembler(
    'backend',
    {
      onFrame(_type, bytes, start, end) {
        const [name, value] = decodeParameterStatus('utf8', bytes, start, end)
        const { parameters } = changes.at(-1)!
        if (parameters[name] !== value && changes.length < changesMax)
          changes.push({ ordinal: now, parameters: { ...parameters, [name]: value } })
      },
      onSize: () => undefined,
    },
    { sizeOnly: onlyParameters },
  )

  async function readUpTo(ordinal: number, signal: AbortSignal): Promise<void> {
    if (broken || readTo >= ordinal) return
    for await (const { type, payload, ordinal: place } of readRecords(store, session, { from: readTo, to: ordinal })) {
      signal.throwIfAborted()
      accountRead(payload.length)
      now = place
      try {
        if (type === recordType.backend) frames.push(payload)
        else if (type === recordType.gap) frames.reset()
      } catch (error) {
        if (!(error instanceof KnownError) || error.code !== 'BAD_FRAME') throw error
        // What stands behind bytes that are no frames belongs to no statement either.
        broken = true
        return
      }
      readTo = place + 1
    }
  }

  function parametersBefore(ordinal: number): Parameters {
    return (changes.findLast((change) => change.ordinal < ordinal) ?? changes[0]!).parameters
  }

  return {
    known: (ordinal) => ({ parameters: parametersBefore(ordinal), exact: broken || readTo >= ordinal }),
    async at(ordinal, signal) {
      await readUpTo(ordinal, signal)
      return parametersBefore(ordinal)
    },
  }
}
