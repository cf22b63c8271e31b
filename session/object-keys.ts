/**
 * The names of the objects in a store, and what a name says about its object.
 *
 * A session's id gives its folder, so nothing has to be searched for.
 */
import { isSessionId, sessionTime } from './session-id.ts'

export const sessionsPrefix = 'sessions/'
export const ledgersPrefix = 'ledger/'
export const recordersPrefix = 'recorders/'
/** What control checked of a recorder before it took anything of it. */
export const attestationsPrefix = 'attested/'
/** Control's chain of what it attested, which covers all recorders of a store. */
export const attestationChainPrefix = `${attestationsPrefix}chain/`
/** What control states of recorders that vanished. */
export const lossesPrefix = 'lost/'
/** What control states of pods that could be made without a sidecar. */
export const exemptionsPrefix = 'exemptions/'
/** High-water marks that outlive a control: of each recorder the last one, while something of it waits in a spool. */
export const marksPrefix = 'marks/'
/** What `probe.ts` puts and removes; one may be left behind by a killed process. */
export const probesPrefix = 'probe/'

const segmentDigits = 6
const ledgerDigits = 12
const chainDigits = 12
const markDigits = 16

/** The folder of a day in UTC, as `sessions/2026-11-21/`. */
export function dayPrefix(milliseconds: number): string {
  return `${sessionsPrefix}${new Date(milliseconds).toISOString().split('T')[0]}/`
}

export function sessionPrefix(session: string): string {
  return `${dayPrefix(sessionTime(session))}${session}/`
}

export function segmentKey(session: string, number: number): string {
  return `${sessionPrefix(session)}segment-${String(number).padStart(segmentDigits, '0')}.steno`
}

export function statementIndexKey(session: string, segment: number): string {
  return `${sessionPrefix(session)}statements-${String(segment).padStart(segmentDigits, '0')}.jsonl`
}

export function manifestKey(session: string): string {
  return `${sessionPrefix(session)}manifest.json`
}

export function ledgerPrefix(recorder: string): string {
  return `${ledgersPrefix}${recorder}/`
}

export function ledgerKey(recorder: string, number: number): string {
  return `${ledgerPrefix(recorder)}${String(number).padStart(ledgerDigits, '0')}.json`
}

export function recorderKey(recorder: string): string {
  return `${recordersPrefix}${recorder}.json`
}

/** Written by control, never by a recorder. */
export function attestationKey(recorder: string): string {
  return `${attestationsPrefix}${recorder}.json`
}

/** Written by control, never by a recorder. `number` counts from 1. */
export function attestationChainKey(number: number): string {
  return `${attestationChainPrefix}${String(number).padStart(chainDigits, '0')}.json`
}

/** Written by control, never by a recorder. */
export function lossKey(recorder: string): string {
  return `${lossesPrefix}${recorder}.json`
}

/** Written by control, never by a recorder. `id` as `exemption.ts` makes it. */
export function exemptionKey(id: string): string {
  return `${exemptionsPrefix}${id}.json`
}

export function marksOfRecorderPrefix(recorder: string): string {
  return `${marksPrefix}${recorder}/`
}

/** Written by control, as the recorder signed it. */
export function markKey(recorder: string, number: number): string {
  return `${marksOfRecorderPrefix(recorder)}${String(number).padStart(markDigits, '0')}.json`
}

export type ObjectName =
  | { readonly kind: 'segment'; readonly session: string; readonly number: number }
  | { readonly kind: 'index'; readonly session: string; readonly number: number }
  | { readonly kind: 'manifest'; readonly session: string }
  | { readonly kind: 'ledger'; readonly recorder: string; readonly number: number }
  | { readonly kind: 'recorder'; readonly recorder: string }
  | { readonly kind: 'attestation'; readonly recorder: string }
  | { readonly kind: 'chain'; readonly number: number }
  | { readonly kind: 'loss'; readonly recorder: string }
  | { readonly kind: 'mark'; readonly recorder: string; readonly number: number }
  | { readonly kind: 'exemption'; readonly id: string }
  | { readonly kind: 'probe' }
  /** A name that steno never gives. */
  | { readonly kind: 'foreign' }

/** What the object under `key` should be; `foreign` for every name that the functions above never give. */
export function nameOf(key: string): ObjectName {
  const name = guess(key)
  // Only the one spelling counts: `segment-1.steno` or another day's folder would hide a second copy.
  return name.kind === 'probe' || keyOf(name) === key ? name : { kind: 'foreign' }
}

function guess(key: string): ObjectName {
  const [top, ...rest] = key.split('/')
  if (top === 'probe') return { kind: 'probe' }
  if (top === 'recorders' && rest.length === 1) return { kind: 'recorder', recorder: rest[0]!.replace(/\.json$/, '') }
  if (top === 'attested' && rest.length === 1) return { kind: 'attestation', recorder: rest[0]!.replace(/\.json$/, '') }
  if (top === 'attested' && rest.length === 2 && rest[0] === 'chain') return { kind: 'chain', number: numberIn(rest[1]!) }
  if (top === 'lost' && rest.length === 1) return { kind: 'loss', recorder: rest[0]!.replace(/\.json$/, '') }
  if (top === 'exemptions' && rest.length === 1) return { kind: 'exemption', id: rest[0]!.replace(/\.json$/, '') }
  if (top === 'marks' && rest.length === 2) return { kind: 'mark', recorder: rest[0]!, number: numberIn(rest[1]!) }
  if (top === 'ledger' && rest.length === 2) return { kind: 'ledger', recorder: rest[0]!, number: numberIn(rest[1]!) }
  if (top !== 'sessions' || rest.length !== 3 || !isSessionId(rest[1]!)) return { kind: 'foreign' }
  const [, session, file] = rest as [string, string, string]
  if (file === 'manifest.json') return { kind: 'manifest', session }
  if (file.startsWith('segment-')) return { kind: 'segment', session, number: numberIn(file) }
  if (file.startsWith('statements-')) return { kind: 'index', session, number: numberIn(file) }
  return { kind: 'foreign' }
}

function keyOf(name: ObjectName): string | null {
  switch (name.kind) {
    case 'segment':
      return name.number > 0 ? segmentKey(name.session, name.number) : null
    case 'index':
      return name.number > 0 ? statementIndexKey(name.session, name.number) : null
    case 'manifest':
      return manifestKey(name.session)
    case 'ledger':
      return name.number > 0 && isRecorderId(name.recorder) ? ledgerKey(name.recorder, name.number) : null
    case 'recorder':
      return isRecorderId(name.recorder) ? recorderKey(name.recorder) : null
    case 'attestation':
      return isRecorderId(name.recorder) ? attestationKey(name.recorder) : null
    case 'chain':
      return name.number > 0 ? attestationChainKey(name.number) : null
    case 'loss':
      return isRecorderId(name.recorder) ? lossKey(name.recorder) : null
    case 'mark':
      return name.number > 0 && isRecorderId(name.recorder) ? markKey(name.recorder, name.number) : null
    case 'exemption':
      return /^[0-9a-f]{32}$/.test(name.id) ? exemptionKey(name.id) : null
    default:
      return null
  }
}

/** 32 hex digits: the first half of the SHA-256 of the recorder's public key. */
export function isRecorderId(value: string): boolean {
  return /^[0-9a-f]{32}$/.test(value)
}

function numberIn(file: string): number {
  return Number(/(\d{1,16})\.[a-z]+$/.exec(file)?.[1] ?? 0)
}
