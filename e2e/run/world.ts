/**
 * `bin/steno run` as a person types it, for tests: with store and spool in a folder of its own, and everything that it recorded at hand.
 *
 * The environment is this process's own without its PG…, STENO_ and database variables, and what the test gives. Home is the folder.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { RunSummary } from '../../cli/run/summary.ts'
import { readRecordedSessions, type RecordedSession } from '../support/compare-with-log.ts'
import { steno } from '../support/proxy.ts'

export const stenoProgram = fileURLToPath(new URL('../../bin/steno', import.meta.url))

export type Environment = Readonly<Record<string, string | undefined>>

export type RunResult = { readonly status: number; readonly stdout: string; readonly stderr: string }

export type Started = {
  readonly child: ChildProcess
  readonly ended: Promise<RunResult>
  readonly stdout: () => string
  readonly stderr: () => string
}

export type RunWorld = Disposable & {
  readonly folder: string
  readonly storeUrl: string
  readonly spoolFolder: string
  readonly options: readonly string[]
  environment(more: Environment): NodeJS.ProcessEnv
  start(command: readonly string[], environment: Environment, options?: readonly string[], how?: { readonly separator: boolean }): Started
  run(command: readonly string[], environment: Environment, options?: readonly string[], input?: string): Promise<RunResult>
  /** With `--json`, whose summary is the last line of standard error. */
  runForSummary(command: readonly string[], environment: Environment): Promise<{ result: RunResult; summary: RunSummary }>
  /** Checks that the store is sound, that the sessions ended as told (all `closed` unless told) and have no gap; the oldest first. */
  recorded(states?: readonly string[]): Promise<readonly RecordedSession[]>
}

export function createRunWorld(): RunWorld {
  const folder = mkdtempSync(join(tmpdir(), 'steno-run-'))
  const storeFolder = join(folder, 'store')
  const storeUrl = pathToFileURL(storeFolder).href
  const spoolFolder = join(folder, 'spool')
  const options = ['--store', storeUrl, '--spool', spoolFolder]

  function environment(more: Environment): NodeJS.ProcessEnv {
    const own = Object.entries(process.env).filter(([name]) => !/^(PG[A-Z]|STENO_|DATABASE_URL)/.test(name))
    return { ...Object.fromEntries(own), HOME: folder, LC_ALL: 'C.UTF-8', ...more }
  }

  function start(
    command: readonly string[],
    more: Environment,
    added: readonly string[] = [],
    { separator } = { separator: true },
  ): Started {
    const child = spawn(stenoProgram, ['run', ...options, ...added, ...(separator ? ['--'] : []), ...command], {
      stdio: 'pipe',
      env: environment(more),
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    // What a killed steno leaves behind holds the pipes open; the test goes on, and fails by what it finds.
    child.once('exit', (_, signal) => {
      if (signal !== null) for (const stream of [child.stdout, child.stderr]) stream.destroy()
    })
    child.stdin.on('error', () => undefined) // A command may end before it has read its input.
    const ended = once(child, 'close').then(() => ({ status: child.exitCode ?? -1, stdout, stderr }))
    return { child, ended, stdout: () => stdout, stderr: () => stderr }
  }

  async function run(command: readonly string[], more: Environment, added: readonly string[] = [], input = ''): Promise<RunResult> {
    const { child, ended } = start(command, more, added)
    child.stdin!.end(input)
    return ended
  }

  return {
    ...{ folder, storeUrl, spoolFolder, options, environment, start, run },
    async runForSummary(command, more) {
      const result = await run(command, more, ['--json'])
      const line = result.stderr.trimEnd().split('\n').at(-1) ?? ''
      assert.match(line, /^\{"exitCode"/, result.stderr)
      return { result, summary: JSON.parse(line) as RunSummary }
    },
    async recorded(states) {
      const recorders = readdirSync(join(storeFolder, 'recorders')).map((name) => name.replace('.json', ''))
      const trusted = recorders.flatMap((id) => ['--trust-recorder', id])
      const spool = existsSync(join(spoolFolder, 'ledger-head.json')) ? ['--spool', spoolFolder] : []
      const verified = await steno(['verify', '--all', '--store', storeUrl, ...spool, ...trusted])
      assert.equal(verified.status, 0, `${verified.stdout}${verified.stderr}`)
      const sessions = await readRecordedSessions(storeUrl)
      for (const { id, gaps } of sessions) assert.equal(gaps, 0, `session ${id}`)
      assert.deepEqual(
        sessions.map(({ state }) => state),
        states ?? sessions.map(() => 'closed'),
      )
      return sessions
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** The texts of the statements that were recorded, of all sessions. */
export function textsOf(sessions: readonly RecordedSession[]): string[] {
  return sessions.flatMap(({ statements }) => statements.map(({ sql }) => sql))
}

/** Resolves once `child` has printed `text`; throws with what it printed when it ends without. */
export async function untilPrinted({ child, ended, stdout, stderr }: Started, text: string): Promise<void> {
  let isOver = false
  const over = ended.then(() => (isOver = true))
  while (!stdout().includes(text)) {
    assert.ok(!isOver, `it ended without printing ${text}:\n${stdout()}${stderr()}`)
    const waiting = new AbortController()
    await Promise.race([once(child.stdout!, 'data', { signal: waiting.signal }), over])
    waiting.abort()
  }
}
