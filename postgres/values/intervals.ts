/**
 * interval, in every IntervalStyle: months, days and microseconds, each with a sign of its own.
 *
 * The rules of signs follow `EncodeInterval` of PostgreSQL's `datetime.c`, case by case.
 */
import type { Decoder } from './decoder.ts'
import { fraction } from './dates.ts'

const int32Max = 0x7fffffff
const int64Max = 0x7fffffffffffffffn

/** Every field has the sign of its part of the interval. */
type Fields = {
  readonly year: number
  readonly month: number
  readonly day: number
  readonly hour: bigint
  readonly minute: number
  readonly second: number
  readonly microsecond: number
}

export const intervalText: Decoder = (reader, { settings }) => {
  const time = reader.int64()
  const days = reader.int32()
  const months = reader.int32()
  // PostgreSQL 17 and later; earlier ones take the same bytes for a very long interval.
  if (time === int64Max && days === int32Max && months === int32Max) return 'infinity'
  if (time === -int64Max - 1n && days === -int32Max - 1 && months === -int32Max - 1) return '-infinity'
  const fields: Fields = {
    year: Math.trunc(months / 12),
    month: months % 12,
    day: days,
    hour: time / 3_600_000_000n,
    minute: Number((time / 60_000_000n) % 60n),
    second: Number((time / 1_000_000n) % 60n),
    microsecond: Number(time % 1_000_000n),
  }
  switch (settings.intervalStyle.toLowerCase()) {
    case 'postgres_verbose':
      return verboseStyle(fields)
    case 'sql_standard':
      return sqlStandardStyle(fields)
    case 'iso_8601':
      return isoStyle(fields)
    default:
      return postgresStyle(fields)
  }
}

function seconds({ second, microsecond }: Fields, padded: 'padded' | 'bare'): string {
  const whole = String(Math.abs(second))
  return (padded === 'padded' ? whole.padStart(2, '0') : whole) + fraction(Math.abs(microsecond))
}

function hasTime({ hour, minute, second, microsecond }: Fields): boolean {
  return hour !== 0n || minute !== 0 || second !== 0 || microsecond !== 0
}

function negativeTime({ hour, minute, second, microsecond }: Fields): boolean {
  return hour < 0n || minute < 0 || second < 0 || microsecond < 0
}

function postgresStyle(fields: Fields): string {
  const parts: string[] = []
  let before = false
  for (const [value, unit] of [
    [fields.year, 'year'],
    [fields.month, 'mon'],
    [fields.day, 'day'],
  ] as const) {
    if (value === 0) continue
    parts.push(`${before && value > 0 ? '+' : ''}${value} ${unit}${value === 1 ? '' : 's'}`)
    before = value < 0
  }
  if (parts.length === 0 || hasTime(fields)) {
    const sign = negativeTime(fields) ? '-' : before ? '+' : ''
    parts.push(`${sign}${two(magnitude(fields.hour))}:${two(Math.abs(fields.minute))}:${seconds(fields, 'padded')}`)
  }
  return parts.join(' ')
}

function verboseStyle(fields: Fields): string {
  let shown = '@'
  let zero = true
  let before = false
  for (const [value, unit] of [
    [BigInt(fields.year), 'year'],
    [BigInt(fields.month), 'mon'],
    [BigInt(fields.day), 'day'],
    [fields.hour, 'hour'],
    [BigInt(fields.minute), 'min'],
  ] as const) {
    if (value === 0n) continue
    // The first part's sign becomes the interval's, and the others are told against it.
    if (zero) before = value < 0n
    const told = before ? -value : value
    shown += ` ${told} ${unit}${told === 1n ? '' : 's'}`
    zero = false
  }
  const { second, microsecond } = fields
  if (second !== 0 || microsecond !== 0) {
    const negative = second < 0 || (second === 0 && microsecond < 0)
    let sign = ''
    if (zero) before = negative
    else if (negative !== before) sign = '-'
    shown += ` ${sign}${seconds(fields, 'bare')} sec${Math.abs(second) !== 1 || microsecond !== 0 ? 's' : ''}`
    zero = false
  }
  return `${shown}${zero ? ' 0' : ''}${before ? ' ago' : ''}`
}

function sqlStandardStyle(fields: Fields): string {
  const { year, month, day, hour, minute, second, microsecond } = fields
  const all = [year, month, day, Number(hour), minute, second, microsecond]
  const negative = all.some((value) => value < 0)
  const positive = all.some((value) => value > 0)
  if (!negative && !positive) return '0'
  const yearMonth = year !== 0 || month !== 0
  const dayTime = day !== 0 || hasTime(fields)
  const clock = `${magnitude(hour)}:${two(Math.abs(minute))}:${seconds(fields, 'padded')}`
  if ((negative && positive) || (yearMonth && dayTime)) {
    const sign = (isNegative: boolean): string => (isNegative ? '-' : '+')
    const ofMonths = `${sign(year < 0 || month < 0)}${Math.abs(year)}-${Math.abs(month)}`
    return `${ofMonths} ${sign(day < 0)}${Math.abs(day)} ${sign(negativeTime(fields))}${clock}`
  }
  const sign = negative ? '-' : ''
  if (yearMonth) return `${sign}${Math.abs(year)}-${Math.abs(month)}`
  return day === 0 ? sign + clock : `${sign}${Math.abs(day)} ${clock}`
}

function isoStyle(fields: Fields): string {
  const { year, month, day, hour, minute, second, microsecond } = fields
  const part = (value: number | bigint, unit: string): string => (value === 0 || value === 0n ? '' : `${value}${unit}`)
  const date = part(year, 'Y') + part(month, 'M') + part(day, 'D')
  if (!hasTime(fields)) return date === '' ? 'PT0S' : `P${date}`
  const sign = second < 0 || microsecond < 0 ? '-' : ''
  const ofSeconds = second === 0 && microsecond === 0 ? '' : `${sign}${seconds(fields, 'bare')}S`
  return `P${date}T${part(hour, 'H')}${part(minute, 'M')}${ofSeconds}`
}

function magnitude(value: bigint): bigint {
  return value < 0n ? -value : value
}

function two(value: number | bigint): string {
  return String(value).padStart(2, '0')
}
