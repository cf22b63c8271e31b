/** Goal: a config file says what options say, or is told where it does not. Method: texts, random objects beside `JSON.parse`, and a real commander tree. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Command, InvalidArgumentError, Option } from 'commander'
import fc from 'fast-check'
import { applyConfigFile, BadConfigFile, defaultConfigPath, PasswordInConfigFile, readConfigFile } from './config-file.ts'
import { nearest } from './config-file-nearest.ts'
import { ConfigTextError, parseConfigText } from './config-file-text.ts'

const folder = mkdtempSync(join(tmpdir(), 'steno-config-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const name = fc.string({ minLength: 1, maxLength: 8 }).filter((text) => text !== '__proto__')
const scalar = fc.oneof(fc.string(), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean())
const value = fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }))
const flat = fc.dictionary(name, value, { maxKeys: 4, minKeys: 1 })
const document = fc.dictionary(name, fc.oneof(value, flat), { maxKeys: 5 })

test('what it reads is what JSON.parse reads, however it is spaced', () => {
  fc.assert(
    fc.property(document, fc.constantFrom(0, 1, 2, '\t'), (given, space) => {
      const text = JSON.stringify(given, null, space)
      const expected = Object.entries(JSON.parse(text) as Record<string, unknown>).flatMap(([key, inner]) =>
        typeof inner === 'object' && !Array.isArray(inner) && inner !== null
          ? Object.entries(inner).map(([at, item]) => [key, at, item])
          : [[null, key, inner]],
      )
      assert.deepEqual(
        parseConfigText(text).map((entry) => [entry.section, entry.name, entry.value]),
        expected,
      )
    }),
  )
})

test('any other text is an error with a line that the text has', () => {
  fc.assert(
    fc.property(document, fc.nat(), fc.string({ minLength: 1, maxLength: 3 }), (given, at, noise) => {
      const text = JSON.stringify(given, null, 1)
      const broken = text.slice(0, at % text.length) + noise + text.slice((at % text.length) + 1)
      try {
        parseConfigText(broken)
      } catch (error) {
        assert.ok(error instanceof ConfigTextError, String(error))
        assert.ok(error.line >= 1 && error.line <= broken.split('\n').length, `${error.line} in ${JSON.stringify(broken)}`)
      }
    }),
  )
})

for (const [text, line, message] of [
  ['', 1, /ends too early/],
  ['[]', 1, /must hold one object/],
  ['{\n  "a": 1,\n}', 3, /a name in double quotes is missing/],
  ['{\n  "a": 1\n  "b": 2\n}', 3, /comma or a closing brace/],
  ['{\n"a": 1,\n"a": 2}', 3, /"a" is given twice/],
  ['{"a": null}', 1, /null/],
  ['{"a": {"b": {}}}', 1, /no meaning/],
  ['{"a": 01}', 1, /no JSON/],
  ['{"a": "\\x"}', 1, /escape/],
  ['{}\n\nx', 3, /behind the closing brace/],
  ['{\n// a comment\n}', 2, /no JSON/],
] as const) {
  test(`a text that is wrong says where: ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => parseConfigText(text),
      (error) => error instanceof ConfigTextError && error.line === line && message.test(error.message),
    )
  })
}

function tree(): Command {
  const whole = (text: string): number => {
    if (!/^\d+$/.test(text)) throw new InvalidArgumentError('Give a whole number.')
    return Number(text)
  }
  const show = new Command('show')
    .addOption(new Option('--store <url>').env('STENO_STORE').default('built in'))
    .option('--rows-max <n>', '', whole)
    .option('--json')
    .option('--no-pager')
    .addOption(new Option('--color <when>').choices(['auto', 'never']).default('auto'))
    .option('--databases <name...>', '', [])
    .option('--trust <id>', '', (text: string, before: readonly string[]) => [...before, text], [])
    .option('--upstream <text>')
    .option('--upstream-file <file>')
  const proxy = new Command('proxy').option('--listen <address>')
  return new Command('steno').addCommand(show).addCommand(proxy)
}

/** What `show` takes from a file, behind what was typed and what the environment has. */
async function shown(
  content: unknown,
  { typed = [], environment = {} }: { typed?: readonly string[]; environment?: Record<string, string> } = {},
) {
  const file = join(folder, 'config.json')
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2))
  const program = tree()
  const show = program.commands[0]!
  const saved = process.env['STENO_STORE']
  if (environment['STENO_STORE'] !== undefined) process.env['STENO_STORE'] = environment['STENO_STORE']
  let options: Record<string, unknown> = {}
  show.hook('preAction', async () =>
    applyConfigFile(readConfigFile(file, {})!, show, { environment, commandNames: ['show', 'proxy'], wholeProgram: async () => tree() }),
  )
  show.action((given: Record<string, unknown>) => {
    options = given
  })
  try {
    await program.parseAsync(['show', ...typed], { from: 'user' })
  } finally {
    if (saved === undefined) delete process.env['STENO_STORE']
    else process.env['STENO_STORE'] = saved
  }
  return options
}

