/**
 * What the player knows and shows, as plain data, and the steps that move through it. Pure; reads and draws nothing.
 */
import type { SessionIdentity } from '../../session/identity.ts'
import type { StatementLine } from '../statement-line.ts'
import { layoutOf, type Size } from './layout.ts'
import type { StatementResult } from './statement-result.ts'

export type PromptKind = 'search' | 'table' | 'time' | 'statement'
export type Prompt = { readonly kind: PromptKind; readonly text: string }

/** What `n` and `N` look for again. */
export type Find =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'table'; readonly name: string }
  | { readonly kind: 'failure' }

export type Playback = {
  readonly playing: boolean
  /** How many times faster than it happened. */
  readonly speed: number
  /** Whether times in which no statement ran are cut to `idleMillisecondsMax`. */
  readonly capsIdle: boolean
  /** Session time since the selected statement started. */
  readonly sinceMilliseconds: number
}

/** The selected statement's result; `early` while it is not sure that the session's settings are the right ones. */
export type ShownResult =
  | { readonly kind: 'read' | 'early'; readonly number: number; readonly rowsMax: number; readonly result: StatementResult }
  | { readonly kind: 'failed'; readonly number: number; readonly rowsMax: number; readonly reason: string }

export type PlayerState = {
  readonly identity: SessionIdentity
  /** The highest number. */
  readonly count: number
  /** False while the session is still being recorded. */
  readonly complete: boolean
  /** The last statement's end, milliseconds since the session opened, as far as it is known. */
  readonly lastsMilliseconds: number | null
  /** From 1; 0 while there is no statement. */
  readonly selected: number
  /** The number in the list's first line. */
  readonly top: number
  readonly focus: 'list' | 'detail'
  readonly detailTop: number
  readonly sideways: number
  /** What is loaded of the index: null for a number that has no statement (yet). */
  readonly lines: ReadonlyMap<number, StatementLine | null>
  readonly result: ShownResult | null
  /** How many rows are read of a result. */
  readonly rowsMax: number
  readonly playback: Playback
  readonly prompt: Prompt | null
  readonly find: Find | null
  /** What a search that runs looks for and how far it is, or null. */
  readonly searching: string | null
  readonly message: { readonly text: string; readonly style: 'plain' | 'bad' } | null
  readonly help: boolean
}

export const rowsMaxFirst = 200
export const rowsMaxLast = 100_000

export type InitialState = {
  readonly identity: SessionIdentity
  readonly count: number
  readonly complete: boolean
  readonly selected: number
  readonly speed: number
}

export function initialState({ identity, count, complete, selected, speed }: InitialState): PlayerState {
  return {
    ...{ identity, count, complete },
    lastsMilliseconds: null,
    selected: Math.min(selected, count),
    top: 1,
    focus: 'list',
    detailTop: 0,
    sideways: 0,
    lines: new Map(),
    result: null,
    rowsMax: rowsMaxFirst,
    playback: { playing: false, speed, capsIdle: true, sinceMilliseconds: 0 },
    prompt: null,
    find: null,
    searching: null,
    message: null,
    help: false,
  }
}

/** Selects a statement, the nearest there is, and shows it from its beginning. */
export function select(state: PlayerState, number: number): PlayerState {
  const selected = Math.max(Math.min(1, state.count), Math.min(state.count, number))
  if (selected === state.selected) return state
  return {
    ...state,
    selected,
    detailTop: 0,
    sideways: 0,
    rowsMax: rowsMaxFirst,
    message: null,
    playback: { ...state.playback, sinceMilliseconds: 0 },
  }
}

/** Moves the list so that the selected statement is in it. */
export function scrolled(state: PlayerState, size: Size): PlayerState {
  const { listRows } = layoutOf(size, state.focus)
  const rows = Math.max(1, listRows)
  const topMax = Math.max(1, state.count - rows + 1)
  const top = Math.max(1, Math.min(topMax, Math.max(Math.min(state.top, state.selected), state.selected - rows + 1)))
  return top === state.top ? state : { ...state, top }
}

export function selectedLine(state: PlayerState): StatementLine | null {
  return state.lines.get(state.selected) ?? null
}
