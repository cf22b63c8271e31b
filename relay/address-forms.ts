/**
 * One address in all the forms that lead to it: what is written as IPv6 may be an IPv4 address for the network or for a gateway.
 *
 * IPv4-mapped addresses (RFC 4291, 2.5.5.2) are the IPv4 address; IPv4-compatible (2.5.5.1), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056),
 * ISATAP (RFC 5214) and Teredo (RFC 4380) carry one. A NAT64 prefix that a network made up for itself is not known here.
 */
import { isIP } from 'node:net'
import { addressOf, addressRangeOf, rangeHolds, type Address } from '../crds/address-range.ts'

/** `address` is what is connected to, in one spelling; `embedded` are the IPv4 addresses that it may lead to instead. */
export type AddressForms = { readonly text: string; readonly address: Address; readonly embedded: readonly Address[] }

const low32 = 0xffff_ffffn
const range = (text: string) => addressRangeOf(text)!
const nat64 = range('64:ff9b::/96')
const nat64Local = range('64:ff9b:1::/48')
const compatible = range('::/96')
const sixToFour = range('2002::/16')
const teredo = range('2001::/32')

/** Null for text that is no address, or one with a zone. */
export function addressFormsOf(text: string): AddressForms | null {
  const address = parsed(text)
  return address === null ? null : { text: textOf(address), address, embedded: embeddedIn(address) }
}

/** The canonical text (RFC 5952 without `::` for IPv6: the kernel and `net` take it, and equal addresses have equal texts). */
export function textOf({ bits, value }: Address): string {
  const [parts, width] = bits === 32 ? [4, 8n] : [8, 16n]
  const fields = Array.from({ length: parts }, (_, index) => Number((value >> (width * BigInt(parts - 1 - index))) & ((1n << width) - 1n)))
  return bits === 32 ? fields.join('.') : fields.map((field) => field.toString(16)).join(':')
}

function parsed(text: string): Address | null {
  const strict = addressOf(text)
  if (strict !== null) return strict
  if (text.includes('%') || isIP(text) !== 6) return null
  // What is left are IPv4-mapped addresses and those with dots at their end, both of which the strict form refuses.
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text)
  const tail = dotted === null ? null : addressOf(dotted[2]!)
  const groups = tail === null ? text : `${dotted![1]}${(tail.value >> 16n).toString(16)}:${(tail.value & 0xffffn).toString(16)}`
  const mapped = mappedValueOf(groups)
  return mapped === null ? addressOf(groups) : { bits: 32, value: mapped }
}

/** The IPv4 address in `::ffff:a:b`, in whichever spelling of groups; null for any other. */
function mappedValueOf(groups: string): bigint | null {
  const [front = '', back = ''] = groups.split('::')
  const [before, after] = [front, back].map((half) => (half === '' ? [] : half.split(':')))
  const zeros = Array.from({ length: 8 - before!.length - after!.length }, () => '0')
  const all = [...before!, ...zeros, ...after!].map((group) => Number.parseInt(group, 16))
  if (all.length !== 8 || all.slice(0, 5).some((group) => group !== 0) || all[5] !== 0xffff) return null
  return (BigInt(all[6]!) << 16n) | BigInt(all[7]!)
}

function embeddedIn(address: Address): Address[] {
  const { bits, value } = address
  if (bits === 32) return []
  const found: bigint[] = []
  if (rangeHolds(nat64, address) || rangeHolds(compatible, address)) found.push(value & low32)
  // How much of it a network takes as the prefix is its own choice (RFC 6052, 2.2); parts that are no prefix read as 0.0.0.0/8.
  if (rangeHolds(nat64Local, address)) {
    const readings = [...[48n, 56n, 64n].map((prefixBits) => aroundZeros(value, prefixBits)), value & low32]
    const sensible = readings.filter((reading) => reading >> 24n !== 0n)
    found.push(...(sensible.length === 0 ? readings : sensible))
  }
  if (rangeHolds(sixToFour, address)) found.push((value >> 80n) & low32)
  if (rangeHolds(teredo, address)) found.push((value >> 64n) & low32, (value & low32) ^ low32)
  const interfaceHigh = (value >> 32n) & low32
  if ((interfaceHigh & 0xfcff_ffffn) === 0x0000_5efen) found.push(value & low32)
  return found.map((embedded) => ({ bits: 32, value: embedded }))
}

/** The 32 bits behind the first `prefixBits`, leaving out bits 64 to 71, which RFC 6052 keeps at zero. */
function aroundZeros(value: bigint, prefixBits: bigint): bigint {
  const squeezed = ((value >> 64n) << 56n) | (value & ((1n << 56n) - 1n))
  return (squeezed >> (120n - prefixBits - 32n)) & low32
}
