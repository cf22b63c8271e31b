/**
 * Builds and reads frames for the tests of this folder; the reading asserts that they are well-formed.
 */
import assert from 'node:assert/strict'
import { headerBytes } from '../frame-header.ts'

export function frameOf(type: string, ...parts: (string | Buffer)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)))
  const head = Buffer.alloc(headerBytes)
  head.write(type, 'latin1')
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

export const query = (sql: string): Buffer => frameOf('Q', `${sql}\0`)
export const parse = (name: string, sql: string, types: readonly number[] = []): Buffer =>
  frameOf('P', `${name}\0${sql}\0`, uint16(types.length), ...types.map(uint32))
export function bind(statement: string, values: readonly (string | Buffer | null)[], formats: readonly number[] = [], portal = ''): Buffer {
  const parameters = values.flatMap((value) => {
    if (value === null) return [uint32(0xffffffff)]
    const bytes = Buffer.from(value)
    return [uint32(bytes.length), bytes]
  })
  return frameOf(
    'B',
    `${portal}\0${statement}\0`,
    uint16(formats.length),
    ...formats.map(uint16),
    uint16(values.length),
    ...parameters,
    uint16(1),
    uint16(1),
  )
}
export const response = (type: 'E' | 'N', fields: Readonly<Record<string, string>>): Buffer =>
  frameOf(type, ...Object.entries(fields).map(([letter, text]) => `${letter}${text}\0`), '\0')

export const reported = (name: string, value: string): Buffer => frameOf('S', `${name}\0${value}\0`)
export const notification = (channel: string, payload: string): Buffer => frameOf('A', uint32(77), `${channel}\0${payload}\0`)

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function bodyOf(frame: Buffer): Buffer {
  assert.equal(frame.readUInt32BE(1), frame.length - 1, 'the length is the frame’s own')
  return frame.subarray(headerBytes)
}

export function readQuery(frame: Buffer): string {
  const body = bodyOf(frame)
  assert.equal(body.indexOf(0), body.length - 1)
  return body.toString('latin1', 0, body.length - 1)
}

export function readParse(frame: Buffer): { name: string; sql: string; types: number[] } {
  const body = bodyOf(frame)
  const nameEnd = body.indexOf(0)
  const sqlEnd = body.indexOf(0, nameEnd + 1)
  const count = body.readUInt16BE(sqlEnd + 1)
  assert.equal(sqlEnd + 3 + 4 * count, body.length)
  const types = Array.from({ length: count }, (_, index) => body.readUInt32BE(sqlEnd + 3 + 4 * index))
  return { name: body.toString('latin1', 0, nameEnd), sql: body.toString('latin1', nameEnd + 1, sqlEnd), types }
}

export function readBind(frame: Buffer): { portal: string; statement: string; formats: number[]; values: (string | null)[] } {
  const body = bodyOf(frame)
  const portalEnd = body.indexOf(0)
  const statementEnd = body.indexOf(0, portalEnd + 1)
  let at = statementEnd + 1
  const next16 = (): number => body.readUInt16BE((at += 2) - 2)
  const formats = Array.from({ length: next16() }, next16)
  const values = Array.from({ length: next16() }, () => {
    const bytes = body.readInt32BE((at += 4) - 4)
    return bytes < 0 ? null : body.toString('latin1', at, (at += bytes))
  })
  const results = next16()
  assert.equal(at + 2 * results, body.length)
  return { portal: body.toString('latin1', 0, portalEnd), statement: body.toString('latin1', portalEnd + 1, statementEnd), formats, values }
}

export function readReported(frame: Buffer): { name: string; value: string } {
  const [name = '', value = '', ...rest] = bodyOf(frame).toString('latin1').split('\0')
  assert.deepEqual(rest, [''])
  return { name, value }
}

export function readNotification(frame: Buffer): { process: number; channel: string; payload: string } {
  const body = bodyOf(frame)
  const [channel = '', payload = '', ...rest] = body.toString('latin1', 4).split('\0')
  assert.deepEqual(rest, [''])
  return { process: body.readUInt32BE(0), channel, payload }
}

export function readResponse(frame: Buffer): Record<string, string> {
  const body = bodyOf(frame)
  assert.equal(body.at(-1), 0)
  const fields = body
    .toString('latin1', 0, body.length - 1)
    .split('\0')
    .slice(0, -1)
  return Object.fromEntries(fields.map((field) => [field[0]!, field.slice(1)]))
}
