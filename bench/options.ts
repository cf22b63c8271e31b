/**
 * The benchmark's command line.
 */
import { parseArgs } from 'node:util'
import { contestantNames, type ContestantName } from './contestants.ts'
import { loads } from './loads.ts'
import { measures } from './measures/all.ts'

export type Options = {
  readonly smoke: boolean
  readonly loads: readonly string[]
  readonly contestants: readonly ContestantName[]
  readonly measures: readonly string[]
  readonly rounds: number
  /** Of one pgbench run; whole, since pgbench knows no others. */
  readonly seconds: number
  readonly bulkBytes: number
  readonly minutesMax: number
  readonly jsonFile: string | null
}

export const usage = `usage: node bench/run.ts [options]
  --smoke              everything once and briefly, under 90 seconds; judges nothing
  --only LOADS         comma-separated or none: ${loads.map(({ name }) => name).join(',')}
  --contestants LIST   comma-separated: ${contestantNames.join(',')}
  --measures LIST      comma-separated or none: ${measures.map(({ name }) => name).join(',')}
  --rounds N           counted rounds of each load (5)
  --seconds S          whole seconds of each pgbench run (2)
  --megabytes M        size of large transfers (200)
  --minutes-max M      stop after this long with what there is (90)
  --json FILE          also keep the results; node bench/table.ts FILE draws them again`

const smokeContestants: readonly ContestantName[] = contestantNames.filter(
  (name) => !name.startsWith('direct') && !name.startsWith('steno-pass-through'),
)
const smokeLoads = ['prepared-8', 'result', 'copy-out', 'copy-in', 'connects']
const smokeMeasures = ['idle-memory', 'mark-compacts']

/** Throws when an option is unknown or out of range. */
export function parseOptions(parameters: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      smoke: { type: 'boolean', default: false },
      only: { type: 'string' },
      contestants: { type: 'string' },
      measures: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      megabytes: { type: 'string' },
      'minutes-max': { type: 'string' },
      json: { type: 'string' },
    },
  })
  const { smoke } = values
  const allLoads = loads.map(({ name }) => name)
  const allMeasures = measures.map(({ name }) => name)
  return {
    smoke,
    loads: choose(values.only, allLoads, smoke ? smokeLoads : allLoads, '--only'),
    contestants: choose(values.contestants, contestantNames, smoke ? smokeContestants : contestantNames, '--contestants'),
    measures: choose(values.measures, allMeasures, smoke ? smokeMeasures : allMeasures, '--measures'),
    rounds: count(values.rounds, smoke ? 1 : 5, '--rounds'),
    seconds: count(values.seconds, smoke ? 1 : 2, '--seconds'),
    bulkBytes: count(values.megabytes, smoke ? 30 : 200, '--megabytes') * 1e6,
    minutesMax: count(values['minutes-max'], smoke ? 5 : 90, '--minutes-max'),
    jsonFile: values.json ?? null,
  }
}

function choose<T extends string>(list: string | undefined, known: readonly T[], fallback: readonly T[], option: string): readonly T[] {
  if (list === undefined) return fallback
  if (list === 'none') return []
  const wanted = list.split(',')
  const unknown = wanted.filter((name) => !known.some((candidate) => candidate === name))
  if (unknown.length > 0) throw new Error(`${option} does not know ${unknown.join(', ')}; it knows ${known.join(', ')}`)
  return known.filter((name) => wanted.includes(name))
}

function count(text: string | undefined, fallback: number, option: string): number {
  if (text === undefined) return fallback
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`${option} takes a whole number from 1, not ${text}`)
  return value
}
