// Goal: secrets stay out. Method: a run in which every secret that steno meets really occurs (the custody password, both SCRAM exchanges as
// taken from the wire, the agent's token, wrong ones, literals of credential-bearing statements and their echoes, cancel keys, failing
// starts), at log level debug. Then everything that the run left behind, also after SIGKILL, is searched for each of them in each form.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import test, { after, before } from 'node:test'
import { encodePasswordMessage } from '../../postgres/authentication/messages.ts'
import { frontend } from '../../postgres/messages/write-for-tests.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startRelay } from '../any-cut/relay.ts'
import { connectRaw, type RawClient, type RawOptions } from '../notices-nothing/raw-client.ts'
import { startProxyProcess, steno, type RunningProxy } from '../support/proxy.ts'
import { scramSecrets, type Tapped } from './exchange.ts'
import { findSecrets, placesIn, processArguments, type Place } from './search.ts'

/** Long enough never to occur by chance, and with characters that URLs, JSON and SQL write otherwise. */
const makeSecret = (what: string): string => `${what}/${randomBytes(9).toString('hex')}+ü`
/** Occurs in a statement that is not secret: what finds nothing at all must not pass. */
const marker = `marker-${randomBytes(9).toString('hex')}`

let server: EmbeddedPostgres
let folder: string
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'steno-secrets-'))
  server = await startPostgres({ hba: ['host all plain 127.0.0.1/32 password'] })
})
after(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Statements that carry a secret, in all the ways that there are, each with one of its own. */
function secretStatements(literal: (name: string) => string, { withLong }: { readonly withLong: boolean }): Buffer[] {
  return [
    // What one statement of a session taught must also hold for the next, so this stands first.
    ...(withLong ? [frontend.query(`/* ${'long '.repeat(300_000)} */ alter role nobody password '${literal('behind a megabyte')}'`)] : []),
    frontend.query('create role bob'),
    frontend.query(`alter role bob password '${literal('simple')}'`),
    frontend.query(`select 1; alter role bob password '${literal('second of two')}'; select 2`),
    frontend.query(`alter role bob password e'${literal('escape string')}'`),
    frontend.query(`alter role bob password $x$${literal('dollar quoted')}$x$`),
    frontend.query(`create role bob password '${literal('fails, not echoed')}'`),
    frontend.query(`alter role bob password 'x' valid until '${literal('echoed as a value')}'`),
    frontend.query(`alter role bob password 'x' '${literal('echoed by a syntax error')}'`),
    frontend.query(`do $$ begin raise notice 'the password is %', '${literal('echoed by a notice')}'; end $$`),
    frontend.query(`do $$ begin raise exception 'the password is %', '${literal('echoed by an exception')}'; end $$`),
    frontend.query(`set search_path = '${literal('told as a setting')}' -- password`),
    frontend.query('reset search_path'),
    frontend.query(`set my.pw = '${literal('a setting')}'`),
    frontend.query(`select set_config('my.db_pw', '${literal('a setting by function')}', true) is null`),
    frontend.query(`alter role bob set app.token = '${literal('a setting of a role')}'`),
    frontend.query(`listen jobs; select pg_notify('jobs', 'the password is ${literal('told as a notification')}')`),
    frontend.query(`create user mapping for bob server nowhere options (user 'u', password '${literal('user mapping')}')`),
    frontend.query(`prepare setpw(text) as select set_config('my.password', $1, true) is null`),
    frontend.query(`execute setpw('${literal('execute')}')`),
    frontend.query(`execute setpw('${literal('execute again')}')`),
    frontend.parse(`alter role bob password '${literal('parse')}'`),
    frontend.bind(),
    frontend.execute(),
    frontend.sync,
    frontend.parse(`select set_config('my.password', $1, true) is null, $2::int`, 'binds'),
    frontend.bind({ statement: 'binds', values: [literal('bind'), '1'] }),
    frontend.execute('', 0),
    frontend.sync,
    frontend.bind({ statement: 'binds', values: ['x', literal('bind, echoed')] }),
    frontend.execute('', 0),
    frontend.sync,
    frontend.bind({ statement: 'binds', values: [Buffer.from(literal('bind, binary')), '1'], formats: [1, 0] }),
    frontend.execute('', 0),
    frontend.sync,
    frontend.parse(`select * from dblink($1, 'select 1') as t(a int)`, 'link'),
    frontend.bind({ statement: 'link', values: [`host=127.0.0.1 password=${literal('dblink by bind')}`] }),
    frontend.execute(),
    frontend.sync,
    frontend.query(`select * from dblink('host=127.0.0.1 password=${literal('dblink')}', 'select 1') as t(a int)`),
    frontend.query(`copy (select 1) to program 'curl -u me:${literal('program')} nowhere.invalid'`),
    frontend.query(`create user bob identified by '${literal('as another database has it')}'`),
    frontend.query(`create server s foreign data wrapper f options /** a * b **/ (tok '${literal('behind a comment')}')`),
    frontend.query(`alter role bob password (${literal('in parentheses')})`),
    frontend.query(`alter role bob password correct ${literal('of several words')} battery`),
    frontend.query(`select http_header('Authorization', 'Basic ${literal('a header')}')`),
    // The server skips the Parse of `select 1`, so the statement before it is still the unnamed one.
    frontend.parse(`select set_config('my.password', $1, true) is null`),
    frontend.sync,
    frontend.bind({ statement: 'nowhere' }),
    frontend.parse('select 1'),
    frontend.sync,
    frontend.bind({ values: [literal('bind behind a Parse that was skipped')] }),
    frontend.execute(),
    frontend.sync,
    frontend.parse(`select set_config('my.password', $1, true) is null`, 'é'),
    frontend.sync,
    frontend.query(`execute é('${literal('execute beyond ASCII')}')`),
    frontend.query(`execute U&"\\00e9"('${literal('execute by escapes')}')`),
  ]
}

async function withClient(options: RawOptions, use: (client: RawClient) => Promise<void>): Promise<void> {
  const client = connectRaw(options)
  try {
    await client.start()
    await use(client)
  } finally {
    await client.destroy()
  }
}

/** A relay that keeps what each of its connections said. */
async function tappingRelay(target: { readonly host: string; readonly port: number }) {
  const connections: Tapped[] = []
  const relay = await startRelay({
    target,
    cut: () => {
      connections.push({ client: [], server: [] })
      return (chunk) => [chunk]
    },
    // The runs here are one after the other, so the last is the one that speaks.
    tap: (side, bytes) => void connections.at(-1)![side].push(Buffer.from(bytes)),
  })
  return { ...relay, connections }
}

/** The key of each BackendKeyData that went by. */
function cancelKeys(who: string, connections: readonly Tapped[], secrets: Map<string, string | Buffer>): void {
  for (const [index, tapped] of connections.entries()) {
    const stream = Buffer.concat(tapped.server)
    for (let at = 0; at + 9 <= stream.length && at >= 0; at += 1 + stream.readUInt32BE(at + 1)) {
      if (stream[at] === 'K'.charCodeAt(0))
        secrets.set(`${who}: cancel key ${index}`, Buffer.from(stream.subarray(at + 9, at + 1 + stream.readUInt32BE(at + 1))))
    }
  }
}

/** What the commands print of it, too. */
async function printed(proxy: RunningProxy): Promise<Place[]> {
  const places: Place[] = []
  const store = ['--store', proxy.storeUrl]
  const sessions = await steno(['sessions', '--json', ...store])
  const ids = sessions.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { session: string }).session)
  for (const args of [
    ['sessions'],
    ...ids.flatMap((id) => [
      ['show', id],
      ['show', id, '--json'],
    ]),
    ['verify', '--all'],
  ]) {
    const { stdout, stderr } = await steno([...args, ...store])
    places.push({ name: `steno ${args.join(' ')}`, bytes: Buffer.from(stdout + stderr) })
  }
  return places
}

