/** What a type's decoder is given, so that the families of types need not know each other. */
import type { Reader } from './reader.ts'
import type { ValueSettings } from './settings.ts'

export type Context = {
  readonly settings: ValueSettings
  /** Text of a value inside this one, by its own type. */
  readonly inner: (typeOid: number, bytes: Buffer) => string
  /** Bytes in the session's client encoding, as text. */
  readonly decode: (bytes: Buffer) => string
}

/** Reads exactly one value. @throws MalformedValue when the bytes are not such a value */
export type Decoder = (reader: Reader, context: Context) => string
