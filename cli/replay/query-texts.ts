/**
 * The texts of a session's simple queries, for as long as their statements may still end: an error's position counts in the whole
 * text, of which a statement may be a part.
 *
 * Holds the last few, up to `charactersMax` each.
 */
import { createFrameAssembler } from '../../postgres/frame-assembler.ts'
import { decodeText, textEncodingOf } from '../../postgres/messages/text-encoding.ts'
import type { StatementSummary } from '../../postgres/statement.ts'

const textsMax = 16
const charactersMax = 1024 * 1024
const sqlComparedCharacters = 1_000

const onlyQueries = new Uint8Array(256).fill(1)
onlyQueries['Q'.charCodeAt(0)] = 0

export function createQueryTexts(clientEncoding: () => string) {
  let texts: { readonly place: number; readonly text: string }[] = []
  let began = 0
  let now = 0
  const frames = createFrameAssembler(
    'frontend',
    {
      onFrame(_type, bytes, start, end) {
        const text = decodeText(textEncodingOf(clientEncoding()), bytes, start, Math.max(start, end - 1))
        texts = [...texts, { place: began, text }].slice(-textsMax)
        began = now
      },
      onSize() {
        began = now
      },
    },
    { sizeOnly: onlyQueries, heldBytesMax: charactersMax },
  )
  return {
    /** @throws BadFrame */
    push(bytes: Buffer, ordinal: number): void {
      now = ordinal
      if (!frames.midFrame) began = ordinal
      frames.push(bytes)
    },
    reset: (): void => frames.reset(),
    /** The text in which this statement's positions count, or null. */
    of({ kind, sql, place }: StatementSummary): string | null {
      if (kind !== 'query') return sql
      const head = sql.slice(0, sqlComparedCharacters)
      return texts.find((candidate) => candidate.place === place.first && candidate.text.includes(head))?.text ?? null
    },
  }
}