function assertClean(places: readonly Place[], secrets: ReadonlyMap<string, string | Buffer>): void {
  assert(findSecrets(places, new Map([['marker', marker]])).length > 0, 'the search finds what is there')
  assert.deepEqual(findSecrets(places, secrets), [])
}

test('secrets stay out: custody', async () => {
  const secrets = new Map<string, string | Buffer>()
  const secret = (name: string): string => {
    const made = makeSecret(name.replaceAll(/\W/g, ''))
    secrets.set(name, made)
    return made
  }
  const password = secret('the custody password')
  const token = secret('the token')
  await server.query(`create role keeper superuser login password '${password}'`)
  await using back = await tappingRelay(server)
  const tokenFile = path.join(folder, 'token')
  await writeFile(tokenFile, token)
  const options = {
    upstream: `postgresql://keeper:${encodeURIComponent(password)}@${back.host}:${back.port}/postgres?sslmode=disable`,
    folder: path.join(folder, 'custody'),
    arguments: ['--agent-token-file', tokenFile, '--log-level', 'debug', '--metrics-listen', '127.0.0.1:0'],
  }
  const startup = {
    options: `-c my.password=${secret('start-up options')} -c search_path=public`,
    application_name: `psql password=${secret('application name')}`,
    'my.token': secret('a start-up parameter'),
  }
  const places: Place[] = []
  {
    await using proxy = await startProxyProcess(options)
    await using front = await tappingRelay(proxy)
    const agent = (given: string, protocolMinor = 2): RawOptions => ({
      host: front.host,
      port: front.port,
      password: given,
      protocolMinor,
      parameters: { user: 'agent', database: 'postgres', ...startup },
    })
    await withClient(agent(secret('a wrong token')), async (client) => assert.equal(client.countOf('E'), 1))
    // Old clients and curious people send the token in the clear.
    const bare = connectRaw({ host: front.host, port: front.port, parameters: { user: 'agent' } })
    void bare.start()
    await bare.until(() => bare.countOf('R') > 0)
    bare.send(encodePasswordMessage(token))
    await bare.end()
    for (const protocolMinor of [0, 2]) {
      await withClient(agent(token, protocolMinor), async (client) => {
        client.send(
          Buffer.concat([
            frontend.query(`select '${marker}'`),
            ...secretStatements((name) => secret(`${name}, protocol 3.${protocolMinor}`), { withLong: protocolMinor === 2 }),
          ]),
        )
        await client.until(() => client.countOf('Z') >= 22)
        places.push(...(await placesIn(proxy.spoolFolder)))
        client.send(encodePasswordMessage(secret(`a password behind the start-up, protocol 3.${protocolMinor}`)))
        await client.end()
      })
    }
    for (const tapped of front.connections)
      for (const [name, value] of scramSecrets('agent', tapped, token)) secrets.set(`${name} ${secrets.size}`, value)
    for (const tapped of back.connections)
      for (const [name, value] of scramSecrets('steno', tapped, password)) secrets.set(`${name} ${secrets.size}`, value)
    cancelKeys('agent', front.connections, secrets)
    cancelKeys('steno', back.connections, secrets)
    const { metrics } = JSON.parse(
      proxy
        .log()
        .split('\n')
        .find((line) => line.includes('"listening"'))!,
    ) as { metrics: number }
    places.push({ name: 'metrics', bytes: Buffer.from(await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text()) })
    places.push(processArguments(proxy.pid))
    // And one that is killed in the middle of it.
    const client = connectRaw(agent(token))
    await client.start()
    client.send(Buffer.concat(secretStatements((name) => secret(`${name}, killed`), { withLong: false }).slice(0, 8)))
    await client.until(() => client.countOf('Z') >= 5)
    await proxy.kill()
    await client.destroy()
    places.push({ name: 'log', bytes: Buffer.from(proxy.log()) }, ...(await placesIn(options.folder)))
  }
  {
    await using proxy = await startProxyProcess(options)
    assert.equal(await proxy.stop(), 0)
    places.push(
      { name: 'log of the next start', bytes: Buffer.from(proxy.log()) },
      ...(await placesIn(options.folder)),
      ...(await printed(proxy)),
    )
  }
  assert(secrets.size > 90, `all secrets were met: ${secrets.size}`)
  assertClean(places, secrets)
})

