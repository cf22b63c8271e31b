/**
 * The config file: what somebody would else type each time, under the names of the options.
 *
 * One JSON object. A name at the top holds for every command that has such an option, a name inside of a command's object for that command.
 * What is typed wins over the environment, the environment over the file, the file over what is built in. Passwords are refused.
 * Looks at the chosen command alone; the others are loaded only when a name has to be judged that this one does not have.
 */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { InvalidArgumentError, type Command, type Option } from 'commander'
import { KnownError, messageOf, systemCodeOf } from '../base/errors.ts'
import { holdsPassword } from './arguments.ts'
import { nearest } from './config-file-nearest.ts'
import { ConfigTextError, parseConfigText, type ConfigEntry, type ConfigValue } from './config-file-text.ts'

const fileBytesMax = 256 * 1024

/** The config file cannot be read, or says what no option means. */
export class BadConfigFile extends KnownError {
  readonly code = 'BAD_CONFIG_FILE'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

/** A password stands in the config file. Its message repeats nothing of it. */
export class PasswordInConfigFile extends KnownError {
  readonly code = 'PASSWORD_IN_CONFIG_FILE'
  readonly remedy =
    'Put the connection string into a file of its own that only you may read (chmod 600), and name that file as "upstream-file".'
  readonly safeToRetry = true
}

export type ConfigFile = { readonly path: string; readonly entries: readonly ConfigEntry[] }

type Environment = Readonly<Record<string, string | undefined>>

/** Where a config file is looked for when none is named, by the XDG Base Directory Specification. */
export function defaultConfigPath(environment: Environment): string {
  const base = environment['XDG_CONFIG_HOME']
  return path.join(base !== undefined && path.isAbsolute(base) ? base : path.join(homedir(), '.config'), 'steno', 'config.json')
}

/**
 * The file given, else the one that `STENO_CONFIG` names (empty: none), else the default one if it exists.
 * @throws BadConfigFile, PasswordInConfigFile
 */
export function readConfigFile(given: string | undefined, environment: Environment): ConfigFile | null {
  const named = given ?? environment['STENO_CONFIG']
  if (named === '') return null
  const file = named ?? defaultConfigPath(environment)
  const text = textOf(file)
  if (text === null) {
    if (named === undefined) return null
    throw new BadConfigFile(`there is no config file ${file}`, 'Name one that exists with --config or STENO_CONFIG.')
  }
  let entries: ConfigEntry[]
  try {
    entries = parseConfigText(text)
  } catch (error) {
    if (!(error instanceof ConfigTextError)) throw error
    throw new BadConfigFile(`${file}:${error.line}: ${error.message}`, 'Correct that line; the file is JSON.')
  }
  for (const { value, line } of entries) {
    const texts = Array.isArray(value) ? value : [value]
    if (texts.some((item) => typeof item === 'string' && holdsPassword(item)))
      throw new PasswordInConfigFile(`${file}:${line}: a password stands in the config file`)
  }
  return { path: file, entries }
}

function textOf(file: string): string | null {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null
    throw new BadConfigFile(`cannot read the config file ${file}: ${messageOf(error)}`, 'Name a file that steno may read.', error)
  }
  try {
    const status = fstatSync(descriptor)
    if (!status.isFile()) throw new BadConfigFile(`${file} is no file`, 'Name a file.')
    if (status.size > fileBytesMax) throw new BadConfigFile(`${file} has more than ${fileBytesMax} bytes`, 'Name a config file.')
    return readFileSync(descriptor, 'utf8').replace(/^\ufeff/, '')
  } finally {
    closeSync(descriptor)
  }
}

export type Surroundings = {
  readonly environment: Environment
  readonly commandNames: readonly string[]
  /** Every command with all its options; asked for only when a name has to be judged that the chosen command does not have. */
  readonly wholeProgram: () => Promise<Command>
}

