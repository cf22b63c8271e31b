/**
 * What steno does, on one machine in a few seconds: a real PostgreSQL, the real proxy, a scripted agent, the recording read back and verified.
 *
 *   node examples/demo.ts [--keep]     --keep leaves the recording behind and says where
 *
 * Exit code 0 only when everything was as it should be. Stops whatever it starts; NO_COLOR turns the headings' bold off.
 */
import { randomBytes } from 'node:crypto'
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { startProxyProcess, steno, type RunningProxy, type StenoResult } from '../e2e/support/proxy.ts'
import { openSegment } from '../session/segment.ts'
import { startPostgres, type EmbeddedPostgres } from '../tools/embedded-postgres.ts'
import { runAgent, type Account } from './agent.ts'

const bold =
  process.stdout.isTTY && !process.env['NO_COLOR'] ? (text: string): string => `\u001B[1m${text}\u001B[22m` : (text: string): string => text
const print = (text = ''): void => void process.stdout.write(`${text}\n`)
const heading = (text: string): void => print(`\n${bold(`== ${text}`)}`)

const failures: string[] = []

/** Notes what was not as it should be; the demo goes on, and its exit code tells. */
function check(statement: string, holds: boolean): void {
  if (!holds) failures.push(statement)
}

const customers = [
  ['Anna Berzina', 'Riga'],
  ['Tomas Kask', 'Tallinn'],
  ['Inese Ozola', 'Riga'],
  ['Jonas Petraitis', 'Vilnius'],
] as const

/** A shop, a database that agents have no business in, and the user whose password only the proxy holds. */
async function prepareDatabase(server: EmbeddedPostgres, password: string): Promise<void> {
  await server.query(`create role shop login createrole password '${password}'`)
  await server.query('create database shop owner shop')
  await server.query('create database payroll')
  const rows = customers.map(([name, city], index) => `(${index + 1}, '${name}', '${city}', date '2026-01-0${index + 1}')`)
  await server.query(
    `set role shop;
     create table customers (id int primary key, name text not null, city text not null, joined date not null);
     create table orders (id int generated always as identity primary key, customer_id int references customers, cents int check (cents > 0), note text);
     insert into customers values ${rows.join(', ')};
     insert into orders (customer_id, cents) select 1 + n % 4, 100 * n from generate_series(1, 60) n`,
    'shop',
  )
}

function checkAccount({ tables, customers: found, refusedUpdate, copiedRows, batches, otherDatabase }: Account): void {
  check('the agent sees the two tables', tables.join() === 'customers,orders')
  check('the agent finds two customers in Riga', found.map(({ id }) => id).join() === '1,3')
  check('the constraint refuses the update', refusedUpdate === '23514')
  check('COPY brings 60 orders', copiedRows === 60)
  check('the cursor gives 120 orders in three batches', batches.join() === '40,40,40')
  check('the other database is refused', otherDatabase === '3D000')
}

/** Prints a command and what it answered; `where` are the options that name the store, which the first lines of the demo explain. */
async function show(command: readonly string[], where: readonly string[]): Promise<StenoResult> {
  print(`$ steno ${command.join(' ')}`)
  const answer = await steno([...command, ...where])
  process.stdout.write(answer.stdout)
  process.stderr.write(answer.stderr)
  return answer
}

type Statement = { readonly number: number; readonly sql: string; readonly error: unknown }

/** The statements of a session, as `--json` gives them. */
async function statementsOf(session: string, where: readonly string[]): Promise<Statement[]> {
  const { stdout } = await steno(['show', session, '--json', ...where])
  const lines = stdout.split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as Statement & { readonly type: string }).filter(({ type }) => type === 'statement')
}

/** Prints the session and three of its statements; gives the session's id. */
async function showRecording(where: readonly string[]): Promise<string> {
  heading('What was recorded')
  const sessions = await show(['sessions'], where)
  const { stdout: json } = await steno(['sessions', '--json', ...where])
  const { session } = JSON.parse(json.split('\n')[0] ?? '') as { session: string }
  check('one session is listed', sessions.status === 0 && json.trim().split('\n').length === 1)

  heading('The session, one line a statement')
  const all = await show(['show', 'last'], where)
  check('the session is shown', all.status === 0)
  const statements = await statementsOf(session, where)
  const showStatement = (what: string, isWanted: (statement: Statement) => boolean): Promise<StenoResult> => {
    const found = statements.find(isWanted)
    check(`the recording holds ${what}`, found !== undefined)
    return show(['show', 'last', '--statement', String(found?.number ?? 1)], where)
  }

  heading('A statement with its parameters and rows')
  const rows = await showStatement('the query for Riga', ({ sql }) => sql.includes('from customers'))
  check('the grid shows both customers', rows.stdout.includes('Anna Berzina') && rows.stdout.includes('Inese Ozola'))

  heading('The statement that failed')
  const error = await showStatement('the refused update', (statement) => statement.error !== null)
  check('the error is shown', error.stdout.includes('violates check constraint'))

  heading('The statement that held a password')
  const redacted = await showStatement('the creation of the role', ({ sql }) => sql.startsWith('create role'))
  check('the literal is redacted', redacted.stdout.includes("password '[redacted]'"))
  return session
}

