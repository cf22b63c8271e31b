/**
 * IP addresses and ranges of them, as numbers: RFC 4632 and RFC 4291 text forms.
 *
 * Strict, so that one address has one family and few spellings: no zones, no leading zeros, no dots in IPv6, no IPv4 mapped into it.
 * `cel.ts` says the same to the API server.
 * Opens no socket and imports none: `node:net` is kept out of this folder.
 */
/** `bits` is 32 or 128; `value` has that many bits. */
export type Address = { readonly bits: 32 | 128; readonly value: bigint }
/** The addresses whose first `prefixBits` are those of `value`. */
export type AddressRange = Address & { readonly prefixBits: number }

/** The address that `text` writes, or null when it writes none. */
export function addressOf(text: string): Address | null {
  return text.includes(':') ? sixOf(text) : fourOf(text)
}

/** The range that `text` writes as `address/length`, or null. Bits behind the prefix are dropped. */
export function addressRangeOf(text: string): AddressRange | null {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text)
  const address = addressOf(match?.[1] ?? '')
  const prefixBits = Number(match?.[2])
  if (address === null || match === null || prefixBits > address.bits) return null
  const dropped = BigInt(address.bits - prefixBits)
  return { bits: address.bits, value: (address.value >> dropped) << dropped, prefixBits }
}

/** True when the address lies in the range. Families never mix. */
export function rangeHolds(range: AddressRange, address: Address): boolean {
  if (range.bits !== address.bits) return false
  const dropped = BigInt(range.bits - range.prefixBits)
  return range.value >> dropped === address.value >> dropped
}

function fourOf(text: string): Address | null {
  if (!/^(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}$/.test(text)) return null
  const parts = text.split('.').map(Number)
  if (parts.some((part) => part > 255)) return null
  return { bits: 32, value: parts.reduce((value, part) => (value << 8n) | BigInt(part), 0n) }
}

function sixOf(text: string): Address | null {
  if (text.length > 45) return null
  const halves = text.split('::')
  if (halves.length > 2) return null
  const [front = [], back = []] = halves.map((half) => (half === '' ? [] : half.split(':')))
  const given = front.length + back.length
  // `::` stands for one group at least.
  if (halves.length === 2 ? given > 7 : given !== 8) return null
  const all = [...front, ...Array.from({ length: 8 - given }, () => '0'), ...back]
  if (!all.every((group) => /^[0-9A-Fa-f]{1,4}$/.test(group))) return null
  const value = all.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n)
  return value >> 32n === 0xffffn ? null : { bits: 128, value }
}
