/**
 * What tests of certificates share: authorities in each state of a rotation, leaves of theirs, a replica on a double of the API server, and
 * what Node and openssl say of a leaf. Everything is valid for an hour around now; nothing leaves 127.0.0.1.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { promisify } from 'node:util'
import type { TestApi } from '../test-api.ts'
import { testLog } from '../test-support.ts'
import type { AuthorityState } from './authority-state.ts'
import { certificatesIn, createAuthority, crossCertify, issueLeaf } from './authority.ts'
import type { Leaf } from './certificates.ts'
import { startOwnCertificates } from './own-certificates.ts'

export const hour = 3_600_000
export const names = ['steno-webhook.steno-system.svc', '127.0.0.1']
export const valid = (milliseconds = hour) => ({ notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() + milliseconds) })
const run = promisify(execFile)

export async function firstState(): Promise<AuthorityState> {
  return { active: await createAuthority(valid()), activeSince: Date.now(), next: null, crossCerts: [], retired: [] }
}

export async function prepared(state: AuthorityState): Promise<AuthorityState> {
  const next = await createAuthority(valid())
  return { ...state, next: { ...next, crossCert: await crossCertify(next.cert, state.active), distributedAt: 0 } }
}

export async function leafOf({ active, crossCerts }: AuthorityState): Promise<Leaf> {
  const { cert, key } = await issueLeaf(active, names, valid())
  return { key, cert: [cert, ...crossCerts].join('') }
}

/** What a TLS client that trusts `ca` says of the server: `verified`, or why not. */
export async function nodeSays(leaf: Leaf, ca: string): Promise<string> {
  const server = tls.createServer(leaf, (socket) => socket.end()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = tls.connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', servername: names[0] ?? '', ca })
  try {
    await once(socket, 'secureConnect')
    return 'verified'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  } finally {
    socket.destroy()
    server.close()
  }
}

export async function opensslSays(leaf: Leaf, ca: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'steno-certificates-'))
  try {
    const [cert = '', ...chain] = certificatesIn(leaf.cert)
    const file = async (name: string, text: string): Promise<string> => {
      await writeFile(path.join(folder, name), text)
      return path.join(folder, name)
    }
    const untrusted = chain.length === 0 ? [] : ['-untrusted', await file('chain.pem', chain.join(''))]
    const args = [
      'verify',
      '-x509_strict',
      '-purpose',
      'sslserver',
      '-verify_hostname',
      names[0] ?? '',
      '-CAfile',
      await file('ca.pem', ca),
    ]
    await run('openssl', [...args, ...untrusted, await file('leaf.pem', cert)])
    return 'verified'
  } catch (error) {
    return (error as { stderr?: string }).stderr ?? String(error)
  } finally {
    await rm(folder, { recursive: true })
  }
}

export const intervals = { rotateMilliseconds: 30, overlapMilliseconds: 10, validMilliseconds: hour }
const leafIntervals = { validMilliseconds: hour, renewMilliseconds: hour }

/** A replica as the webhooks start it, with an authority of the installation's own. */
export function replica(api: TestApi, leaf = leafIntervals) {
  const { log } = testLog()
  return startOwnCertificates({
    cluster: api.client,
    namespace: 'steno-system',
    secret: 'steno-ca',
    names,
    authority: intervals,
    leaf,
    log,
  })
}
