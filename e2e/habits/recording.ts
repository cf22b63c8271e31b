/** A store with sessions in it, made without a server: what a person's habits are tried on. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sealCaptured } from '../../cli/test-capture.ts'
import { recordType } from '../../session/records.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'

export type Recording = Disposable & { readonly folder: string; readonly storeUrl: string; readonly sessions: readonly string[] }

const frame = (type: string, body: string): Buffer => {
  const bytes = Buffer.from(`${type}\0\0\0\0${body}`, 'latin1')
  bytes.writeInt32BE(bytes.length - 1, 1)
  return bytes
}

/** Each session says `select 1` as often as asked, and fails once. */
export async function recordSessions({
  sessions,
  statements,
}: {
  readonly sessions: number
  readonly statements: number
}): Promise<Recording> {
  const folder = mkdtempSync(join(tmpdir(), 'steno-habits-'))
  const store = openDirectoryStore(join(folder, 'store'))
  const pieces: { type: number; payload: Buffer }[] = []
  const say = (sql: string, answer: readonly (readonly [string, string])[]): void => {
    pieces.push({ type: recordType.frontend, payload: frame('Q', `${sql}\0`) })
    pieces.push({ type: recordType.backend, payload: Buffer.concat(answer.map(([type, body]) => frame(type, body))) })
  }
  for (let number = 1; number <= statements; number++) {
    say(`select ${number}`, [
      ['C', 'SELECT 1\0'],
      ['Z', 'I'],
    ])
  }
  say('selec', [
    ['E', 'SERROR\0VERROR\0C42601\0Msyntax error at or near "selec"\0P1\0\0'],
    ['Z', 'I'],
  ])
  const made: string[] = []
  for (let seed = 1; seed <= sessions; seed++)
    made.push(await sealCaptured(store, { serverParameters: {}, pieces }, seed, { manifest: true }))
  return { folder, storeUrl: store.url, sessions: made, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}
