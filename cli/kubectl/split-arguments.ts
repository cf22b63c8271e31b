/**
 * Takes the cluster's options out of a command line whose other words are for a command of steno's. Reads only how options are made: which
 * take a value, and under which names; whether a value fits is commander's to say, which has parsed the line before.
 */
import type { Option } from 'commander'

/** What is left of `args`, in order. What stands behind `--` is never the cluster's. */
export function withoutClusterOptions(args: readonly string[], cluster: readonly Option[], command: readonly Option[]): string[] {
  const rest: string[] = []
  for (let at = 0; at < args.length; at++) {
    const word = args[at]!
    if (word === '--') return [...rest, ...args.slice(at)]
    const name = word.startsWith('--') ? word.split('=', 1)[0]! : word
    const option = [...cluster, ...command].find(({ long, short }) => name === long || name === short)
    const takesNext = option?.required === true && name === word
    if (option === undefined || !cluster.includes(option)) rest.push(word, ...(takesNext ? args.slice(at + 1, at + 2) : []))
    if (takesNext) at++
  }
  return rest
}
