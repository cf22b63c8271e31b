/**
 * One text for one value: JSON with the names of each object in code-unit order and no spaces (as RFC 8785 for what policies hold), and its digest.
 *
 * Fields that are undefined are left out; anything JSON cannot say (functions, NaN, cycles) is the caller's mistake.
 */
import { createHash } from 'node:crypto'
import { invariant } from '../base/invariant.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json | undefined }

export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== 'object') {
    invariant(typeof value !== 'number' || Number.isFinite(value), 'JSON has no such number')
    return JSON.stringify(value)
  }
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`
  const fields = Object.keys(value)
    .sort()
    .flatMap((name) => {
      const field = value[name]
      return field === undefined ? [] : [`${JSON.stringify(name)}:${canonicalJson(field)}`]
    })
  return `{${fields.join(',')}}`
}

/** The first 32 hexadecimal digits of the SHA-256 of the canonical text. */
export function digestOf(value: Json): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 32)
}

function isList(value: readonly Json[] | { readonly [name: string]: Json | undefined }): value is readonly Json[] {
  return Array.isArray(value)
}
