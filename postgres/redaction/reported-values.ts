/**
 * Replaces in ParameterStatus and NotificationResponse frames what may be a credential: the server tells settings and the payloads of NOTIFY
 * to the session that gave them, in words of its own.
 *
 * A setting's value goes as a whole when it would not be told of a start-up either (`redact-startup.ts`), or repeats a remembered literal. Settings
 * whose values the server takes from a list of its own stay: readers need them, to know encodings and formats. `TimeZone` is one of them
 * although `hunter2` is a zone by the rules of POSIX. Of a payload what is remembered is replaced; the channel is a name and stays.
 * Source: PostgreSQL documentation, "Message Formats" and "Asynchronous Operations".
 */
import { headerBytes } from '../frame-header.ts'
import { redactStartupValue } from './redact-startup.ts'
import { replacement, type RememberedLiterals } from './remembered-literals.ts'
import { starRemembered } from './responses.ts'

const processIdBytes = 4
/** In lower case. */
const keptSettings = new Set([
  'client_encoding',
  'datestyle',
  'default_transaction_read_only',
  'in_hot_standby',
  'integer_datetimes',
  'intervalstyle',
  'is_superuser',
  'scram_iterations',
  'server_encoding',
  'server_version',
  'session_authorization',
  'standard_conforming_strings',
  'timezone',
])

/** The very same Buffer when it tells no secret, else a frame of its own. */
export function redactParameterStatus(frame: Buffer, remembered: RememberedLiterals): Buffer {
  const texts = twoTexts(frame, headerBytes)
  if (texts === undefined) return starRemembered(frame, remembered)
  const name = frame.toString('latin1', headerBytes, texts.second - 1)
  if (keptSettings.has(name.toLowerCase())) return frame
  const value = frame.toString('latin1', texts.second, frame.length - 1)
  return redactStartupValue(name, value) !== value || remembered.isIn(value) ? withSecond(frame, texts.second, replacement) : frame
}

/** The same of a NotificationResponse. */
export function redactNotification(frame: Buffer, remembered: RememberedLiterals): Buffer {
  const texts = twoTexts(frame, headerBytes + processIdBytes)
  if (texts === undefined) return starRemembered(frame, remembered)
  const payload = frame.toString('latin1', texts.second, frame.length - 1)
  const redacted = remembered.replaceIn(payload)
  return redacted === payload ? frame : withSecond(frame, texts.second, redacted)
}

/** Where the second of two null-terminated texts starts that are the rest of the frame, or undefined when it is something else. */
function twoTexts(frame: Buffer, at: number): { readonly second: number } | undefined {
  const firstEnd = frame.indexOf(0, at)
  return firstEnd >= at && frame.indexOf(0, firstEnd + 1) === frame.length - 1 ? { second: firstEnd + 1 } : undefined
}

function withSecond(frame: Buffer, at: number, text: string): Buffer {
  const whole = Buffer.concat([frame.subarray(0, at), Buffer.from(`${text}\0`, 'latin1')])
  whole.writeUInt32BE(whole.length - 1, 1)
  return whole
}
