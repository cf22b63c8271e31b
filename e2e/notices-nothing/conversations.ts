/**
 * Makes random conversations over all message kinds of the frontend, right and wrong ones, from a seed.
 *
 * Nothing in a conversation depends on an answer, so it can be said twice: once directly and once through steno. Nothing in it
 * gives another answer the second time (no clock, no random values, no ids of objects that it made).
 */
import { frontend, int16, int32 } from '../../postgres/messages/write-for-tests.ts'
import type { Random } from './random.ts'

/** The tables that conversations use; the same in every database. */
export const schemaSql = `
  create table items (id int primary key, name text, amount numeric(10,2), data bytea, made timestamptz default '2026-01-01');
  insert into items select n, 'item ' || n, n * 1.5, decode(repeat(to_hex(n % 16), 8), 'hex') from generate_series(1, 40) n;
  create table log (line text);
  create type colour as enum ('red', 'green');
  create function shout(what text) returns text language plpgsql as $$ begin raise notice 'shouting %', what; return upper(what); end $$;
`

/** Bytes to send, and whether to wait until the server has been silent for a moment before the next. */
export type Step = { readonly bytes: Buffer; readonly settles: boolean }
export type Conversation = { readonly steps: readonly Step[] }

const names = ['', '', 's1', 's2', 'portal with space', 'ü']

const queries: readonly string[] = [
  'select 1',
  '',
  ' ; ; ',
  '-- only a comment',
  "select 'a' as x; select 2 as y, null::int",
  'select id, name, amount, data, made from items order by id limit 7',
  'select * from items where id = 3',
  'select * from nowhere',
  'selec 1',
  'select 1; select 1/0; select 3',
  'begin',
  'commit',
  'rollback',
  "begin; insert into log values ('in transaction'); select count(*) from log; commit",
  'savepoint a',
  'rollback to a',
  "insert into log values ('x')",
  'update items set amount = amount + 1 where id < 5',
  'delete from log',
  'insert into items (id) values (1)',
  "insert into items (id, name) values (9999, 'u') on conflict (id) do update set name = excluded.name returning id, name",
  "select shout('hello')",
  "do $$ begin raise notice 'one'; raise warning 'two' using detail = 'd', hint = 'h'; end $$",
  "do $$ begin raise exception 'own' using errcode = 'P7777', table = 'items', column = 'name'; end $$",
  "set application_name = 'renamed'",
  "set timezone = 'Europe/Berlin'; select made from items where id = 1; reset timezone",
  "set datestyle = 'German, DMY'; select date '2026-02-01'; reset datestyle",
  'set client_encoding = latin1',
  'set client_encoding = utf8',
  'set client_min_messages = debug1',
  'reset client_min_messages',
  'set intervalstyle = postgres_verbose',
  'set standard_conforming_strings = off',
  'reset all',
  "set nonsense.value = 'x'; show nonsense.value",
  'set search_path = pg_catalog, public; show search_path; reset search_path',
  'listen ears',
  "notify ears, 'heard'",
  "notify ears; notify ears, 'twice'",
  'unlisten *',
  'declare c scroll cursor for select id from items order by id',
  'declare h cursor with hold for select id, name from items order by id',
  'fetch 3 from c; fetch backward 1 from c; move 2 in c',
  'fetch all from h',
  'close h',
  'close all',
  'prepare p(int) as select $1 + 1',
  'execute p(41)',
  'deallocate p',
  'deallocate all',
  'discard all',
  "select repeat('long', 5000)",
  'select n, repeat(chr(97 + n % 26), n) from generate_series(1, 400) n',
  "select array[1,2,null], '{\"a\": [1, 2]}'::jsonb, 'red'::colour::text, int4range(1, 5), '1 day 2 hours'::interval",
  "select E'\\\\xDEADBEEF'::bytea, 'ünïcödé', chr(8364)",
  'explain (costs off) select * from items where id = 1',
  'truncate log',
  'create temp table if not exists t (a int); insert into t values (1), (2); select a + 0 from t order by 1; drop table t',
  'create table if not exists items (id int)',
  'vacuum items',
  'select pg_sleep(0.001)',
  'lock table items',
  'set transaction isolation level serializable',
  "prepare transaction 'nothing'",
  'show server_version; show is_superuser',
  'values (1, 2), (3, 4)',
  'select * from (select 1/(3-id) from items order by id) s',
  // Recorded in another form than sent; the database and the client must see nothing of that.
  "alter role nobody password 'a literal'",
  "alter role shop password 'x' valid until 'an echoed literal'",
  "alter role shop password 'x' 'a literal in a syntax error'",
  "do $$ begin raise notice 'the password is %', 'told in a notice'; end $$",
  "do $$ begin raise exception 'the password is %', 'told in an error'; end $$",
  "prepare secret_setter(text) as select set_config('my.password', $1, false)",
  "execute secret_setter('a literal')",
  // Larger than what is held or gathered at once.
  "select repeat('row', 700000)",
]

