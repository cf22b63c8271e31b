/**
 * The session settings that decide how a value reads as text, and where they come from.
 *
 * `lc_monetary`, `bytea_output` and `extra_float_digits` are not reported by the server. Money is printed as
 * under C and en_US, which print it alike; for the other two the defaults are assumed unless a caller knows better.
 */

export type ValueSettings = {
  readonly timeZone: string
  readonly dateStyle: string
  readonly intervalStyle: string
  readonly clientEncoding: string
  readonly byteaOutput?: string
  readonly extraFloatDigits?: number
}

export const defaultSettings: ValueSettings = {
  timeZone: 'UTC',
  dateStyle: 'ISO, MDY',
  intervalStyle: 'postgres',
  clientEncoding: 'UTF8',
}

/** Settings as ParameterStatus messages give them, by the server's names; what is absent has PostgreSQL's default. */
export function settingsFrom(parameters: Readonly<Record<string, string>>): ValueSettings {
  return {
    timeZone: parameters['TimeZone'] ?? defaultSettings.timeZone,
    dateStyle: parameters['DateStyle'] ?? defaultSettings.dateStyle,
    intervalStyle: parameters['IntervalStyle'] ?? defaultSettings.intervalStyle,
    clientEncoding: parameters['client_encoding'] ?? defaultSettings.clientEncoding,
  }
}
