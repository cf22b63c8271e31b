/**
 * Numbers: bool, integers, floats, numeric and money.
 *
 * Floats print as PostgreSQL 12 and later do: the shortest digits that read back as the same value, where a decimal that lies
 * exactly between two floats does not count (JavaScript would accept it). money prints as under lc_monetary C or en_US, with two
 * decimals; the server does not say which locale it used.
 */
import type { Decoder } from './decoder.ts'
import { malformed } from './reader.ts'

export const boolText: Decoder = (reader) => (reader.uint8() !== 0 ? 't' : 'f')
export const int2Text: Decoder = (reader) => String(reader.int16())
export const int4Text: Decoder = (reader) => String(reader.int32())
export const int8Text: Decoder = (reader) => String(reader.int64())
export const uint4Text: Decoder = (reader) => String(reader.uint32())
export const uint8Text: Decoder = (reader) => String(reader.uint64())
export const float4Text: Decoder = (reader, { settings }) => float4(reader.float4(), settings.extraFloatDigits)
export const float8Text: Decoder = (reader, { settings }) => float8(reader.float8(), settings.extraFloatDigits)

/** `extraFloatDigits` as the setting of that name: above 0 (the default is 1) means shortest-precise. */
export function float8(value: number, extraFloatDigits = 1): string {
  return (
    notFinite(value) ??
    (extraFloatDigits > 0 ? scientific(shortest8(value), value, 15) : fixedDigits(value, Math.max(1, 15 + extraFloatDigits)))
  )
}

function float4(value: number, extraFloatDigits = 1): string {
  return (
    notFinite(value) ??
    (extraFloatDigits > 0 ? scientific(shortest4(value), value, 6) : fixedDigits(value, Math.max(1, 6 + extraFloatDigits)))
  )
}

function notFinite(value: number): string | null {
  if (Number.isNaN(value)) return 'NaN'
  if (value === Infinity) return 'Infinity'
  if (value === -Infinity) return '-Infinity'
  if (value === 0) return Object.is(value, -0) ? '-0' : '0'
  return null
}

/** `exponential` is JavaScript's `d.ddde±x`; the exponent form is used below 10^-4 and from 10^`from` on. */
function scientific(exponential: string, value: number, from: number): string {
  const [mantissa = '', exponentText = '0'] = exponential.split('e')
  const exponent = Number(exponentText)
  if (exponent < -4 || exponent >= from) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
  }
  const digits = mantissa.replace(/[-.]/g, '')
  const sign = value < 0 ? '-' : ''
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`
  if (digits.length <= exponent + 1) return sign + digits.padEnd(exponent + 1, '0')
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`
}

/** C's `%.*g`. */
function fixedDigits(value: number, digits: number): string {
  return scientific(trimmed(nearestDecimal(value, digits)), value, digits)
}

/** The nearest decimal of so many digits, as `d.ddde±x`; of two equally near ones the even one, where JavaScript takes the larger. */
function nearestDecimal(value: number, digits: number): string {
  const rounded = value.toExponential(digits - 1)
  const longer = value.toExponential(Math.min(100, digits + 60))
  const cut = digits === 1 ? longer.indexOf('.') : longer.indexOf('.') + digits
  const half = /^\.?50*e/.test(longer.slice(cut))
  return half && /[02468]$/.test(longer.slice(0, cut)) ? longer.slice(0, cut) + longer.slice(longer.indexOf('e')) : rounded
}

/** A decimal of at most 17 digits can only be exactly between two doubles in this range, above which 5^k outgrows 54 bits. */
const midpointsFrom = 2 ** 53
const midpointsTo = 1e41

function shortest8(value: number): string {
  const exponential = value.toExponential()
  const magnitude = Math.abs(value)
  if (magnitude < midpointsFrom || magnitude > midpointsTo || !isMidpoint(exponential, value)) return exponential
  for (let digits = exponential.replace(/e.*|[-.]/g, '').length; digits < 17; digits++) {
    const candidate = value.toExponential(digits - 1)
    if (Number(candidate) === value && !isMidpoint(candidate, value)) return candidate
  }
  return value.toExponential(16)
}

