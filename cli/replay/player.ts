/**
 * The full-screen player: keys and time change the state, the state says what to read and what to draw.
 *
 * All that is decided is in pure modules (`press.ts`, `playback.ts`, `screen.ts`); this one holds the present state, reads what
 * the screen needs and has not, one thing at a time, and gives the terminal back however it ends.
 */
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../base/errors.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import type { Store } from '../../session/stores/store.ts'
import type { StatementLine } from '../statement-line.ts'
import { findStatement } from './find-statement.ts'
import { createKeyReader, type Key } from './keys.ts'
import { layoutOf } from './layout.ts'
import { marksFor } from './marks.ts'
import { createPainter } from './paint.ts'
import { advance, untilDue } from './playback.ts'
import { press, type Effect } from './press.ts'
import { screenOf } from './screen.ts'
import { createSettingsHistory } from './settings-history.ts'
import { initialState, scrolled, select, selectedLine, type PlayerState } from './state.ts'
import type { StatementList } from './statement-list.ts'
import { createResultReader, type StatementResult } from './statement-result.ts'
import { openTerminal, type TerminalInput, type TerminalOutput } from './terminal.ts'

/** An escape that nothing follows so soon was the key. */
const escapeMilliseconds = 50
/** The clock on the screen moves so often. */
const tickMillisecondsMax = 100
/** How often a session that is still being recorded is asked for more. */
const followMilliseconds = 1_000
/** Lines that are loaded beyond the screen while it plays. */
const linesAhead = 500
/** While it plays, a statement that is passed sooner is not read. */
const restMilliseconds = 20

