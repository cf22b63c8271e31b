/**
 * What of the address space the preset `internet-https` means, and what of it stays closed (IANA special-purpose address registries).
 *
 * IPv6 begins at what is routed globally, 2000::/3, so loopback, unique local, link-local and multicast addresses and the metadata services
 * within them lie outside. Addresses that carry an IPv4 address (6to4, Teredo) are closed, for they may lead to any of those that are.
 */
import { addressOf, addressRangeOf, rangeHolds, type AddressRange } from '../../../crds/address-range.ts'

export type AddressBlock = { readonly cidr: string; readonly except: readonly string[] }

const publicBlocks: readonly AddressBlock[] = [
  {
    cidr: '0.0.0.0/0',
    except: [
      '0.0.0.0/8',
      '10.0.0.0/8',
      '100.64.0.0/10',
      '127.0.0.0/8',
      // Link-local, and the metadata services of most clouds.
      '169.254.0.0/16',
      '172.16.0.0/12',
      '192.0.0.0/24',
      '192.168.0.0/16',
      '198.18.0.0/15',
      // The metadata service of Oracle's older and of Alibaba's cloud lie in ranges above; Azure's wire server does not.
      '168.63.129.16/32',
      // Multicast, and all behind it.
      '224.0.0.0/4',
      '240.0.0.0/4',
    ],
  },
  { cidr: '2000::/3', except: ['2001::/32', '2002::/16'] },
]

/** The blocks with these addresses and ranges left out; what is out already is not said twice. */
export function publicBlocksWithout(closed: readonly string[]): AddressBlock[] {
  return publicBlocks.map(({ cidr, except }) => {
    const block = addressRangeOf(cidr)
    const ranges = except.flatMap((text) => addressRangeOf(text) ?? [])
    const more = [...new Set(closed)].sort().flatMap((text) => {
      const range = rangeOf(text)
      const isMeant = range !== null && block !== null && isWithin(range, block) && !ranges.some((other) => isWithin(range, other))
      return isMeant ? [text.includes('/') ? text : `${text}/${range.bits}`] : []
    })
    return { cidr, except: [...except, ...more] }
  })
}

/** Of an address, the range of it alone; null for what is neither. */
export function rangeOf(text: string): AddressRange | null {
  const address = addressOf(text)
  return address === null ? addressRangeOf(text) : { ...address, prefixBits: address.bits }
}

function isWithin(inner: AddressRange, outer: AddressRange): boolean {
  return inner.prefixBits >= outer.prefixBits && rangeHolds(outer, inner)
}
