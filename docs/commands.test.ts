/**
 * Goal: every command in the README and in docs/ works as it stands there.
 * Method: runs the `sh`, `js` and `python` blocks of a page one behind the other against an embedded PostgreSQL. What stands for the reader's own
 * (`db.example:5432`, `/var/lib/steno`, `/run/secrets`, the ports) is replaced; a proxy stays up until the page starts the next one.
 * A block below `<!-- not run: reason -->` is left out, and listed with its reason.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import pg from 'pg'
import { steno } from '../e2e/support/proxy.ts'
import { program, type Program } from '../tools/debian-programs.ts'
import { startPostgres, type EmbeddedPostgres } from '../tools/embedded-postgres.ts'
import { freePort } from '../tools/free-port.ts'

const project = fileURLToPath(new URL('..', import.meta.url))
const pages = [
  'README.md',
  ...readdirSync(path.join(project, 'docs'), { recursive: true, encoding: 'utf8' }).map((name) => `docs/${name}`),
].filter((name) => name.endsWith('.md'))
const agentToken = 'a-token-for-agents'
const waitMillisecondsMax = 30_000
/** Not every machine has curl; what is asked of it here is whether the address answers well. */
const curl = `curl() { for address; do :; done; node --eval 'fetch(process.argv[1]).then((answer) => process.exit(answer.ok ? 0 : 22))' "$address"; }\n`

type Block = { readonly language: string; readonly text: string; readonly notRun: string | null }

function blocksOf(page: string): Block[] {
  const text = readFileSync(path.join(project, page), 'utf8')
  return [...text.matchAll(/(?:<!-- not run: (.+) -->\n)?```(sh|js|python)\n([\s\S]*?)\n```/g)].map(
    ([, notRun, language = '', block = '']) => ({
      language,
      text: block,
      notRun: notRun ?? null,
    }),
  )
}

let server: EmbeddedPostgres
let psql: Program
let python: Program

before(async () => {
  ;[server, psql, python] = await Promise.all([startPostgres({ tls: true }), program('psql'), program('python3-psycopg')])
  await server.query("create role shop login createrole password 'secret'")
  await server.query("create role anna login password 'hers'")
  await server.query('create database shop owner shop')
  await server.query(
    "create table customers (id int primary key, name text); grant select on customers to shop, anna; insert into customers values (1, 'Anna Berzina')",
    'shop',
  )
})
after(() => server.stop())

for (const page of pages) {
  const blocks = blocksOf(page)
  if (blocks.length === 0) continue
  test(`the commands of ${page} work as they stand there`, async (t) => {
    await using reader = await createReader()
    for (const block of blocks) await reader.follow(block, t)
  })
}

