/** Conditions as `metav1.Condition`: what holds, since when, why, and what to do. Pure. */

export type ConditionType = 'Ready' | 'StoreReachable' | 'RecordingStored' | 'EgressEnforced' | 'CredentialsIsolated'

/** `reason` is one CamelCase word for programs, `message` a sentence for people; neither holds a secret. */
export type Finding = {
  readonly type: ConditionType
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
}

export type Condition = Omit<Finding, 'type'> & {
  readonly type: string
  readonly lastTransitionTime: string
  readonly observedGeneration?: number
}

/** The API server refuses longer ones. */
const messageCharactersMax = 4_000

/**
 * The conditions with what was found now; those of others stay. A time changes only with its status.
 * `now` is RFC 3339.
 */
export function withFindings(
  before: readonly Condition[],
  findings: readonly Finding[],
  { generation, now }: { readonly generation: number | undefined; readonly now: string },
): Condition[] {
  const found = findings.map((finding): Condition => {
    const old = before.find(({ type }) => type === finding.type)
    return {
      ...finding,
      message: shortened(finding.message, messageCharactersMax),
      lastTransitionTime: old?.status === finding.status ? old.lastTransitionTime : now,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    }
  })
  const others = before.filter(({ type }) => !findings.some((finding) => finding.type === type))
  return [...found, ...others]
}

/**
 * Half of a character, which a cut may leave and an object's name may have, is nothing that the API server keeps: what was written would
 * differ from what is read, and be written again for ever.
 */
export function shortened(text: string, charactersMax: number): string {
  return (text.length <= charactersMax ? text : `${text.slice(0, charactersMax - 2).replace(/[\uD800-\uDBFF]$/, '')}…`).toWellFormed()
}

/** True when both are the same JSON, in whichever order their fields stand. */
export function isEqualJson(before: unknown, after: unknown): boolean {
  return canonical(before) === canonical(after)
}

function canonical(value: unknown): string {
  return JSON.stringify(value ?? {}, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)))
      : part,
  )
}