/** Gives `command` the values that nobody typed and no variable of the environment has. @throws BadConfigFile */
export async function applyConfigFile(file: ConfigFile, command: Command, around: Surroundings): Promise<void> {
  let everyName: readonly string[] | null = null
  // A command's own object says more than the top of the file does.
  const ordered = [...file.entries].sort((one, other) => Number(one.section !== null) - Number(other.section !== null))
  for (const entry of ordered) {
    const { section, name, line } = entry
    if (section !== null && !around.commandNames.includes(section))
      throw wrong(file, line, `there is no command "${section}"`, section, around.commandNames)
    if ((section !== null && section !== command.name()) || name === '') continue
    const option = optionNamed(command, name)
    if (option !== undefined) {
      apply(file, entry, option, command, around.environment)
      continue
    }
    if (section !== null) throw wrong(file, line, `${section} has no option "${name}"`, name, namesOf(command))
    everyName ??= (await around.wholeProgram()).commands.flatMap(namesOf)
    if (!everyName.includes(name))
      throw wrong(file, line, `no command has an option "${name}"`, name, [...everyName, ...around.commandNames])
  }
}

/** Checks what is said for every command. @throws BadConfigFile */
export async function checkConfigFile(file: ConfigFile, around: Surroundings): Promise<void> {
  for (const command of (await around.wholeProgram()).commands) await applyConfigFile(file, command, around)
}

/** Names that a file may not set: the file itself, and what only asks for a text to read. */
const notFromFile = new Set(['config', 'help', 'version'])

function namesOf(command: Command): string[] {
  return command.options.map((option) => option.name()).filter((name) => !notFromFile.has(name))
}

function optionNamed(command: Command, name: string): Option | undefined {
  return notFromFile.has(name) ? undefined : command.options.find((option) => option.name() === name)
}

function wrong({ path: file }: ConfigFile, line: number, what: string, typed: string, candidates: readonly string[]): BadConfigFile {
  const meant = nearest(typed, candidates)
  return new BadConfigFile(
    `${file}:${line}: ${what}${meant === null ? '' : `; did you mean "${meant}"?`}`,
    'The names are those of the options without their dashes; `steno COMMAND --help` lists them.',
  )
}

/** Options that say the same thing in different ways: one of them in a stronger place silences the others in the file. */
const alternatives = [{ names: ['upstream', 'upstream-file'], variable: 'STENO_UPSTREAM' }]

function apply(file: ConfigFile, entry: ConfigEntry, option: Option, command: Command, environment: Environment): void {
  const value = optionValue(file, entry, option)
  const isStronger = (name: string): boolean => {
    const source = command.getOptionValueSource(optionNamed(command, name)?.attributeName() ?? name)
    return source === 'cli' || source === 'env'
  }
  const group = alternatives.find(({ names }) => names.includes(entry.name))
  if (isStronger(entry.name) || (group?.names ?? []).some(isStronger)) return
  if (group !== undefined && (environment[group.variable] ?? '') !== '') return
  command.setOptionValueWithSource(option.attributeName(), value, 'config')
}

/** What the option's own parser makes of it. */
function optionValue({ path: file }: ConfigFile, { name, value, line }: ConfigEntry, option: Option): unknown {
  const bad = (what: string): BadConfigFile =>
    new BadConfigFile(`${file}:${line}: "${name}" ${what}`, `Correct that line; the option is ${option.flags}.`)
  if (!option.required && !option.optional) {
    if (typeof value !== 'boolean') throw bad('must be true or false')
    return option.negate ? !value : value
  }
  if (option.optional && typeof value === 'boolean') return value
  const takesMany = option.variadic || Array.isArray(option.defaultValue)
  if (Array.isArray(value) ? !takesMany : typeof value === 'boolean')
    throw bad(takesMany ? 'must be a list of texts' : 'must be a text or a number')
  const texts = (Array.isArray(value) ? value : [value as Exclude<ConfigValue, readonly unknown[]>]).map(String)
  const { parseArg } = option
  if (parseArg === undefined) return takesMany ? texts : texts[0]
  try {
    return texts.reduce<unknown>((before, text) => parseArg.call(option, text, before), option.defaultValue)
  } catch (error) {
    // What it says is about the form alone; the value itself may be nobody's business.
    if (error instanceof InvalidArgumentError) throw bad(`is not what it must be: ${error.message}`)
    throw error
  }
}
