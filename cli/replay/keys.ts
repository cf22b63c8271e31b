/**
 * From the bytes that a terminal sends to named keys.
 *
 * Knows the sequences of xterm and its kin, of the Linux console and of rxvt; any other sequence is passed over whole, so
 * that its tail is never taken for typed text. A lone escape is one only when nothing follows at once: `flush` says so.
 */

export type Key =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind:
        | 'up'
        | 'down'
        | 'left'
        | 'right'
        | 'pageUp'
        | 'pageDown'
        | 'home'
        | 'end'
        | 'enter'
        | 'tab'
        | 'backspace'
        | 'escape'
        | 'interrupt'
        | 'suspend'
        | 'endOfInput'
        | 'clearLine'
        | 'redraw'
    }

type NamedKey = Exclude<Key['kind'], 'text'>

const controls: Readonly<Record<string, NamedKey>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\t': 'tab',
  '\x7f': 'backspace',
  '\b': 'backspace',
  '\x03': 'interrupt',
  '\x04': 'endOfInput',
  '\x1a': 'suspend',
  '\x15': 'clearLine',
  '\x0c': 'redraw',
}

/** Behind `ESC [` or `ESC O`. */
const sequences: Readonly<Record<string, NamedKey>> = {
  A: 'up',
  B: 'down',
  C: 'right',
  D: 'left',
  H: 'home',
  F: 'end',
  '1~': 'home',
  '7~': 'home',
  '4~': 'end',
  '8~': 'end',
  '5~': 'pageUp',
  '6~': 'pageDown',
}

const escape = '\x1b'
const sequence = /^\x1b(?:\[([0-?]*[ -/]*[@-~])|O([ -~]))/
const unfinished = /^\x1b(?:\[[0-?]*[ -/]*|O)?$/
/** A sequence that never ends is no sequence. */
const unfinishedCharactersMax = 32

export function createKeyReader() {
  let held = ''
  const decoder = new TextDecoder('utf-8')

  function read(): Key[] {
    const keys: Key[] = []
    while (held !== '') {
      if (!held.startsWith(escape)) {
        const text = /^[^\x00-\x1f\x7f]+/.exec(held)?.[0]
        const kind = controls[held[0]!]
        if (text !== undefined) for (const character of text) keys.push({ kind: 'text', text: character })
        else if (kind !== undefined) keys.push({ kind })
        held = held.slice(text?.length ?? 1)
        continue
      }
      const found = sequence.exec(held)
      if (found !== null) {
        const kind = sequences[found[1] ?? found[2] ?? '']
        if (kind !== undefined) keys.push({ kind })
        held = held.slice(found[0].length)
      } else if (unfinished.test(held) && held.length < unfinishedCharactersMax) return keys
      else {
        // Escape and then something typed: two keys.
        keys.push({ kind: 'escape' })
        held = held.slice(1)
      }
    }
    return keys
  }

  return {
    /** The keys that are whole; the beginning of a sequence waits for its rest. */
    push(bytes: Buffer): Key[] {
      held += decoder.decode(bytes, { stream: true })
      return read()
    },
    /** True while an escape waits to become a sequence. */
    get waiting(): boolean {
      return held !== ''
    },
    /** Nothing more came in time: what waits was the escape key. */
    flush(): Key[] {
      if (held === '') return []
      held = ''
      return [{ kind: 'escape' }]
    },
  }
}
