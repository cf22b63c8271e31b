/**
 * Exemptions as control states them: a warning for each, since nothing was recorded of these pods. What nobody can read, or who is not trusted signed, is
 * an error: a forged exemption would explain away what somebody removed.
 *
 * Names of records are hashes, so that they are met in no order of time: a beginning is told together with its end, and the earliest first. Holds the
 * texts of so many exemptions; beyond these the order is that of names.
 */
import { type KeyObject } from 'node:crypto'
import { exemptionId, findExemption, type Exemption } from '../exemption.ts'
import { exemptionKey } from '../object-keys.ts'
import { recorderIdOf } from '../recorder-key.ts'
import { BadDocument } from '../shape.ts'
import type { Store } from '../stores/store.ts'
import { finding, type Finding } from './finding.ts'

const heldMax = 10_000

type Held = { readonly time: number; readonly finding: Finding }
type Found = { readonly kind: 'exemption'; readonly exemption: Exemption } | { readonly kind: 'absent' } | Wrong
type Wrong = { readonly kind: 'wrong'; readonly finding: Finding }

/** `attesters` are the keys that the reader trusts; without any every key counts, as with attestations. */
export function createExemptions(store: Store, attesters: readonly KeyObject[]) {
  let held: Held[] = []

  async function find(id: string): Promise<Found> {
    const key = exemptionKey(id)
    try {
      const found = await findExemption(store, id)
      if (found === null) return { kind: 'absent' }
      const by = recorderIdOf(found.publicKey)
      if (attesters.length === 0 || attesters.some((trusted) => recorderIdOf(trusted) === by))
        return { kind: 'exemption', exemption: found.exemption }
      return { kind: 'wrong', finding: finding('EXEMPTION_SIGNATURE', `key ${by} states an exemption, and you do not trust it`, { key }) }
    } catch (error) {
      if (!(error instanceof BadDocument)) throw error
      return { kind: 'wrong', finding: finding('EXEMPTION_DAMAGED', error.message, { key }) }
    }
  }

  /** The other record; what is wrong with it is told when it is met itself. */
  async function other(id: string): Promise<Exemption | null> {
    const found = await find(id)
    return found.kind === 'exemption' ? found.exemption : null
  }

  return {
    /** What is wrong is told at once, an exemption by `finish`. @throws StoreUnavailable */
    async *take(id: string): AsyncGenerator<Finding> {
      const found = await find(id)
      if (found.kind === 'absent') return
      if (found.kind === 'wrong') return yield found.finding
      const { exemption } = found
      const began = exemption.event === 'began' ? exemption : await other(exemption.began ?? '')
      if (exemption.event === 'ended' && began !== null) return // It is told with its beginning.
      const ended = exemption.event === 'ended' ? exemption : await other(exemptionId({ began: id }))
      held.push({ time: exemption.time, finding: finding('EXEMPT', textOf(exemption, { began, ended }), { key: exemptionKey(id) }) })
      if (held.length >= heldMax) yield* this.finish()
    },
    /** All that were taken, the earliest first. */
    *finish(): Generator<Finding> {
      const all = held.sort((one, next) => one.time - next.time)
      held = []
      for (const each of all) yield each.finding
    },
  }
}

type Ends = { readonly began: Exemption | null; readonly ended: Exemption | null }

/** `stated` is one of the ends. */
function textOf(stated: Exemption, { began, ended }: Ends): string {
  const { namespaces, matchLabels, policyName, reason } = stated
  const labels = Object.entries(matchLabels).map(([name, value]) => `${name}=${value}`)
  const pods = `${labels.length === 0 ? 'all pods' : `pods with ${labels.join(',')}`} of ${namespaces.join(', ')}`
  const requestedBy = began?.requestedBy ?? null
  const who = requestedBy === null ? '' : `, asked for by ${requestedBy} as the policy says`
  return `${whenOf(stated, { began, ended })} ${pods} could be made without recording (ClusterSessionPolicy ${policyName}${who}): ${reason}`
}

/** Each time is of the control that saw it. */
function whenOf(stated: Exemption, { began, ended }: Ends): string {
  const at = (exemption: Exemption): string => new Date(exemption.time).toISOString()
  if (ended === null) return `from ${at(stated)} on`
  if (began === null) return `until ${at(stated)}`
  if (ended.time >= began.time) return `from ${at(began)} until ${at(ended)}`
  return `from ${at(began)}, and until ${at(ended)} by the clock of another control that is behind,`
}
