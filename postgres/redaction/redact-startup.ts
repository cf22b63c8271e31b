/**
 * Start-up parameters as they may be recorded: without the values that may be credentials.
 *
 * Judged by the triggers of statements, by the name of a setting of somebody's own (`app.token`), and, in `options`, word by word. Names stay.
 * It cannot know that `-c app.x=abc` gives a password.
 */
import { mapStartupOptions } from '../startup-options.ts'
import { replacement } from './remembered-literals.ts'
import { isSecretSetting } from './secret-settings.ts'
import { mayCarryCredential } from './triggers.ts'

/**
 * Only in names with a dot: those of the server itself are known, and `session_authorization` is no secret. Wider than for statements, where a name
 * takes all literals of its statement with it.
 */
const secretName = /\..*(?:pass|pwd|secret|credential|token|key|auth|jwt|salt|cookie)/i

/** What the triggers are looked for in: the server's own names say nothing of a secret. */
const judgedText = (name: string, value: string): string => (name.includes('.') ? `${name}=${value}` : value)
const isSecret = (name: string, value: string): boolean =>
  value !== '' && (secretName.test(name) || isSecretSetting(name) || mayCarryCredential(judgedText(name, value)))

/** The value to record for a parameter: `[redacted]`, or of `options` what is no secret. */
export function redactStartupValue(name: string, value: string): string {
  return name.toLowerCase() === 'options' ? redactOptions(value) : isSecret(name, value) ? replacement : value
}

/** True for a value of which something was replaced. */
export const isRedactedValue = (value: string): boolean => value.includes(replacement)

function redactOptions(options: string): string {
  const kept: string[] = []
  const redacted = mapStartupOptions(options, (word) => {
    const [, front = '', name = '', value = ''] = /^((?:-c|--)?([\w.-]+)=)?([^]*)$/.exec(word)!
    if (front !== '' && isSecret(name, value)) return front + replacement
    kept.push(judgedText(name, value))
    return null
  })
  // Words that are no settings, and what shows only in several words together: any of them may be the secret.
  return mayCarryCredential(kept.join(' ')) ? replacement : redacted
}
