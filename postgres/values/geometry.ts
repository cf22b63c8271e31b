/** Geometric types: point, line, lseg, box, path, polygon, circle. */
import type { Context, Decoder } from './decoder.ts'
import { float8 } from './numbers.ts'
import { malformed, type Reader } from './reader.ts'

function number(reader: Reader, { settings }: Context): string {
  return float8(reader.float8(), settings.extraFloatDigits)
}

export const pointText: Decoder = (reader, context) => `(${number(reader, context)},${number(reader, context)})`

function points(reader: Reader, context: Context, count: number): string {
  if (count < 0 || count * 16 > reader.left) malformed('more points than bytes')
  const shown: string[] = []
  for (let index = 0; index < count; index++) shown.push(pointText(reader, context))
  return shown.join(',')
}

export const lsegText: Decoder = (reader, context) => `[${points(reader, context, 2)}]`
export const boxText: Decoder = (reader, context) => points(reader, context, 2)
export const polygonText: Decoder = (reader, context) => `(${points(reader, context, reader.int32())})`

export const pathText: Decoder = (reader, context) => {
  const closed = reader.uint8() !== 0
  const shown = points(reader, context, reader.int32())
  return closed ? `(${shown})` : `[${shown}]`
}

export const lineText: Decoder = (reader, context) => `{${number(reader, context)},${number(reader, context)},${number(reader, context)}}`

export const circleText: Decoder = (reader, context) => `<${pointText(reader, context)},${number(reader, context)}>`
