/**
 * Goal: the agent's container holds no credential: as an ordinary user, and as root with default capabilities. Method: look in every place
 * where one could be; each look first finds something planted there for it, so that it cannot pass by looking in the wrong place.
 */
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { clusterTest, ran, type Ran } from './support/kubectl.ts'
import { agentPod, databaseUrlVariable, inAgent, openShop, password, startAgent, type Shop } from './support/shop.ts'

let shop: Shop
const isThere = process.env['KUBECONFIG'] !== undefined
before(async () => {
  if (isThere) shop = await openShop()
})
after(async () => {
  if (isThere) await shop[Symbol.asyncDispose]()
})

/** In the agent's environment and in a file, so that each look has something to find. */
const planted = 'planted-for-the-search'

const searches: Readonly<Record<string, string>> = {
  'its environment': 'env',
  'the environments of all processes that it sees': "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
  'the arguments of all processes that it sees': "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'",
  'the files that it can read':
    'grep -rhaI . /tmp /var /run /etc /home /root /srv /mnt /opt /app/planted 2>/dev/null | head -c 20000000; cat /tmp/planted',
  'the roots of other processes':
    'for p in /proc/[0-9]*; do cat $p/root/var/lib/steno/* $p/root/var/lib/steno/spool/* 2>/dev/null; done; cat /proc/self/root/tmp/planted',
  'its mounts':
    'cat /proc/self/mountinfo; for m in $(cut -d" " -f5 /proc/self/mountinfo | grep -E "^/(var|run|etc|tmp)"); do cat $m/* 2>/dev/null | head -c 1000000; done; cat /tmp/planted',
}

const users: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'user 1000': { runAsUser: 1000, runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
  'root with default capabilities': { runAsUser: 0 },
}

for (const [user, securityContext] of Object.entries(users)) {
  clusterTest(`an agent that is ${user} finds no credential anywhere in its container`, async () => {
    const name = `search-${user === 'user 1000' ? 'user' : 'root'}`
    const env = [databaseUrlVariable, { name: 'PLANTED', value: planted }]
    await startAgent(
      shop.namespace,
      agentPod(name, { env, container: { securityContext, args: [], command: ['sleep', '3600', planted].slice(0, 2) } }),
    )
    await inAgent(shop.namespace, name, ['sh', '-c', `echo ${planted} > /tmp/planted`])
    // Positive control: the agent does have its database.
    assert.equal((await inAgent(shop.namespace, name, ['sh', '-c', 'psql "$DATABASE_URL" -Atc "select 1"'])).trim(), '1')
    for (const [place, command] of Object.entries(searches)) {
      const found = await ran('kubectl', ['-n', shop.namespace, 'exec', name, '-c', 'agent', '--', 'sh', '-c', `${command} # ${planted}`])
      assert.ok(found.stdout.includes(planted), `the search of ${place} finds nothing at all: ${found.stderr}`)
      assert.ok(!found.stdout.includes(password), `the password is in ${place}`)
    }
  })

  clusterTest(`an agent that is ${user} gets no credential from the API with its own rights`, async () => {
    const name = `api-${user === 'user 1000' ? 'user' : 'root'}`
    await startAgent(shop.namespace, agentPod(name, { container: { securityContext } }))
    const script = `
const fs = require('fs'), https = require('https');
const at = '/var/run/secrets/kubernetes.io/serviceaccount/';
const get = (path) => new Promise((resolve, reject) => https.get({ host: process.env.KUBERNETES_SERVICE_HOST, port: process.env.KUBERNETES_SERVICE_PORT, path, ca: fs.readFileSync(at + 'ca.crt'), headers: { authorization: 'Bearer ' + fs.readFileSync(at + 'token', 'utf8') } }, (r) => { let t = ''; r.on('data', (d) => t += d).on('end', () => resolve(r.statusCode + ' ' + t)) }).on('error', reject));
(async () => { for (const path of process.argv.slice(1)) console.log(path, await get(path)) })()`
    const base = `/api/v1/namespaces/${shop.namespace}`
    const asked: Ran = await ran('kubectl', [
      ...['-n', shop.namespace, 'exec', name, '-c', 'agent', '--', 'node', '-e', script],
      ...['/version', `${base}/secrets`, `${base}/secrets/orders`, `${base}/pods/${name}`, `${base}/configmaps`],
    ])
    assert.match(asked.stdout, /^\/version 200/m, asked.stderr)
    for (const path of ['secrets', 'secrets/orders', `pods/${name}`]) assert.match(asked.stdout, new RegExp(`${base}/${path} 403`))
    assert.ok(!asked.stdout.includes(password))
  })
}
