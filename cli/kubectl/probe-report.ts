/**
 * What a probe's answers mean, and how people read them. Pure.
 *
 * Closed by the server: pg_hba.conf refused who asked. Closed: nothing answered from there, while the relay is known to reach the database.
 * Open: it answered in any other way. Unknown: nothing answered, and nothing says that the database is alive; or what answered does not say.
 */
import type { Palette } from '../colour.ts'
import { printableLine } from '../text.ts'
import type { Probed } from '../probe/probe-targets.ts'
import { table } from './table.ts'

export type ProbeState = 'Closed' | 'Open' | 'Unknown'

export type ProbeResult = Omit<Probed, 'answer'> & {
  readonly policy: string
  readonly state: ProbeState
  readonly why: string
  /** In one word, as `steno probe-target` has it; null where nothing was asked. */
  readonly answer: Probed['answer']['kind'] | null
}

export type ProbePlace = {
  readonly namespace: string
  readonly node: string | null
  readonly address: string | null
  readonly user: string
  /** Null when it may not be read. */
  readonly isBesideRelay: boolean | null
}

/** `isAlive`: that the relay reaches the database is known, as sidecars measured it. */
export function judged(
  { answer, ...at }: Probed,
  { policy, isAlive }: { readonly policy: string; readonly isAlive: boolean },
): ProbeResult {
  const because = (state: ProbeState, why: string): ProbeResult => ({ ...at, policy, state, why, answer: answer.kind })
  switch (answer.kind) {
    case 'answers':
      return because('Open', `the database would talk to whoever is there: ${answer.detail}`)
    case 'rejected':
      return because('Closed', `by the server: ${answer.detail}`)
    case 'refused':
    case 'silent':
      return isAlive
        ? because('Closed', `${answer.detail}, while the relay reaches the database`)
        : because('Unknown', `${answer.detail}, and nothing says that the database is alive`)
    case 'unclear':
      return because('Unknown', answer.detail)
    default:
      return answer satisfies never
  }
}

const docs = 'docs/destination.md'
const remedies: Readonly<Record<Exclude<ProbeState, 'Closed'>, string>> = {
  Open: `Open: let the database admit the relay's addresses only; ${docs} has it for a PostgreSQL in the cluster, RDS and Cloud SQL.`,
  Unknown: `Unknown: run it again while pods of the policy are running in mode Relay (\`kubectl steno status\` shows EGRESS True), and from another place (--from, --node); ${docs}.`,
}

export function probeLines(results: readonly ProbeResult[], place: ProbePlace, colours: Palette): string[] {
  const paints = { Closed: colours.green, Open: colours.red, Unknown: colours.yellow }
  const rows = results.map(({ policy, database, host, port, address, state, why }) => [
    ...[policy, database, `${host}:${port}`, address ?? '-', state, why],
  ])
  const [titles = '', ...lines] = table(['POLICY', 'DATABASE', 'HOST', 'ADDRESS', 'STATE', 'WHY'], rows)
  const found = (['Open', 'Unknown'] as const).filter((state) => results.some((result) => result.state === state))
  return [
    titles,
    ...lines.map((line, index) => {
      const { state } = results[index]!
      return line.replace(`   ${state}   `, `   ${paints[state](state)}   `)
    }),
    '',
    printableLine(placeText(place)),
    ...(place.isBesideRelay === true
      ? [
          'A relay runs on that node, too: where the network puts the node’s address in place of its pods’, the database cannot tell the two apart.',
        ]
      : []),
    ...found.map((state) => remedies[state]),
  ]
}

function placeText({ namespace, node, address, user }: ProbePlace): string {
  const from = [
    `namespace ${namespace}`,
    ...(address === null ? [] : [`pod address ${address}`]),
    ...(node === null ? [] : [`node ${node}`]),
  ]
  return `Asked from ${from.join(', ')}, as user ${user}, without a password. An entry of pg_hba.conf for another user alone is not seen: --user names whom to ask as.`
}
