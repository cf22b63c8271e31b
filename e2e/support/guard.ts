/** Ends a program that a test started when the test's own process ends, however it ends: a small shell waits for a pipe to close. */
import { spawn, type ChildProcess } from 'node:child_process'

/** `pid` is killed (SIGKILL) once this process is gone. Kill the guard when the program has ended: its pid may be another's then. */
export function endWithThisProcess(pid: number): ChildProcess {
  // Detached: Ctrl-C reaches the whole group of a terminal, and the guard has to outlive it.
  const guard = spawn('/bin/sh', ['-c', 'read -r _; kill -KILL "$1"', 'steno-guard', String(pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  guard.unref()
  const { stdin } = guard
  if (stdin !== null && 'unref' in stdin && typeof stdin.unref === 'function') stdin.unref()
  return guard
}
