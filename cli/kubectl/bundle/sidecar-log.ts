/**
 * A sidecar's output without what agents said: its log lines are kept, all else is counted.
 *
 * A sidecar writes two things to the same place: its log, which never holds SQL, and the live view, one JSON object a statement. A line is of the
 * log when it is an object with `level`, `time` and `msg`, and has no `event` or `sql`, as those of the live view have (docs/live-view.md); what is
 * neither is left out too.
 */
const liveFields = ['event', 'sql']

export type SidecarLog = { readonly lines: readonly string[]; readonly leftOut: number }

export function sidecarLogOf(output: string): SidecarLog {
  const lines = output.split('\n').filter((line) => line.trim() !== '')
  const kept = lines.filter(isLogLine)
  return { lines: kept, leftOut: lines.length - kept.length }
}

function isLogLine(line: string): boolean {
  let parsed: unknown
  try {
    parsed = JSON.parse(line)
  } catch {
    return false // A stack, a line of Node's own, or half a line: it may quote anything.
  }
  if (typeof parsed !== 'object' || parsed === null) return false
  return ['level', 'time', 'msg'].every((name) => name in parsed) && liveFields.every((name) => !(name in parsed))
}
