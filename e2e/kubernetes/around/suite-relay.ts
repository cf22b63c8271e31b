/** Tests of the relay, which the agent's pod reaches and its agent must not use: tokens, targets, and ways to write a request. */
import assert from 'node:assert/strict'
import { before, suite } from 'node:test'
import { agentPod, startAgent } from '../support/shop.ts'
import { clusterTest, kubectl } from '../support/kubectl.ts'
import type { RelayAnswer, RelayAttempt } from './in-pod/ask-relay.ts'
import { connectTo, sayToRelay, tokenOf, verdictOf, type Connect } from './relay-asks.ts'
import { bridgePort, inPod, mountOf, programsVolume, type World } from './world.ts'

type Case = Partial<RelayAttempt> & { readonly name: string; readonly text: string; readonly gives: RegExp }
type Ask = (more?: Partial<Connect>) => string
type Tokens = Readonly<Record<'right' | 'control' | 'own' | 'neighbour' | 'friend' | 'deleted' | 'unbound', string>>

const isThere = process.env['KUBECONFIG'] !== undefined
const control = 'the sidecar’s own token to the database of its policy'
const noToken = /^TOKEN_UNFIT$/
const notAllowed = /^TARGET_NOT_ALLOWED$/
const notUnderstood =
  /^(BAD_REQUEST|TARGET_NOT_ALLOWED|NOT_FOUND|HTTP\/1\.1 400.*|closed without an answer|read ECONNRESET|.*SSL alert.*|.*wrong version.*)$/

