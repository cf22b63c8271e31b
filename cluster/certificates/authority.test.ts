// Goal: no client ever meets a certificate that it cannot verify. Method: real TLS by Node and by openssl against each certificate of several
// rotations, with every bundle that a client may still have.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { activated, trusted } from './authority-state.ts'
import { createAuthority, endOf, issueLeaf } from './authority.ts'
import { firstState, hour, leafOf, names, nodeSays, opensslSays, prepared, valid } from './test-certificates.ts'

const timeout = 120_000

test('through rotations, clients with any bundle since the first verify what serves, by Node and by openssl', { timeout }, async () => {
  let state = await firstState()
  const bundles = [trusted(state), state.active.cert]
  for (let rotation = 0; rotation < 3; rotation++) {
    state = await prepared(state)
    bundles.push(trusted(state), state.next?.cert ?? '')
    for (const stage of ['prepared', 'activated']) {
      if (stage === 'activated') state = activated(state, Date.now())
      const leaf = await leafOf(state)
      for (const [at, bundle] of bundles.entries()) {
        // A client that was told of nothing but the next authority has to wait for it; steno tells of it beside the active one.
        const isNextAlone = stage === 'prepared' && at === bundles.length - 1
        const [byNode, byOpenssl] = [await nodeSays(leaf, bundle), await opensslSays(leaf, bundle)]
        if (isNextAlone) assert.notEqual(byNode, 'verified')
        else assert.deepEqual([byNode, byOpenssl], ['verified', 'verified'], `rotation ${rotation}, ${stage}, bundle ${at}`)
      }
    }
  }
})

test('a foreign authority of any name verifies nothing', { timeout }, async () => {
  const leaf = await leafOf(await firstState())
  const foreign = (await createAuthority(valid())).cert
  assert.notEqual(await nodeSays(leaf, foreign), 'verified')
  assert.notEqual(await opensslSays(leaf, foreign), 'verified')
})

test('a leaf ends no later than its authority', async () => {
  const authority = await createAuthority(valid(1_000))
  const { cert } = await issueLeaf(authority, names, valid(hour))
  assert.equal(endOf(cert), endOf(authority.cert))
})

test('names longer than a common name may be are served', { timeout }, async () => {
  const long = `steno-webhook.${'n'.repeat(60)}.svc`
  const authority = await createAuthority(valid())
  const { cert, key } = await issueLeaf(authority, [long], valid())
  assert.notEqual(await nodeSays({ cert, key }, authority.cert), 'verified', 'it is for another name than is asked')
  assert.ok(new (await import('node:crypto')).X509Certificate(cert).checkHost(long))
})
