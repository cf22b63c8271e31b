// Goal: names are found as the pod would find them, of both families, in bounded time and number. Method: a DNS of the test's own.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseAddresses } from './choose-addresses.ts'
import { candidatesOf, createNameResolver, searchDomainsOf, searchRulesIn, type Lookup } from './resolve-name.ts'
import { testDatabase } from './test-relay.ts'

const rules = searchRulesIn(
  '# kubelet\nsearch steno-system.svc.cluster.local svc.cluster.local cluster.local corp.example.\nnameserver 10.96.0.10\noptions ndots:5 timeout:1\n',
)
const failed = (code: string): Promise<never> => Promise.reject(Object.assign(new Error(code), { code }))

function dns(records: Readonly<Record<string, { readonly 4?: readonly string[] | string; readonly 6?: readonly string[] | string }>>) {
  const asked: string[] = []
  const lookup: Lookup = (name, family) => {
    asked.push(`${name} ${family}`)
    const found = records[name.toLowerCase()]?.[family]
    if (typeof found === 'string') return failed(found)
    return found === undefined ? failed(records[name.toLowerCase()] === undefined ? 'ENOTFOUND' : 'ENODATA') : Promise.resolve(found)
  }
  return { asked, resolve: createNameResolver({ lookup, rules, ownNamespace: 'steno-system' }) }
}
const textsOf = (forms: readonly { readonly text: string }[]): string[] => forms.map(({ text }) => text)

test('resolv.conf is read: search list, ndots, the last search counts', () => {
  assert.deepEqual(rules, { domains: ['steno-system.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'corp.example'], ndots: 5 })
  assert.deepEqual(searchRulesIn('search a\ndomain b\n'), { domains: ['b'], ndots: 1 })
  assert.deepEqual(searchRulesIn(''), { domains: [], ndots: 1 })
})

test('a short name is the pod’s namespace’s, not steno’s', async () => {
  const { resolve } = dns({ 'db.shop.svc.cluster.local': { 4: ['10.0.0.1'] }, 'db.steno-system.svc.cluster.local': { 4: ['10.9.9.9'] } })
  assert.deepEqual(textsOf(await resolve('db', 'shop')), ['10.0.0.1'])
  assert.deepEqual(searchDomainsOf(rules, 'steno-system', 'shop')[0], 'shop.svc.cluster.local')
})

test('names are tried in the order of the C library', () => {
  assert.deepEqual(candidatesOf('db.shop', ['a', 'b'], 5), ['db.shop.a', 'db.shop.b', 'db.shop'])
  assert.deepEqual(candidatesOf('db.shop.example', ['a'], 2), ['db.shop.example', 'db.shop.example.a'])
  assert.deepEqual(candidatesOf('db.example.', ['a'], 5), ['db.example'])
})

test('both families, each address once, IPv4-mapped ones as what they are', async () => {
  const { resolve } = dns({ 'db.example': { 4: ['10.0.0.1', '10.0.0.2'], 6: ['fd00::1', '::ffff:10.0.0.1'] } })
  assert.deepEqual(textsOf(await resolve('db.example.', 'shop')), ['10.0.0.1', 'fd00:0:0:0:0:0:0:1', '10.0.0.2'])
})

test('one family that fails does not hide the other; both failing is said, and no other name is tried', async () => {
  const { resolve, asked } = dns({ 'one.example': { 4: ['10.0.0.1'], 6: 'ESERVFAIL' }, 'two.example': { 4: 'ESERVFAIL', 6: 'ETIMEOUT' } })
  assert.deepEqual(textsOf(await resolve('one.example.', 'shop')), ['10.0.0.1'])
  await assert.rejects(resolve('two.example.', 'shop'), { code: 'NAME_UNRESOLVED', message: /ESERVFAIL/ })
  await assert.rejects(resolve('none', 'shop'), { code: 'NAME_UNRESOLVED' })
  assert.deepEqual(asked.slice(-2), ['none 4', 'none 6'])
})

test('an address is not asked for', async () => {
  const { resolve, asked } = dns({})
  assert.deepEqual(textsOf(await resolve('10.1.2.3', 'shop')), ['10.1.2.3'])
  assert.deepEqual(asked, [])
})

test('askers of one name share one question, and too many names at once are refused', async () => {
  let release = (): void => undefined
  const gate = new Promise<void>((resolve) => (release = resolve))
  let asked = 0
  const resolve = createNameResolver({
    lookup: async () => {
      asked++
      await gate
      return ['10.0.0.1']
    },
    rules: { domains: [], ndots: 1 },
    ownNamespace: 'steno-system',
  })
  const shared = [resolve('db.example', 'shop'), resolve('db.example', 'shop')]
  assert.equal(asked, 2) // One of each family.
  const others = Array.from({ length: 255 }, (_, index) => resolve(`db${index}.example`, 'shop'))
  await assert.rejects(resolve('one.more', 'shop'), { code: 'BUSY' })
  release()
  await Promise.all([...shared, ...others])
})

test('of a name with very many addresses sixteen are chosen, all of them in time, and each that is asked for', async () => {
  const many = Array.from({ length: 300 }, (_, index) => `10.0.${index >> 8}.${index & 255}`)
  const { resolve: resolveName } = dns({ 'db.test': { 4: many } })
  const named = { databases: [testDatabase({ hosts: ['db.test'] })], ceilings: [] }
  const target = { database: 'orders', host: 'db.test.', port: 5432 }
  const choose = async (wanted: string | null): Promise<string[]> =>
    textsOf(await chooseAddresses(target, wanted, { rules: named, namespace: 'shop' }, { resolveName, whatForbids: () => null }))
  const known = many.slice(0, 256)
  const seen = new Set<string>()
  // One address is missed by one choice at a chance of 0.94, by a thousand at one of 10 to the minus 28.
  for (let asked = 0; asked < 1_000; asked++) {
    const given = await choose(null)
    assert.equal(new Set(given).size, 16)
    for (const address of given) seen.add(address)
  }
  assert.deepEqual([...seen].sort(), known.toSorted())
  for (const address of known) assert.deepEqual(await choose(address), [address])
})

test('a name of two labels is looked for in the pod’s namespace first, unless the URL or the policy ends it with a dot', async () => {
  // What whoever makes pods in the namespace can make: a headless Service `corp`, and a pod with hostname db and subdomain corp.
  const { resolve: resolveName, asked } = dns({ 'db.corp.shop.svc.cluster.local': { 4: ['10.6.6.6'] }, 'db.corp': { 4: ['10.0.0.1'] } })
  const lead = async (host: string, pattern: string): Promise<string[]> => {
    const named = { databases: [testDatabase({ hosts: [pattern] })], ceilings: [] }
    const target = { database: 'orders', host, port: 5432 }
    return textsOf(await chooseAddresses(target, null, { rules: named, namespace: 'shop' }, { resolveName, whatForbids: () => null }))
  }
  assert.deepEqual(await lead('db.corp', 'db.corp'), ['10.6.6.6'])
  asked.length = 0
  for (const [host, pattern] of [
    ['db.corp.', 'db.corp'],
    ['db.corp', 'db.corp.'],
    ['DB.corp', '*.corp.'],
    ['db.corp.', 'db.corp.'],
  ] as const)
    assert.deepEqual(await lead(host, pattern), ['10.0.0.1'], `${host} ${pattern}`)
  assert.ok(
    asked.every((name) => !name.includes('svc.cluster.local')),
    asked.join(),
  )
})
