/**
 * Checks that JSON from a file has the shape its format promises, field by field.
 *
 * A check gives back the value it was given, unknown fields included, so that what a later version added survives.
 */
import { KnownError } from '../base/errors.ts'

/** A stored document is not what its format promises. The message names the field. */
export class BadDocument extends KnownError {
  readonly code = 'BAD_DOCUMENT'
  readonly remedy = 'Run `steno verify` on the store: it names what was changed.'
  readonly safeToRetry = true
}

/** Takes a value and the name of its place; throws `BadDocument` when it does not fit. */
export type Check<T> = (value: unknown, where: string) => T

export const text: Check<string> = (value, where) => {
  if (typeof value !== 'string') throw new BadDocument(`${where} is not a text`)
  return value
}

export const flag: Check<boolean> = (value, where) => {
  if (typeof value !== 'boolean') throw new BadDocument(`${where} is neither true nor false`)
  return value
}

/** A whole number from 0 that a double holds exactly. */
export const natural: Check<number> = (value, where) => {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new BadDocument(`${where} is not a whole number from 0`)
  return value as number
}

/** A whole number from 1. */
export const ordinal: Check<number> = (value, where) => {
  if (natural(value, where) === 0) throw new BadDocument(`${where} is 0 and must be at least 1`)
  return value as number
}

/** Milliseconds since the epoch, with fractions: what a Date can show, so that printing it never fails. */
export const time: Check<number> = (value, where) => {
  if (typeof value !== 'number' || !(Math.abs(value) <= 8.64e15)) throw new BadDocument(`${where} is not a time`)
  return value
}

export function matching(pattern: RegExp, what: string): Check<string> {
  return (value, where) => {
    if (!pattern.test(text(value, where))) throw new BadDocument(`${where} is not ${what}`)
    return value as string
  }
}

export const sha256Hex = matching(/^[0-9a-f]{64}$/, 'a SHA-256 digest in hex')

export function oneOf<const T extends string | number>(...allowed: readonly T[]): Check<T> {
  return (value, where) => {
    const found = allowed.find((candidate) => candidate === value)
    if (found === undefined) throw new BadDocument(`${where} is none of: ${allowed.join(', ')}`)
    return found
  }
}

export function nullable<T>(check: Check<T>): Check<T | null> {
  return (value, where) => (value === null ? null : check(value, where))
}

export function list<T>(check: Check<T>): Check<readonly T[]> {
  return (value, where) => {
    if (!Array.isArray(value)) throw new BadDocument(`${where} is not a list`)
    value.forEach((item, index) => check(item, `${where}[${index}]`))
    return value as readonly T[]
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const mayBeMissing = new WeakSet<Check<never>>()

/** For a field of `object` that may be left out. */
export function optional<T>(check: Check<T>): Check<T> {
  const own: Check<T> = (value, where) => check(value, where)
  mayBeMissing.add(own as Check<never>)
  return own
}

export function object<T>(fields: { readonly [Name in keyof T]-?: Check<T[Name]> }): Check<T> {
  const checks = Object.entries(fields) as [string, Check<unknown>][]
  return (value, where) => {
    if (!isObject(value)) throw new BadDocument(`${where} is not an object`)
    for (const [name, check] of checks) {
      if (!Object.hasOwn(value, name)) {
        if (mayBeMissing.has(check as Check<never>)) continue
        throw new BadDocument(`${where} has no field ${name}`)
      }
      check(value[name], `${where}.${name}`)
    }
    return value as T
  }
}

/** An object whose names are free and whose values all pass `check`. */
export function dictionary<T>(check: Check<T>): Check<Readonly<Record<string, T>>> {
  return (value, where) => {
    if (!isObject(value)) throw new BadDocument(`${where} is not an object`)
    for (const [name, item] of Object.entries(value)) check(item, `${where}.${JSON.stringify(name)}`)
    return value as Readonly<Record<string, T>>
  }
}

/** @throws BadDocument when `bytes` are not valid UTF-8 or not JSON; the text itself is never quoted */
export function parseJson(bytes: Buffer, where: string): unknown {
  let decoded: string
  try {
    decoded = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new BadDocument(`${where} is not UTF-8`, { cause })
  }
  try {
    return JSON.parse(decoded)
  } catch {
    // The parser's own message quotes the text, which may be a recorded secret's neighbour.
    throw new BadDocument(`${where} is not JSON`)
  }
}
