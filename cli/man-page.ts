/**
 * A manual page in roff, with the macros that `man` has had since the 1980s (`man(7)`), made from what `--help` says.
 *
 * Lines that begin with a dot or an apostrophe, backslashes and dashes are written so that roff takes them for text.
 */
import type { Tree, TreeCommand, TreeOption } from './completion-tree.ts'

export function manualPage(
  { program, commands }: Tree,
  { version, only }: { readonly version: string; readonly only: string | null },
): string[] {
  const one = commands.find(({ name }) => name === only)
  const title = one === undefined ? 'steno' : `steno-${one.name}`
  const head = [
    `.TH ${argument(title.toUpperCase())} 1 "" ${argument(`steno ${version}`)} "User Commands"`,
    '.SH NAME',
    `${escaped(title)} \\- ${escaped(one === undefined ? 'record what an AI agent says to a database and what it is told' : one.summary)}`,
    '.SH SYNOPSIS',
    ...(one === undefined ? ['.B steno', '.I command', '[\\fIoptions\\fR]'] : [`.B ${escaped(`steno ${one.name}`)}`, escaped(one.usage)]),
    '.SH DESCRIPTION',
    ...paragraphs(one === undefined ? program.description : one.description),
  ]
  if (one !== undefined) return [...head, ...optionSection('.SH OPTIONS', one.options), ...epilogue(one, '.SH'), ...ending(one)]
  return [
    ...head,
    '.SH COMMANDS',
    ...commands.flatMap((command) => ['.TP', `.B ${escaped(command.name)}`, escaped(command.summary)]),
    ...optionSection('.SH OPTIONS', program.options),
    ...commands.flatMap((command) => [
      `.SH ${argument(`STENO ${command.name.toUpperCase()}`)}`,
      `.B ${escaped(`steno ${command.name}`)}`,
      escaped(command.usage),
      '.PP',
      ...paragraphs(command.description),
      ...optionSection(
        '.SS Options',
        command.options.filter(({ isCommon }) => !isCommon),
      ),
      ...epilogue(command, '.SS'),
    ]),
    ...ending(program),
  ]
}

function optionSection(heading: string, options: readonly TreeOption[]): string[] {
  if (options.length === 0) return []
  return [heading, ...options.flatMap(({ flags, summary }) => ['.TP', `.B ${escaped(flags)}`, escaped(summary)])]
}

/** `Examples:` and the like become headings; what stands under them keeps its lines. */
function epilogue({ epilogue: text }: TreeCommand, heading: '.SH' | '.SS'): string[] {
  const lines: string[] = []
  let isExact = false
  const exact = (wanted: boolean): void => {
    if (wanted !== isExact) lines.push(wanted ? '.nf' : '.fi')
    isExact = wanted
  }
  for (const line of text.split('\n')) {
    const title = /^([A-Z][\w ]*):$/.exec(line)?.[1]
    if (title !== undefined) {
      exact(false)
      lines.push(`${heading} ${argument(heading === '.SH' ? title.toUpperCase() : title)}`)
    } else if (line.trim() === '') {
      exact(false)
      lines.push('.PP')
    } else {
      exact(line.startsWith('  '))
      lines.push(escaped(isExact ? line.slice(2) : line))
    }
  }
  exact(false)
  // A paragraph macro behind a heading, before one or at the end says nothing, and linters complain.
  return lines.filter(
    (line, at) => line !== '.PP' || !(/^\.(S[HS]|PP)/.test(lines[at - 1] ?? '.SH') || /^\.S[HS]/.test(lines[at + 1] ?? '.SH')),
  )
}

function ending({ name }: TreeCommand): string[] {
  const files = ['.SH FILES', '.TP', '.I ~/.config/steno/config.json', 'Values for options, under their names.']
  const environment = [
    '.SH ENVIRONMENT',
    ...[
      ['STENO_UPSTREAM', 'The database, as a connection string; it may hold a password.'],
      ['STENO_STORE', 'Where recordings are kept.'],
      ['STENO_CONFIG', 'The config file; empty for none.'],
      ['STENO_PAGER, PAGER', 'What long output is shown with; empty or cat for nothing.'],
      ['NO_COLOR, FORCE_COLOR', 'Whether output is coloured, unless --color says it.'],
    ].flatMap(([variable = '', text = '']) => ['.TP', `.B ${escaped(variable)}`, escaped(text)]),
  ]
  const also = name === 'steno' ? ['.BR psql (1)'] : ['.BR steno (1)']
  return [...files, ...environment, '.SH "SEE ALSO"', ...also]
}

function paragraphs(text: string): string[] {
  return text.split(/\n{2,}/).flatMap((paragraph, at) => [...(at === 0 ? [] : ['.PP']), ...paragraph.split('\n').map(escaped)])
}

/** A line of text: never a request, never an escape, and dashes that can be copied from the page. */
function escaped(text: string): string {
  const safe = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('`', '\\(ga')
    .replaceAll("'", '\\(aq')
    .replaceAll('~', '\\(ti')
  const plain = safe
    .replaceAll('^', '\\(ha')
    // Not every roff reads UTF-8.
    .replace(/[^\0-\x7f]/gu, (character) => `\\[u${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}]`)
  return plain.startsWith('.') ? `\\&${plain}` : plain
}

/** An argument of a macro. */
const argument = (text: string): string => `"${escaped(text).replaceAll('"', '\\(dq')}"`