export type PlayerOptions = {
  readonly store: Store
  readonly identity: SessionIdentity
  readonly statements: StatementList
  readonly from: number
  readonly speed: number
  readonly input: TerminalInput
  readonly output: TerminalOutput
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Returns the exit code: 0 after `q`, 128 and the signal's number after a signal. @throws StoreUnavailable, RecordingDamaged */
export async function runPlayer(options: PlayerOptions): Promise<number> {
  const { store, identity, statements, from, speed, input, output, environment } = options
  const marks = marksFor(environment)
  const painter = createPainter({ colours: (environment['NO_COLOR'] ?? '') === '' })
  const results = createResultReader({
    ...{ store, identity, statements },
    settings: createSettingsHistory(store, identity.session, identity.serverParameters),
  })
  const keys = createKeyReader()
  const ended = Promise.withResolvers<number>()
  const ending = new AbortController()
  let state = initialState({ identity, count: statements.count, complete: statements.complete, selected: from, speed })
  let drawing: NodeJS.Immediate | null = null
  let escapeTimer: NodeJS.Timeout | null = null
  let playTimer: NodeJS.Timeout | null = null
  let playedAt = 0
  let searching = new AbortController()

  const terminal = openTerminal(input, output, {
    onBytes(bytes) {
      if (escapeTimer !== null) clearTimeout(escapeTimer)
      pressAll(keys.push(bytes))
      escapeTimer = keys.waiting ? setTimeout(() => pressAll(keys.flush()), escapeMilliseconds) : null
    },
    onResize() {
      painter.forget()
      change(scrolled(state, terminal.size))
      // A larger window shows more of a state that is the same.
      lineLoader.wake()
      draw()
    },
    onReady: draw,
    onReturn() {
      painter.forget()
      draw()
    },
    onEnd: (signal) => ended.resolve(signal === null ? 0 : 128 + constants.signals[signal]),
  })

  function draw(): void {
    drawing ??= setImmediate(() => {
      drawing = null
      // A slow terminal gets the latest screen when it has taken the last, not all between.
      if (ending.signal.aborted || !terminal.ready) return
      const { size } = terminal
      terminal.write(painter.paint(screenOf(state, size, marks), size.columns))
    })
  }

  function change(next: PlayerState): void {
    if (next === state) return
    state = next
    draw()
    lineLoader.wake()
    resultLoader.wake()
    schedulePlayback()
  }

  function pressAll(pressed: readonly Key[]): void {
    for (const key of pressed) {
      const before = state.playback.playing
      const { state: next, effect } = press(state, key, terminal.size)
      if (next.playback.playing && !before) playedAt = performance.now()
      change(next)
      if (effect !== null) take(effect)
    }
  }

  function take(effect: Effect): void {
    switch (effect.kind) {
      case 'quit':
        ended.resolve(0)
        return
      case 'suspend':
        terminal.suspend()
        return
      case 'redraw':
        painter.forget()
        draw()
        return
      case 'stopSearching':
        searching.abort()
        return
      case 'search':
        search(
          (signal) => findStatement(statements, effect.find, { from: state.selected, direction: effect.direction, signal }),
          () => (effect.direction === 1 ? 'Nothing further on.' : 'Nothing before this.'),
        )
        return
      case 'goToTime':
        search(
          () => statementAt(effect.milliseconds),
          () => 'There is no statement.',
        )
        return
      default:
        effect satisfies never
    }
  }

  /** A search that begins ends the one before. */
  function search(run: (signal: AbortSignal) => Promise<number | null>, nothing: () => string): void {
    searching.abort()
    const own = new AbortController()
    searching = own
    const finish = (next: PlayerState): void => {
      if (searching === own && !own.signal.aborted) change({ ...next, searching: null })
    }
    run(AbortSignal.any([own.signal, ending.signal])).then(
      (number) =>
        finish(
          number === null
            ? { ...state, message: { text: nothing(), style: 'bad' } }
            : scrolled(select({ ...state, message: null }, number), terminal.size),
        ),
      (error: unknown) => finish({ ...state, message: { text: `The search ended: ${messageOf(error)}`, style: 'bad' } }),
    )
  }

  /** The last statement that had started by then; the first when none had. */
  async function statementAt(milliseconds: number): Promise<number> {
    let low = 1
    let high = statements.count
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      const statement = await nearest(middle, low)
      if (statement === null || statement.started - identity.opened > milliseconds) high = middle - 1
      else low = middle
    }
    return low
  }

  /** The statement of this number, or of the next lower one that has ended. */
  async function nearest(number: number, lowest: number): Promise<StatementLine | null> {
    for (let at = number; at >= lowest; at--) {
      const statement = await statements.statement(at)
      if (statement !== null) return statement
    }
    return null
  }

  const lineLoader = createLoader(async () => {
    const wanted = wantedNumbers(state, layoutOf(terminal.size, 'list').listRows)
    if (wanted.every((number) => state.lines.has(number))) return false
    const lines = new Map<number, StatementLine | null>()
    for (const number of wanted) lines.set(number, state.lines.get(number) ?? (await statements.statement(number)))
    change({ ...state, lines })
    return true
  })

  const resultLoader = createLoader(async () => {
    const statement = selectedLine(state)
    const { rowsMax } = state
    const has = state.result
    if (statement === null || (has?.number === statement.number && has.rowsMax === rowsMax && has.kind !== 'early')) return false
    if (state.playback.playing) await sleep(restMilliseconds, undefined, { signal: ending.signal })
    const stale = new AbortController()
    const watch = (): void => {
      if (state.selected !== statement.number || state.rowsMax !== rowsMax) stale.abort()
    }
    watchers.add(watch)
    watch()
    try {
      const signal = AbortSignal.any([stale.signal, ending.signal])
      const shows = (kind: 'read' | 'early', result: StatementResult): void => {
        if (!signal.aborted) change({ ...state, result: { kind, number: statement.number, rowsMax, result } })
      }
      shows('read', await results.read(statement, { rowsMax, signal, onEarly: (result) => shows('early', result) }))
    } catch (error) {
      if (stale.signal.aborted) return true
      if (ending.signal.aborted) return false
      change({ ...state, result: { kind: 'failed', number: statement.number, rowsMax, reason: messageOf(error) } })
    } finally {
      watchers.delete(watch)
    }
    return true
  })
  const watchers = new Set<() => void>()

  /** Runs `step` whenever woken, one at a time, until it says that nothing is left to do. */
  function createLoader(step: () => Promise<boolean>): { wake(): void } {
    let running = false
    let again = false
    return {
      wake() {
        for (const watch of watchers) watch()
        again = true
        if (running) return
        running = true
        run().catch((error: unknown) => (ending.signal.aborted ? undefined : ended.reject(error)))
      },
    }

    async function run(): Promise<void> {
      try {
        while (again && !ending.signal.aborted) {
          again = false
          if (await step()) again = true
        }
      } finally {
        // At once: a wake between the last look at `again` and this would be lost.
        running = false
      }
    }
  }

  function schedulePlayback(): void {
    if (playTimer !== null || !state.playback.playing) return
    const wait = Math.min(tickMillisecondsMax, untilDue(state) ?? tickMillisecondsMax)
    playTimer = setTimeout(() => {
      playTimer = null
      const now = performance.now()
      const elapsed = now - playedAt
      playedAt = now
      change(scrolled(advance(state, elapsed), terminal.size))
      schedulePlayback()
    }, wait)
  }

  async function follow(): Promise<void> {
    while (!statements.complete) {
      await sleep(followMilliseconds, undefined, { signal: ending.signal })
      try {
        if (!(await statements.refresh())) continue
      } catch (error) {
        change({ ...state, message: { text: `What was recorded since cannot be read: ${messageOf(error)}`, style: 'bad' } })
        continue
      }
      const { count, complete } = statements
      // A number that had no statement may have one now.
      const lines = new Map([...state.lines].filter(([, line]) => line !== null))
      change({ ...state, count, complete, lines, selected: Math.max(state.selected, Math.min(1, count)) })
      await findLength()
    }
  }

  async function findLength(): Promise<void> {
    const last = await nearest(statements.count, 1)
    if (last !== null) change({ ...state, lastsMilliseconds: last.finished - identity.opened })
  }

  terminal.enter()
  try {
    change(scrolled({ ...state }, terminal.size))
    const background = findLength().then(follow)
    background.catch((error: unknown) => (ending.signal.aborted ? undefined : ended.reject(error)))
    return await ended.promise
  } finally {
    ending.abort()
    searching.abort()
    if (escapeTimer !== null) clearTimeout(escapeTimer)
    if (playTimer !== null) clearTimeout(playTimer)
    if (drawing !== null) clearImmediate(drawing)
    terminal.leave()
  }
}

/** The numbers whose lines the screen shows, and while it plays those that come soon. */
function wantedNumbers({ top, selected, count, playback }: PlayerState, listRows: number): number[] {
  const numbers = new Set<number>()
  const add = (from: number, to: number): void => {
    for (let number = Math.max(1, from); number <= Math.min(count, to); number++) numbers.add(number)
  }
  // A transaction's bracket is told by the statement behind it.
  add(top, top + Math.max(1, listRows))
  add(selected, selected + (playback.playing ? linesAhead : 1))
  return [...numbers]
}
