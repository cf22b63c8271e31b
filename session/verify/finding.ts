/** What the verifier can say, and where. `FORMAT.md` lists the codes; they are stable. */
import type { RecordedAmount } from '../high-water-mark.ts'

/** Something in the store is not as it was recorded, or cannot be proven to be. */
export const errorCodes = {
  FOREIGN_OBJECT: 'an object whose name steno never gives',
  OBJECT_NOT_IN_LEDGER: 'an object that no ledger names',
  OBJECT_MISSING: 'an object that a ledger names is not in the store',
  OBJECT_SIZE: 'an object has another length than its ledger says',
  OBJECT_DIGEST: 'an object has another digest than its ledger says',
  RECORDER_MISSING: "a ledger's recorder has not published its key",
  RECORDER_DAMAGED: 'a recorder document is damaged, forged or of another recorder',
  RECORDER_UNTRUSTED: 'a recorder is none of those that were said to be trusted',
  ATTESTATION_DAMAGED: 'what was attested of a recorder cannot be read, or is of another recorder',
  ATTESTATION_MISSING: 'control attested a recorder, as its chain says, and the attestation is gone',
  ATTESTATION_NOT_CHAINED: 'control’s chain does not name what is attested of a recorder',
  CHAIN_HOLE: 'an entry is missing inside control’s chain of attestations',
  CHAIN_DAMAGED: 'an entry of the chain cannot be read, or lies under a name that is not its own',
  CHAIN_SIGNATURE: 'an entry of the chain is signed by a key that is not trusted',
  CHAIN_BROKEN: 'an entry of the chain does not follow the one before it',
  CHAIN_TAIL_MISSING: 'the chain ends before the head that was kept elsewhere',
  CHAIN_FORKED: 'the chain has another entry than the head that was kept elsewhere',
  LOSS_DAMAGED: 'the statement of a recorder’s loss cannot be read, or is of another recorder',
  LOSS_SIGNATURE: 'a loss is stated by another key than the one that attests its recorder',
  LOSS_CONTRADICTED: 'less is stored than when the loss was stated',
  MARK_DAMAGED: 'a high-water mark cannot be read, or is of another recorder',
  MARK_UNMET: 'a high-water mark claims more than is stored, and no loss is stated',
  EXEMPTION_DAMAGED: 'the record of an exemption cannot be read, or lies under another name',
  EXEMPTION_SIGNATURE: 'an exemption is stated by a key that is not trusted',
  ATTESTATION_CONTRADICTED: 'a session says that it was of another pod than what was attested of its recorder',
  LEDGER_MISSING: 'a recorder has no ledger',
  LEDGER_HOLE: 'an entry is missing inside a ledger',
  LEDGER_DAMAGED: 'a ledger entry cannot be read',
  LEDGER_SIGNATURE: 'a ledger entry is not signed by its recorder',
  LEDGER_MISPLACED: 'a ledger entry lies under a name that is not its own',
  LEDGER_CHAIN: 'a ledger entry does not follow the one before it',
  LEDGER_TAIL_MISSING: 'a ledger ends before the head that was kept elsewhere, or that control saw',
  LEDGER_FORKED: 'a ledger has another entry than the head that was kept elsewhere, or that control saw',
  LEDGER_CONTRADICTION: 'what a ledger says of a session cannot all be true',
  SEGMENT_DAMAGED: 'a segment cannot be read',
  SEGMENT_CHAIN: 'a segment does not follow the one before it',
  SEGMENT_HEADER: "a segment's header is not true of its content or its session",
  RECORD_DAMAGED: 'a record cannot be read',
  RECORD_ORDER: 'a record stands where it cannot stand, or one is missing',
  MANIFEST_DAMAGED: 'a manifest cannot be read',
  MANIFEST_SIGNATURE: 'a manifest is not signed by its recorder',
  MANIFEST_CONTRADICTION: 'a manifest says something else than the ledger or the segments',
  INDEX_DAMAGED: 'a statement index cannot be read',
  INDEX_CONTRADICTION: 'a statement index says something else than its segment or the ledger',
} as const

/** Nothing is wrong with what was recorded, but somebody should know. */
export const warningCodes = {
  RECORDER_NOT_PINNED: 'nobody said which recorders to trust',
  ATTESTER_NOT_PINNED: 'nobody said whether to trust the key that attests recorders',
  ATTESTED_BEFORE_CHAIN: 'recorders were attested before control’s chain began, which misses none of them',
  OBJECT_AWAITS_LEDGER: 'an object of a session being written whose ledger entry is to come',
  SESSION_UNFINISHED: 'a recorder stopped and the session is not closed',
  RECORDER_LOST: 'a recorder vanished with its pod, as control states',
  SESSION_LOST: 'what was recorded of a session was lost with its recorder, as control states',
  EXEMPT: 'pods could be made without recording, as control states',
  GAP: 'traffic passed unrecorded, as the recording itself says',
  DELIVERED_UNSTORED: 'results went on to the agent before the store had them, as the policy allows: they are recorded',
  PROBE_LEFT_BEHIND: "a killed recorder's proof of the store was not removed",
} as const

export type FindingCode = keyof typeof errorCodes | keyof typeof warningCodes

export type FindingPlace = {
  readonly session?: string
  readonly segment?: number
  readonly key?: string
  /** The record's ordinal in its session, from 0. */
  readonly record?: number
  /** The statement's number in its session, from 1. */
  readonly statement?: number
  /** Of SESSION_LOST and MARK_UNMET: how much was recorded and is not stored. */
  readonly missing?: RecordedAmount
}

export type Finding = FindingPlace & { readonly severity: 'error' | 'warning'; readonly code: FindingCode; readonly message: string }

/** `message` is a sentence about this case; it names what was found, never recorded content. */
export function finding(code: FindingCode, message: string, place: FindingPlace): Finding {
  return { severity: Object.hasOwn(errorCodes, code) ? 'error' : 'warning', code, ...place, message }
}
