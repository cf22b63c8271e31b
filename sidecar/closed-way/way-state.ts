/**
 * What has been measured of the way past steno, as control and a person are told it.
 *
 * `reason` in one word: Closed, Open, NotMeasured (no measurement decided it), NotEnforced (the policy leaves the pod's network alone).
 */
export type Way = 'Closed' | 'Open' | 'Unknown'

export type DatabaseWay = { readonly name: string; readonly state: Way; readonly addresses: readonly string[] }

export type WayState = {
  readonly state: Way
  readonly reason: string
  /** When the state became what it is; milliseconds since the epoch. */
  readonly since: number
  /** When the last measurement ended; 0 before the first. */
  readonly measured: number
  readonly databases: readonly DatabaseWay[]
}

/** Open where one is, Closed where all are; no database at all is Unknown. */
export function altogether(databases: readonly DatabaseWay[]): { readonly state: Way; readonly reason: string } {
  if (databases.some(({ state }) => state === 'Open')) return { state: 'Open', reason: 'Open' }
  if (databases.length > 0 && databases.every(({ state }) => state === 'Closed')) return { state: 'Closed', reason: 'Closed' }
  return { state: 'Unknown', reason: 'NotMeasured' }
}
