/**
 * A value that must not be shown: a password, a token, a passphrase.
 *
 * Guards against slips (a log line, `JSON.stringify`, `util.inspect`, string concatenation), not against code that asks for it.
 */
const shown = '[redacted]'

export class Secret {
  readonly #value: string
  constructor(value: string) {
    this.#value = value
  }
  /** The value itself. Call it where the value goes on the wire or into a key derivation, nowhere else. */
  reveal(): string {
    return this.#value
  }
  toString(): string {
    return shown
  }
  toJSON(): string {
    return shown
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return shown
  }
}
