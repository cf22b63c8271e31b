/**
 * What a recording at level `statements` says in the place of a result's content: how many messages of which type, and of how many bytes,
 * went on to the agent and were not kept. `FORMAT.md` explains each byte.
 *
 * Knows the counts alone; nothing of what was left out can be told from it but its size.
 */
import { BadDocument } from './shape.ts'

/** Messages whose content is left out, by the letter that PostgreSQL gives each. */
export const leftOutMessages = { DataRow: 0x44, CopyData: 0x64, FunctionCallResponse: 0x56 } as const

/** One `leftOut` record. */
export type LeftOut = {
  /** The messages' type byte, one of `leftOutMessages`. */
  readonly type: number
  /** How many of them ended in what this record stands for; one that is longer than a read ends in a later record. */
  readonly messages: number
  /** Of the messages as they crossed the wire, heads included. */
  readonly bytes: number
}

export const leftOutBytes = 12

/** The payload of a `leftOut` record, written to `target` at `at`. `bytes` and `messages` are below 2^32: they count what one turn read. */
export function writeLeftOut(target: Buffer, at: number, { type, messages, bytes }: LeftOut): void {
  target.writeUInt32LE(type, at)
  target.writeUInt32LE(messages, at + 4)
  target.writeUInt32LE(bytes, at + 8)
}

const knownTypes: readonly number[] = Object.values(leftOutMessages)

/** @throws BadDocument for a payload that says nothing of this kind; bytes behind the counts are a later release's and pass */
export function readLeftOut(payload: Buffer): LeftOut {
  if (payload.length < leftOutBytes || !knownTypes.includes(payload.readUInt32LE(0)))
    throw new BadDocument('a left-out record says nothing that is understood')
  return { type: payload.readUInt32LE(0), messages: payload.readUInt32LE(4), bytes: payload.readUInt32LE(8) }
}
