/**
 * An explanation as text for people, laid out as `kubectl describe` does: outcome first, then why, then where each credential went.
 *
 * Data in, lines out. All from cluster and files is made printable; values of variables are not in it but for those that steno writes.
 */
import type { ExplainedPolicy, InjectionExplanation } from '../../injection/explain-injection.ts'
import type { Palette } from '../colour.ts'
import { printableLine } from '../text.ts'
import type { SidecarFacts } from './sidecar-facts.ts'

export const labelCells = 14

/** `Label:        text`, the text made safe; `level` is how deep it stands. */
export function field(label: string, text: string, level = 0): string {
  const indent = '  '.repeat(level)
  return `${indent}${`${label}:`.padEnd(labelCells)}${printableLine(text)}`.trimEnd()
}

/** Behind a title; below it what belongs to it. */
function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines]
}

/** Why a pod that would be admitted is not what it should be: the first of the lines of a pod that runs, coloured by how bad it is. */
export type Verdict = { readonly text: string; readonly severity: 'good' | 'warning' | 'bad' }

export function outcomeField({ text, severity }: Verdict, colours: Palette): string {
  const line = printableLine(text)
  const colour = severity === 'good' ? colours.green : severity === 'warning' ? colours.yellow : colours.red
  return `${'Outcome:'.padEnd(labelCells)}${colour(line)}`
}

/** Whether nobody has given the pod a database: nothing of it is then moved, and nothing recorded. */
export function isUnmatched({ databases }: ExplainedPolicy): boolean {
  return databases.length === 0
}

/** Of a pod that is not there yet. */
export function foretold({ outcome, exemption, refusals, warnings, policy }: InjectionExplanation): Verdict {
  const unmatched =
    policy !== null && isUnmatched(policy) ? ', but no SessionPolicy matches it: what it says to a database is not recorded' : ''
  switch (outcome) {
    case 'injected':
      return { text: `admitted, with the sidecar${unmatched}`, severity: warnings.length === 0 && unmatched === '' ? 'good' : 'warning' }
    case 'unchanged':
      return { text: `admitted as it is: it has the sidecar already${unmatched}`, severity: unmatched === '' ? 'good' : 'warning' }
    case 'exempt':
      return { text: `admitted without a sidecar: exempt by ${exemption?.by ?? 'a policy'}`, severity: 'warning' }
    case 'refused':
      return { text: `refused, for ${refusals.length === 1 ? 'one reason' : `${refusals.length} reasons`}`, severity: 'bad' }
    default:
      return outcome satisfies never
  }
}

/** What stands below the outcome: exemption or policy, databases, what was moved, refusals, warnings. */
export function explanationLines(explanation: InjectionExplanation, colours: Palette): string[] {
  const { policy, exemption, listeners, moved, refusals, warnings } = explanation
  const lines: string[] = []
  if (exemption !== null) lines.push(field('Exempt by', exemption.by), field('Reason', exemption.reason))
  if (policy !== null) {
    lines.push(
      field(
        'Policies',
        policy.sources.length === 0
          ? '<none>: it gets the sidecar and no database, and keeps whatever credential it has'
          : policy.sources.join(', '),
      ),
      field('Policy hash', policy.hash),
      field(
        'Recording',
        `level ${policy.recordingLevel}; RecordingStore ${policy.store}; when recording fails: ${policy.onRecordingFailure}`,
      ),
      field('Enforcement', `${policy.enforcement.mode}; on an open path: ${policy.enforcement.onOpenPath}`),
    )
    if (listeners.length === 0 && policy.databases.length > 0)
      lines.push(field('Databases', `<none>: it carries no variable of ${policy.databases.join(', ')}`))
  }
  lines.push(
    ...section(
      'Databases',
      listeners.flatMap(({ database, localPort, hosts, port, tlsMode, reads }) => [
        `  ${printableLine(database)}:`,
        field('Agent uses', `127.0.0.1:${localPort}`, 2),
        field('Leads to', `${hosts.join(' or ')}, port ${port}, TLS ${tlsMode}${tlsMode === 'verify-full' ? '' : ' or stricter'}`, 2),
        ...reads.map((read, index) => (index === 0 ? field('Credential', read, 2) : `    ${' '.repeat(labelCells)}${printableLine(read)}`)),
      ]),
    ),
    ...section(
      'Moved',
      moved.flatMap(({ container, variable, before, after }) => [
        printableLine(`  ${container}: ${variable}`),
        field('From', before, 2),
        field('To', after, 2),
      ]),
    ),
    ...section(
      'Refused',
      refusals.flatMap(({ rule, where, message, remedy }) => [
        `  ${colours.red(printableLine(`${rule} at ${where}`))}`,
        printableLine(`    ${message}`),
        printableLine(`    ${remedy}`),
      ]),
    ),
    ...warningLines(warnings, colours),
  )
  return lines
}

export function warningLines(warnings: readonly string[], colours: Palette): string[] {
  return section(
    'Warnings',
    warnings.map((warning) => `  ${colours.yellow(printableLine(warning))}`),
  )
}

/** `NO, StoreRefuses since 2026-…: the store …`: as the sidecar said it last, and control wrote it down. */
function toldText({ status, reason, message, lastTransitionTime, lastProbeTime }: NonNullable<SidecarFacts['recorded']>): string {
  const since = lastTransitionTime === null ? '' : ` since ${lastTransitionTime}`
  if (status === 'True') return `${message}${since}`
  return `${status === 'False' ? 'NO' : 'UNKNOWN'}, ${reason}${since}: ${message}${lastProbeTime === null ? '' : ` (said last at ${lastProbeTime})`}`
}

/** What the pod says of the sidecar that it has. */
export function sidecarLines(facts: SidecarFacts): string[] {
  const lines = [field('State', facts.state, 1), field('Image', facts.image, 1)]
  if (facts.restarts > 0) lines.push(field('Restarts', String(facts.restarts), 1))
  if (facts.lastEnd !== null) lines.push(field('Last ended', facts.lastEnd, 1))
  if (facts.policies !== null)
    lines.push(field('Given', `${facts.policies || '<no policy>'}, hash ${facts.hash ?? '?'}, steno ${facts.version ?? '?'}`, 1))
  for (const [label, told] of [
    ['Recorded', facts.recorded],
    ['Goes by', facts.followed],
  ] as const)
    if (told !== null) lines.push(field(label, toldText(told), 1))
  for (const { container, variable, localPort } of facts.uses)
    lines.push(field('Used by', `${container}: ${variable} leads to 127.0.0.1:${localPort}`, 1))
  return ['Sidecar:', ...lines]
}
