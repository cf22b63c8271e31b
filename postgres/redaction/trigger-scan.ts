/**
 * Finds in bytes, fast, whether a text can be credential-bearing at all: the anchors of `triggers.ts`, or a backslash that may spell one.
 *
 * Looks at every second pair of bytes only: of each anchor two neighbouring pairs are in the table, and one of them lies on an even step.
 * The pairs are the anchor's rarest, so that most texts hit none. Says "yes" too often (ASCII case is folded by setting one bit), never too seldom.
 */
import { triggers } from './triggers.ts'

const fold = (code: number): number => code | 0x20

/** `offset` is where the pair lies in the anchor. */
type Candidate = { readonly bytes: Uint8Array; readonly offset: number }
const candidates: Candidate[][] = [[]]
/** For each pair of folded bytes its place in `candidates`, 0 for none. */
const places = new Uint16Array(1 << 16)

/** Letters by how often SQL and English have them, the most frequent first; what is not listed is rare. */
const frequent = ' etaoinsrldcumpfg_bhy,vw'
function rarity(character: string): number {
  const rank = frequent.indexOf(character)
  return rank < 0 ? frequent.length : rank
}

for (const anchor of new Set(triggers.flatMap((trigger) => trigger.anchors))) {
  const bytes = Uint8Array.from(anchor, (character) => fold(character.charCodeAt(0)))
  // Three bytes are two neighbouring pairs. A pair is as rare as both of its letters together.
  const score = (at: number): number => {
    const [first, second, third] = [rarity(anchor[at]!), rarity(anchor[at + 1]!), rarity(anchor[at + 2]!)]
    return Math.min(first + second, second + third)
  }
  let best = 0
  for (let at = 1; at + 2 < anchor.length; at++) if (score(at) > score(best)) best = at
  for (const offset of [best, best + 1]) {
    const pair = (bytes[offset]! << 8) | bytes[offset + 1]!
    if (places[pair] === 0) places[pair] = candidates.push([]) - 1
    candidates[places[pair]!]!.push({ bytes, offset })
  }
}

/** True when `bytes` from `start` to `end` need the expression's judgement. */
export function isSuspicious(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start + 1; at < end; at += 2) {
    const place = places[((bytes[at - 1]! | 0x20) << 8) | bytes[at]! | 0x20]!
    if (place !== 0 && hasAnchor(bytes, at - 1, start, end, candidates[place]!)) return true
  }
  const backslash = bytes.indexOf(0x5c, start)
  return backslash >= 0 && backslash < end
}

function hasAnchor(bytes: Buffer, pairAt: number, from: number, to: number, possible: readonly Candidate[]): boolean {
  for (const { bytes: anchor, offset } of possible) {
    const start = pairAt - offset
    if (start < from || start + anchor.length > to) continue
    let length = 0
    while (length < anchor.length && (bytes[start + length]! | 0x20) === anchor[length]) length++
    if (length === anchor.length) return true
  }
  return false
}