const parsed: readonly (readonly [sql: string, types: readonly number[], parameters: number])[] = [
  ['select $1::int + 1', [], 1],
  ['select $1, $2', [25, 23], 2],
  ['select id, name from items where id <= $1 order by id', [23], 1],
  ['select id, data, amount, made from items order by id', [], 0],
  ['insert into log values ($1)', [], 1],
  ['update items set name = $1 where id = $2 returning *', [], 2],
  ['select 1/$1::int', [], 1],
  ['', [], 0],
  ['select', [], 0],
  ['selec nonsense', [], 0],
  ['select 1; select 2', [], 0],
  ['begin', [], 0],
  ['commit', [], 0],
  ['rollback', [], 0],
  ['copy items (id, name) to stdout', [], 0],
  ['copy log from stdin', [], 0],
  ['select shout($1)', [], 1],
  ["select set_config('my.password', $1, false)", [], 1],
  ["alter role nobody password 'a literal'", [], 0],
  ['select $1::bytea, $2::text, $3::timestamptz', [], 3],
  ['select generate_series(1, 50)', [], 0],
  ["notify ears, 'extended'", [], 0],
  ["set application_name = 'extended'", [], 0],
  ['select $1::nothing', [], 1],
  ['show all_nonsense', [], 0],
]

/** Oids of functions by number, as FunctionCall wants them: int4pl, lower(text), pg_sleep with a wrong argument, none. */
const functions = [177, 870, 2626, 4_000_000]

export function makeConversation(random: Random): Conversation {
  const steps: Step[] = []
  const batches = 2 + random.below(8)
  for (let batch = 0; batch < batches; batch++) {
    const frames = makeBatch(random)
    steps.push({ bytes: Buffer.concat(frames), settles: random.chance(0.4) })
  }
  // Sync ends whatever was left open, so that the end of the conversation is the same as what came before it.
  if (random.chance(0.8))
    steps.push({ bytes: Buffer.concat([frontend.sync, frontend.query('select 1 as last'), frontend.sync]), settles: true })
  steps.push({ bytes: random.chance(0.9) ? frontend.terminate : Buffer.alloc(0), settles: false })
  return { steps }
}

function makeBatch(random: Random): Buffer[] {
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2:
      return Array.from({ length: 1 + random.below(3) }, () => frontend.query(random.pick(queries)))
    case 3:
      return copyIn(random)
    case 4:
      return copyOut(random)
    case 5:
      return functionCall(random)
    case 6:
      return oddity(random)
    case 7:
      return suspendedPortal(random)
    default:
      return extended(random)
  }
}

function extended(random: Random): Buffer[] {
  const frames: Buffer[] = []
  const pieces = 1 + random.below(4)
  for (let piece = 0; piece < pieces; piece++) {
    const statement = random.pick(names)
    const portal = random.pick(names)
    const [sql, types, parameters] = random.pick(parsed)
    if (random.chance(0.85)) frames.push(frontend.parse(sql, statement, types))
    if (random.chance(0.4)) frames.push(frontend.describe('S', statement))
    if (random.chance(0.9)) frames.push(bind(random, portal, statement, random.chance(0.9) ? parameters : random.below(5)))
    if (random.chance(0.5)) frames.push(frontend.describe('P', portal))
    if (random.chance(0.3)) frames.push(frontend.flush)
    const executions = random.chance(0.1) ? 2 : 1
    for (let run = 0; run < executions; run++) frames.push(frontend.execute(portal, random.pick([0, 0, 0, 1, 5, 1000])))
    if (random.chance(0.2)) frames.push(frontend.close(random.pick(['S', 'P']), random.pick(names)))
    if (random.chance(0.3)) frames.push(frontend.sync)
    if (random.chance(0.05)) frames.push(frontend.query(random.pick(queries)))
  }
  frames.push(random.chance(0.95) ? frontend.sync : frontend.flush)
  return frames
}

function bind(random: Random, portal: string, statement: string, count: number): Buffer {
  const values = Array.from({ length: count }, () =>
    random.pick<string | Buffer | null>([
      '1',
      '0',
      '7',
      'text',
      '',
      null,
      '2026-03-04',
      Buffer.from([0, 0, 0, 5]),
      'ü'.repeat(random.below(300)),
    ]),
  )
  return frontend.bind({
    portal,
    statement,
    values,
    formats: random.pick<readonly number[]>([[], [], [0], [1], values.map(() => random.below(2)), [7]]),
    resultFormats: random.pick<readonly number[]>([[], [], [0], [1], [0, 1]]),
  })
}

function suspendedPortal(random: Random): Buffer[] {
  const rows = 1 + random.below(9)
  return [
    ...(random.chance(0.5) ? [frontend.query('begin')] : []),
    frontend.parse('select id, name from items order by id', 's1'),
    frontend.bind({ portal: 'p1', statement: 's1' }),
    frontend.execute('p1', rows),
    frontend.execute('p1', rows),
    ...(random.chance(0.3) ? [frontend.sync, frontend.execute('p1', rows)] : []),
    ...(random.chance(0.5) ? [frontend.close('P', 'p1')] : [frontend.execute('p1', 0)]),
    ...(random.chance(0.5) ? [frontend.close('S', 's1')] : []),
    frontend.sync,
    ...(random.chance(0.5) ? [frontend.query('rollback')] : []),
  ]
}

