/**
 * Values of values: arrays, int2vector and oidvector, ranges, multiranges, records.
 *
 * Counts that the bytes cannot hold are malformed, so a claim of many elements costs nothing.
 */
import type { Context, Decoder } from './decoder.ts'
import { createReader, malformed, type Reader } from './reader.ts'

const dimensionsMax = 6
const boxOid = 603

type ArrayHead = { readonly elementOid: number; readonly dimensions: readonly { readonly length: number; readonly lowerBound: number }[] }

function readArrayHead(reader: Reader): ArrayHead {
  const count = reader.int32()
  const flags = reader.int32()
  if (count < 0 || count > dimensionsMax || flags < 0 || flags > 1) malformed('an array has an impossible head')
  const elementOid = reader.uint32()
  const dimensions = []
  let elements = 1
  for (let index = 0; index < count; index++) {
    const length = reader.int32()
    const lowerBound = reader.int32()
    elements *= length
    // Each element has at least its own length's four bytes.
    if (length < 0 || elements * 4 > reader.left) malformed('an array has more elements than bytes')
    dimensions.push({ length, lowerBound })
  }
  return { elementOid, dimensions }
}

export const arrayText: Decoder = (reader, context) => {
  const { elementOid, dimensions } = readArrayHead(reader)
  if (dimensions.length === 0 || dimensions.some(({ length }) => length === 0)) return '{}'
  const delimiter = elementOid === boxOid ? ';' : ','
  const mustQuote = (text: string): boolean => text.includes(delimiter) || /^$|["{}\\ \t\n\r\v\f]|^null$/i.test(text)
  const element = (): string => {
    const bytes = reader.counted()
    if (bytes === null) return 'NULL'
    const text = context.inner(elementOid, bytes)
    return mustQuote(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : text
  }
  const level = (depth: number): string => {
    const shown: string[] = []
    for (let index = 0; index < dimensions[depth]!.length; index++) {
      shown.push(depth === dimensions.length - 1 ? element() : level(depth + 1))
    }
    return `{${shown.join(delimiter)}}`
  }
  const bounds = dimensions.some(({ lowerBound }) => lowerBound !== 1)
    ? `${dimensions.map(({ length, lowerBound }) => `[${lowerBound}:${lowerBound + length - 1}]`).join('')}=`
    : ''
  return bounds + level(0)
}

/** int2vector and oidvector: sent as arrays, printed with spaces alone. */
export const vectorText: Decoder = (reader, context) => {
  const { elementOid, dimensions } = readArrayHead(reader)
  if (dimensions.length > 1) malformed('a vector has one dimension')
  const shown: string[] = []
  for (let left = dimensions[0]?.length ?? 0; left > 0; left--) {
    shown.push(context.inner(elementOid, reader.counted() ?? malformed('a vector holds no NULL')))
  }
  return shown.join(' ')
}

const rangeFlag = { empty: 0x01, lowerInclusive: 0x02, upperInclusive: 0x04, lowerInfinite: 0x08, upperInfinite: 0x10 }

export function rangeText(subtypeOid: number): Decoder {
  return (reader, context) => {
    const flags = reader.uint8()
    if ((flags & rangeFlag.empty) !== 0) return 'empty'
    const bound = (infinite: number): string => {
      if ((flags & infinite) !== 0) return ''
      const text = context.inner(subtypeOid, reader.counted() ?? malformed('a bound is NULL'))
      return /^$|["\\()[\], \t\n\r\v\f]/.test(text) ? `"${text.replace(/["\\]/g, '$&$&')}"` : text
    }
    const lower = bound(rangeFlag.lowerInfinite)
    const upper = bound(rangeFlag.upperInfinite)
    return `${flags & rangeFlag.lowerInclusive ? '[' : '('}${lower},${upper}${flags & rangeFlag.upperInclusive ? ']' : ')'}`
  }
}

export function multirangeText(subtypeOid: number): Decoder {
  const range = rangeText(subtypeOid)
  return (reader, context) => {
    const count = reader.int32()
    if (count < 0 || count * 5 > reader.left) malformed('a multirange has more ranges than bytes')
    const ranges: string[] = []
    for (let left = count; left > 0; left--) {
      ranges.push(whole(range, reader.counted() ?? malformed('a range is NULL'), context))
    }
    return `{${ranges.join(',')}}`
  }
}

/** A composite or anonymous record: each field brings its own type. */
export const recordText: Decoder = (reader, context) => {
  const count = reader.int32()
  if (count < 0 || count * 8 > reader.left) malformed('a record has more fields than bytes')
  const fields: string[] = []
  for (let left = count; left > 0; left--) {
    const typeOid = reader.uint32()
    const bytes = reader.counted()
    if (bytes === null) {
      fields.push('')
      continue
    }
    const text = context.inner(typeOid, bytes)
    fields.push(/^$|["\\(), \t\n\r\v\f]/.test(text) ? `"${text.replace(/["\\]/g, '$&$&')}"` : text)
  }
  return `(${fields.join(',')})`
}

/** What `decoder` makes of exactly these bytes. @throws MalformedValue also when some are left over */
export function whole(decoder: Decoder, bytes: Buffer, context: Context): string {
  const reader = createReader(bytes)
  const text = decoder(reader, context)
  if (reader.left > 0) malformed('the value is longer than its type')
  return text
}
