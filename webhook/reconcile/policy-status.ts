/** What is to be said of a SessionPolicy: a pure function from what was found to conditions. Every False has its remedy in the message. */
import type { Problem } from '../../crds/merge.ts'
import type { KeptObject } from '../../cluster/policy-world.ts'
import type { Finding } from '../../cluster/conditions.ts'
import type { EgressCounts, PodCounts, RecordedCounts } from './namespace-pods.ts'
import type { Rights } from './service-account-rights.ts'

export type PolicyFacts = {
  readonly namespace: string
  /** Why it cannot be read; null when it can. */
  readonly unreadable: string | null
  readonly isNamespaceOptedIn: boolean
  readonly pods: PodCounts
  readonly egress: EgressCounts
  readonly recorded: RecordedCounts
  /** Nobody writes conditions of pods then, so what stands there is old. */
  readonly isControlSilent: boolean
  /** What the policy itself asks for; null when it cannot be read. */
  readonly mode: 'Relay' | 'CredentialsOnly' | null
  /** Databases that address blocks of its `network.allow` open, as sentences. */
  readonly opened: readonly string[]
  readonly problems: readonly Problem[]
  /** The RecordingStore that it names, and what is there of that name. */
  readonly storeName: string
  readonly store: KeptObject | undefined
  /** Of the ServiceAccounts of its pods; null for one that is not judged yet. */
  readonly rights: ReadonlyMap<string, Rights | null>
}

export function policyFindings(facts: PolicyFacts): Finding[] {
  return [ready(facts), storeReachable(facts), recordingStored(facts), egressEnforced(facts), credentialsIsolated(facts)]
}

function ready(facts: PolicyFacts): Finding {
  const { namespace, unreadable, isNamespaceOptedIn, pods, problems, storeName, store } = facts
  const no = (reason: string, message: string): Finding => ({ type: 'Ready', status: 'False', reason, message })
  if (unreadable !== null)
    return no(
      'Invalid',
      `This release of steno cannot read the policy (${unreadable}), so it is not in force. Correct that field, or apply the CustomResourceDefinitions of the release that runs.`,
    )
  if (!isNamespaceOptedIn)
    return no(
      'NamespaceNotOptedIn',
      `Namespace ${namespace} is not opted in, so its pods get no sidecar. Run: kubectl label namespace ${namespace} steno.dev/inject=enabled`,
    )
  if (problems.length > 0)
    return no(
      'Conflict',
      `Pods that the policy is for are refused: ${problems.map(({ message, remedy }) => `${message}. ${remedy}`).join(' ')}`,
    )
  if (store === undefined)
    return no(
      'StoreNotFound',
      `There is no RecordingStore ${storeName}. Name one in recording.store that \`kubectl get recordingstores\` shows, or make it.`,
    )
  const restart = 'They are renewed when they are made again: kubectl rollout restart for workloads, delete and create for single pods.'
  const rest =
    pods.bare > 0
      ? ` Some pods are older than the policy or the label and have no sidecar. ${restart}`
      : pods.stale > 0
        ? ` Some pods cannot follow the policy as it is now, or do not say that they do. ${restart}`
        : ''
  return { type: 'Ready', status: 'True', reason: 'InForce', message: `Pods that it selects are admitted with the sidecar.${rest}` }
}

/** As control reports it at the store. */
function storeReachable({ storeName, store }: PolicyFacts): Finding {
  const type = 'StoreReachable'
  if (store === undefined) return { type, status: 'False', reason: 'StoreNotFound', message: `There is no RecordingStore ${storeName}.` }
  const reported = store.status.conditions?.find((condition) => condition.type === type)
  if (reported === undefined)
    return {
      type,
      status: 'Unknown',
      reason: 'NotReported',
      message: `Control has not said yet whether it reaches RecordingStore ${storeName}.`,
    }
  return { type, status: reported.status, reason: reported.reason, message: reported.message }
}

/** As the sidecars see it: what StoreReachable says is control's own view. */
function recordingStored({ unreadable, isNamespaceOptedIn, recorded, isControlSilent }: PolicyFacts): Finding {
  const say = (status: Finding['status'], reason: string, message: string): Finding => ({
    type: 'RecordingStored',
    status,
    reason,
    message,
  })
  const { counts, failingNames } = recorded
  if (unreadable !== null || !isNamespaceOptedIn) return say('Unknown', 'NotInForce', 'The policy is not in force; Ready says why.')
  const told = counts.Stored + counts.NothingYet + counts.NotStored + counts.SpoolFull + counts.NotReported
  if (isControlSilent && told > 0)
    return say(
      'Unknown',
      'NotReported',
      'Control has said nothing for some minutes, so nobody hears of the sidecars; recordings wait in their spools meanwhile. Look at Deployment steno-control.',
    )
  const failing = counts.NotStored + counts.SpoolFull
  const names = `${failingNames.join(', ')}${failing > failingNames.length ? ` and ${failing - failingNames.length} more` : ''}`
  const where = 'The condition steno.dev/RecordingStored of each pod says why and what to do.'
  if (counts.SpoolFull > 0)
    return say(
      'False',
      'SpoolFull',
      `Pods whose spool takes no more, so that statements fail or pass unrecorded, or whose recordings are not stored: ${names}. ${where}`,
    )
  if (counts.NotStored > 0)
    return say('False', 'NotStored', `Pods whose recordings wait in the spool and are not stored: ${names}. ${where}`)
  if (counts.NotReported > 0)
    return say(
      'Unknown',
      'NotReported',
      `${counts.NotReported} pods have not reported for a while whether their recordings are stored. Look at the pods' sidecars and at Deployment steno-control.`,
    )
  if (counts.Stored > 0) return say('True', 'Stored', 'What the pods record reaches the store, as their sidecars say.')
  if (counts.NothingYet > 0)
    return say(
      'Unknown',
      'NothingRecorded',
      'None of its pods has stored anything yet: no session of theirs has begun, or the first records are on their way.',
    )
  return counts.NotTold > 0
    ? say(
        'Unknown',
        'NotTold',
        'The sidecars of its pods have not said whether their recordings are stored; those of earlier releases never do.',
      )
    : say('Unknown', 'NoPods', 'The policy is for no pod with a sidecar, so nothing is recorded.')
}

