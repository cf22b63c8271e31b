// What an operator may ask for that cannot be. Titles are the first column of docs/failures.md.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { steno } from '../support/proxy.ts'

const custody = 'postgresql://shop:secret@127.0.0.1:1/shop'
const passThrough = 'postgresql://127.0.0.1:1/shop'

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steno-options-'))
})
after(() => rm(folder, { recursive: true, force: true }))

type Refused = { readonly status?: number; readonly code?: string; readonly message: RegExp }

async function assertRefused(args: readonly string[], upstream: string | null, { status = 1, code, message }: Refused): Promise<void> {
  const result = await steno(
    ['proxy', '--listen', '127.0.0.1:0', '--store', pathToFileURL(join(folder, 'store')).href, '--spool', join(folder, 'spool'), ...args],
    { environment: upstream === null ? {} : { STENO_UPSTREAM: upstream } },
  )
  assert.equal(result.status, status, result.stderr)
  assert.match(result.stderr, message)
  if (code !== undefined) assert.ok(result.stderr.includes(`(${code})`), result.stderr)
  assert.ok(!result.stderr.includes('secret'), 'the password is not repeated')
}

test('options contradict each other', async () => {
  const file = join(folder, 'upstream')
  await writeFile(file, custody)
  const twice = { code: 'BAD_SETTINGS', message: /given twice/ }
  await assertRefused(['--upstream', passThrough], custody, twice)
  await assertRefused(['--upstream-file', file], custody, twice)
  await assertRefused(['--upstream', passThrough, '--upstream-file', file], null, twice)
  await assertRefused(['--agent-token-file', file], passThrough, { code: 'BAD_SETTINGS', message: /--agent-token-file contradicts/ })
  await assertRefused(['--databases', 'shop'], passThrough, { code: 'BAD_SETTINGS', message: /--databases contradicts/ })
  await assertRefused(['--allow-cleartext-password'], passThrough, {
    code: 'BAD_SETTINGS',
    message: /--allow-cleartext-password contradicts/,
  })
  await assertRefused([], `${passThrough}?target_session_attrs=read-write`, {
    code: 'BAD_SETTINGS',
    message: /target_session_attrs contradicts/,
  })
  await assertRefused([], `${custody}?sslmode=prefer&sslrootcert=system`, { code: 'BAD_CONNECTION_STRING', message: /sslmode is too weak/ })
})

test('a password stands in an argument', async () => {
  for (const args of [
    ['--upstream', custody],
    ['--upstream', 'host=db user=shop password=secret'],
    [`--upstream=${custody}`],
    ['--upstream', 'postgresql://db/shop?user=shop&password=secret'],
  ]) {
    await assertRefused(args, null, { code: 'PASSWORD_IN_ARGUMENT', message: /STENO_UPSTREAM/ })
  }
})

test('no upstream is given', async () => {
  await assertRefused([], null, { code: 'BAD_SETTINGS', message: /no upstream was given/ })
})

test('the upstream file cannot be read or is empty', async () => {
  const empty = join(folder, 'empty')
  await writeFile(empty, ' \n')
  await assertRefused(['--upstream-file', empty], null, { code: 'BAD_SETTINGS', message: /is empty/ })
  await assertRefused(['--upstream-file', join(folder, 'missing')], null, { code: 'BAD_SETTINGS', message: /cannot read/ })
  await assertRefused(['--upstream-file', folder], null, { code: 'BAD_SETTINGS', message: /cannot read/ })
})

test('the connection string is none', async () => {
  for (const text of [
    'postgresql://shop:secret@[::1/shop',
    'mysql://shop:secret@db/shop',
    'host',
    'host=db port=99999',
    'sslmode=sometimes',
  ]) {
    await assertRefused([], text, { code: 'BAD_CONNECTION_STRING', message: /steno: / })
  }
})

test('an option has a value that it cannot have', async () => {
  for (const args of [
    ['--listen', 'nowhere'],
    ['--listen', '127.0.0.1:99999'],
    ['--connections-max', '-1'],
    ['--on-record-failure', 'ignore'],
    ['--segment-milliseconds', '1.5'],
    ['--unheard-of'],
  ]) {
    await assertRefused(args, custody, { status: 2, message: /error: / })
  }
  await assertRefused(['--store', 'ftp://somewhere/'], custody, { code: 'STORE_URL_UNKNOWN', message: /file:/ })
})
