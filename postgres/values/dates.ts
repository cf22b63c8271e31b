/**
 * Dates and times: date, time, timetz, timestamp, timestamptz, in every DateStyle.
 *
 * Counted from 2000-01-01 in days or microseconds; from 4713 BC to 294276 AD (dates to 5874897 AD), so no JavaScript Date is used.
 */
import type { Decoder } from './decoder.ts'
import { malformed, type Reader } from './reader.ts'
import type { ValueSettings } from './settings.ts'
import { zoneOf, type ZoneTime } from './time-zones.ts'

const daysFrom1970To2000 = 10_957
const secondsPerDay = 86_400
const microsecondsPerSecond = 1_000_000n
const microsecondsPerDay = 86_400_000_000n
const int32Max = 0x7fffffff
const int64Max = 0x7fffffffffffffffn
/** 4713-11-24 BC and 294277-01-01, as `IS_VALID_TIMESTAMP` has them. */
const timestampMin = -211_813_488_000_000_000n
const timestampEnd = 9_223_371_331_200_000_000n

type Style = { readonly form: 'iso' | 'sql' | 'postgres' | 'german'; readonly dayFirst: boolean }
/** `year` 0 is 1 BC. */
type Day = { readonly year: number; readonly month: number; readonly day: number; readonly weekday: number }

/** `dateStyle` is that setting's value: `ISO, MDY`. */
function styleOf({ dateStyle }: ValueSettings): Style {
  const [name = '', order = ''] = dateStyle.toLowerCase().split(/,\s*/)
  const form = name === 'sql' || name === 'postgres' || name === 'german' ? name : 'iso'
  return { form, dayFirst: order === 'dmy' }
}

export const dateText: Decoder = (reader, { settings }) => {
  const days = reader.int32()
  if (days === int32Max) return 'infinity'
  if (days === -int32Max - 1) return '-infinity'
  const style = styleOf(settings)
  const day = dayOf(days)
  if (style.form !== 'postgres') return numericDate(day, style) + era(day)
  const { month, day: monthDay } = day
  return `${style.dayFirst ? `${two(monthDay)}-${two(month)}` : `${two(month)}-${two(monthDay)}`}-${shownYear(day)}${era(day)}`
}

export const timeText: Decoder = (reader) => clock(readTime(reader))

export const timetzText: Decoder = (reader) => {
  const time = readTime(reader)
  return clock(time) + shownOffset(-reader.int32())
}

export const timestampText: Decoder = (reader, { settings }) => {
  const microseconds = reader.int64()
  return notFinite(microseconds) ?? timestamp(microseconds, settings, null)
}

export const timestamptzText: Decoder = (reader, { settings }) => {
  const microseconds = reader.int64()
  const endless = notFinite(microseconds)
  if (endless !== null) return endless
  // The clock's offset changes only on whole seconds.
  const epochSeconds = Number(floorDivide(microseconds, microsecondsPerSecond)) + daysFrom1970To2000 * secondsPerDay
  return timestamp(microseconds, settings, zoneOf(settings.timeZone)(epochSeconds))
}

function notFinite(microseconds: bigint): string | null {
  if (microseconds === int64Max) return 'infinity'
  if (microseconds === -int64Max - 1n) return '-infinity'
  return microseconds < timestampMin || microseconds >= timestampEnd ? malformed('a timestamp that PostgreSQL does not have') : null
}

function timestamp(microseconds: bigint, settings: ValueSettings, zone: ZoneTime | null): string {
  const local = microseconds + BigInt(zone?.offsetSeconds ?? 0) * microsecondsPerSecond
  const days = floorDivide(local, microsecondsPerDay)
  const day = dayOf(Number(days))
  const time = clock(local - days * microsecondsPerDay)
  const style = styleOf(settings)
  if (style.form === 'iso') return `${numericDate(day, style)} ${time}${zone === null ? '' : shownOffset(zone.offsetSeconds)}${era(day)}`
  const shownZone = zone === null ? '' : ` ${zone.abbreviation === '' ? shownOffset(zone.offsetSeconds) : zone.abbreviation.slice(0, 10)}`
  if (style.form !== 'postgres') return `${numericDate(day, style)} ${time}${shownZone}${era(day)}`
  const month = monthNames[day.month - 1]!
  const date = style.dayFirst ? `${two(day.day)} ${month}` : `${month} ${two(day.day)}`
  return `${dayNames[day.weekday]!} ${date} ${time} ${shownYear(day)}${shownZone}${era(day)}`
}

const monthNames = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const dayNames = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']

function numericDate(day: Day, style: Style): string {
  if (style.form === 'german') return `${two(day.day)}.${two(day.month)}.${shownYear(day)}`
  if (style.form === 'iso') return `${shownYear(day)}-${two(day.month)}-${two(day.day)}`
  return `${style.dayFirst ? `${two(day.day)}/${two(day.month)}` : `${two(day.month)}/${two(day.day)}`}/${shownYear(day)}`
}

function shownYear({ year }: Day): string {
  return String(year > 0 ? year : 1 - year).padStart(4, '0')
}

function era({ year }: Day): string {
  return year > 0 ? '' : ' BC'
}

function readTime(reader: Reader): bigint {
  const time = reader.int64()
  if (time < 0n || time > microsecondsPerDay) malformed('a time outside the day')
  return time
}

/** `HH:MM:SS` with as much of the fraction as is not zero. */
function clock(microseconds: bigint): string {
  const seconds = Number(microseconds / microsecondsPerSecond)
  const whole = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  return whole + fraction(Number(microseconds % microsecondsPerSecond))
}

/** `.5` for 500,000 microseconds, and nothing for none. */
export function fraction(microseconds: number): string {
  return microseconds === 0 ? '' : `.${String(microseconds).padStart(6, '0').replace(/0+$/, '')}`
}

function shownOffset(seconds: number): string {
  const magnitude = Math.abs(seconds)
  const parts = [Math.floor(magnitude / 3600), Math.floor(magnitude / 60) % 60, magnitude % 60]
  while (parts.length > 1 && parts.at(-1) === 0) parts.pop()
  return (seconds < 0 ? '-' : '+') + parts.map(two).join(':')
}

/** The day of the proleptic Gregorian calendar, by 400-year cycles that start on a 1st of March. */
function dayOf(daysSince2000: number): Day {
  const sinceMarchOf0 = daysSince2000 + daysFrom1970To2000 + 719_468
  const cycle = Math.floor(sinceMarchOf0 / 146_097)
  const dayOfCycle = sinceMarchOf0 - cycle * 146_097
  const yearOfCycle = Math.floor(
    (dayOfCycle - Math.floor(dayOfCycle / 1_460) + Math.floor(dayOfCycle / 36_524) - Math.floor(dayOfCycle / 146_096)) / 365,
  )
  const dayOfYear = dayOfCycle - (365 * yearOfCycle + Math.floor(yearOfCycle / 4) - Math.floor(yearOfCycle / 100))
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
  return {
    year: yearOfCycle + cycle * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1,
    weekday: (((daysSince2000 + 6) % 7) + 7) % 7,
  }
}

function floorDivide(value: bigint, by: bigint): bigint {
  const quotient = value / by
  return value % by < 0n ? quotient - 1n : quotient
}

function two(value: number): string {
  return String(value).padStart(2, '0')
}
