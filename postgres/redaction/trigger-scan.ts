/**
 * Finds in bytes, fast, whether a text can be credential-bearing at all: the anchors of `triggers.ts`, or a backslash that may spell one.
 *
 * Looks at every second pair of bytes only: of each anchor two neighbouring pairs are in the table, and one of them lies on an even step.
 * The pairs are the anchor's rarest, so that most texts hit none, and most of those that do have the wrong letter before it.
 * Anchors of settings, everyday words, count in a text that also has the letters of SET.
 * Says "yes" too often (ASCII case is folded by setting one bit), never too seldom.
 */
import { invariant } from '../../base/invariant.ts'
import { triggers } from './triggers.ts'

const fold = (code: number): number => code | 0x20

/** `offset` is where the pair lies in the anchor. */
type Candidate = { readonly bytes: Uint8Array; readonly offset: number; readonly needsSet: boolean }
/** For each pair of folded bytes its place, 0 for none. */
const places = new Uint16Array(1 << 16)
/** At `keyOf` of a pair's place and the byte before it: the anchors that may be there. */
const candidates: Candidate[][] = []
const lettersMax = 32
const keyOf = (place: number, before: number): number => place * lettersMax + (before & (lettersMax - 1))
/** Of all pairs that have a backslash, or what it is folded to. */
const backslashPlace = 1
const backslash = 0x5c
for (let code = 0; code < 256; code++) {
  places[(fold(backslash) << 8) | code] = backslashPlace
  places[(code << 8) | fold(backslash)] = backslashPlace
}
let lastPlace = backslashPlace

/** Letters by how often SQL and English have them, the most frequent first; what is not listed is rare. */
const frequent = ' etaoinsrldcumpfg_bhy,vw'
function rarity(character: string): number {
  const rank = frequent.indexOf(character)
  return rank < 0 ? frequent.length : rank
}

const otherAnchors = new Set(triggers.flatMap(({ anchors, needs }) => (needs === undefined ? anchors : [])))
for (const anchor of new Set(triggers.flatMap((trigger) => trigger.anchors))) {
  const needsSet = !otherAnchors.has(anchor)
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
    if (places[pair] === 0) {
      places[pair] = ++lastPlace
      for (let letter = 0; letter < lettersMax; letter++) candidates[keyOf(lastPlace, letter)] = []
    }
    invariant(places[pair] !== backslashPlace, 'no anchor has a backslash')
    const letters = offset === 0 ? Array.from({ length: lettersMax }, (_, letter) => letter) : [bytes[offset - 1]!]
    for (const letter of letters) candidates[keyOf(places[pair]!, letter)]!.push({ bytes, offset, needsSet })
  }
}

/** True when `bytes` from `start` to `end` need the expression's judgement. */
export function isSuspicious(bytes: Buffer, start: number, end: number): boolean {
  let hasSet: boolean | null = null
  for (let at = start + 1; at < end; at += 2) {
    const place = places[((bytes[at - 1]! | 0x20) << 8) | bytes[at]! | 0x20]!
    if (place === 0) continue
    if (place !== backslashPlace) {
      // Before the first pair lies what is no part of the text: an anchor that would reach there is not found.
      const found = anchorsAt(bytes, at - 1, start, end, candidates[keyOf(place, bytes[at - 2]!)]!)
      if (found === 'any' || (found === 'of a setting' && (hasSet ??= hasLettersOfSet(bytes, start, end)))) return true
    } else if (bytes[at - 1] === backslash || bytes[at] === backslash) return true
  }
  return end > start && bytes[end - 1] === backslash
}

function anchorsAt(
  bytes: Buffer,
  pairAt: number,
  from: number,
  to: number,
  possible: readonly Candidate[],
): 'none' | 'of a setting' | 'any' {
  let found: 'none' | 'of a setting' = 'none'
  for (const { bytes: anchor, offset, needsSet } of possible) {
    const start = pairAt - offset
    if (start < from || start + anchor.length > to) continue
    let length = 0
    while (length < anchor.length && (bytes[start + length]! | 0x20) === anchor[length]) length++
    if (length < anchor.length) continue
    if (!needsSet) return 'any'
    found = 'of a setting'
  }
  return found
}

function hasLettersOfSet(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start + 2; at < end; at++)
    if ((bytes[at]! | 0x20) === 0x74 && (bytes[at - 1]! | 0x20) === 0x65 && (bytes[at - 2]! | 0x20) === 0x73) return true
  return false
}
