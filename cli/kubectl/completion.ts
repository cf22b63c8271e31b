/**
 * What shells offer behind `kubectl steno`: kubectl asks a program `kubectl_complete-steno` with the words typed so far, the last of which
 * may be empty.
 *
 * The answer is Cobra's: one offer a line, with a tab before what it means, then `:` and a directive. Whatever goes wrong offers nothing:
 * a message would stand in the line that somebody types. Source: kubectl, "Extend kubectl with plugins"; cobra, ShellCompDirective.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Argument, Command, Option } from 'commander'
import { KnownError } from '../../base/errors.ts'
import { sessionIds } from '../../session/read-session.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { openForward } from './forward.ts'
import { getObjects, kubectl, type ContextOptions } from './kubectl-program.ts'

/** Cobra's: with files, where nothing else fits; and without. */
const directives = { files: 0, noFiles: 4 } as const
/** Somebody waits with a finger on the tab key. */
const millisecondsMax = 4_000
const offersMax = 100
const workloadResources = 'deployments.apps,statefulsets.apps,daemonsets.apps,jobs.batch,cronjobs.batch'

type Offers = { readonly words: readonly string[]; readonly directive: number }
const nothing: Offers = { words: [], directive: directives.noFiles }

/** The answer as it is printed. `programFor` gives the program with the command that the words name. */
export async function completions(words: readonly string[], programFor: (argv: readonly string[]) => Promise<Command>): Promise<string> {
  const before = words.slice(0, -1)
  const typed = words.at(-1) ?? ''
  const late = new AbortController()
  const { words: offered, directive } = await Promise.race([
    offersFor(before, typed, await programFor(before)).catch((error: unknown) => {
      if (!(error instanceof KnownError)) throw error
      return nothing
    }),
    sleep(millisecondsMax, nothing, { ref: false, signal: late.signal }),
  ])
  late.abort()
  const fitting = offered.filter((word) => word.startsWith(typed)).slice(0, offersMax)
  return [...fitting, `:${directive}`, ''].join('\n')
}

async function offersFor(before: readonly string[], typed: string, program: Command): Promise<Offers> {
  const name = before.find((word) => !word.startsWith('-'))
  if (name === undefined) {
    const commands = program.commands.map((command) => `${command.name()}\t${command.summary()}`)
    return {
      words: typed.startsWith('-') ? ['--help', '--version'] : [...commands, 'help\thelp for a command'],
      directive: directives.noFiles,
    }
  }
  if (name === 'help') return { words: program.commands.map((command) => command.name()), directive: directives.noFiles }
  const command = program.commands.find((candidate) => candidate.name() === name)
  if (command === undefined || before.includes('--')) return nothing
  const { context, operands, awaiting } = read(before.slice(before.indexOf(name) + 1), command.options)
  if (awaiting !== null) return valuesOf(awaiting, context)
  const [, long, given] = /^(--[\w-]+)=(.*)$/.exec(typed) ?? []
  if (long !== undefined && given !== undefined) {
    const option = command.options.find((candidate) => candidate.long === long)
    const values = option === undefined ? nothing : await valuesOf(option, context)
    return { ...values, words: values.words.map((word) => `${long}=${word}`) }
  }
  if (typed.startsWith('-')) return { words: optionWords(command.options), directive: directives.noFiles }
  const argument = command.registeredArguments.at(Math.min(operands, command.registeredArguments.length - 1))
  if (argument === undefined || (operands >= command.registeredArguments.length && !argument.variadic)) return nothing
  return valuesOf(argument, context)
}

type Context = ContextOptions & { readonly namespace?: string; readonly stenoNamespace: string; readonly recordingStore: string }

/** What was typed that matters for what comes next: the cluster, how many operands there were, and an option that waits for its value. */
function read(
  words: readonly string[],
  options: readonly Option[],
): { readonly context: Context; readonly operands: number; readonly awaiting: Option | null } {
  const values: Record<string, string> = {}
  let operands = 0
  let awaiting: Option | null = null
  for (const word of words) {
    if (awaiting !== null) {
      values[awaiting.attributeName()] = word
      awaiting = null
    } else if (word.startsWith('-')) {
      const [name = '', value] = word.split('=', 2)
      const option = options.find(({ long, short }) => name === long || name === short)
      if (option?.required !== true) continue
      if (value === undefined) awaiting = option
      else values[option.attributeName()] = value
    } else operands++
  }
  return { context: { stenoNamespace: 'steno-system', recordingStore: 'default', ...values }, operands, awaiting }
}

function optionWords(options: readonly Option[]): string[] {
  const visible = options.filter(({ hidden, long }) => !hidden && long !== undefined)
  return [...visible.map(({ long, description }) => `${long}\t${description.split('\n')[0]}`), '--help\tdisplay help for command']
}

async function valuesOf(given: Option | Argument, context: Context): Promise<Offers> {
  const offer = (words: readonly string[]): Offers => ({ words, directive: directives.noFiles })
  if (given.argChoices !== undefined) return offer(given.argChoices)
  const name = 'flags' in given ? given.attributeName() : given.name()
  const namesOf = async (...args: string[]): Promise<string[]> =>
    (await getObjects<{ metadata: { name: string } }>(context, args)).map(({ metadata }) => metadata.name)
  const inNamespace = context.namespace === undefined ? [] : ['-n', context.namespace]
  switch (name) {
    case 'namespace':
    case 'from':
    case 'stenoNamespace':
      return offer(await namesOf('namespaces'))
    case 'context':
      return offer((await kubectl(context, ['config', 'get-contexts', '-o', 'name'])).trim().split('\n'))
    case 'recordingStore':
      return offer(await namesOf('recordingstores.steno.dev'))
    case 'policy':
      return offer(await namesOf(...inNamespace, 'sessionpolicies.steno.dev'))
    case 'pod':
      return offer(await namesOf(...inNamespace, 'pods'))
    case 'owner':
      return offer((await kubectl(context, ['get', ...inNamespace, workloadResources, '-o', 'name'])).trim().split('\n').filter(Boolean))
    case 'session':
    case 'sessions':
    case 'id':
      return offer(['last\tthe newest session', ...(await newestSessions(context))])
    case 'filename':
    case 'kubeconfig':
      return { words: [], directive: directives.files }
    default:
      return { words: [], directive: 'flags' in given && /<(?:file|folder)>/.test(given.flags) ? directives.files : directives.noFiles }
  }
}

/** Who may not read recordings is offered `last` alone, and told when it is asked for. */
async function newestSessions(context: Context): Promise<string[]> {
  const found: string[] = []
  try {
    await using forward = await openForward(context)
    const store = await openStore(`control+${forward.origin}/${context.recordingStore}`)
    for await (const session of sessionIds(store, 'newest')) if (found.push(session) >= offersMax) break
  } catch (error) {
    if (!(error instanceof KnownError)) throw error
  }
  return found
}
