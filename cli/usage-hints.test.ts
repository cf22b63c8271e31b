// Goal: who types what other programs have is told what it is called here. Method: a command with commander's own errors.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Command, CommanderError } from 'commander'
import { addUsageHints } from './usage-hints.ts'

function messageOf(...argv: string[]): string {
  const quiet = { writeErr: () => undefined, writeOut: () => undefined }
  const dressed = (command: Command): Command => addUsageHints(command).exitOverride().configureOutput(quiet)
  const program = dressed(new Command('steno').version('1')).enablePositionalOptions()
  const show = dressed(new Command('show').argument('<session>').option('--statement <n>').option('--store <url>').option('--json'))
  const search = dressed(new Command('search').option('--text <text>'))
  for (const command of [show, search]) program.addCommand(command.action(() => undefined))
  try {
    program.parse(argv, { from: 'user' })
    return ''
  } catch (error) {
    assert.ok(error instanceof CommanderError)
    return error.message
  }
}

test('the beginning of an option names it, where it is one option’s alone or few', () => {
  assert.match(messageOf('show', 'last', '--stat', '1'), /'--stat'\n\(Did you mean --statement\?\)$/)
  assert.match(messageOf('show', 'last', '--st', '1'), /\(Did you mean one of --statement, --store\?\)$/)
  assert.match(messageOf('show', 'last', '--s'), /^error: unknown option '--s'$/)
})

test('commander’s own suggestion stays, and there is one at most', () => {
  assert.match(messageOf('show', 'last', '--statment', '1'), /^[^(]*\(Did you mean --statement\?\)$/)
  assert.match(messageOf('version'), /^error: unknown command 'version'\n\(Did you mean --version\?\)$/)
  assert.match(messageOf('shwo'), /\(Did you mean show\?\)$/)
})

test('kubectl’s -o and grep’s text are told as what they are called here', () => {
  for (const words of [['-o', 'json'], ['--output=json'], ['-ojson']])
    assert.match(messageOf('show', 'last', ...words), /\(Did you mean --json\?\)$/, words.join(' '))
  assert.match(messageOf('search', 'customers'), /\(Did you mean --text TEXT\?\)$/)
  assert.doesNotMatch(messageOf('show', 'last', 'more'), /Did you mean/)
})
