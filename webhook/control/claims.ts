/**
 * What a document says of itself, told from its bytes without building what it describes.
 *
 * JSON of 64 MiB can be made to need gigabytes as objects, and control has a few hundred MiB for everybody. So the text is walked first:
 * how deep it nests, how many values it has, and the texts of the outermost object. No memory but those. Does not prove that it is JSON.
 */
import { BadDocument } from '../../session/shape.ts'

export type Outline = {
  /** Objects and lists within each other; 1 for an object of texts and numbers. */
  readonly depth: number
  /** Values and members, by their commas and brackets. */
  readonly values: number
  /** The members of the outermost object whose values are texts. */
  readonly texts: ReadonlyMap<string, string>
}

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c]
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d]
const textBytesMax = 1024

/** @throws BadDocument for an outermost object that names a member twice or with escapes, which may be read in two ways */
export function outlineOf(json: Buffer, where: string): Outline {
  const texts = new Map<string, string>()
  const named = new Set<string>()
  let depth = 0
  let deepest = 0
  let values = 0
  let name: string | null = null
  for (let at = 0; at < json.length; at++) {
    switch (json[at]) {
      case quote: {
        const end = endOfText(json, at)
        if (depth === 1) {
          const isText = end - at <= textBytesMax
          const text = isText ? json.toString('utf8', at + 1, end) : ''
          if (name !== null) {
            if (isText && !text.includes('\\')) texts.set(name, text)
          } else {
            if (!isText || text.includes('\\') || named.has(text)) throw new BadDocument(`${where} has a member whose name is ambiguous`)
            named.add(text)
            name = text
          }
        }
        at = end
        break
      }
      case openBrace:
      case openBracket:
        deepest = Math.max(deepest, ++depth)
        values++
        break
      case closeBrace:
      case closeBracket:
        depth--
        break
      case comma:
        values++
        if (depth === 1) name = null
        break
      default:
    }
  }
  return { depth: deepest, values, texts }
}

/** Where the text that begins at `start` has its closing quote; the end for one that has none. */
function endOfText(json: Buffer, start: number): number {
  for (let end = json.indexOf(quote, start + 1); end >= 0; end = json.indexOf(quote, end + 1)) {
    let escapes = 0
    while (json[end - 1 - escapes] === backslash) escapes++
    if (escapes % 2 === 0) return end
  }
  return json.length
}

const depthMax = 32
const valuesFree = 4_096
/** A manifest has one in about 30 bytes, a heartbeat in the ledger one in 13. */
const bytesPerValueMin = 10

/** @throws BadDocument for what nests or crowds as nothing of steno's does */
export function checkOutline({ depth, values }: Outline, bytes: number, where: string): void {
  if (depth > depthMax) throw new BadDocument(`${where} nests ${depth} deep`)
  if (values > valuesFree + bytes / bytesPerValueMin) throw new BadDocument(`${where} has ${values} values in ${bytes} bytes`)
}