test('what is typed wins over the environment, that over the file, and the file over what is built in', async () => {
  const content = { store: 'file' }
  assert.equal((await shown({}))['store'], 'built in')
  assert.equal((await shown(content))['store'], 'file')
  assert.equal((await shown(content, { environment: { STENO_STORE: 'environment' } }))['store'], 'environment')
  assert.equal((await shown(content, { environment: { STENO_STORE: 'environment' }, typed: ['--store', 'typed'] }))['store'], 'typed')
})

test('every kind of option can be set, and what a command has of its own wins over the top of the file', async () => {
  const content = {
    show: { 'rows-max': 5, trust: ['a', 'b'] },
    'rows-max': '7',
    json: true,
    'no-pager': true,
    color: 'never',
    databases: ['x', 'y'],
    proxy: { listen: '127.0.0.1:1' },
    listen: '127.0.0.1:2',
  }
  const options = await shown(content)
  const { rowsMax, trust, json, pager, color, databases } = options
  assert.deepEqual(
    { rowsMax, trust, json, pager, color, databases },
    { rowsMax: 5, trust: ['a', 'b'], json: true, pager: false, color: 'never', databases: ['x', 'y'] },
  )
  assert.deepEqual((await shown(content, { typed: ['--trust', 'c', '--databases', 'z'] }))['trust'], ['c'])
})

test('an upstream from the environment or the command line silences both of its forms in the file', async () => {
  const content = { 'upstream-file': '/run/secrets/upstream' }
  assert.equal((await shown(content))['upstreamFile'], '/run/secrets/upstream')
  assert.equal((await shown(content, { environment: { STENO_UPSTREAM: 'host=x' } }))['upstreamFile'], undefined)
  assert.equal((await shown(content, { typed: ['--upstream', 'host=x'] }))['upstreamFile'], undefined)
})

for (const [content, message] of [
  [{ stor: 'x' }, /config\.json:2: no command has an option "stor"; did you mean "store"\?/],
  [{ show: { rowsmax: 1 } }, /config\.json:3: show has no option "rowsmax"; did you mean "rows-max"\?/],
  [{ shwo: {} }, /config\.json:2: there is no command "shwo"; did you mean "show"\?/],
  [{ proxy: { listen: 'x' }, json: 'yes' }, /config\.json:5: "json" must be true or false/],
  [{ 'rows-max': 'many' }, /config\.json:2: "rows-max" is not what it must be: Give a whole number\./],
  [{ 'rows-max': true }, /"rows-max" must be a text or a number/],
  [{ store: ['a'] }, /"store" must be a text or a number/],
  [{ color: 'blue' }, /"color" is not what it must be: Allowed choices are auto, never\./],
  [{ config: 'x' }, /no command has an option "config"/],
  ['{', /config\.json:1: the file ends too early/],
] as const) {
  test(`what means nothing is an error with its line: ${JSON.stringify(content)}`, async () => {
    await assert.rejects(shown(content), (error) => {
      assert.ok(error instanceof BadConfigFile)
      assert.match(error.message, message)
      assert.ok(error.remedy.length > 10)
      return true
    })
  })
}

test('a password is refused wherever it stands, and repeated nowhere', async () => {
  for (const content of [
    { upstream: 'postgresql://shop:hunter2@db/shop' },
    { proxy: { upstream: 'host=db password=hunter2' } },
    { databases: ['x', 'postgresql://u:hunter2@h'] },
    { unknown: 'password=hunter2' },
  ]) {
    await assert.rejects(shown(content), (error) => {
      assert.ok(error instanceof PasswordInConfigFile)
      assert.doesNotMatch(JSON.stringify([error.message, error.remedy]), /hunter2/)
      assert.match(error.message, /config\.json:\d/)
      return true
    })
  }
})

test('the file is the one given, else the one named by STENO_CONFIG, else the default one if it is there', () => {
  const home = join(folder, 'home')
  const environment = { XDG_CONFIG_HOME: home }
  assert.equal(readConfigFile(undefined, environment), null)
  assert.equal(defaultConfigPath(environment), join(home, 'steno', 'config.json'))
  mkdirSync(join(home, 'steno'), { recursive: true })
  writeFileSync(defaultConfigPath(environment), '{"json": true}')
  assert.equal(readConfigFile(undefined, environment)?.entries.length, 1)
  assert.equal(readConfigFile(undefined, { ...environment, STENO_CONFIG: '' }), null)
  for (const missing of [
    () => readConfigFile(join(folder, 'none'), environment),
    () => readConfigFile(undefined, { STENO_CONFIG: join(folder, 'none') }),
    () => readConfigFile(folder, environment),
  ]) {
    assert.throws(missing, BadConfigFile)
  }
})

test('the nearest name is offered when it is near, and none when it is not', () => {
  const names = ['store', 'spool', 'rows-max', 'upstream-file', 'color']
  assert.equal(nearest('stroe', names), 'store')
  assert.equal(nearest('colour', names), 'color')
  assert.equal(nearest('row-max', names), 'rows-max')
  assert.equal(nearest('upstreamfile', names), 'upstream-file')
  assert.equal(nearest('xyz', names), null)
  assert.equal(nearest('s'.repeat(10_000), names), null)
})