/** Somebody who types what a page says, in a folder and with ports of their own. */
async function createReader() {
  const folder = mkdtempSync(path.join(tmpdir(), 'docs-'))
  const [agentPort, metricsPort] = [await freePort(), await freePort()]
  const storeFolder = path.join(folder, 'steno', 'store')
  const storeUrl = pathToFileURL(storeFolder).href
  mkdirSync(path.join(folder, 'steno'))
  mkdirSync(path.join(folder, 'secrets'))
  writeFileSync(path.join(folder, 'secrets', 'upstream'), `postgresql://shop:secret@${server.host}:${server.port}/shop?sslmode=require\n`)
  writeFileSync(path.join(folder, 'secrets', 'agent-token'), `${agentToken}\n`)
  let proxy: ChildProcess | null = null

  function own(text: string): string {
    return text
      .replaceAll('/var/lib/steno', path.join(folder, 'steno'))
      .replaceAll('/run/secrets', path.join(folder, 'secrets'))
      .replaceAll('/etc/ssl/database-ca.pem', server.certificates!.ca)
      .replaceAll('db.example', server.host)
      .replaceAll('5432', String(server.port))
      .replaceAll('6432', String(agentPort))
      .replaceAll('9187', String(metricsPort))
      .replaceAll('RECORDER_ID', () => recorderId())
  }

  const recorderId = (): string => path.basename(readdirSync(path.join(storeFolder, 'recorders'))[0] ?? '', '.json')

  function start(
    command: string,
    args: readonly string[],
    { env }: Pick<Program, 'env'>,
    input: string,
  ): { child: ChildProcess; output: () => string } {
    const clean = Object.entries(env).filter(([name]) => !/^(PG[A-Z]|STENO_|OTEL_|NO_COLOR$|FORCE_COLOR$)/.test(name))
    const child = spawn(command, args, {
      cwd: project,
      detached: true, // A group of its own, so that all that the shell starts can be stopped.
      env: {
        ...Object.fromEntries(clean),
        HOME: folder,
        PATH: `${path.dirname(psql.command)}:${path.dirname(process.execPath)}:${env['PATH'] ?? ''}`,
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stdin.end(input)
    return { child, output: () => output }
  }

  async function stopProxy(): Promise<void> {
    if (proxy === null) return
    const closed = once(proxy, 'close')
    process.kill(-proxy.pid!, 'SIGTERM')
    await closed
    proxy = null
  }
  const stopAtExit = (): void => {
    if (proxy !== null) process.kill(-proxy.pid!, 'SIGKILL')
  }
  process.once('exit', stopAtExit)

  async function startProxy(script: string): Promise<void> {
    await stopProxy()
    const { child, output } = start('/bin/sh', ['-e'], psql, script)
    proxy = child
    const closed = once(child, 'close').then(() => 'closed' as const)
    while (!/"msg":"listening"|  listening  /.test(output())) {
      const state = await Promise.race([closed, sleep(20, 'waiting' as const)])
      if (state === 'closed') {
        proxy = null
        assert.fail(`the proxy ended:\n${script}\n${output()}`)
      }
    }
    if (/"mode":"custody"|mode=custody/.test(output())) await beAnAgent()
  }

  /** Pages that only read take it for granted that there is something to read. */
  async function beAnAgent(): Promise<void> {
    const client = new pg.Client({ host: '127.0.0.1', port: agentPort, user: 'agent', password: agentToken, database: 'shop' })
    await client.connect()
    await client.query('select 1')
    await client.end()
  }

  /** Waits until all sessions are closed and everything about them is in the ledger. */
  async function settled(): Promise<void> {
    if (proxy === null) return
    for (const until = Date.now() + waitMillisecondsMax; ; await sleep(100)) {
      const { stdout: sessions } = await steno(['sessions', '--json', '--store', storeUrl])
      const { stdout: findings } = await steno(['verify', '--all', '--json', '--store', storeUrl])
      const states = sessions
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => (JSON.parse(line) as { state: string }).state)
      if (states.every((state) => state === 'closed') && !findings.includes('OBJECT_AWAITS_LEDGER')) return
      assert.ok(Date.now() < until, `the recording is not complete:\n${sessions}\n${findings}`)
    }
  }

  async function run(command: string, args: readonly string[], used: Program, input: string): Promise<void> {
    const { child, output } = start(command, args, used, input)
    await once(child, 'close')
    assert.equal(child.exitCode, 0, `${input}\n${output()}`)
  }

  return {
    async follow({ language, text, notRun }: Block, t: TestContext): Promise<void> {
      if (notRun !== null) {
        t.diagnostic(`not run: ${text.split('\n').join(' | ')} (${notRun})`)
        return
      }
      if (language === 'sh' && /\bsteno proxy\b/.test(text)) return startProxy(own(text))
      await settled()
      const script = own(text)
      if (language === 'sh') await run('/bin/sh', ['-e'], psql, curl + script)
      else if (language === 'js') await run(process.execPath, ['--input-type=module'], psql, script)
      else await run(python.command, ['-'], python, script)
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await stopProxy()
      process.off('exit', stopAtExit)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
