/**
 * Addresses that no tunnel leads to, whatever a policy names: the machine itself, its link, metadata services, everybody at once, and what the
 * cluster says are its nodes, its API server and steno's own.
 *
 * Judges every form of an address (`address-forms.ts`). Knows nothing of names.
 */
import { addressOf, addressRangeOf, rangeHolds, type Address } from '../crds/address-range.ts'
import { addressFormsOf, textOf, type AddressForms } from './address-forms.ts'

/** What each range is, for the message. IANA's special-purpose registries, and what clouds document of their metadata services. */
const ranges: readonly (readonly [range: string, what: string])[] = [
  ['0.0.0.0/8', 'an unspecified address'],
  ['127.0.0.0/8', 'a loopback address'],
  ['169.254.0.0/16', 'a link-local address'],
  ['192.0.0.0/24', 'an address of the network’s own protocols'],
  ['224.0.0.0/4', 'a multicast address'],
  ['240.0.0.0/4', 'a reserved or broadcast address'],
  ['100.100.100.200/32', 'a metadata service'], // Alibaba Cloud; within the range of carrier-grade NAT.
  ['168.63.129.16/32', 'a metadata service'], // Azure.
  ['::/128', 'an unspecified address'],
  ['::1/128', 'a loopback address'],
  ['fe80::/10', 'a link-local address'],
  ['fec0::/10', 'a site-local address'],
  ['ff00::/8', 'a multicast address'],
  ['fd00:ec2::/32', 'a metadata service'], // Amazon EC2: fd00:ec2::254, and what else it keeps there.
  ['fd20:ce::254/128', 'a metadata service'], // Google Cloud.
  ['fd00:c1::a9fe:a9fe/128', 'a metadata service'], // Oracle Cloud.
  ['2001::/32', 'a Teredo address'],
]

const forbiddenRanges = ranges.map(([text, what]) => ({ range: addressRangeOf(text)!, what }))

/** What of the cluster is forbidden, by canonical text (`textOf`), and what it is. */
export type ClusterAddresses = { what(text: string): string | null }

/** What the address is, in words, when it is forbidden in any of its forms; else null. */
export type WhatForbids = (forms: AddressForms) => string | null

/** The rule itself. */
export function whatForbids(forms: AddressForms, cluster: ClusterAddresses): string | null {
  for (const address of [forms.address, ...forms.embedded]) {
    const found = rangeOf(address) ?? cluster.what(textOf(address))
    if (found !== null) return found
  }
  return null
}

function rangeOf(address: Address): string | null {
  // `::/96` holds `::` and `::1`, whose embedded forms are of 0.0.0.0/8; they are named for what they are first.
  return forbiddenRanges.find(({ range }) => rangeHolds(range, address))?.what ?? null
}

/** Canonical texts of what the cluster calls an address; what is none is left out. */
export function canonicalTexts(texts: readonly (string | undefined)[]): string[] {
  return texts.flatMap((text) => addressFormsOf(text ?? '')?.text ?? [])
}

/** The first two addresses of a range: where most networks put the node's own address among its pods. */
export function firstAddressesOf(range: string): string[] {
  const found = addressRangeOf(range)
  if (found === null || addressOf(range.split('/')[0]!) === null || found.prefixBits >= found.bits - 1) return []
  return [textOf(found), textOf({ bits: found.bits, value: found.value + 1n })]
}
