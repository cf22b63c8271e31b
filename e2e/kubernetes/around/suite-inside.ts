/** Tests of what an agent can do to the sidecar beside it, with which it shares the network and nothing else. */
import assert from 'node:assert/strict'
import { sidecarHealthPort } from '../../../crds/sidecar-config.ts'
import { clusterTest, eventually, kubectl } from '../support/kubectl.ts'
import { connectTo, sayToRelay, tokenOf, verdictOf } from './relay-asks.ts'
import { inPod, type World } from './world.ts'

type Inside = {
  readonly name: string
  readonly by: 'agent' | 'root'
  /** Prints THROUGH where it succeeds. */
  readonly command: string
  /** The same against something that is open. */
  readonly control: string
  /** Where the control is run, if not in the same container. */
  readonly controlBy?: 'root' | 'stranger'
}

const has = (found: string): string => `${found} | grep -q . && echo THROUGH`
const get = (path: string): string =>
  `node /programs/reach.ts tcp 127.0.0.1 ${sidecarHealthPort} 'GET ${path} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'`
const apiToken = '/var/run/secrets/kubernetes.io/serviceaccount/token'
const disk = 'mknod /tmp/disk b $(awk "NR == 3 { print \\$1, \\$2 }" /proc/partitions) && head -c 1 /tmp/disk >/dev/null && echo THROUGH'
const abstractSocket = `python3 -c "import socket; s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'around'); print(open('/proc/net/unix').read())"`

const both = (['agent', 'root'] as const).flatMap((by): Inside[] => [
  {
    name: 'see a process of the sidecar',
    by,
    command: has('grep -al STENO_SIDECAR_CONFIG=. /proc/[0-9]*/environ 2>/dev/null'),
    control: `MARK=around sh -c '${has('grep -al MARK=around /proc/[0-9]*/environ 2>/dev/null')}'`,
  },
  {
    name: 'read the sidecar’s token in its own file system',
    by,
    command: has('cat /var/run/secrets/steno.dev/relay-token 2>/dev/null'),
    control: has(`cat ${apiToken}`),
  },
  {
    name: 'read the sidecar’s token in what the first process sees',
    by,
    command: has('cat /proc/1/root/var/run/secrets/steno.dev/* 2>/dev/null'),
    control: has(`cat /proc/1/root${apiToken}`),
  },
  {
    name: 'find a token or a spool of the sidecar anywhere',
    by,
    command: has("find / -path /proc -prune -o '(' -name relay-token -o -path '/var/lib/steno*' ')' -print 2>/dev/null"),
    control: has('find /var/run/secrets/ -name token -print 2>/dev/null'),
  },
  {
    name: 'find an abstract socket of the sidecar',
    by,
    command: has("grep ' @' /proc/net/unix"),
    control: has(`${abstractSocket} | grep ' @around'`),
  },
  {
    name: 'have a tunnel of the sidecar’s health port',
    by,
    command: `node /programs/reach.ts tcp 127.0.0.1 ${sidecarHealthPort} 'CONNECT orders-db:5432 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' | grep -q ' 200 ' && echo THROUGH`,
    control: `${get('/metrics')} | grep -q ' 200 ' && echo THROUGH`,
  },
  {
    name: 'read a token or password from the sidecar’s metrics',
    by,
    command: `timeout 5 wget -qO- http://127.0.0.1:${sidecarHealthPort}/metrics | grep -q 'eyJ\\|sesame' && echo THROUGH`,
    control: `timeout 5 wget -qO- http://127.0.0.1:${sidecarHealthPort}/metrics | grep -q steno_ && echo THROUGH`,
  },
])

const insides: Inside[] = [
  ...both,
  {
    name: 'open a raw socket',
    by: 'agent',
    command: 'python3 /programs/raw.py icmp 127.0.0.1',
    control: 'python3 /programs/raw.py icmp 127.0.0.1',
    controlBy: 'root',
  },
  {
    name: 'open a packet socket',
    by: 'agent',
    command: 'python3 /programs/raw.py sniff 1 x',
    control:
      '(for n in 1 2 3; do sleep 1; node /programs/reach.ts udp 127.0.0.1 9 around; done) >/dev/null & python3 /programs/raw.py sniff 10 around',
    controlBy: 'root',
  },
  {
    name: 'take the relay’s address',
    by: 'root',
    command: 'ip addr add 192.0.2.7/32 dev eth0 && echo THROUGH',
    control: 'ip addr add 192.0.2.7/32 dev eth0 && echo THROUGH',
    controlBy: 'stranger',
  },
  {
    name: 'mount a file system',
    by: 'root',
    command: 'mount -t tmpfs none /tmp && echo THROUGH',
    control: 'mkdir -p /tmp/around && mount -t tmpfs none /tmp/around && echo THROUGH',
    controlBy: 'stranger',
  },
  {
    name: 'read the node’s disk',
    by: 'root',
    command: disk,
    control: 'mknod /tmp/zero c 1 5 && head -c 1 /tmp/zero >/dev/null && echo THROUGH',
  },
]

