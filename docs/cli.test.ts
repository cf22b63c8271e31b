/**
 * Goal: `docs/cli.md` says what the commands say of themselves.
 * Method: the page is made from `--help`; `STENO_UPDATE_DOCS=1 node --test docs/cli.test.ts` writes it again.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const page = fileURLToPath(new URL('cli.md', import.meta.url))
const program = fileURLToPath(new URL('../bin/steno', import.meta.url))

async function help(command: readonly string[]): Promise<string> {
  // Defaults below the home folder would be this machine's own.
  const env = { PATH: process.env['PATH'], HOME: '/home/you' }
  const { stdout } = await promisify(execFile)(program, [...command, '--help'], { env })
  return stdout.trimEnd()
}

async function made(): Promise<string> {
  const top = await help([])
  const names = [...(top.split('\nCommands:\n')[1] ?? '').matchAll(/^ {2}([a-z-]+) {2,}\S/gm)].map(([, name = '']) => name)
  assert.ok(names.length >= 4, top)
  const parts = await Promise.all(names.map(async (name) => `## steno ${name}\n\n\`\`\`text\n${await help([name])}\n\`\`\`\n`))
  return [
    '# Commands\n',
    'What each command says with `--help`. What the options of `proxy` do to you is in [operating.md](operating.md), what the findings of `verify` mean in [recording.md](recording.md#findings).\n',
    `\`\`\`text\n${top}\n\`\`\`\n`,
    ...parts,
  ].join('\n')
}

test('each command that has --json says what is in it', async () => {
  const sections = (await made()).split(/^## /m).slice(1)
  const silent = sections.filter((section) => /^ {2}--json /m.test(section) && !/^With --json |^ {2}--json +the same as /m.test(section))
  assert.deepEqual(
    silent.map((section) => section.split('\n', 1)[0]),
    [],
  )
})

test('docs/cli.md is what --help says', async () => {
  const wanted = await made()
  if (process.env['STENO_UPDATE_DOCS'] === '1') await writeFile(page, wanted)
  assert.equal(await readFile(page, 'utf8'), wanted, 'STENO_UPDATE_DOCS=1 node --test docs/cli.test.ts writes the page again')
})
