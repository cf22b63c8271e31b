// Goal: programs that read `--json` find in the help all that comes. Method: what the commands print of a store, against the words of their help.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openDirectoryStore } from '../session/stores/directory.ts'
import { createTestRecorder } from '../session/test-recording.ts'

const program = fileURLToPath(new URL('../bin/steno', import.meta.url))
let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steno-json-'))
  const recorder = await createTestRecorder(openDirectoryStore(folder), { seed: 1 })
  await recorder.record([{ statements: 2 }], { gap: true })
  await recorder.record([{ statements: 1 }], { close: false })
})
after(() => rm(folder, { recursive: true }))

async function stdoutOf(...args: string[]): Promise<string> {
  const env = { PATH: process.env['PATH'], HOME: folder }
  return (await promisify(execFile)(program, args, { env })).stdout
}

for (const command of [['sessions'], ['verify', '--all']])
  test(`the help of ${command[0]} names each field of its JSON`, async () => {
    const help = await stdoutOf(command[0]!, '--help')
    const told = /^With --json[^]*?\n\n/m.exec(help)?.[0] ?? ''
    const lines = (await stdoutOf(...command, '--json', '--store', `file://${folder}`)).trimEnd().split('\n')
    assert.ok(lines.length >= 2, lines.join('\n'))
    const fields = new Set(lines.flatMap((line) => Object.keys(JSON.parse(line) as object)))
    assert.deepEqual(
      [...fields].filter((field) => !new RegExp(`\\b${field}\\b`).test(told)),
      [],
      told,
    )
  })
