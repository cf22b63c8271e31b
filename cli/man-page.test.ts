/** Goal: whatever a command's help says, the manual page is roff without surprises. Method: hostile texts, and groff's own warnings where there is a groff. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { Command } from 'commander'
import { treeOf } from './completion-tree.ts'
import { manualPage } from './man-page.ts'

const heading = 'Common options:'

function hostile(): Command {
  const show = new Command('show')
    .summary('show -- "things" \\fB')
    .description(".so /etc/passwd\n'br\n\nSecond paragraph… ü")
    .argument('<session>', 'which')
    .option('--null <text>', '.TH is text here, ~ and ^ and ` too')
    .addHelpText('after', `\nExamples:\n  .B a request?\n  'nor this\n  steno show 'last' # \\ \n\nExit codes: 0.`)
  return new Command('steno').description('does things').addCommand(show)
}

test('nothing in a help text is taken for a request or an escape', () => {
  const lines = manualPage(treeOf(hostile(), { commonHeading: heading }), { version: '1.0', only: 'show' })
  const requests = lines.filter((line) => /^[.']/.test(line)).map((line) => line.split(' ')[0])
  assert.deepEqual([...new Set(requests)].map(String).toSorted(), ['.B', '.BR', '.I', '.PP', '.SH', '.TH', '.TP', '.fi', '.nf'])
  assert.ok(lines.includes('\\&.so /etc/passwd'))
  assert.ok(lines.includes('\\(aqbr'))
  assert.ok(lines.includes('\\&.B a request?'))
  assert.ok(
    lines.every((line) => /^[\t -~]*$/.test(line)),
    'ASCII only',
  )
  assert.ok(lines.includes('.SH "EXAMPLES"'))
})

test('groff has nothing to warn of', (t) => {
  if (spawnSync('groff', ['--version']).error !== undefined) return t.skip('there is no groff on this machine')
  for (const only of [null, 'show']) {
    const input = manualPage(treeOf(hostile(), { commonHeading: heading }), { version: '1.0', only }).join('\n')
    const { status, stdout, stderr } = spawnSync('groff', ['-man', '-ww', '-Tutf8', '-P-cbou'], { input: `${input}\n`, encoding: 'utf8' })
    assert.deepEqual([status, stderr], [0, ''])
    for (const text of ["'nor this", '.B a request?', '--null <text>', 'Second paragraph… ü', "steno show 'last' # \\"])
      assert.ok(stdout.includes(text), `${text}\n${stdout}`)
  }
})