function tokenCases(ask: Ask, tokens: Tokens): Case[] {
  const [head, , signature] = tokens.right.split('.')
  const claims = Buffer.from(JSON.stringify({ aud: ['steno-relay'], sub: 'system:serviceaccount:default:default' })).toString('base64url')
  const noSignature = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${claims}.`
  return [
    { name: 'no token', text: ask({ token: null }), gives: noToken },
    { name: 'an empty token', text: ask({ token: '' }), gives: /^(TOKEN_UNFIT|BAD_REQUEST)$/ },
    { name: 'a token of no sense', text: ask({ token: 'sesame' }), gives: noToken },
    { name: 'a token that nobody signed', text: ask({ token: noSignature }), gives: noToken },
    { name: 'a right token with other claims', text: ask({ token: `${head}.${claims}.${signature}` }), gives: noToken },
    { name: 'the agent’s own ServiceAccount token', text: ask({ token: tokens.own }), gives: noToken },
    { name: 'the sidecar’s token for control', text: ask({ token: tokens.control }), gives: noToken },
    { name: 'a token of the right audience that is bound to no pod', text: ask({ token: tokens.unbound }), gives: noToken },
    { name: 'the token of a neighbour’s sidecar', text: ask({ token: tokens.neighbour }), gives: /^SOURCE_UNFIT$/ },
    { name: 'the token of a sidecar of another namespace', text: ask({ token: tokens.friend }), gives: /^(SOURCE_UNFIT|POD_UNFIT)$/ },
    { name: 'the token of a pod that is gone', text: ask({ token: tokens.deleted }), gives: /^(TOKEN_UNFIT|POD_UNFIT)$/ },
    { name: 'the right token twice', text: ask({ more: [`Proxy-Authorization: Bearer ${tokens.right}`] }), gives: notUnderstood },
    {
      name: 'the right token as Authorization',
      text: ask({ token: null, more: [`Authorization: Bearer ${tokens.right}`] }),
      gives: noToken,
    },
    { name: 'the right token as Basic', text: ask({ token: null, more: [`Proxy-Authorization: Basic ${tokens.right}`] }), gives: noToken },
  ]
}

function targetCases({ places, open, shop }: World, ask: Ask): Case[] {
  const targets: [string, string][] = [
    ['another port of the database', `${shop.databaseHost}:5433`],
    ['the database’s pod by its address', `${places.database.ip}:5432`],
    ['the database’s Service by its address', `${places.database.serviceIp}:5432`],
    ['the database by another of its names', `${places.database.headless}:5432`],
    ['the database’s name with a dot more', `.${shop.databaseHost}:5432`],
    ['loopback', '127.0.0.1:5432'],
    ['the unspecified address', '0.0.0.0:5432'],
    ['IPv6 loopback', '[::1]:5432'],
    ['IPv6-mapped loopback', '[::ffff:127.0.0.1]:5432'],
    ['loopback in decimal', '2130706433:5432'],
    ['loopback in hexadecimal', '0x7f000001:5432'],
    ['loopback in octal', '0177.0.0.1:5432'],
    ['loopback in two parts', '127.1:5432'],
    ['localhost', 'localhost:8080'],
    ['the node', `${places.node.ip}:10250`],
    ['a bridge on the node', `${places.node.ip}:${bridgePort}`],
    ['the metadata address', '169.254.169.254:80'],
    ['the API server by name', 'kubernetes.default.svc:443'],
    ['the API server by address', `${places.services.kubernetes}:443`],
    ['control', 'steno-control.steno-system.svc:443'],
    ['the webhook', 'steno-webhook.steno-system.svc:443'],
    ['the relay itself', 'steno-relay.steno-system.svc:8443'],
    ['a pod that steno does not know', `${places.stranger}:${bridgePort}`],
    ['a name of another namespace', `stranger.${open}.svc.cluster.local:${bridgePort}`],
  ]
  return [
    ...targets.map(([name, target]) => ({ name: `a tunnel to ${name}`, text: ask({ target }), gives: notUnderstood })),
    { name: 'a database that the policy does not name', text: ask({ database: 'others' }), gives: notAllowed },
    {
      name: 'an address that the database’s name has not',
      text: ask({ more: [`Steno-Address: ${places.stranger}`] }),
      gives: /^(TARGET_NOT_ALLOWED|TARGET_FORBIDDEN|TARGET_UNREACHABLE|NAME_UNRESOLVED|BAD_REQUEST)$/,
    },
  ]
}

function writingCases({ places, shop }: World, ask: Ask, tokens: Tokens): Case[] {
  const right = `${shop.databaseHost}:5432`
  const wrong = `${places.stranger}:${bridgePort}`
  const probe = JSON.stringify({ database: 'orders', host: places.stranger, port: bridgePort })
  const asked = (target: string, more: Partial<Connect> = {}): string => ask({ target, host: right, ...more })
  return [
    { name: 'two targets in one line', text: asked(`${right} ${wrong}`), gives: notUnderstood },
    { name: 'the wrong target with the right Host', text: asked(wrong), gives: notAllowed },
    { name: 'a wrong absolute address with the right Host', text: asked(`http://${wrong}/`), gives: notUnderstood },
    { name: 'GET of an absolute address', text: asked(`http://${wrong}/`, { method: 'GET' }), gives: notUnderstood },
    { name: 'a user before the wrong target', text: asked(`${right}@${wrong}`), gives: notUnderstood },
    { name: 'a fragment before the wrong target', text: asked(`${wrong}#${right}`), gives: notUnderstood },
    { name: 'a line’s end within the target', text: asked(`${wrong}\r\nX: ${right}`), gives: notUnderstood },
    { name: 'a bare line feed within the target', text: asked(`${wrong} HTTP/1.1\nX: ${right}`), gives: notUnderstood },
    { name: 'a zero byte within the target', text: asked(`${places.stranger}\0.${right}`), gives: notUnderstood },
    { name: 'an escaped zero byte within the target', text: asked(`${places.stranger}%00.${right}`), gives: notUnderstood },
    { name: 'two databases', text: asked(wrong, { more: ['Steno-Database: others'] }), gives: notUnderstood },
    { name: 'chunks behind a CONNECT', text: asked(wrong, { more: ['Transfer-Encoding: chunked'] }), gives: notUnderstood },
    { name: 'a second request behind a refused one', text: `${asked(wrong)}${ask()}`, gives: notAllowed },
    { name: 'HTTP/1.0', text: asked(wrong, { version: '1.0' }), gives: notUnderstood },
    { name: 'the preface of HTTP/2', text: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', gives: notUnderstood },
    { name: 'HTTP/2 by ALPN', alpn: 'h2', text: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', gives: /./ },
    { name: 'plain HTTP', isPlain: true, text: ask(), gives: notUnderstood },
    { name: 'TLS 1.2', tlsVersionMax: 'TLSv1.2', text: ask(), gives: /alert|version|ECONNRESET/ },
    {
      name: 'a probe of a server that the policy does not name',
      text: `POST /v1/probe HTTP/1.1\r\nHost: relay\r\nProxy-Authorization: Bearer ${tokens.right}\r\nContent-Length: ${probe.length}\r\n\r\n${probe}`,
      gives: notAllowed,
    },
    { name: 'a tunnel through control', host: 'steno-control.steno-system.svc', port: 443, text: ask(), gives: notUnderstood },
    {
      name: 'a wrong tunnel through control’s pod',
      host: places.components.control,
      text: ask({ target: wrong }),
      gives: notUnderstood,
    },
  ]
}

/** Only the names of the cases are taken from these. */
const nobody = new Proxy({} as World, { get: () => ({ node: {}, database: {}, services: {}, components: {} }) })

export function testRelay(world: () => World): void {
  let answers = new Map<string, RelayAnswer>()
  let expected = new Map<string, RegExp>()

  const casesFor = (there: World, tokens: Tokens): Case[] => {
    const ask: Ask = (more = {}) => connectTo({ target: `${there.shop.databaseHost}:5432`, token: tokens.right, ...more })
    return [...tokenCases(ask, tokens), ...targetCases(there, ask), ...writingCases(there, ask, tokens)]
  }

  suite('the relay', () => {
    before(async () => {
      if (!isThere) return
      const there = world()
      const cases = casesFor(there, await collectTokens(there))
      expected = new Map(cases.map(({ name, gives }) => [name, gives]))
      const right = connectTo({ target: `${there.shop.databaseHost}:5432`, token: await tokenOf(there, there.shop.namespace, 'speaker') })
      answers = await sayToRelay(there.shop.namespace, [...cases, { name: control, text: right }])
    })

    clusterTest('control: the relay opens to that token, from that pod, to that database', async () => {
      assert.equal(verdictOf(answers.get(control)!), 'OPEN')
      return Promise.resolve()
    })

    const empty = { right: '..', control: '', own: '', neighbour: '', friend: '', deleted: '', unbound: '' }
    for (const { name } of casesFor(nobody, empty)) {
      clusterTest(`the relay opens nothing to an agent with: ${name}`, async () => {
        assert.equal(verdictOf(answers.get(control)!), 'OPEN', 'the same way, with the right token, is open')
        assert.match(verdictOf(answers.get(name)!), expected.get(name)!)
        return Promise.resolve()
      })
    }
  })
}

async function collectTokens(world: World): Promise<Tokens> {
  const { shop, friend, open } = world
  const pod = agentPod('brief', { env: [], container: { volumeMounts: mountOf('programs') }, spec: { volumes: [programsVolume] } })
  await startAgent(shop.namespace, pod)
  const deleted = await tokenOf(world, shop.namespace, 'brief')
  await kubectl(['-n', shop.namespace, 'delete', 'pod', 'brief', '--force', '--grace-period=0', '--wait'])
  return {
    right: await tokenOf(world, shop.namespace, 'speaker'),
    control: await tokenOf(world, shop.namespace, 'speaker', 'steno-control'),
    own: (await inPod(shop.namespace, 'agent', ['cat', '/var/run/secrets/kubernetes.io/serviceaccount/token'])).trim(),
    neighbour: await tokenOf(world, shop.namespace, 'neighbour'),
    friend: await tokenOf(world, friend, 'friend'),
    deleted,
    unbound: (await kubectl(['-n', open, 'create', 'token', 'default', '--audience=steno-relay'])).trim(),
  }
}
