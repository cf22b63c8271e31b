/**
 * Kubernetes quantities (`512Mi`, `0.5`, `1e3`) in the spelling that the API server stores them in.
 *
 * An injection is compared with a live pod by content, and the server rewrites `0.5` as `500m` and `1024Mi` as `1Gi`
 * (k8s.io/apimachinery, resource.Quantity.CanonicalizeBytes), and rounds resources up to thousandths (core/v1, SetDefaults_ResourceList).
 * Exact for every quantity that has no more than nine decimals and no plus sign. Comparisons are in `crds/quantity.ts`.
 */

const binarySuffixes = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'] as const
const decimalSuffixes = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'] as const
const nanosPerUnit = 1_000_000_000n
const nanosPerThousandth = 1_000_000n
const pattern = /^([+-]?)([0-9]{1,30})?(?:\.([0-9]{0,9}))?(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]{1,2})?$/

type Quantity = { readonly nanos: bigint; readonly form: 'binary' | 'decimal' | 'exponent' }

/** The stored spelling, or the text itself when it is no quantity that this can read: the API server will say what is wrong with it. */
export function canonicalQuantity(text: string): string {
  const quantity = parseQuantity(text)
  if (quantity === null) return text
  const { form } = quantity
  const rest = quantity.nanos % nanosPerThousandth
  const nanos = rest > 0n ? quantity.nanos - rest + nanosPerThousandth : quantity.nanos
  const units = nanos / nanosPerUnit
  const isSmall = units > -1024n && units < 1024n
  // What is no multiple of 1024 is stored without a suffix and then read as decimal: `62.5Ki` comes back as `64k`.
  if (form === 'binary' && !isSmall && nanos % (nanosPerUnit * 1024n) === 0n) {
    let index = 0
    let value = units
    while (value % 1024n === 0n && index < binarySuffixes.length - 1) {
      value /= 1024n
      index++
    }
    return `${value}${binarySuffixes[index]}`
  }
  if (nanos === 0n) return '0'
  let index = 0
  let value = nanos
  while (value % 1000n === 0n && index < decimalSuffixes.length - 1) {
    value /= 1000n
    index++
  }
  if (form === 'exponent') return index === 3 ? String(value) : `${value}e${(index - 3) * 3}`
  return `${value}${decimalSuffixes[index]}`
}

function parseQuantity(text: string): Quantity | null {
  const match = pattern.exec(text)
  if (match === null) return null
  const [, sign, whole = '', fraction = '', suffix = ''] = match
  if (whole === '' && fraction === '') return null
  let nanos = BigInt(whole === '' ? '0' : whole) * nanosPerUnit + BigInt(fraction.padEnd(9, '0'))
  if (sign === '-') nanos = -nanos
  const binary = binarySuffixes.indexOf(suffix as (typeof binarySuffixes)[number])
  if (binary > 0) return { nanos: nanos * 1024n ** BigInt(binary), form: 'binary' }
  const decimal = decimalSuffixes.indexOf(suffix as (typeof decimalSuffixes)[number])
  const exponent = decimal === -1 ? Number(suffix.slice(1)) : (decimal - 3) * 3
  const form = decimal === -1 ? 'exponent' : 'decimal'
  if (exponent >= 0) return { nanos: nanos * 10n ** BigInt(exponent), form }
  const divisor = 10n ** BigInt(-exponent)
  // Below a nano the API server rounds up, away from zero; nobody asks for a CPU that small.
  return nanos % divisor === 0n ? { nanos: nanos / divisor, form } : null
}
