/**
 * Goal: day one goes as `docs/get-started-kubernetes.md` says. Method: its blocks, one behind the other in one shell each; what stands for
 * the reader's own (image, namespace, database) is replaced, and the first block, which the whole run has done already, is done again as an
 * upgrade.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { clusterTest, kubectl, ran } from './support/kubectl.ts'
import { openShop, password } from './support/shop.ts'
import { clientImage } from './support/test-images.ts'

const project = fileURLToPath(new URL('../../', import.meta.url))
/** What a block must print for its reader to believe it, by a part of the block. */
const promised: readonly [part: string, printed: RegExp][] = [
  ['helm test', /Phase:\s+Succeeded/],
  ['steno check', /admitted, with the sidecar/],
  ['psql "$DATABASE_URL"', /customer 7/],
  ['grep DATABASE_URL', /DATABASE_URL=postgresql:\/\/\S*127\.0\.0\.1:15432\/shop/],
  ['steno verify', /select customer from orders[\s\S]*verified \d+ sessions?.*: .*sound/],
]

clusterTest(
  'docs/get-started-kubernetes.md works line by line as it stands there',
  async () => {
    // The reader's database; its namespace of agents is made by the page.
    await using shop = await openShop({ labels: {} })
    const namespace = `${shop.namespace}-day-one`
    const folder = mkdtempSync(path.join(tmpdir(), 'steno-day-one-'))
    try {
      for (const name of ['charts', 'examples']) cpSync(path.join(project, name), path.join(folder, name), { recursive: true })
      const agent = path.join(folder, 'examples/kubernetes/agent.yaml')
      writeFileSync(agent, readFileSync(agent, 'utf8').replace('image: postgres:18', `image: ${clientImage}`))
      const image = process.env['STENO_IMAGE'] ?? ''
      const [repository = '', digest = ''] = image.split('@')
      const isInstalled = (await ran('helm', ['status', 'steno', '--namespace', 'steno-system'])).code === 0
      const own = (block: string): string =>
        block
          .replace(
            'helm install',
            isInstalled ? 'helm upgrade --set store.volume.ephemeral=true' : 'helm install --set store.volume.ephemeral=true',
          )
          .replace('registry.example/steno', repository)
          .replace('sha256:0123', digest)
          .replaceAll('orders.db.example.com', shop.databaseHost)
          .replace('shop_agent:secret@', `shop_agent:${password}@`)
          .replaceAll(/(--namespace |namespace: |namespace )shop\b/g, `$1${namespace}`)
          .replace('tls: { mode: verify-full }', 'tls: { mode: verify-full, ca: { configMapKeyRef: { name: orders-ca, key: ca.crt } } }')
          .replace('$PWD/bin', path.join(project, 'bin'))
      const page = readFileSync(path.join(project, 'docs/get-started-kubernetes.md'), 'utf8')
      const blocks = [...page.matchAll(/```sh\n([\s\S]*?)\n```/g)].map(([, block = '']) => block)
      assert.ok(blocks.length >= 6)
      const seen = new Set<string>()
      for (const block of blocks) {
        if (image === '' && block.includes('helm install')) continue // A run by hand on a release that is there.
        const text = `cd "${folder}"; export PATH="${path.join(project, 'bin')}:$PATH"\n${own(block)}`
        const { code, stdout, stderr } = await ran('bash', ['-euo', 'pipefail', '-c', text])
        assert.equal(code, 0, `${own(block)}\n${stdout}\n${stderr}`)
        for (const [part, printed] of promised) {
          if (!block.includes(part)) continue
          seen.add(part)
          assert.match(stdout, printed, block)
          assert.ok(!stdout.includes(password))
        }
        // The page's reader has a database with a public certificate; this one's authority has to be told.
        if (block.includes('kubectl create namespace')) {
          const authority = ['create', 'configmap', 'orders-ca', '--namespace', namespace, `--from-literal=ca.crt=${shop.authorityPem}`]
          await kubectl(authority)
        }
      }
      assert.equal(seen.size, promised.length - (image === '' ? 1 : 0), [...seen].join(', '))
    } finally {
      rmSync(folder, { recursive: true, force: true })
      await kubectl(['delete', 'namespace', namespace, '--ignore-not-found', '--wait=false'])
    }
  },
  { timeoutMilliseconds: 240_000 },
)
