// Goal: at recording level `statements` agents get everything as without steno, the recording has every statement with the size of its
// result and no byte of a row, and says so wherever it is read. Method: a table of secrets, which real clients read through the proxy in
// every way that there is; then everything that the proxy left behind is searched for them, and the commands are asked.
import assert from 'node:assert/strict'
import { readFileSync, statSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import pg from 'pg'
import postgres from 'postgres'
import { program } from '../../tools/debian-programs.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { assertVerified, readRecorded, type RecordedConversation } from '../nothing-lost/recorded.ts'
import { findSecrets, placesIn } from '../secrets/search.ts'
import { startProxyProcess, steno, stopUntilStored, type RunningProxy } from '../support/proxy.ts'
import { runProgram } from '../support/run-program.ts'

const secret = 'open-sesame-4711'
const rowsHeld = 300
const residentMebibytesMax = 180

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
  await database.query(`
    create table vault (id int primary key, word text, divisor int);
    insert into vault select n, '${secret}', 11 - n from generate_series(1, ${rowsHeld}) n`)
})
after(() => database.stop())

const start = (folder?: string): Promise<RunningProxy> =>
  startProxyProcess({
    upstream: database.url,
    ...(folder === undefined ? {} : { folder }),
    arguments: ['--level', 'statements', '--segment-milliseconds', '60000'],
  })

type Target = { readonly url: string }

/** What each client was told, in a form that compares. */
async function speak({ url }: Target): Promise<unknown> {
  const client = new pg.Client({ connectionString: url, application_name: 'node-postgres' })
  await client.connect()
  const simple = await client.query('select id, word from vault order by id')
  const bound = await client.query({ text: 'select word from vault where id = $1', values: [7], rowMode: 'array' })
  const returned = await client.query("update vault set divisor = divisor where id < $1 returning 'x' || word as word", [4])
  const failed = await client.query('select word, 1 / divisor from vault order by id').catch((error: unknown) => (error as Error).message)
  const empty = await client.query('select word from vault where id < 0')
  await client.end()
  const sql = postgres(url, { max: 1, connection: { application_name: 'postgres-js' } })
  const batches: unknown[][] = []
  await sql`select word from vault order by id`.cursor(100, (rows) => void batches.push([...rows]))
  await sql.end()
  const { stdout, status } = await runProgram(await program('psql'), ['--no-psqlrc', '--quiet', `${url}?application_name=psql`], {
    input:
      'copy vault (word) to stdout;\ncreate temp table own (line text);\ncopy own from stdin;\nwhat the agent says\n\\.\nselect count(*) from own;\n',
  })
  return [simple.rows, bound.rows, returned.rows, failed, empty.rows, batches, stdout, status]
}

const notKept = ({ statements }: RecordedConversation): unknown[] =>
  statements.map(({ rows, tag, outcome, notKept: left, resultBytes }) => {
    assert.equal(left?.bytes ?? 0, resultBytes)
    return [tag ?? outcome, rows, left?.messages ?? 0]
  })

test(
  'clients get all that they get without steno; killed, and started again, the recording has the sizes and not one row',
  { timeout: 300_000 },
  async () => {
    const expected = await speak({ url: database.url })
    await using proxy = await start()
    assert.deepEqual(await speak({ url: proxy.url() }), expected)
    await proxy.kill()
    const killed = await placesIn(proxy.folder)
    assert.ok(
      killed.some(({ bytes }) => bytes.includes('select word from vault')),
      'what was said is in the spool',
    )
    assert.deepEqual(findSecrets(killed, new Map([['a row', secret]])), [])
    const next = await start(proxy.folder)
    assert.equal(await next.stop(), 0)
    assert.deepEqual(findSecrets(await placesIn(proxy.folder), new Map([['a row', secret]])), [])
    const verified = await assertVerified(proxy.storeFolder, proxy.spoolFolder)

    const recorded = await readRecorded(proxy.storeFolder)
    assert.ok([...recorded.values()].every(({ identity }) => identity.level === 'statements'))
    assert.deepEqual(notKept(recorded.get('node-postgres')!), [
      [`SELECT ${rowsHeld}`, rowsHeld, rowsHeld],
      ['SELECT 1', 1, 1],
      ['UPDATE 3', 3, 3],
      ['failed', 10, 10],
      ['SELECT 0', 0, 0],
    ])
    const failed = recorded.get('node-postgres')!.statements[3]!
    assert.equal(failed.error?.code, '22012')
    assert.equal(recorded.get('node-postgres')!.statements[1]!.parameters[0]?.value, '7')
    const cursor = recorded.get('postgres-js')!.statements.find(({ sql }) => sql.startsWith('select word'))!
    assert.deepEqual([cursor.rows, cursor.notKept?.messages], [rowsHeld, rowsHeld], 'a portal fetched in batches is one statement')
    const [copyOut, , copyIn, counted] = recorded.get('psql')!.statements
    assert.deepEqual([copyOut!.tag, copyOut!.notKept?.messages], [`COPY ${rowsHeld}`, rowsHeld])
    assert.deepEqual([copyIn!.tag, copyIn!.copy?.direction, copyIn!.notKept], ['COPY 1', 'in', undefined])
    assert.ok(recorded.get('psql')!.frontend.includes('what the agent says'), 'what the agent copies in is what it says')
    assert.deepEqual([counted!.tag, counted!.rows], ['SELECT 1', 1])
    const bytes = [...recorded.values()].flatMap(({ statements }) => statements).reduce((sum, each) => sum + (each.notKept?.bytes ?? 0), 0)
    assert.match(verified, new RegExp(`"leftOutBytes":${bytes},`))
    await assertTold(proxy, recorded.get('node-postgres')!)
    await assertRerun(proxy, recorded.get('node-postgres')!)
  },
)