const credentialsOnlyMessage =
  'Mode CredentialsOnly takes the credential away and leaves the network alone: an agent that is given another credential has another way. Write enforcement.mode: Relay to close it, and make the pods again.'

/** So many of its own sentences are told. */
const openedToldMax = 3

/** As the sidecars measured it and control wrote it on the pods. */
function egressEnforced(facts: PolicyFacts): Finding {
  const { unreadable, isNamespaceOptedIn, egress, mode, opened } = facts
  const { counts, openNames } = egress
  const allowed = opened.length === 0 ? '' : ` Beware, the policy itself opens a way: ${opened.slice(0, openedToldMax).join('; ')}.`
  const say = (status: Finding['status'], reason: string, message: string): Finding => ({
    ...{ type: 'EgressEnforced', status, reason },
    message: `${message}${allowed}`,
  })
  if (unreadable !== null || !isNamespaceOptedIn) return say('Unknown', 'NotInForce', 'The policy is not in force; Ready says why.')
  if (counts.Open > 0)
    return say(
      'False',
      'OpenPath',
      `Pods reach a database past their sidecar: ${openNames.join(', ')}${counts.Open > openNames.length ? ` and ${counts.Open - openNames.length} more` : ''}. Look at what enforces NetworkPolicies on their nodes, and at NetworkPolicies that allow more than steno's; the condition steno.dev/EgressClosed of each pod says which address.`,
    )
  if (counts.CredentialsOnly > 0) return say('False', 'CredentialsOnly', credentialsOnlyMessage)
  if (counts.NotReported > 0)
    return say(
      'Unknown',
      'NotReported',
      `${counts.NotReported} pods have not reported for a while whether their way is closed. Look at the pods' sidecars and at Deployment steno-control.`,
    )
  if (counts.NotMeasured > 0)
    return say(
      'Unknown',
      'NotMeasured',
      `The sidecars of ${counts.NotMeasured} pods reach the database neither directly nor through the relay, so nobody knows whether the direct way is closed. Look at Deployment steno-relay and at the database.`,
    )
  if (counts.Closed > 0) return say('True', 'Closed', 'No pod reaches a database past its sidecar: each measures it all the time.')
  return mode === 'CredentialsOnly'
    ? say('False', 'CredentialsOnly', credentialsOnlyMessage)
    : say('Unknown', 'NoPods', 'The policy is for no pod with a sidecar, so there is no way to measure.')
}

const reasonTexts: Readonly<Record<Extract<Rights, { kind: 'open' }>['reason'], string>> = {
  ReadsSecrets: 'ServiceAccountReadsSecrets',
  MakesPods: 'ServiceAccountMakesPods',
  MakesTokens: 'ServiceAccountMakesTokens',
  EntersPods: 'ServiceAccountEntersPods',
  CloudIdentity: 'ServiceAccountHasCloudIdentity',
}

/** So many accounts are told of in a message. */
const accountsToldMax = 8

function credentialsIsolated({ namespace, unreadable, isNamespaceOptedIn, pods, rights }: PolicyFacts): Finding {
  const type = 'CredentialsIsolated'
  const unknown = (reason: string, message: string): Finding => ({ type, status: 'Unknown', reason, message })
  if (unreadable !== null || !isNamespaceOptedIn) return unknown('NotInForce', 'The policy is not in force; Ready says why.')
  const open = [...rights]
    .flatMap(([name, found]) => (found?.kind === 'open' ? [{ name, found }] : []))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  const [first] = open
  if (first !== undefined) {
    const told = open.slice(0, accountsToldMax).map(({ name, found }) => `${namespace}/${name}: ${found.found.join(', ')}`)
    const more = open.length > accountsToldMax ? ` and ${open.length - accountsToldMax} more` : ''
    return {
      type,
      status: 'False',
      reason: reasonTexts[first.found.reason],
      message: `Pods could get at credentials with the rights of their ServiceAccount (${told.join('; ')}${more}). Take these rights away, or run the pods under an account without them.`,
    }
  }
  if (pods.bare > 0)
    return {
      type,
      status: 'False',
      reason: 'BarePods',
      message:
        'Pods without the sidecar still hold their credential. Make them again: kubectl rollout restart for workloads, delete and create for single pods.',
    }
  if (pods.matched === 0) return unknown('NoPods', 'The policy is for no pod that runs, so there is no ServiceAccount to judge.')
  if ([...rights.values()].some((found) => found === null))
    return unknown('NotJudged', 'The rights of the ServiceAccounts of its pods are being asked for.')
  return {
    type,
    status: 'True',
    reason: 'Isolated',
    message: 'No ServiceAccount of its pods may read Secrets, make pods or tokens, or enter pods.',
  }
}
