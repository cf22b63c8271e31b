/**
 * A world for scripts of `steno replay --as sql`: a session is recorded in one database, its script runs by a real psql in a copy of what
 * that was before, and the server's own log says what each of them said. It judges nothing; the tests compare.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { program, type Program } from '../../tools/debian-programs.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess, steno, type RunningProxy } from '../support/proxy.ts'
import { runProgram, type ProgramResult } from '../support/run-program.ts'
import { readServerLog, statementLogSettings, type LoggedBackend } from '../support/server-log.ts'

type Scripted = {
  readonly script: string
  readonly psql: ProgramResult
  /** What the server logged of the session, and of the script. */
  readonly original: readonly string[]
  readonly again: readonly string[]
  readonly query: (sql: string) => Promise<Record<string, unknown>[]>
}

type Recording = {
  readonly prepare?: string
  readonly changed?: string
  readonly speak: (proxy: RunningProxy, database: string) => Promise<void>
}

export type ScriptWorld = {
  readonly server: EmbeddedPostgres
  readonly psql: Program
  /** The file that every attack tries to make, in a folder that stays empty. */
  readonly canary: string
  noCanary(): Promise<void>
  /** Records a session in one database, runs its script in a copy of what that was before; `changed` alters the copy. */
  scripted(recording: Recording): Promise<Scripted>
  [Symbol.asyncDispose](): Promise<void>
}

export async function createScriptWorld(): Promise<ScriptWorld> {
  const folder = mkdtempSync(path.join(tmpdir(), 'steno-script-'))
  const [server, psql] = await Promise.all([
    startPostgres({ settings: { ...statementLogSettings, log_parameter_max_length: '-1' } }),
    program('psql'),
  ])
  const canary = path.join(folder, 'canary')
  const url = (database: string): string => `postgresql://postgres:${server.password}@${server.host}:${server.port}/${database}`
  let databases = 0
  return {
    server,
    psql,
    canary,
    async noCanary() {
      assert.equal(existsSync(canary), false, 'something in data was run as a command')
      assert.deepEqual(await readdir(folder), [])
    },
    async scripted({ prepare = 'select 1', changed = 'select 1', speak }: Recording) {
      const database = `script_${++databases}`
      const copy = `${database}_copy`
      await server.query(`create database ${database}`)
      await server.query(prepare, database)
      await server.query(`create database ${copy} template ${database}`)
      await server.query(changed, copy)
      await using proxy = await startProxyProcess({ upstream: url(database) })
      await speak(proxy, database)
      assert.equal(await proxy.stop(), 0)
      const { stdout: script, stderr, status } = await steno(['replay', 'last', '--as', 'sql', '--store', proxy.storeUrl])
      assert.equal(status, 0, stderr)
      const ran = await runProgram(psql, ['--no-psqlrc', '--file', '-', url(copy)], { input: script, environment: { HOME: folder } })
      const log = await readServerLog(server)
      const of = (name: string): readonly LoggedBackend[] => log.filter((backend) => backend.database === name)
      return {
        script,
        psql: ran,
        original: of(database).flatMap(({ statements }) => statements.map(({ text }) => text)),
        again: of(copy).flatMap((backend) => withoutCarriers(backend)),
        query: (sql) => server.query(sql, copy),
      }
    },
    async [Symbol.asyncDispose]() {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** What the script says beside the session's own statements; EXECUTE stands for what was prepared. */
function withoutCarriers({ statements }: LoggedBackend): string[] {
  const prepared = new Map<string, string>()
  return statements.flatMap(({ text }) => {
    if (/^SELECT (\$steno\d*\$|E?'|pg_catalog\.set_config\()/.test(text) || text.startsWith('DEALLOCATE "steno')) return []
    const [, name, meaning] = /^PREPARE ("[^"]*")(?: \([^)]*\))? AS ([\s\S]*)$/.exec(text) ?? []
    if (name !== undefined && meaning !== undefined) prepared.set(name, meaning)
    if (name !== undefined) return []
    const executed = /^EXECUTE ("[^"]*") \(/.exec(text)?.[1]
    return [executed === undefined ? text : prepared.get(executed)!]
  })
}
