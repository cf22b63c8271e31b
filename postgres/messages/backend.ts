/**
 * The bodies of the backend's messages that describe results and state: RowDescription, ParameterDescription, CommandComplete,
 * ParameterStatus, NotificationResponse.
 *
 * Never throws: of a malformed or partly held body it gives what could be read.
 * Source: PostgreSQL documentation, "Message Formats".
 */
import type { Column } from '../statement.ts'
import { BodyReader } from './body-reader.ts'
import { decodeText, type TextEncoding } from './text-encoding.ts'

export type Notification = { readonly processId: number; readonly channel: string; readonly payload: string }

export function decodeRowDescription(encoding: TextEncoding, bytes: Buffer, start: number, end: number): Column[] {
  const reader = new BodyReader(bytes, start, end)
  const columns: Column[] = []
  for (let count = reader.uint16(); count > 0 && !reader.short; count--) {
    const nameStart = reader.at
    const nameEnd = reader.textEnd()
    reader.uint32() // The table's OID
    reader.int16() // The column's number in the table
    const typeOid = reader.uint32()
    reader.int16() // The type's length, which the OID implies
    const typeModifier = reader.int32()
    const format = reader.int16() === 1 ? 'binary' : 'text'
    if (!reader.short) columns.push({ name: decodeText(encoding, bytes, nameStart, nameEnd), typeOid, typeModifier, format })
  }
  return columns
}

export function decodeParameterDescription(bytes: Buffer, start: number, end: number): number[] {
  const reader = new BodyReader(bytes, start, end)
  const types: number[] = []
  for (let count = reader.uint16(); count > 0 && !reader.short; count--) {
    const oid = reader.uint32()
    if (!reader.short) types.push(oid)
  }
  return types
}

/** A body that is one zero-terminated text: CommandComplete's tag. */
export function decodeTag(bytes: Buffer, start: number, end: number): string {
  const last = end > start && bytes[end - 1] === 0 ? end - 1 : end
  return bytes.toString('latin1', start, last)
}

export function decodeParameterStatus(encoding: TextEncoding, bytes: Buffer, start: number, end: number): [name: string, value: string] {
  const reader = new BodyReader(bytes, start, end)
  const nameEnd = reader.textEnd()
  const valueStart = reader.at
  const valueEnd = reader.textEnd()
  return [decodeText(encoding, bytes, start, nameEnd), decodeText(encoding, bytes, valueStart, valueEnd)]
}

export function decodeNotification(encoding: TextEncoding, bytes: Buffer, start: number, end: number): Notification {
  const reader = new BodyReader(bytes, start, end)
  const processId = reader.int32()
  const channelStart = reader.at
  const channelEnd = reader.textEnd()
  const payloadStart = reader.at
  const payloadEnd = reader.textEnd()
  return {
    processId,
    channel: decodeText(encoding, bytes, channelStart, channelEnd),
    payload: decodeText(encoding, bytes, payloadStart, payloadEnd),
  }
}

/** The columns of an execution: as described, in the formats that its Bind asked for (none: text; one: for all). */
export function withResultFormats(columns: readonly Column[], resultFormats: readonly number[]): readonly Column[] {
  return columns.map((column, index) => {
    const code = resultFormats.length === 1 ? resultFormats[0] : resultFormats[index]
    const format = code === 1 ? 'binary' : 'text'
    return column.format === format ? column : { ...column, format }
  })
}
