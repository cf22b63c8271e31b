/**
 * The head of a recorder's ledger as kept beside its spool: the anchor by which a cut-off tail is found.
 *
 * Trust it as far as the folder it lies in; whoever can change both store and folder can hide a cut.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, systemCodeOf } from '../base/errors.ts'
import { replaceFile } from './durable-file.ts'
import type { LedgerHead } from './ledger.ts'
import { BadDocument, matching, object, oneOf, optional, ordinal, parseJson, sha256Hex, text, type Check } from './shape.ts'

export const ledgerHeadFile = 'ledger-head.json'

export type AnchoredHead = LedgerHead & {
  readonly recorder: string
  /** URL of the store that the ledger lies in; a head may lack it. */
  readonly store?: string
}

const checkHead: Check<AnchoredHead & { version: 1 }> = object<AnchoredHead & { version: 1 }>({
  version: oneOf(1),
  recorder: matching(/^[0-9a-f]{32}$/, 'a recorder id'),
  number: ordinal,
  sha256: sha256Hex,
  store: optional(text),
})

/** Call it after the entry was stored: a head that the store does not have reads as a cut-off tail. */
export async function saveLedgerHead(folder: string, head: AnchoredHead): Promise<void> {
  const { recorder, number, sha256, store } = head
  await replaceFile(
    join(folder, ledgerHeadFile),
    Buffer.from(`${JSON.stringify({ version: 1, recorder, number, sha256, store })}\n`),
    0o640,
  )
}

/** The head kept in `folder`, or null when there is none. @throws BadDocument when it is damaged or cannot be read */
export async function loadLedgerHead(folder: string): Promise<AnchoredHead | null> {
  const path = join(folder, ledgerHeadFile)
  let bytes: Buffer
  try {
    bytes = await readFile(path)
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null
    throw new BadDocument(`cannot read ${path}: ${messageOf(error)}`, { cause: error })
  }
  return checkHead(parseJson(bytes, path), path)
}
