/**
 * Exemptions as control states them: a warning for each, since nothing was recorded of these pods. What nobody can read, or who is not trusted signed, is
 * an error: a forged exemption would explain away what somebody removed.
 */
import { type KeyObject } from 'node:crypto'
import { findExemption, type Exemption } from '../exemption.ts'
import { exemptionKey } from '../object-keys.ts'
import { recorderIdOf } from '../recorder-key.ts'
import { BadDocument } from '../shape.ts'
import type { Store } from '../stores/store.ts'
import { finding, type Finding } from './finding.ts'

/** `attesters` are the keys that the reader trusts; without any every key counts, as with attestations. */
export async function* verifyExemption(store: Store, id: string, attesters: readonly KeyObject[]): AsyncGenerator<Finding> {
  const key = exemptionKey(id)
  try {
    const found = await findExemption(store, id)
    if (found === null) return
    const by = recorderIdOf(found.publicKey)
    if (attesters.length > 0 && !attesters.some((trusted) => recorderIdOf(trusted) === by))
      yield finding('EXEMPTION_SIGNATURE', `key ${by} states an exemption, and you do not trust it`, { key })
    else yield finding('EXEMPT', textOf(found.exemption), { key })
  } catch (error) {
    if (!(error instanceof BadDocument)) throw error
    yield finding('EXEMPTION_DAMAGED', error.message, { key })
  }
}

function textOf({ event, time, namespaces, matchLabels, policyName, requestedBy, reason }: Exemption): string {
  const labels = Object.entries(matchLabels).map(([name, value]) => `${name}=${value}`)
  const pods = `${labels.length === 0 ? 'all pods' : `pods with ${labels.join(',')}`} of ${namespaces.join(', ')}`
  const who = requestedBy === null ? '' : `, asked for by ${requestedBy} as the policy says`
  const when = new Date(time).toISOString()
  return event === 'began'
    ? `from ${when} on ${pods} could be made without recording (ClusterSessionPolicy ${policyName}${who}): ${reason}`
    : `until ${when} ${pods} could be made without recording (ClusterSessionPolicy ${policyName}): ${reason}`
}
