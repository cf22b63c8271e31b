/**
 * Playback in session time: when the next statement is due, and what a step of the clock changes. Pure; the caller has the clock.
 */
import { select, selectedLine, type PlayerState } from './state.ts'
import type { StatementLine } from '../statement-line.ts'

export const idleMillisecondsMax = 2_000
export const speeds = [0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000] as const

/** The next faster (1) or slower (-1) of `speeds`. */
export function changedSpeed(speed: number, direction: 1 | -1): number {
  const next = direction === 1 ? speeds.find((candidate) => candidate > speed) : speeds.findLast((candidate) => candidate < speed)
  return next ?? speed
}

/** Session milliseconds from the start of `statement` to the start of the next as they are played. */
export function waitBetween(statement: StatementLine, next: StatementLine, capsIdle: boolean): number {
  const happened = Math.max(0, next.started - statement.started)
  if (!capsIdle) return happened
  const ran = Math.max(0, statement.finished - statement.started)
  return Math.min(happened, ran + idleMillisecondsMax)
}

/** True while the selected statement runs, in playback. */
export function isRunning(state: PlayerState): boolean {
  const statement = selectedLine(state)
  if (statement === null || !state.playback.playing) return false
  return state.playback.sinceMilliseconds < statement.finished - statement.started
}

/** Milliseconds since the session opened at which playback stands. */
export function clockOf(state: PlayerState): number {
  const statement = selectedLine(state)
  if (statement === null) return 0
  return statement.started - state.identity.opened + (state.playback.playing ? state.playback.sinceMilliseconds : 0)
}

/**
 * Lets `elapsedMilliseconds` of real time pass. Goes no further than the statements that are loaded; stops at the session's end,
 * and there waits for more while it is still being recorded.
 */
export function advance(state: PlayerState, elapsedMilliseconds: number): PlayerState {
  const { playback } = state
  if (!playback.playing) return state
  let now = state
  let since = playback.sinceMilliseconds + elapsedMilliseconds * playback.speed
  for (;;) {
    const statement = selectedLine(now)
    if (statement === null) {
      // A number whose statement has not ended yet is passed over, one that is not loaded waited for.
      if (!now.lines.has(now.selected) || now.selected >= now.count) break
      now = select(now, now.selected + 1)
      continue
    }
    if (now.selected >= now.count) {
      const ran = Math.max(0, statement.finished - statement.started)
      if (!now.complete || since < ran) break
      return { ...now, playback: { ...playback, playing: false, sinceMilliseconds: 0 } }
    }
    const next = nextLoaded(now)
    if (next === null) break
    const wait = waitBetween(statement, next, playback.capsIdle)
    if (since < wait) break
    since -= wait
    now = select(now, next.number)
  }
  return { ...now, playback: { ...playback, sinceMilliseconds: since } }
}

function nextLoaded({ lines, selected, count }: PlayerState): StatementLine | null {
  for (let number = selected + 1; number <= count; number++) {
    const statement = lines.get(number)
    if (statement === undefined) return null
    if (statement !== null) return statement
  }
  return null
}

/** Real milliseconds until something is due, or null while nothing is. */
export function untilDue(state: PlayerState): number | null {
  const statement = selectedLine(state)
  if (!state.playback.playing || statement === null) return null
  const { sinceMilliseconds, speed, capsIdle } = state.playback
  const next = nextLoaded(state)
  const ran = statement.finished - statement.started
  const due = next === null ? ran : waitBetween(statement, next, capsIdle)
  const nearest = sinceMilliseconds < ran ? Math.min(ran, due) : due
  return Math.max(0, nearest - sinceMilliseconds) / speed
}
