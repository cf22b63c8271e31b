/**
 * Runs shell commands inside a pod, a few at a time, and prints one JSON line `Outcome` for each: `node run-attempts.ts FILE`, which holds a
 * JSON list of `{name, command}`; `-` is standard input. A command that does not end within its time is killed.
 */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'

type Asked = { readonly name: string; readonly command: string }
export type Outcome = { readonly name: string; readonly code: number | string | null; readonly out: string }

const concurrency = 6
const timeoutMilliseconds = 20_000
const charactersMax = 1_500

const file = process.argv[2] === '-' || process.argv[2] === undefined ? 0 : process.argv[2]
const waiting = JSON.parse(readFileSync(file, 'utf8')) as Asked[]

async function work(): Promise<void> {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { name, command } = next
    const outcome = await new Promise<Outcome>((resolve) => {
      execFile('/bin/sh', ['-c', command], { timeout: timeoutMilliseconds, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
        resolve({
          name,
          code: error === null ? 0 : (error.code ?? error.signal ?? null),
          out: `${stdout}${stderr}`.slice(0, charactersMax),
        })
      })
    })
    process.stdout.write(`${JSON.stringify(outcome)}\n`)
  }
}

await Promise.all(Array.from({ length: concurrency }, work))
