/**
 * Kubernetes quantities: `512Mi`, `100m`, `1.5G`, `2e3`.
 *
 * Exact: a value is a whole number of thousandths of a thousandth of a thousandth (nano), as resource.Quantity keeps it, so comparisons
 * never round. Source: k8s.io/apimachinery/pkg/api/resource. Knows nothing of which resource a quantity is for.
 */
const pattern = /^([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$/

const decimalExponents: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 }
const binaryShifts: Readonly<Record<string, bigint>> = { Ki: 10n, Mi: 20n, Gi: 30n, Ti: 40n, Pi: 50n, Ei: 60n }

const nanoDigits = 9
/** Longer than any quantity that Kubernetes itself would print. */
const charactersMax = 32

/** The value in billionths, or null when it is no quantity. What is finer than a billionth is rounded up, as Kubernetes does. */
function nanosOf(quantity: string): bigint | null {
  if (quantity.length > charactersMax) return null
  const match = pattern.exec(quantity)
  if (match === null) return null
  const [, sign = '', number = '', unit = ''] = match
  const [whole = '', fraction = ''] = number.split('.')
  const shift = binaryShifts[unit] ?? 0n
  const exponent = /^[eE][+-]?[0-9]/.test(unit) ? Number(unit.slice(1)) : (decimalExponents[unit] ?? 0)
  let nanos = BigInt(whole + fraction) << shift
  const places = nanoDigits + exponent - fraction.length
  if (places >= 0) nanos *= 10n ** BigInt(places)
  else {
    const divisor = 10n ** BigInt(-places)
    nanos = (nanos + divisor - 1n) / divisor
  }
  return sign === '-' ? -nanos : nanos
}

/** True for a quantity that is not negative. */
export function isQuantity(quantity: string): boolean {
  const nanos = nanosOf(quantity)
  return nanos !== null && nanos >= 0n
}

/** The quantity as a whole number of bytes, rounded up; null when it is none, is negative, or exceeds what a number holds exactly. */
export function bytesOf(quantity: string): number | null {
  const nanos = nanosOf(quantity)
  if (nanos === null || nanos < 0n) return null
  const bytes = (nanos + 999_999_999n) / 1_000_000_000n
  return bytes > BigInt(Number.MAX_SAFE_INTEGER) ? null : Number(bytes)
}

/** Below zero when `a` is less than `b`, zero when they are equal, above when more; null when one is no quantity. */
export function compareQuantities(a: string, b: string): number | null {
  const left = nanosOf(a)
  const right = nanosOf(b)
  if (left === null || right === null) return null
  return left < right ? -1 : left > right ? 1 : 0
}

/** `bytes` as a quantity in the largest binary unit that divides it. */
export function quantityOfBytes(bytes: number): string {
  const units = ['Ti', 'Gi', 'Mi', 'Ki']
  for (const unit of units) {
    const size = 2 ** Number(binaryShifts[unit] ?? 0n)
    if (bytes !== 0 && bytes % size === 0) return `${bytes / size}${unit}`
  }
  return String(bytes)
}
