/**
 * What each key does: from a state and a key to the next state, and to what has to be done outside (read, search, end). Pure.
 */
import { detailOf } from './detail-view.ts'
import type { Key } from './keys.ts'
import { layoutOf, type Size } from './layout.ts'
import { changedSpeed } from './playback.ts'
import { readSessionTime } from './session-time.ts'
import { rowsMaxLast, scrolled, select, selectedLine, type Find, type PlayerState, type PromptKind } from './state.ts'

export type Effect =
  | { readonly kind: 'quit' | 'suspend' | 'redraw' | 'stopSearching' }
  | { readonly kind: 'search'; readonly find: Find; readonly direction: 1 | -1 }
  /** Milliseconds since the session opened. */
  | { readonly kind: 'goToTime'; readonly milliseconds: number }

export type Pressed = { readonly state: PlayerState; readonly effect: Effect | null }

const sidewaysCells = 8
const rowsFactor = 5
const promptCharactersMax = 200

const stays = (state: PlayerState): Pressed => ({ state, effect: null })
const says = (state: PlayerState, text: string, style: 'plain' | 'bad' = 'bad'): Pressed => stays({ ...state, message: { text, style } })

export function press(state: PlayerState, key: Key, size: Size): Pressed {
  if (key.kind === 'interrupt' || key.kind === 'endOfInput') return { state, effect: { kind: 'quit' } }
  if (key.kind === 'suspend' || key.kind === 'redraw') return { state, effect: { kind: key.kind } }
  if (state.prompt !== null) return typeInto(state, key, size)
  if (state.help) return key.kind === 'text' && key.text === 'q' ? { state, effect: { kind: 'quit' } } : stays({ ...state, help: false })
  const pressed = key.kind === 'text' ? pressCharacter(state, key.text, size) : pressNamed(state, key.kind, size)
  return { ...pressed, state: scrolled(pressed.state, size) }
}

function pressNamed(state: PlayerState, kind: Exclude<Key['kind'], 'text'>, size: Size): Pressed {
  const { listRows, detailRows } = layoutOf(size, state.focus)
  const page = Math.max(1, (state.focus === 'list' ? listRows : detailRows) - 1)
  switch (kind) {
    case 'up':
      return move(state, -1, size)
    case 'down':
      return move(state, 1, size)
    case 'pageUp':
      return move(state, -page, size)
    case 'pageDown':
      return move(state, page, size)
    case 'home':
      return move(state, -Infinity, size)
    case 'end':
      return move(state, Infinity, size)
    case 'left':
      return sideways(state, -sidewaysCells, size)
    case 'right':
      return sideways(state, sidewaysCells, size)
    case 'tab':
    case 'enter':
      return stays({ ...state, focus: state.focus === 'list' ? 'detail' : 'list' })
    case 'escape': {
      if (state.searching !== null) return { state: { ...state, searching: null }, effect: { kind: 'stopSearching' } }
      if (state.focus === 'detail') return stays({ ...state, focus: 'list' })
      return stays({ ...state, message: null, find: null })
    }
    default:
      return stays(state)
  }
}

const prompts: Readonly<Record<string, PromptKind>> = { '/': 'search', t: 'table', g: 'time', ':': 'statement' }

function pressCharacter(state: PlayerState, character: string, size: Size): Pressed {
  const prompt = prompts[character]
  if (prompt !== undefined) return stays({ ...state, prompt: { kind: prompt, text: '' }, message: null })
  switch (character) {
    case 'q':
      return { state, effect: { kind: 'quit' } }
    case '?':
      return stays({ ...state, help: true })
    case 'j':
      return move(state, 1, size)
    case 'k':
      return move(state, -1, size)
    case 'h':
      return sideways(state, -sidewaysCells, size)
    case 'l':
      return sideways(state, sidewaysCells, size)
    case 'r':
      return stays(state.selected === 0 ? state : scrollDetail(state, detailOf(state, size.columns).resultAt, size))
    case ' ':
      return togglePlaying(state)
    case '+':
    case '=':
      return withSpeed(state, 1)
    case '-':
    case '_':
      return withSpeed(state, -1)
    case 'i':
      return stays({ ...state, playback: { ...state.playback, capsIdle: !state.playback.capsIdle } })
    case 'f':
      return searchFor(state, { kind: 'failure' }, 1)
    case 'F':
      return searchFor(state, { kind: 'failure' }, -1)
    case 'n':
    case 'N':
      return state.find === null
        ? says(state, 'Nothing was searched for yet: / searches, t finds a table, f a failure.')
        : searchFor(state, state.find, character === 'n' ? 1 : -1)
    case 'm':
      return moreRows(state)
    default:
      return says(state, 'No key does that; ? lists them.', 'plain')
  }
}

