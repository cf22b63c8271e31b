import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasColour, palette } from './colour.ts'
import { pagerCommand } from './pager.ts'

const terminal = { isTTY: true }
const pipe = { isTTY: false }

test('colour is decided by the option, then FORCE_COLOR, then NO_COLOR, then the terminal', () => {
  const cases = [
    [undefined, terminal, {}, true],
    ['auto', pipe, {}, false],
    ['auto', terminal, { TERM: 'dumb' }, false],
    ['auto', terminal, { NO_COLOR: '1' }, false],
    ['auto', terminal, { NO_COLOR: '' }, true],
    ['auto', pipe, { FORCE_COLOR: '1' }, true],
    ['auto', pipe, { FORCE_COLOR: '3', NO_COLOR: '1' }, true],
    ['auto', terminal, { FORCE_COLOR: '0' }, false],
    ['auto', terminal, { FORCE_COLOR: 'false' }, false],
    ['auto', pipe, { FORCE_COLOR: '' }, false],
    ['never', terminal, { FORCE_COLOR: '1' }, false],
    ['always', pipe, { NO_COLOR: '1' }, true],
  ] as const
  for (const [choice, stream, environment, wanted] of cases)
    assert.equal(hasColour(choice, stream, environment), wanted, JSON.stringify([choice, stream, environment]))
})

test('a palette that is off changes nothing, and one that is on can be taken off again', () => {
  assert.equal(palette(false).red('text'), 'text')
  assert.equal(palette(true).red('text'), '\u001b[31mtext\u001b[39m')
  assert.equal(palette(true).red(''), '')
})

test('a pager is used on a terminal, unless it is not wanted', () => {
  const path = process.env['PATH'] ?? ''
  assert.equal(pagerCommand({}, terminal, { PATH: path, PAGER: 'more' }), 'more')
  assert.equal(pagerCommand({}, terminal, { PAGER: 'more', STENO_PAGER: 'less -S' }), 'less -S')
  assert.equal(pagerCommand({}, terminal, { PATH: '/nonexistent' }), null)
  for (const [options, stream, environment] of [
    [{ pager: false }, terminal, { PAGER: 'more' }],
    [{ json: true }, terminal, { PAGER: 'more' }],
    [{}, pipe, { PAGER: 'more' }],
    [{}, terminal, { PAGER: 'more', TERM: 'dumb' }],
    [{}, terminal, { PAGER: ' cat ' }],
    [{}, terminal, { PAGER: 'more', STENO_PAGER: '' }],
  ] as const) {
    assert.equal(pagerCommand(options, stream, environment), null, JSON.stringify([options, stream, environment]))
  }
})