test('secrets stay out: pass-through', async () => {
  const secrets = new Map<string, string | Buffer>()
  const secret = (name: string): string => {
    const made = makeSecret(name.replaceAll(/\W/g, ''))
    secrets.set(name, made)
    return made
  }
  const password = secret("the agent's own password")
  const plain = secret("the agent's password, sent in the clear")
  await server.query(`create role agent login superuser password '${password}'; create role plain login password '${plain}'`)
  await using proxy = await startProxyProcess({
    upstream: `host=${server.host} port=${server.port} sslmode=disable`,
    folder: path.join(folder, 'pass-through'),
    arguments: ['--log-level', 'debug'],
  })
  await using front = await tappingRelay(proxy)
  const agent = (user: string, given: string): RawOptions => ({
    host: front.host,
    port: front.port,
    password: given,
    parameters: { user, database: 'postgres' },
  })
  await withClient(agent('agent', secret('a wrong password')), async (client) => assert.equal(client.countOf('E'), 1))
  await withClient(agent('agent', password), async (client) => {
    client.send(Buffer.concat([frontend.query(`select '${marker}'`), ...secretStatements(secret, { withLong: true }), frontend.terminate]))
    await client.end()
  })
  for (const given of [plain, secret('a wrong password, sent in the clear')]) {
    const client = connectRaw({ host: front.host, port: front.port, parameters: { user: 'plain', database: 'postgres' } })
    void client.start()
    await client.until(() => client.countOf('R') > 0)
    client.send(Buffer.concat([encodePasswordMessage(given), frontend.query('select 1'), frontend.terminate]))
    await client.end()
    assert.equal(client.countOf('C'), given === plain ? 1 : 0)
  }
  for (const tapped of front.connections)
    for (const [name, value] of scramSecrets('agent', tapped, password)) secrets.set(`${name} ${secrets.size}`, value)
  cancelKeys('agent', front.connections, secrets)
  const places = [processArguments(proxy.pid)]
  assert.equal(await proxy.stop(), 0)
  places.push(
    { name: 'log', bytes: Buffer.from(proxy.log()) },
    ...(await placesIn(path.join(folder, 'pass-through'))),
    ...(await printed(proxy)),
  )
  assert(secrets.size > 40, `all secrets were met: ${secrets.size}`)
  assertClean(places, secrets)
})

