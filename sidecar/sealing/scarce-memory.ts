/**
 * The memory that the trackers of all sessions share, and that it was scarce at a time: then statement indexes lack texts which another reading
 * of the same records may have.
 *
 * A start that takes over a killed process's segments makes their indexes anew and compares. So that it expects such differences where they can
 * be, and nowhere else, the spool folder has a file `scarce-<epoch>` from the first time on.
 */
import { existsSync, readdirSync, unlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { systemCodeOf } from '../../base/errors.ts'
import type { TrackerMemory } from '../../postgres/statements/memory.ts'
import { noLongerKept, tooMuchInFlight, unasked } from '../../postgres/statements/texts.ts'

/** Of texts, values and requests that wait for the database's answer, or have a name there. */
const trackedBytesMax = 12 * 1024 * 1024
/** What stands for a text that was left out, or comes of answers whose statements were. */
const standIns: ReadonlySet<unknown> = new Set([noLongerKept, tooMuchInFlight, unasked])

export type ScarceMemory = TrackerMemory & {
  /** True when indexes of this process's sessions may lack texts. */
  readonly wasScarce: boolean
  /** Says how much is held now. */
  weigh(trackedBytes: number): void
}

/** `epoch`: of the process whose spool it is, which may be one that was killed. */
export function createScarceMemory(spoolFolder: string, epoch: number): ScarceMemory {
  const file = path.join(spoolFolder, `scarce-${epoch}`)
  let isScarce = false
  let wasScarce = existsSync(file)
  let isNoted = wasScarce
  return {
    get isScarce() {
      return isScarce
    },
    get wasScarce() {
      return wasScarce
    },
    weigh(trackedBytes) {
      isScarce = trackedBytes > trackedBytesMax
      wasScarce ||= isScarce
      if (!isScarce || isNoted) return
      try {
        writeFileSync(file, '', { mode: 0o600 })
        isNoted = true
      } catch (error) {
        if (systemCodeOf(error) === undefined) throw error
        // A disk that is full must not end sealing, which makes room; the next call tries again.
      }
    },
  }
}

/** Called once what other processes left is sealed. */
export function forgetScarceMemory(spoolFolder: string, epoch: number): void {
  for (const name of readdirSync(spoolFolder))
    if (/^scarce-\d+$/.test(name) && name !== `scarce-${epoch}`) unlinkSync(path.join(spoolFolder, name))
}

/**
 * True when `found` and `made`, two statement indexes of the same records, can differ only for scarce memory: each text of the one is in the
 * other, or is the beginning of one, or says that it was left out. Where `made` itself lacks texts nothing can be told.
 */
export function isIndexOfScarceMemory(found: Buffer, made: Buffer): boolean {
  const texts = textsOf(made)
  if (texts === null || texts.some(({ sql }) => standIns.has(sql))) return texts !== null
  const known = new Set(texts.map(({ sql }) => sql))
  const isKnown = ({ sql, sqlTruncated }: IndexText): boolean =>
    known.has(sql) ||
    standIns.has(sql) ||
    (sqlTruncated === true && typeof sql === 'string' && texts.some((text) => String(text.sql).startsWith(sql)))
  return textsOf(found)?.every((text) => isKnown(text)) ?? false
}

type IndexText = { readonly sql?: unknown; readonly sqlTruncated?: unknown }

/** Null when a line is no JSON. */
function textsOf(index: Buffer): readonly IndexText[] | null {
  const lines = index.toString('utf8').split('\n').slice(0, -1)
  try {
    return lines.map((line) => Object(JSON.parse(line)) as IndexText)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return null
  }
}
