/**
 * What the clock showed in a time zone at an instant: offset and abbreviation.
 *
 * Offsets come from the platform's own zone data, to the second and for all of history; where that data and the server's differ
 * in edition or in zones merged before 1970, so does the text. Abbreviations (only DateStyle SQL, Postgres and German print them)
 * come from the platform's locales and a small table, else as the zone database's numeric ones (`+03`); those of times long past
 * may differ. Of zones in POSIX notation only those without daylight saving are understood; any other name counts as UTC,
 * which is the same instant.
 */

export type ZoneTime = {
  /** Seconds east of Greenwich. */
  readonly offsetSeconds: number
  readonly abbreviation: string
}

/** The clock at an instant, given in seconds since 1970. */
export type Zone = (epochSeconds: number) => ZoneTime

const zonesMax = 64
const zones = new Map<string, Zone>()

/** `name` is a value of the setting `TimeZone`. */
export function zoneOf(name: string): Zone {
  const known = zones.get(name)
  if (known !== undefined) return known
  const zone = posixZone(name) ?? namedZone(name) ?? (() => ({ offsetSeconds: 0, abbreviation: 'UTC' }))
  if (zones.size >= zonesMax) zones.clear() // Names come from recordings: a made-up thousand must not stay.
  zones.set(name, zone)
  return zone
}

/** `<+03>-03` or `XYZ5:30`: POSIX counts hours west of Greenwich as positive. */
function posixZone(name: string): Zone | null {
  const parts = /^(?:<([^>]*)>|([A-Za-z]*))([+-]?)(\d{1,3})(?::(\d{1,2}))?(?::(\d{1,2}))?$/.exec(name)
  if (parts === null) return null
  const [, quoted, plain = '', sign, hours, minutes = '0', seconds = '0'] = parts
  const west = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)
  const zoneTime = { offsetSeconds: sign === '-' ? west : -west, abbreviation: quoted ?? plain }
  return () => zoneTime
}

/** 400 years are a whole number of weeks, so rules repeat after them; the platform's dates end in the year 275760. */
const cycleSeconds = 146_097 * 86_400
const platformSecondsMax = 8.64e12
/** The year 2437. */
const namedUntilMilliseconds = 1.474e13

function namedZone(name: string): Zone | null {
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', { timeZone: name, timeZoneName: 'longOffset' })
  } catch {
    return null // The platform has no such zone, which is an answer and not a failure.
  }
  return (epochSeconds) => {
    const beyond = Math.max(0, Math.ceil((epochSeconds - platformSecondsMax) / cycleSeconds))
    const milliseconds = (epochSeconds - beyond * cycleSeconds) * 1000
    const parts = /GMT(?:([+-])(\d{2}):(\d{2})(?::(\d{2}))?)?$/.exec(format.format(milliseconds))
    const [, sign = '+', hours = '0', minutes = '0', seconds = '0'] = parts ?? []
    const magnitude = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)
    const offsetSeconds = sign === '-' ? -magnitude : magnitude
    return {
      offsetSeconds,
      // Only shown under some settings, and slow to find.
      get abbreviation() {
        return abbreviationOf(name, milliseconds, offsetSeconds)
      },
    }
  }
}

/** Each knows the abbreviations of its own part of the world. */
const locales = ['en-US', 'en-GB', 'en-AU', 'en-NZ', 'en-IN', 'en-ZA', 'en-CA', 'ja-JP']

/** Abbreviations in the zone database that no locale above has, by zone and then by offset in hours. */
const abbreviations: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'africa/cairo': { 2: 'EET', 3: 'EEST' },
  'africa/johannesburg': { 2: 'SAST' },
  'africa/lagos': { 1: 'WAT' },
  'africa/maputo': { 2: 'CAT' },
  'africa/nairobi': { 3: 'EAT' },
  'asia/hong_kong': { 8: 'HKT', 9: 'HKST' },
  'asia/jakarta': { 7: 'WIB' },
  'asia/jerusalem': { 2: 'IST', 3: 'IDT' },
  'asia/karachi': { 5: 'PKT', 6: 'PKST' },
  'asia/kolkata': { 5.5: 'IST' },
  'asia/calcutta': { 5.5: 'IST' },
  'asia/macau': { 8: 'CST' },
  'asia/makassar': { 8: 'WITA' },
  'asia/manila': { 8: 'PST' },
  'asia/jayapura': { 9: 'WIT' },
  'asia/seoul': { 9: 'KST' },
  'asia/shanghai': { 8: 'CST', 9: 'CDT' },
  'asia/taipei': { 8: 'CST', 9: 'CDT' },
  'asia/tokyo': { 9: 'JST', 10: 'JDT' },
  'europe/dublin': { 0: 'GMT', 1: 'IST' },
  'europe/lisbon': { 0: 'WET', 1: 'WEST' },
  'europe/london': { 0: 'GMT', 1: 'BST' },
  'europe/moscow': { 3: 'MSK', 4: 'MSD' },
  'pacific/auckland': { 12: 'NZST', 13: 'NZDT' },
  'pacific/guam': { 10: 'ChST' },
  'pacific/pago_pago': { '-11': 'SST' },
}

function abbreviationOf(name: string, milliseconds: number, offsetSeconds: number): string {
  if (offsetSeconds % 60 !== 0) return 'LMT' // Only local mean times, from before zones, have seconds.
  const known = abbreviations[name.toLowerCase()]?.[String(offsetSeconds / 3600)]
  if (known !== undefined) return known
  // The platform names no zone of a far future; 400 years earlier by as often as it takes, the same rules hold.
  const near = milliseconds - Math.max(0, Math.ceil((milliseconds - namedUntilMilliseconds) / (cycleSeconds * 1000))) * cycleSeconds * 1000
  for (const locale of locales) {
    const shown = shortName(locale, name)
      .formatToParts(near)
      .find(({ type }) => type === 'timeZoneName')?.value
    if (shown !== undefined && /^[A-Za-z]{2,}$/.test(shown)) return shown
  }
  const magnitude = Math.abs(offsetSeconds)
  const minutes = Math.floor(magnitude / 60) % 60
  return `${offsetSeconds < 0 ? '-' : '+'}${two(Math.floor(magnitude / 3600))}${minutes === 0 ? '' : two(minutes)}`
}

const shortNames = new Map<string, Intl.DateTimeFormat>()

function shortName(locale: string, timeZone: string): Intl.DateTimeFormat {
  const key = `${locale} ${timeZone}`
  let format = shortNames.get(key)
  if (format === undefined) {
    if (shortNames.size >= zonesMax * locales.length) shortNames.clear()
    format = new Intl.DateTimeFormat(locale, { timeZone, timeZoneName: 'short' })
    shortNames.set(key, format)
  }
  return format
}

function two(value: number): string {
  return String(value).padStart(2, '0')
}
