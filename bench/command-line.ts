/**
 * A benchmark's command line: `--help` prints how it is used and ends with 0; what cannot be understood is told in a line, with the usage behind
 * it and no stack, and ends with 2. So nothing is measured by mistake.
 */
import { parseArgs } from 'node:util'
import { KnownError, messageOf } from '../base/errors.ts'

/** `texts` take a value, `flags` take none. */
type Known = { readonly texts?: readonly string[]; readonly flags?: readonly string[]; readonly positionals?: boolean }
export type Given = {
  text(name: string): string | undefined
  has(name: string): boolean
  readonly positionals: readonly string[]
}

const usageStatus = 2

/** What `read` makes of what was given. Ends the process for `--help`, and for what `known` or `read` does not take (it throws). */
export function readCommandLine<T>(usage: string, known: Known, read: (given: Given) => T): T {
  const { texts = [], flags = [], positionals: allowPositionals = false } = known
  const options: Record<string, { readonly type: 'string' | 'boolean' }> = {
    ...Object.fromEntries(texts.map((name) => [name, { type: 'string' }])),
    ...Object.fromEntries(['help', ...flags].map((name) => [name, { type: 'boolean' }])),
  }
  return orUsage(usage, () => {
    const { values, positionals } = parseArgs({ options, allowPositionals, strict: true })
    return read({
      text: (name) => (typeof values[name] === 'string' ? values[name] : undefined),
      has: (name) => values[name] === true,
      positionals,
    })
  })
}

/** As above, for who reads `process.argv` itself. */
export function orUsage<T>(usage: string, read: () => T): T {
  if (process.argv.slice(2).includes('--help')) {
    process.stdout.write(`${usage}\n`)
    process.exit(0)
  }
  try {
    return read()
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${usage}\n`)
    process.exit(usageStatus)
  }
}

/** `name`: what the number is of, as the user wrote it. @throws Error for what is no whole number from `least` on */
export function wholeNumber(
  text: string | undefined,
  { fallback, name, least = 1 }: { fallback: number; name: string; least?: number },
): number {
  if (text === undefined) return fallback
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least)
    throw new Error(`${name} takes a whole number from ${least}, not ${text === '' ? 'nothing' : text}`)
  return value
}

/** What has to be there and is not, a cluster above all, is told without a stack; ends the process with 1. */
export async function orTold<T>(program: string, start: () => T | Promise<T>): Promise<T> {
  try {
    return await start()
  } catch (error) {
    const remedy = error instanceof KnownError ? `\n${error.remedy}` : ''
    process.stderr.write(`${program}: ${messageOf(error)}${remedy}\n`)
    process.exit(1)
  }
}