function move(state: PlayerState, by: number, size: Size): Pressed {
  if (state.focus === 'detail') return stays(scrollDetail(state, state.detailTop + by, size))
  return stays(select({ ...state, message: null }, by === -Infinity ? 1 : by === Infinity ? state.count : state.selected + by))
}

function scrollDetail(state: PlayerState, to: number, size: Size): PlayerState {
  const { detailRows } = layoutOf(size, state.focus)
  const last = Math.max(0, detailOf(state, size.columns).lines.length - detailRows)
  return { ...state, detailTop: Math.max(0, Math.min(last, to)) }
}

function sideways(state: PlayerState, by: number, size: Size): Pressed {
  const last = Math.max(0, detailOf(state, size.columns).cells - size.columns)
  return stays({ ...state, sideways: Math.max(0, Math.min(last, state.sideways + by)) })
}

function togglePlaying(state: PlayerState): Pressed {
  const { playback } = state
  if (playback.playing) return stays({ ...state, playback: { ...playback, playing: false, sinceMilliseconds: 0 } })
  // At the end there is nothing left to play, so it plays again from the start.
  const begun = state.complete && state.selected >= state.count ? select(state, 1) : state
  return stays({ ...begun, message: null, playback: { ...playback, playing: state.count > 0, sinceMilliseconds: 0 } })
}

function withSpeed(state: PlayerState, direction: 1 | -1): Pressed {
  return stays({ ...state, playback: { ...state.playback, speed: changedSpeed(state.playback.speed, direction) } })
}

function searchFor(state: PlayerState, find: Find, direction: 1 | -1): Pressed {
  const searching = { failure: 'a failure', text: 'the text', table: 'the table' }[find.kind]
  return { state: { ...state, find, searching, message: null }, effect: { kind: 'search', find, direction } }
}

function moreRows(state: PlayerState): Pressed {
  const statement = selectedLine(state)
  if (statement === null || statement.rows <= state.rowsMax) return says(state, 'There are no more rows to read.', 'plain')
  return stays({ ...state, rowsMax: Math.min(rowsMaxLast, state.rowsMax * rowsFactor) })
}

function typeInto(state: PlayerState, key: Key, size: Size): Pressed {
  const prompt = state.prompt!
  switch (key.kind) {
    case 'text':
      return stays({ ...state, prompt: { ...prompt, text: `${prompt.text}${key.text}`.slice(0, promptCharactersMax) } })
    case 'backspace':
      return stays({ ...state, prompt: prompt.text === '' ? null : { ...prompt, text: Array.from(prompt.text).slice(0, -1).join('') } })
    case 'clearLine':
      return stays({ ...state, prompt: { ...prompt, text: '' } })
    case 'escape':
      return stays({ ...state, prompt: null })
    case 'enter': {
      const pressed = answered({ ...state, prompt: null }, prompt.kind, prompt.text.trim())
      return { ...pressed, state: scrolled(pressed.state, size) }
    }
    default:
      return stays(state)
  }
}

function answered(state: PlayerState, kind: PromptKind, text: string): Pressed {
  if (text === '') return stays(state)
  switch (kind) {
    case 'search':
      return searchFor(state, { kind: 'text', text }, 1)
    case 'table':
      return searchFor(state, { kind: 'table', name: text }, 1)
    case 'time': {
      const milliseconds = readSessionTime(text, state.identity.opened)
      if (milliseconds === null) return says(state, 'A time is 90 or +1.5 (seconds), 1:30, 1:02:03, or 2026-11-21 09:00:00 in UTC.')
      return { state, effect: { kind: 'goToTime', milliseconds } }
    }
    case 'statement': {
      const number = /^\d{1,15}$/.test(text) ? Number(text) : 0
      if (number < 1 || number > state.count) return says(state, `Statements have the numbers 1 to ${state.count}.`)
      return stays(select({ ...state, message: null }, number))
    }
    default:
      return kind satisfies never
  }
}
