/**
 * Why a pod is refused, and what its author reads of it: rule, place, reason and remedy of each, bounded in length.
 *
 * What is quoted comes from a pod that nobody has validated yet, so it is made safe to print and cut. Never holds a variable's value.
 */
import { printableLine } from '../base/printable.ts'

export type Refusal = {
  /** Stable, and named by its golden pair: `HostNetwork`. */
  readonly rule: string
  /** The place in the pod: `spec.containers[0].env[DATABASE_URL]`. */
  readonly where: string
  readonly message: string
  readonly remedy: string
}

/** An event keeps 1,024 characters of a message, and a ReplicaSet's author sees no more than its event: the first refusals have to fit. */
const refusalCharactersMax = 480
const messageCharactersMax = 3_500
/** The API server cuts a warning at 256 and drops what is beyond 4,096 in all (k8s.io/apiserver, warning recorder). */
const warningCharactersMax = 250
const warningsCharactersMax = 3_500

/** One text for all refusals of a pod; the ones that do not fit are counted. */
export function refusalMessage(refusals: readonly Refusal[]): string {
  const texts = refusals.map(({ rule, where, message, remedy }) =>
    cut(`${rule} at ${printableLine(where)}: ${sentence(printableLine(message))} ${sentence(printableLine(remedy))}`, refusalCharactersMax),
  )
  const opening = texts.length === 1 ? 'steno cannot take this pod: ' : `steno cannot take this pod, for ${texts.length} reasons: `
  let text = opening
  for (const [index, one] of texts.entries()) {
    const numbered = texts.length === 1 ? one : `(${index + 1}) ${one} `
    if (text.length + numbered.length > messageCharactersMax)
      return `${text}And ${texts.length - index} more; \`kubectl steno check -f\` with the pod shows all.`
    text += numbered
  }
  return text.trimEnd()
}

/** Warnings as the API server passes them on whole; what does not fit is counted in the last. */
export function boundedWarnings(warnings: readonly string[]): string[] {
  const bounded: string[] = []
  let characters = 0
  for (const [index, warning] of warnings.entries()) {
    const text = cut(`steno: ${printableLine(warning)}`, warningCharactersMax)
    characters += text.length
    if (characters > warningsCharactersMax) return [...bounded, `steno: and ${warnings.length - index} more warnings`]
    bounded.push(text)
  }
  return bounded
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}

function cut(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax - 1)}…`
}