test('secrets stay out: starts that fail', async () => {
  const secret = `failing${randomBytes(9).toString('hex')}`
  const file = path.join(folder, 'upstream')
  const failing = path.join(folder, 'failing')
  let failed = 0
  const texts = [
    `postgresql://u:${secret}@[nonsense/db`,
    `postgresql://u:${secret}@host:99999/db`,
    `postgresql://u:${secret}@host:port/db`,
    `postgresql://u:${secret}#@host/db`,
    `postgresql://u:${secret}%zz@host/db`,
    `postgresql://u:${secret}@host/db?sslmode=nonsense`,
    `postgresql://u:x@host/db?password=${secret}&nonsense=1`,
    `postgresql://u@host/db?sslpassword=${secret}&sslmode=nonsense`,
    `host=h user=u password=${secret} nonsense=1`,
    `host=h user=u password='${secret}`,
    `host=h user=u password = ${secret} trailing`,
    secret,
    `user=u password=${secret} host=a,b port=1,2,3`,
    `mysql://u:${secret}@host/db`,
    `postgresql://u:${secret}@host/db target_session_attrs=nonsense`,
  ]
  const places: Place[] = [{ name: 'marker', bytes: Buffer.from(marker) }]
  /** A start that succeeds after all is ended at once. */
  async function failingStart(name: string, upstream: string, args: readonly string[] = []): Promise<void> {
    try {
      await using proxy = await startProxyProcess({ upstream, folder: failing, arguments: ['--log-level', 'debug', ...args] })
      await proxy.stop()
      places.push({ name, bytes: Buffer.from(proxy.log()) })
    } catch (error) {
      assert(error instanceof Error)
      assert.doesNotMatch(error.message, /defect|\bat .*\.ts:\d/, name)
      places.push({ name, bytes: Buffer.from(error.message) })
      failed++
    }
  }
  for (const text of texts) await failingStart(`STENO_UPSTREAM=${text.replace(secret, '…')}`, text)
  await writeFile(file, `postgresql://u:${secret}@host:port/db`)
  const sound = `postgresql://u:${secret}@127.0.0.1:1/db`
  await failingStart('a file that makes no sense', '', ['--upstream-file', file])
  await failingStart('a password as an argument', '', ['--upstream', sound])
  await failingStart('a password as an argument, joined', '', [`--upstream=host=h user=u password=${secret}`])
  await failingStart('given twice', sound, ['--upstream-file', file])
  await failingStart('a store with a credential', 'host=h user=u', ['--store', `s3://u:${secret}@bucket`])
  await failingStart('a token file that is a folder', sound, ['--agent-token-file', folder])
  await failingStart('a token with an upstream that names no user', 'host=h', ['--agent-token-file', file])
  await failingStart('an address that cannot be listened on', sound, ['--listen', '192.0.2.1:1'])
  assert(failed >= 20, `${failed} of ${places.length} starts failed`)
  places.push(...(await placesIn(failing)))
  assertClean(places, new Map([['the password', secret]]))
})

test('secrets stay out: a database that cannot be reached or refuses the password', async () => {
  const wrong = makeSecret('wrong')
  const places: Place[] = [{ name: 'marker', bytes: Buffer.from(marker) }]
  for (const [host, port] of [
    [server.host, server.port],
    ['127.0.0.1', 1],
  ] as const) {
    await using proxy = await startProxyProcess({
      upstream: `postgresql://postgres:${encodeURIComponent(wrong)}@${host}:${port}/postgres?sslmode=disable`,
      arguments: ['--log-level', 'debug'],
    })
    await withClient({ host: proxy.host, port: proxy.port, parameters: { user: 'agent' } }, async (client) => {
      assert.equal(client.countOf('E'), 1)
      places.push({ name: `what the agent is told about port ${port}`, bytes: Buffer.from(client.received()) })
    })
    places.push({ name: 'log', bytes: Buffer.from(proxy.log()) }, ...(await placesIn(proxy.folder)), processArguments(proxy.pid))
  }
  assertClean(places, new Map([['the wrong password', wrong]]))
})
