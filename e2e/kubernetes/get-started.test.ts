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
import { clusterTest, createNamespace, kubectl, ran } from './support/kubectl.ts'
import { openShop, password } from './support/shop.ts'
import { clientImage, postgresImage } from './support/test-images.ts'

const project = fileURLToPath(new URL('../../', import.meta.url))
/** What a block must print for its reader to believe it, by a part of the block. */
const promised: readonly [part: string, printed: RegExp][] = [
  ['helm test', /Phase:\s+Succeeded/],
  ['steno check', /admitted, with the sidecar/],
  ['psql "$DATABASE_URL"', /customer 7/],
  ['grep DATABASE_URL', /DATABASE_URL=postgresql:\/\/\S*127\.0\.0\.1:15432\/shop/],
  ['steno verify', /select customer from orders[\s\S]*verified \d+ sessions?.*: .*sound/],
]

/** What stands in the page for the reader's own. */
type Reader = {
  readonly namespace: string
  readonly databaseHost: string
  readonly password: string
  /** The policy's `tls`, as the reader writes it. */
  readonly tls: string
  /** Before the page's first block, and behind the one that makes the namespace. */
  readonly prepare?: (folder: string) => Promise<unknown>
  readonly whenNamespaceIsThere?: () => Promise<unknown>
  readonly skipsInstallation?: true
}

async function follow({ namespace, databaseHost, password: ofAgent, tls, ...reader }: Reader): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'steno-day-one-'))
  try {
    for (const name of ['charts', 'examples']) cpSync(path.join(project, name), path.join(folder, name), { recursive: true })
    const agent = path.join(folder, 'examples/kubernetes/agent.yaml')
    writeFileSync(agent, readFileSync(agent, 'utf8').replace('image: postgres:18', `image: ${clientImage}`))
    await reader.prepare?.(folder)
    const image = process.env['STENO_IMAGE'] ?? ''
    const [repository = '', digest = ''] = image.split('@')
    const skipsInstallation = image === '' || reader.skipsInstallation === true // A run by hand on a release that is there.
    const isInstalled = (await ran('helm', ['status', 'steno', '--namespace', 'steno-system'])).code === 0
    const own = (block: string): string =>
      block
        .replace(
          'helm install',
          isInstalled ? 'helm upgrade --set store.volume.ephemeral=true' : 'helm install --set store.volume.ephemeral=true',
        )
        .replace('registry.example/steno', repository)
        .replace('sha256:0123', digest)
        .replaceAll('orders.db.example.com', databaseHost)
        .replace('shop_agent:secret@', `shop_agent:${ofAgent}@`)
        .replaceAll(/(--namespace |namespace: |namespace )shop\b/g, `$1${namespace}`)
        .replace('tls: { mode: verify-full }', `tls: ${tls}`)
        .replace('$PWD/bin', path.join(project, 'bin'))
    const page = readFileSync(path.join(project, 'docs/get-started-kubernetes.md'), 'utf8')
    const blocks = [...page.matchAll(/```sh\n([\s\S]*?)\n```/g)].map(([, block = '']) => block)
    assert.ok(blocks.length >= 6)
    const seen = new Set<string>()
    for (const block of blocks) {
      if (skipsInstallation && block.includes('helm install')) continue
      const text = `cd "${folder}"; export PATH="${path.join(project, 'bin')}:$PATH"\n${own(block)}`
      const { code, stdout, stderr } = await ran('bash', ['-euo', 'pipefail', '-c', text])
      assert.equal(code, 0, `${own(block)}\n${stdout}\n${stderr}`)
      for (const [part, printed] of promised) {
        if (!block.includes(part)) continue
        seen.add(part)
        assert.match(stdout, printed, block)
        assert.ok(!stdout.includes(`:${ofAgent}@`))
      }
      if (block.includes('kubectl create namespace')) await reader.whenNamespaceIsThere?.()
    }
    assert.equal(seen.size, promised.length - (skipsInstallation ? 1 : 0), [...seen].join(', '))
  } finally {
    rmSync(folder, { recursive: true, force: true })
    await kubectl(['delete', 'namespace', namespace, '--ignore-not-found', '--wait=false'])
  }
}

clusterTest(
  'docs/get-started-kubernetes.md works line by line as it stands there',
  async () => {
    // The reader's database; its namespace of agents is made by the page. Its authority is a private one, which has to be told.
    await using shop = await openShop({ labels: {} })
    const namespace = `${shop.namespace}-day-one`
    await follow({
      ...{ namespace, databaseHost: shop.databaseHost, password },
      tls: '{ mode: verify-full, ca: { configMapKeyRef: { name: orders-ca, key: ca.crt } } }',
      whenNamespaceIsThere: () =>
        kubectl(['create', 'configmap', 'orders-ca', '--namespace', namespace, `--from-literal=ca.crt=${shop.authorityPem}`]),
    })
  },
  { timeoutMilliseconds: 480_000 },
)

clusterTest(
  'so it does for a reader without a database, with the one of examples/kubernetes/database.yaml',
  async () => {
    await using database = await createNamespace('day-one-db')
    const named = readFileSync(path.join(project, 'examples/kubernetes/database.yaml'), 'utf8')
    // The image of tests knows other names for the same than that of Docker Hub.
    const own = named
      .replaceAll('shop-database', database.name)
      .replace('image: postgres:18', `image: ${postgresImage}`)
      .replace('POSTGRES_PASSWORD', 'PASSWORD')
      .replace('/docker-entrypoint-initdb.d', '/initial')
    const page = readFileSync(path.join(project, 'docs/get-started-kubernetes.md'), 'utf8')
    assert.match(page, /examples\/kubernetes\/database\.yaml.*`orders-db\.shop-database\.svc\.cluster\.local`.*`tls: \{ mode: disable \}`/)
    await follow({
      namespace: `${database.name}-shop`,
      databaseHost: `orders-db.${database.name}.svc.cluster.local`,
      ...{ password: 'secret', tls: '{ mode: disable }', skipsInstallation: true },
      async prepare(folder) {
        const file = path.join(folder, 'examples/kubernetes/database.yaml')
        writeFileSync(file, own)
        await kubectl(['apply', '--filename', file])
        await kubectl(['rollout', 'status', 'deployment/orders-db', '--namespace', database.name, '--timeout=180s'])
      },
    })
  },
  { timeoutMilliseconds: 480_000 },
)