function copyIn(random: Random): Buffer[] {
  const sql = random.pick([
    'copy log from stdin',
    'copy log from stdin; select count(*) from log',
    'copy items (id, name) from stdin with (format csv)',
    'copy log from stdin with (format binary)',
    'copy nowhere from stdin',
    'begin; copy log from stdin; commit',
  ])
  const lines = random.pick(['a\nb\nc\n', '1,x\n2,y\n', 'a\tb\n', '7000,ok\n', '\\.\n', 'x'.repeat(3000) + '\n', '', '\xff\xfe\n'])
  const rows = Array.from({ length: random.below(6) }, () => Buffer.from(lines, 'latin1'))
  const data = rows.map((row) => frontend.copyData(random.chance(0.8) ? row : row.subarray(0, row.length >> 1)))
  const wrong = random.pick([frontend.flush, frontend.sync, frontend.query('select 1'), frontend.parse('select 1'), frontend.execute('')])
  const end = random.pick([frontend.copyDone, frontend.copyDone, frontend.copyDone, frontend.copyFail('changed my mind'), wrong])
  const isExtended = random.chance(0.3)
  const begin = isExtended ? [frontend.parse(sql), frontend.bind(), frontend.execute()] : [frontend.query(sql)]
  return [
    ...begin,
    ...data,
    end,
    ...(isExtended || random.chance(0.3) ? [frontend.sync] : []),
    ...(end === wrong ? [frontend.copyDone, frontend.sync] : []),
  ]
}

function copyOut(random: Random): Buffer[] {
  const sql = random.pick([
    'copy items to stdout',
    'copy (select n from generate_series(1, 300) n) to stdout with (format csv, header)',
    'copy items (id, name) to stdout with (format binary)',
    'copy (select 1/(5-n) from generate_series(1, 9) n) to stdout',
    'copy nowhere to stdout',
  ])
  return random.chance(0.3)
    ? [frontend.parse(sql), frontend.bind(), frontend.execute('', random.below(3)), frontend.sync]
    : [frontend.query(sql)]
}

function functionCall(random: Random): Buffer[] {
  const values = Array.from({ length: random.below(3) }, () => random.pick<string | null>(['1', 'ABC', null, '0.5']))
  return [frontend.functionCall(random.pick(functions), values), ...(random.chance(0.2) ? [frontend.sync] : [])]
}

/** Well-framed, but wrong or out of place. */
function oddity(random: Random): Buffer[] {
  const odd = random.pick<readonly Buffer[]>([
    [frontend.bind({ statement: 'missing' })],
    [frontend.execute('missing')],
    [frontend.describe('S', 'missing')],
    [frontend.describe('P', 'missing')],
    [frontend.raw('D', Buffer.from('Xname\0'))],
    [frontend.raw('C', Buffer.from('Zname\0'))],
    [frontend.close('S', 'missing')],
    [frontend.copyData('stray'), frontend.copyDone, frontend.copyFail('stray')],
    [frontend.raw('Q', Buffer.from('select 1'))], // No null byte at the end.
    [frontend.raw('Q')],
    [frontend.raw('P', Buffer.from('name without end'))],
    [frontend.raw('P', Buffer.from('\0select 1\0'))],
    [frontend.raw('B', Buffer.from('\0\0'))],
    [frontend.raw('B', Buffer.concat([Buffer.from('\0\0'), int16(0, 900), int32(-1)]))],
    [frontend.raw('E', Buffer.from('\0'))],
    [frontend.raw('F', int32(870))],
    [frontend.raw('S', Buffer.from('more than a Sync'))],
    [frontend.raw('H', Buffer.from('x'))],
    [frontend.query('select 1\0; select 2')],
    [frontend.query('\u00ff\u00fe in utf8')],
    [frontend.raw('Q', Buffer.from([0xff, 0xfe, 0x00]))],
    [frontend.parse('select 1', 'n'.repeat(500))],
    [frontend.parse('select $70000')],
    [frontend.sync, frontend.sync, frontend.sync],
    [frontend.flush, frontend.flush],
    [frontend.query(`select ${Array.from({ length: 2000 }, (_, index) => index).join(', ')}`)],
    [frontend.query('x'.repeat(20_000))],
    [frontend.query(`select length('${'x'.repeat(1_500_000)}')`)],
    [frontend.query(`/* ${'x'.repeat(1_200_000)} */ alter role nobody password 'a literal'`)],
    [
      frontend.parse(`select length($1), '${'x'.repeat(1_100_000)}'::text is null`),
      frontend.bind({ values: ['y'.repeat(1_300_000)] }),
      frontend.execute(),
    ],
  ])
  return [...odd, ...(random.chance(0.8) ? [frontend.sync] : [])]
}