/** Searches everything that was left behind, compressed or not. */
async function checkSecrets(folder: string, secrets: readonly string[]): Promise<void> {
  for (const file of await filesBelow(folder)) {
    const bytes = await readFile(file)
    const text = (file.endsWith('.steno') ? Buffer.concat([bytes, openSegment(bytes).body]) : bytes).toString('latin1')
    for (const secret of secrets) check(`no password is in ${path.relative(folder, file)}`, !text.includes(secret))
  }
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name))
}

/** Changes one bit of a copy of the recording, which the verifier must name. */
async function tamper(folder: string, session: string, spool: readonly string[]): Promise<void> {
  const copy = path.join(folder, 'copy')
  await cp(path.join(folder, 'store'), copy, { recursive: true })
  const segment = (await filesBelow(copy)).find((file) => file.includes(session) && file.endsWith('segment-000001.steno'))
  if (segment === undefined) throw new Error('the store holds no segment of the session')
  const bytes = await readFile(segment)
  const at = Math.floor(bytes.length / 2)
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  await writeFile(segment, bytes)
  const key = path.relative(copy, segment)
  print(`one bit of byte ${at} of ${bytes.length} is flipped in a copy of ${key}`)
  const verified = await show(['verify', '--all'], ['--store', pathToFileURL(copy).href, ...spool])
  check('the flipped bit is found, and named', verified.status === 1 && verified.stdout.includes(key))
}

let proxy: RunningProxy | null = null

async function demo(folder: string): Promise<void> {
  const [upstreamPassword, rolePassword] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')]
  const store = ['--store', pathToFileURL(path.join(folder, 'store')).href]
  const spool = ['--spool', path.join(folder, 'spool')]
  {
    await using server = await startPostgres()
    await prepareDatabase(server, upstreamPassword)
    await using running = await startProxyProcess({
      upstream: `postgresql://shop:${upstreamPassword}@${server.host}:${server.port}/shop`,
      folder,
    })
    proxy = running
    print(`PostgreSQL listens on ${server.host}:${server.port}, steno on ${running.host}:${running.port}. Only steno has the password.`)
    print('The commands below are also given --store, and verify --spool, which are left out here.')

    heading('An agent at work')
    const { host, port } = running
    const account = await runAgent({ host, port, database: 'shop' }, { password: rolePassword, say: (step) => print(`- ${step}`) })
    checkAccount(account)
    check('the proxy ends in good order', (await running.stop()) === 0)
  }
  const session = await showRecording(store)
  await checkSecrets(folder, [upstreamPassword, rolePassword])

  heading('Is it all there, and unaltered?')
  const verified = await show(['verify', '--all'], [...store, ...spool])
  check('the recording is sound', verified.status === 0)

  heading('And when somebody alters it?')
  await tamper(folder, session, spool)
}

const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } })
const folder = await mkdtemp(path.join(tmpdir(), 'steno-demo-'))

async function cleanUp(): Promise<void> {
  if (!values.keep) await rm(folder, { recursive: true, force: true })
}

/** The database ends with this process, by a guard of its own. */
async function interrupt(): Promise<never> {
  await proxy?.stop()
  await cleanUp()
  process.exit(1)
}
process.once('SIGINT', () => void interrupt())
process.once('SIGTERM', () => void interrupt())

try {
  await demo(folder)
} catch (error) {
  failures.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
} finally {
  await cleanUp()
}
print()
if (values.keep) print(`The recording stays: bin/steno sessions --store ${pathToFileURL(path.join(folder, 'store')).href}`)
if (failures.length === 0) print('Everything was as it should be.')
else {
  process.stderr.write(`Not as it should be:\n${failures.map((failure) => `- ${failure}\n`).join('')}`)
  process.exitCode = 1
}
