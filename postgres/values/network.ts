/** Network addresses: inet, cidr, macaddr, macaddr8. */
import type { Decoder } from './decoder.ts'
import { malformed } from './reader.ts'

/** PostgreSQL's own numbers, the same on every platform (`PGSQL_AF_INET`, `PGSQL_AF_INET6`). */
const families = { version4: 2, version6: 3 }

function readAddress(alwaysMask: boolean): Decoder {
  return (reader) => {
    const family = reader.uint8()
    const maskBits = reader.uint8()
    reader.uint8() // Says cidr or inet, which the type says too.
    const bytes = reader.bytes(reader.uint8())
    const wanted = family === families.version4 ? 4 : family === families.version6 ? 16 : malformed('an address of unknown family')
    if (bytes.length !== wanted || maskBits > wanted * 8) malformed('an address of the wrong length')
    const address = wanted === 4 ? bytes.join('.') : version6(bytes)
    return alwaysMask || maskBits < wanted * 8 ? `${address}/${maskBits}` : address
  }
}

export const inetText = readAddress(false)
export const cidrText = readAddress(true)

/** The longest run of two or more zero groups becomes `::`; addresses that embed an IPv4 one end in it. */
function version6(bytes: Buffer): string {
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2))
  let best = { start: -1, length: 1 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && words[start + length] === 0) length++
    if (length > best.length) best = { start, length }
  }
  const embeds = best.start === 0 && (best.length === 6 || (best.length === 5 && words[5] === 0xffff))
  const groups = embeds ? 6 : 8
  let shown = ''
  for (let index = 0; index < groups;) {
    if (index === best.start) {
      shown += '::'
      index += best.length
      continue
    }
    if (shown !== '' && !shown.endsWith('::')) shown += ':'
    shown += words[index]!.toString(16)
    index++
  }
  if (!embeds) return shown
  return `${shown}${shown.endsWith('::') ? '' : ':'}${bytes.subarray(12).join('.')}`
}

function macAddress(length: number): Decoder {
  return (reader) =>
    reader
      .bytes(length)
      .toString('hex')
      .replace(/..(?!$)/g, '$&:')
}

export const macaddrText = macAddress(6)
export const macaddr8Text = macAddress(8)
