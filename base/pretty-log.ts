/** A line of the log for people: time, level, message, then the fields as `name=value`. Nothing in it can act on a terminal. */
import { printable, printableLine } from './printable.ts'

/** `json` is one object as `log.ts` makes it; the result ends in a line break. */
export function prettyLogLine(json: string): string {
  const { time, level, msg, ...fields } = JSON.parse(json) as Record<string, unknown>
  const pairs = Object.entries(fields).map(
    ([name, value]) => `  ${name}=${typeof value === 'string' ? shown(value) : JSON.stringify(value)}`,
  )
  const head = `${String(time)}  ${String(level).padEnd(5)}  `
  // A stack trace keeps its lines, set in so that each is seen to belong to the first.
  const message = printable(String(msg)).replaceAll('\n', '\n    ')
  return `${head}${message}${pairs.map(printableLine).join('')}\n`
}

/** Quoted where it could be taken for something else. */
function shown(value: string): string {
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
}