/** Each reader says it plainly. */
async function assertTold({ storeUrl, spoolFolder }: RunningProxy, { session, statements }: RecordedConversation): Promise<void> {
  const { bytes } = statements[0]!.notKept!
  const left = `${rowsHeld} rows, ${bytes} bytes, not kept: recording level statements`
  const say = async (...args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await steno([...args, '--store', storeUrl])
    assert.equal(status, 0, stderr)
    return stdout
  }
  assert.match(await say('show', session), /^level +statements: rows, .* are not kept/m)
  const shown = await say('show', session, '--statement', '1')
  assert.ok(shown.includes(`(${left})`), shown)
  assert.match(shown, /id .*\bword/, 'the columns are kept')
  assert.ok((await say('show', session, '--statement', '1', '--json')).includes(`"notKept":{"messages":${rowsHeld},"bytes":${bytes}}`))
  const replayed = await say('replay', session, '--plain')
  assert.ok(replayed.includes(left), replayed)
  assert.doesNotMatch(replayed, /more rows/)
  const found = await say('search', '--text', 'vault', '--json')
  assert.match(found, /"level":"statements"/)
  assert.ok(found.includes(`"notKept":{"messages":${rowsHeld},`))
  const exported = await say('export', '--format', 'jsonl', '--rows')
  assert.ok(exported.includes(`"notKept":{"messages":${rowsHeld},`))
  assert.ok((await say('export', '--format', 'csv')).includes('not_kept_bytes'))
  assert.match(await say('verify', '--all', '--spool', spoolFolder), /bytes of results not kept: recording level statements\n.*: sound/)
}

async function assertRerun({ storeUrl }: RunningProxy, { session }: RecordedConversation): Promise<void> {
  const { status, stdout } = await steno(['replay', session, '--store', storeUrl, '--against', '--yes'], {
    environment: { STENO_AGAINST: database.url },
  })
  assert.equal(status, 0, stdout)
  assert.match(stdout, /5 equal/)
  assert.match(stdout, /of 4 statements only the number of rows was compared: their rows are not kept, recording level statements/)
}

test('a result of 50 MB goes through in bounded memory and leaves a few kilobytes', { timeout: 300_000 }, async () => {
  await using proxy = await start()
  const client = new pg.Client({ connectionString: proxy.url(), application_name: 'large' })
  await client.connect()
  let rows = 0
  // Row by row, so that the test holds no more than the proxy.
  const query = client.query(new pg.Query({ text: "select repeat('y', 1000) from generate_series(1, 50000)", values: [] }))
  query.on('row', () => rows++)
  await new Promise<void>((resolve, reject) => query.on('end', () => resolve()).on('error', reject))
  const peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${proxy.pid}/status`, 'utf8'))![1]) / 1024
  await client.end()
  assert.equal(rows, 50_000)
  assert.ok(peak < residentMebibytesMax, `${peak} MiB at most`)
  await stopUntilStored(proxy, database.url)
  const [statement] = (await readRecorded(proxy.storeFolder)).get('large')!.statements
  assert.deepEqual([statement!.rows, statement!.notKept?.messages], [50_000, 50_000])
  assert.ok(statement!.notKept!.bytes > 50_000_000)
  const stored = readdirSync(proxy.storeFolder, { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(path.join(proxy.storeFolder, name)))
    .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)
  assert.ok(stored < 200_000, `${stored} bytes are stored`)
})
