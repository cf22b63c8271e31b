/** Draws what was measured as one table: each number of clients with its three ways, and whether steno's reached what it aims at. */
import { drawSpread, median, pairedRatio, spread, type Spread } from '../statistics.ts'
import { drawTable } from '../table.ts'
import type { Turn } from './cost.ts'
import { wayNames, type WayName } from './ways.ts'

/** Of the throughput of one plain HAProxy, within a round. */
export const aim = 0.6

export type Measured = { readonly load: string; readonly turns: ReadonlyMap<WayName, readonly Turn[]> }

const titles: Record<WayName, string> = {
  steno: 'sidecar, relay',
  'haproxy-twice': 'HAProxy, HAProxy with TLS',
  'haproxy-once': 'one HAProxy, no TLS',
}
const header = [
  ...['', 'way', 'queries/s', 'p50 ms', 'p99 ms', 'CPU us/query: agent', 'first', 'second', 'database', 'all', 'after'],
  ...['of one HAProxy', 'of HAProxy twice', 'aim'],
]

/** Throws when a way was not measured. */
export function drawMeasured(measured: readonly Measured[]): string {
  const rows = measured.flatMap((of) => wayNames.map((name, at) => [at === 0 ? of.load : '', ...cellsOf(of, name)]))
  return drawTable(header, rows)
}

function cellsOf({ turns }: Measured, name: WayName): string[] {
  const own = turns.get(name) ?? []
  const ofMedian = (pick: (turn: Turn) => number): string => median(own.map(pick)).toFixed(1)
  const latency = (pick: 'p50' | 'p99'): string => {
    const values = own.flatMap(({ latencyMilliseconds }) => (latencyMilliseconds === null ? [] : [latencyMilliseconds[pick]]))
    return values.length === 0 ? '' : median(values).toFixed(2)
  }
  const hasSecond = own.every(({ proxies }) => proxies.length > 1)
  const after = own.flatMap((turn) => turn.after ?? [])
  const ofOnce = ratioOf(turns, name, 'haproxy-once')
  const ofTwice = ratioOf(turns, name, 'haproxy-twice')
  return [
    titles[name],
    drawSpread(spread(own.map(({ perSecond }) => perSecond)), 0),
    latency('p50'),
    latency('p99'),
    ofMedian(({ agent }) => agent),
    ofMedian(({ proxies }) => proxies[0] ?? 0),
    hasSecond ? ofMedian(({ proxies }) => proxies[1] ?? 0) : '',
    ofMedian(({ database }) => database),
    ofMedian(({ agent, proxies, database }) => proxies.reduce((sum, each) => sum + each, agent + database)),
    // Still busy when the wait ended: what is known is a lower bound.
    after.length === 0 ? '' : `${after.every(({ isAll }) => isAll) ? '' : '>'}${median(after.map((each) => each.microseconds)).toFixed(1)}`,
    ofOnce === null ? '' : drawSpread(ofOnce, 2),
    ofTwice === null || name === 'haproxy-once' ? '' : drawSpread(ofTwice, 2),
    name === 'steno' && ofOnce !== null ? `${aim.toFixed(2)}: ${ofOnce.median >= aim ? 'met' : 'MISSED'}` : '',
  ]
}

function ratioOf(turns: Measured['turns'], name: WayName, against: WayName): Spread | null {
  if (name === against) return null
  const byRound = (of: WayName): Map<number, number> => new Map(turns.get(of)?.map(({ round, perSecond }) => [round, perSecond]))
  return pairedRatio(byRound(name), byRound(against))
}