export function testInside(world: () => World): void {
  const run = async ({ by, command }: Pick<Inside, 'command'> & { by: Inside['by'] | 'stranger' }): Promise<string> =>
    by === 'stranger'
      ? inPod(world().open, 'agent', ['sh', '-c', command], '', 'stranger')
      : inPod(world().shop.namespace, by, ['sh', '-c', command])
  for (const { name, by, command, control, controlBy } of insides) {
    clusterTest(`${by === 'agent' ? 'UID 1000' : 'root'} beside the sidecar cannot ${name}`, async () => {
      assert.match(await run({ by: controlBy ?? by, command: control }), /^THROUGH$/m)
      assert.doesNotMatch(await run({ by, command }), /^THROUGH$/m)
    })
  }

  clusterTest('root beside the sidecar sees no token in the pod’s own packets', async () => {
    const { shop } = world()
    const token = await tokenOf(world(), shop.namespace, 'speaker')
    const sniff = async (text: string): Promise<string> =>
      inPod(shop.namespace, 'root', ['python3', '/programs/raw.py', 'sniff', '8', text])
    const target = `${shop.databaseHost}:5432`
    const [heardToken, heardDns] = await Promise.all([
      sniff(token.slice(-40)),
      sniff('orders-db'),
      inPod(shop.namespace, 'agent', ['sh', '-c', `sleep 2; nslookup ${shop.databaseHost}`]),
      (async () => {
        for (let times = 0; times < 3; times++) {
          const answers = await sayToRelay(shop.namespace, [{ name: 'right', text: connectTo({ target, token }) }])
          assert.equal(verdictOf(answers.get('right')!), 'OPEN')
        }
      })(),
    ])
    assert.match(heardDns, /^THROUGH$/m)
    assert.match(heardToken, /^not in [1-9]\d* frames$/m)
  })

  clusterTest('no other pod reaches the listener of a sidecar, which its own agent reaches', async () => {
    const { shop, open, places } = world()
    const port = (await inPod(shop.namespace, 'agent', ['node', '-p', 'new URL(process.env.DATABASE_URL).port'], '', 'neighbour')).trim()
    const reach = (host: string): string[] => ['node', '/programs/reach.ts', 'tcp', host, port]
    assert.match(await inPod(shop.namespace, 'agent', reach('127.0.0.1'), '', 'neighbour'), /^THROUGH$/m)
    for (const namespace of [open, shop.namespace])
      assert.doesNotMatch(await inPod(namespace, 'agent', reach(places.neighbour)), /^THROUGH$/m)
  })

  clusterTest('root that takes the relay’s address as the source of its packets reaches nobody', async () => {
    const { shop, open, places } = world()
    const [own, relayed, last] = ['own', 'relayed', 'last'].map((name) => `${name}-${Date.now()}`) as [string, string, string]
    const send = (source: string, text: string): string[] => [
      'python3',
      '/programs/raw.py',
      'udp-from',
      source,
      places.stranger,
      '5433',
      text,
    ]
    const openAddress = (await inPod(open, 'root', ['hostname', '-i'])).trim()
    assert.match(await inPod(open, 'root', send(openAddress, own)), /sent/)
    assert.match(await inPod(shop.namespace, 'root', send(places.components.relay, relayed)), /sent|not permitted|unreachable/i)
    assert.match(await inPod(open, 'root', send(openAddress, last)), /sent/)
    const heard = await eventually('what was sent last has arrived', async () => {
      const log = await kubectl(['-n', open, 'logs', 'stranger'])
      return log.includes(last) ? log : null
    })
    assert.ok(heard.includes(own), 'with its own source address, a packet made by hand arrives where steno is not')
    assert.ok(!heard.includes(relayed), 'a packet with the relay’s address arrived')
  })
}
