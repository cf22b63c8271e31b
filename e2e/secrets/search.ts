/**
 * Looks for secrets in everything that a run left behind, in each form in which one could lie there.
 *
 * Segments are searched as they are and unpacked; records also joined per session and side, so that a secret cut by two records is found.
 */
import { readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { BadRecord, decodeRecord, recordHeaderBytes, recordType } from '../../session/records.ts'
import { openSegment } from '../../session/segment.ts'

export type Place = { readonly name: string; readonly bytes: Buffer }
export type Secrets = ReadonlyMap<string, string | Buffer>

/** The byte strings that `secret` would show as. */
export function formsOf(secret: string | Buffer): ReadonlyMap<string, Buffer> {
  const raw = Buffer.isBuffer(secret) ? secret : Buffer.from(secret, 'utf8')
  const forms = new Map<string, Buffer>([['raw', raw]])
  const hex = raw.toString('hex')
  forms.set('hex', Buffer.from(hex))
  forms.set('HEX', Buffer.from(hex.toUpperCase()))
  // What base64 makes of it depends on how many bytes stand before; the characters that it shares with its neighbours are left out.
  for (let before = 0; before < 3; before++) {
    for (const encoding of ['base64', 'base64url'] as const) {
      const text = Buffer.concat([Buffer.alloc(before), raw])
        .toString(encoding)
        .replace(/=+$/, '')
      const whole = Math.floor(((before + raw.length) * 8) / 6)
      const inner = text.slice(Math.ceil((before * 8) / 6), whole)
      if (inner.length >= 5) forms.set(`${encoding} behind ${before}`, Buffer.from(inner))
    }
  }
  if (!Buffer.isBuffer(secret)) {
    forms.set('latin1', Buffer.from(secret, 'latin1'))
    const wide = Buffer.from(secret, 'utf16le')
    forms.set('utf16le', wide)
    forms.set('utf16be', Buffer.from(wide).swap16())
    forms.set('URL', Buffer.from(encodeURIComponent(secret)))
    forms.set('JSON', Buffer.from(JSON.stringify(secret).slice(1, -1)))
  }
  const seen = new Set<string>()
  // Of equal ones the first: a pass over everything is not cheap.
  return new Map([...forms].filter(([, needle]) => !seen.has(needle.toString('hex')) && seen.add(needle.toString('hex'))))
}

/** One line for each secret, form and place where it is. */
export function findSecrets(given: readonly Place[], secrets: Secrets): string[] {
  const found: string[] = []
  const places = given.filter(({ bytes }, index) => given.findIndex((other) => other.bytes.equals(bytes)) === index)
  for (const [what, secret] of secrets) {
    for (const [form, needle] of formsOf(secret)) {
      for (const { name, bytes } of places) {
        const at = bytes.indexOf(needle)
        if (at >= 0)
          found.push(
            `${what} (${form}) in ${name} at ${at}: ${JSON.stringify(bytes.toString('latin1', Math.max(0, at - 40), at + needle.length + 20))}`,
          )
      }
    }
  }
  return found
}

/** Every file below `folder`, what segments hold, and what the records of a spool or segment say on end. */
export async function placesIn(folder: string): Promise<Place[]> {
  const places: Place[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const name = path.join(entry.parentPath, entry.name)
    const bytes = await readFile(name)
    places.push({ name, bytes })
    if (name.endsWith('.steno')) {
      const { body } = openSegment(bytes)
      places.push({ name: `${name} (unpacked)`, bytes: body }, ...joined(name, body))
    } else if (name.includes('spool')) places.push(...joined(name, bytes))
  }
  return places
}

/** Of everything that is a sound record. */
function joined(name: string, bytes: Buffer): Place[] {
  const parts = new Map<string, Buffer[]>()
  const types: readonly number[] = Object.values(recordType)
  // A spool file may begin with a head and end in room to come; where records begin is found by trying.
  for (let at = 0; at + recordHeaderBytes <= bytes.length;) {
    if (!types.includes(bytes[at + 8]!) || at + recordHeaderBytes + bytes.readUInt32LE(at + 4) > bytes.length) {
      at++
      continue
    }
    try {
      const { session, type, payload } = decodeRecord(bytes, at)
      const key = `${name} (session ${session}, records of type ${type})`
      parts.set(key, [...(parts.get(key) ?? []), payload])
      at += recordHeaderBytes + payload.length
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error
      at++
    }
  }
  return Array.from(parts, ([key, payloads]) => ({ name: key, bytes: Buffer.concat(payloads) }))
}

/** How the process was started, as everybody on the machine may read it. The environment is its owner's alone. */
export function processArguments(pid: number): Place {
  return { name: '/proc/PID/cmdline', bytes: readFileSync(`/proc/${pid}/cmdline`) }
}