/** True when the decimal is as far from the double above or below `value` as from `value`. */
function isMidpoint(exponential: string, value: number): boolean {
  const decimal = integerOf(exponential)
  const exact = BigInt(value)
  return (
    decimal !== exact && (decimal * 2n === exact + BigInt(neighbour(value, 1n)) || decimal * 2n === exact + BigInt(neighbour(value, -1n)))
  )
}

function neighbour(value: number, step: bigint): number {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  bytes.writeBigUInt64BE(bytes.readBigUInt64BE() + step)
  return bytes.readDoubleBE()
}

/** The exact integer that `d.ddde+x` names; every value in the range above is one. */
function integerOf(exponential: string): bigint {
  const [mantissa = '', exponent = '0'] = exponential.split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  const power = Number(exponent) - fraction.length
  const digits = BigInt(whole + fraction)
  return power >= 0 ? digits * 10n ** BigInt(power) : digits / 10n ** BigInt(-power)
}

function shortest4(value: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatBE(Math.abs(value))
  const bits = bytes.readUInt32BE()
  const exact = bytes.readFloatBE()
  bytes.writeUInt32BE(bits - 1)
  const low = (bytes.readFloatBE() + exact) / 2
  bytes.writeUInt32BE(bits + 1)
  // Beyond the largest float the next step would be 2^128, which a float cannot hold.
  const above = bytes.readFloatBE()
  const high = ((above === Infinity ? 2 ** 128 : above) + exact) / 2
  for (let digits = 1; digits < 9; digits++) {
    const nearest = nearestDecimal(exact, digits)
    // Below a power of two the floats lie closer, so the nearest decimal may be out of reach when the next one above is not.
    for (const candidate of [nearest, stepUp(nearest)]) {
      if (Number(candidate) > low && Number(candidate) < high) return (value < 0 ? '-' : '') + trimmed(candidate)
    }
  }
  return trimmed(nearestDecimal(value, 9))
}

/** One more in the last digit of `d.ddde±x`. */
function stepUp(exponential: string): string {
  const [mantissa = '', exponent = '0'] = exponential.split('e')
  const decimals = mantissa.length > 1 ? mantissa.length - 2 : 0
  return Number(`${Number(mantissa.replace('.', '')) + 1}e${Number(exponent) - decimals}`).toExponential(decimals)
}

/** Without the zeros at the end of the mantissa. */
function trimmed(exponential: string): string {
  return exponential.includes('.') ? exponential.replace(/\.?0+e/, 'e') : exponential
}

const numericSigns = { positive: 0x0000, negative: 0x4000, notANumber: 0xc000, infinity: 0xd000, minusInfinity: 0xf000 }
const numericScaleMax = 0x3fff

/** Groups of four decimal digits; `weight` is the first group's power of 10,000 and `scale` the digits shown behind the point. */
export const numericText: Decoder = (reader) => {
  const groups = reader.uint16()
  const weight = reader.int16()
  const sign = reader.uint16()
  const scale = reader.uint16()
  if (scale > numericScaleMax) malformed('a numeric has an impossible scale')
  const digits: string[] = []
  for (let group = 0; group < groups; group++) {
    const value = reader.uint16()
    if (value > 9999) malformed('a numeric has an impossible digit')
    digits.push(String(value).padStart(4, '0'))
  }
  if (sign === numericSigns.notANumber) return 'NaN'
  if (sign === numericSigns.infinity) return 'Infinity'
  if (sign === numericSigns.minusInfinity) return '-Infinity'
  if (sign !== numericSigns.positive && sign !== numericSigns.negative) malformed('a numeric has an impossible sign')
  const group = (power: number): string => digits[weight - power] ?? '0000'
  let whole = ''
  for (let power = weight; power >= 0; power--) whole += group(power)
  let fraction = ''
  for (let power = -1; fraction.length < scale; power--) fraction += group(power)
  const shown = `${whole.replace(/^0+(?=\d)/, '') || '0'}${scale > 0 ? `.${fraction.slice(0, scale)}` : ''}`
  return sign === numericSigns.negative ? `-${shown}` : shown
}

export const moneyText: Decoder = (reader) => {
  const cents = reader.int64()
  const digits = String(cents < 0n ? -cents : cents).padStart(3, '0')
  const whole = digits.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ',')
  return `${cents < 0n ? '-' : ''}$${whole}.${digits.slice(-2)}`
}
