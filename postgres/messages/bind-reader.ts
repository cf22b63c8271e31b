/**
 * Reads a Bind message that is too long to be held, from its parts as they come: of each value only the kept head is copied.
 *
 * Gives what `decodeBind` would give if it held all. Memory is bounded by `parametersMax` times `parameterBytesMax`, which `ValueLimits` may
 * lower meanwhile.
 */
import { boundParameter, nameBytesMax, type BindMessage, type BoundParameter, type ValueLimits } from './frontend.ts'
import { decodeText, type TextEncoding } from './text-encoding.ts'

export type BindReader = {
  push(bytes: Buffer, start: number, end: number): void
  /** Characters and bytes that are held. */
  readonly weight: number
  /** The message, once its last part was pushed. */
  finish(): BindMessage
}

type Stage = 'portal' | 'statement' | 'formatCount' | 'formats' | 'count' | 'length' | 'value' | 'resultCount' | 'resultFormats' | 'end'

export function createBindReader(encoding: TextEncoding, limits: ValueLimits): BindReader {
  const { parameterBytesMax } = limits
  let stage: Stage = 'portal'
  const names = { portal: '', statement: '' }
  const formats: number[] = []
  const resultFormats: number[] = []
  const parameters: BoundParameter[] = []
  let isTooLong = false
  let weight = 0
  /** Of a name or value: its kept head, and how much of it there is. */
  const head = Buffer.alloc(Math.max(nameBytesMax, parameterBytesMax))
  let headBytes = 0
  /** Of a number: what came of it. */
  let number = 0
  let numberBytes = 0
  /** Elements of the present list that are still to come, and the index of the next. */
  let left = 0
  let index = 0
  let valueBytes = 0
  let valueLeft = 0

  function enter(next: Stage): void {
    stage = next
    number = 0
    numberBytes = 0
    headBytes = 0
  }

  function name(which: 'portal' | 'statement', byte: number): void {
    if (byte !== 0) {
      if (headBytes < nameBytesMax) head[headBytes++] = byte
      return
    }
    names[which] = decodeText(encoding, head, 0, headBytes)
    enter(which === 'portal' ? 'statement' : 'formatCount')
  }

  function startList(count: number, element: Stage, behind: Stage): void {
    left = count
    index = 0
    enter(count > 0 ? element : behind)
  }

  /** An element of a list is done. */
  function nextElement(element: Stage, behind: Stage): void {
    index++
    enter(--left > 0 ? element : behind)
  }

  function keepValue(): void {
    const isBinary = (formats.length === 1 ? formats[0] : formats[index]) === 1
    if (parameters.length < limits.parametersMax) {
      const parameter = boundParameter(encoding, isBinary, valueBytes, head, 0, headBytes)
      parameters.push(parameter)
      weight += 64 + (parameter.value?.length ?? 0)
    }
    nextElement('length', 'resultCount')
  }

  /** A number of the present stage is whole. */
  function takeNumber(value: number): void {
    switch (stage) {
      case 'formatCount':
        startList(value, 'formats', 'count')
        return
      case 'formats':
        formats.push(value)
        nextElement('formats', 'count')
        return
      case 'count':
        startList(value, 'length', 'resultCount')
        return
      case 'length':
        valueBytes = value | 0
        if (valueBytes <= 0) {
          headBytes = 0
          keepValue()
          return
        }
        valueLeft = valueBytes
        enter('value')
        return
      case 'resultCount':
        startList(value, 'resultFormats', 'end')
        return
      case 'resultFormats':
        resultFormats.push((value << 16) >> 16)
        nextElement('resultFormats', 'end')
        return
      default:
        isTooLong = true
    }
  }

  /** Takes value bytes from `at`; gives the offset behind them. */
  function takeValue(bytes: Buffer, at: number, end: number): number {
    const to = Math.min(end, at + valueLeft)
    headBytes += bytes.copy(head, headBytes, at, Math.min(to, at + parameterBytesMax - headBytes))
    valueLeft -= to - at
    if (valueLeft === 0) keepValue()
    return to
  }

  return {
    push(bytes, start, end) {
      for (let at = start; at < end;) {
        if (stage === 'value') {
          at = takeValue(bytes, at, end)
          continue
        }
        if (stage === 'end') {
          isTooLong = true
          return
        }
        const byte = bytes[at++]!
        if (stage === 'portal' || stage === 'statement') name(stage, byte)
        else {
          number = (number << 8) | byte
          numberBytes++
          if (numberBytes === (stage === 'length' ? 4 : 2)) takeNumber(number)
        }
      }
    },
    get weight() {
      return weight
    },
    finish() {
      if (stage === 'value') {
        valueLeft = 0
        keepValue()
        isTooLong = true
      }
      return { ...names, parameters, resultFormats, malformed: isTooLong || stage !== 'end' }
    },
  }
}
