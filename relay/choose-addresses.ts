/**
 * From a target that a policy names to the addresses that may be dialled: resolved here, checked here, and never resolved again.
 *
 * Of a name with allowed and forbidden addresses only the allowed ones are tried; of very many a part, another one each time.
 */
import type { AddressForms } from './address-forms.ts'
import type { WhatForbids } from './forbidden-addresses.ts'
import { Refusal } from './refusal.ts'
import type { ResolveName } from './resolve-name.ts'
import { ceilingsAdmitAddress, faultOfTarget, nameOfTarget, nameToResolve, type Target, type TargetRules } from './target.ts'

/** So many are dialled or probed for one request. */
const chosenMax = 16

/**
 * At least one address. `wanted` (canonical text) must be among them and is then the only one.
 * @throws Refusal (from the result) TARGET_NOT_ALLOWED, TARGET_FORBIDDEN, NAME_UNRESOLVED, BUSY
 */
export async function chooseAddresses(
  target: Target,
  wanted: string | null,
  { rules, namespace }: { readonly rules: TargetRules; readonly namespace: string },
  { resolveName, whatForbids }: { readonly resolveName: ResolveName; readonly whatForbids: WhatForbids },
): Promise<readonly AddressForms[]> {
  const fault = faultOfTarget(target, rules)
  if (fault !== null) throw new Refusal('TARGET_NOT_ALLOWED', fault)
  const found = await resolveName(nameToResolve(target, rules), namespace)
  const asked = wanted === null ? found : found.filter(({ text }) => text === wanted)
  if (asked.length === 0) throw new Refusal('TARGET_NOT_ALLOWED', `\`${target.host}\` does not have the address that is asked for`)
  const faults = asked.map((forms) => faultOfAddress(target, forms, rules, whatForbids))
  const chosen = asked.filter((_, index) => faults[index] === null)
  if (chosen.length === 0) throw faults[0]!
  return inTurn(chosen)
}

/** Beginning anywhere, so that sidecars which measure each of them come to all in time. */
function inTurn(chosen: readonly AddressForms[]): readonly AddressForms[] {
  if (chosen.length <= chosenMax) return chosen
  const first = Math.floor(Math.random() * chosen.length)
  return [...chosen.slice(first), ...chosen.slice(0, first)].slice(0, chosenMax)
}

/** Why a tunnel to this address may not be, or be no more; null when it may. */
export function faultOfTunnel(target: Target, address: AddressForms, rules: TargetRules, whatForbids: WhatForbids): Refusal | null {
  const fault = faultOfTarget(target, rules)
  return fault === null ? faultOfAddress(target, address, rules, whatForbids) : new Refusal('TARGET_NOT_ALLOWED', fault)
}

function faultOfAddress(target: Target, address: AddressForms, rules: TargetRules, whatForbids: WhatForbids): Refusal | null {
  const what = whatForbids(address)
  if (what !== null) return new Refusal('TARGET_FORBIDDEN', `${nameOfTarget(target)} leads to ${address.text}, ${what}`)
  if (ceilingsAdmitAddress(rules, address)) return null
  return new Refusal('TARGET_NOT_ALLOWED', `${nameOfTarget(target)} leads to ${address.text}, beyond the cluster’s ceiling`)
}
