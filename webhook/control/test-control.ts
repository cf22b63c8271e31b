/**
 * A control for tests: the real server over a folder (or any store), with a reviewer of its own for made-up tokens.
 *
 * A token is `token of NAME`; NAME is the pod, and its UID is `uid-NAME`. What a test changes: the store behind, the tokens that hold, what
 * the cluster says of a pod. Everything is gone on disposal.
 */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { createLog, type Log } from '../../base/log.ts'
import { openControlStore } from '../../session/stores/control.ts'
import type { ControlTimeouts } from '../../session/stores/control-connection.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import type { Store } from '../../session/stores/store.ts'
import { createAuthority, issueLeaf, type Issued } from '../../tools/certificates.ts'
import { controlKeyOf, type ControlKey } from './control-key.ts'
import type { PodIdentity, TokenVerdict } from '../../cluster/identity/pod.ts'
import type { PodDescription } from './pod-description.ts'
import { startControlServer, type ControlServer, type ControlServerOptions } from './start.ts'
import type { StoreObject } from './stores.ts'

export function testPod(name: string): PodIdentity {
  return { podUid: `uid-${name}`, podName: name, podNamespace: 'shop', serviceAccount: 'agent', nodeName: 'node-1' }
}

export function testToken(name: string): string {
  return `token-of-${name}`
}

export const fitPod: PodDescription = {
  kind: 'fit',
  owner: 'ReplicaSet/shop',
  image: 'steno@sha256:00',
  nodeName: 'node-1',
  store: 'default',
}

export type TestControlOptions = {
  readonly seams?: ControlServerOptions['seams']
  readonly uploadLimits?: ControlServerOptions['uploadLimits']
  readonly describePod?: ControlServerOptions['describePod']
  readonly reviewToken?: ControlServerOptions['reviewToken']
  readonly routes?: ControlServerOptions['routes']
  readonly newcomerLimits?: ControlServerOptions['newcomerLimits']
  /** A store to wrap or replace the folder's. */
  readonly over?: (directory: Store) => Store
  readonly log?: Log
}

export type TestControl = AsyncDisposable & {
  readonly server: ControlServer
  readonly folder: string
  readonly directory: Store
  readonly key: ControlKey
  readonly authority: Issued
  readonly registry: Registry
  readonly origin: string
  readonly stores: StoreObject[]
  /** Tokens of these pods are refused. */
  readonly refused: Set<string>
  readonly reviews: string[]
  useCertificate(leaf: Issued): void
  tokenFile(pod: string): Promise<string>
  /** The store as the sidecar of `pod` has it. */
  client(pod: string, changes?: ClientChanges): Promise<Store & { close(): void }>
  reader(): Store & { close(): void }
  /** Ends this server and starts another on the same port, over the same store. */
  restart(): Promise<void>
}

export type ClientChanges = {
  readonly caPem?: string
  readonly publicKeyPem?: string | null
  readonly store?: string
  readonly tokenFile?: string
  readonly timeouts?: ControlTimeouts
}

export async function startTestControl(options: TestControlOptions = {}): Promise<TestControl> {
  const folder = await mkdtemp(join(tmpdir(), 'steno-control-'))
  const authority = await createAuthority('steno test control')
  let leaf = await issueLeaf(authority, { kind: 'server', commonName: 'control', names: ['127.0.0.1', 'localhost'] })
  const listeners: (() => void)[] = []
  const key = controlKeyOf(generateKeyPairSync('ed25519').privateKey)
  const directory = openDirectoryStore(join(folder, 'store'))
  const stores: StoreObject[] = [
    { metadata: { name: 'default', generation: 1 }, spec: { type: 'volume', volume: { path: join(folder, 'store') } } },
  ]
  const refused = new Set<string>()
  const reviews: string[] = []
  const clients: { close(): void }[] = []
  let registry = new Registry()

  const reviewToken = (token: string): Promise<TokenVerdict> => {
    reviews.push(token)
    const name = /^token-of-(.+)$/.exec(token)?.[1]
    return Promise.resolve(
      name === undefined || refused.has(name) ? { kind: 'refused', reason: 'made up' } : { kind: 'pod', pod: testPod(name) },
    )
  }
  const start = (port: number, readerPort: number): Promise<ControlServer> =>
    startControlServer({
      listen: { host: '127.0.0.1', port },
      readerListen: { host: '127.0.0.1', port: readerPort },
      certificates: {
        current: () => ({ key: leaf.keyPem, cert: leaf.certificatePem }),
        onChange: (listener) => void listeners.push(listener),
      },
      key,
      reviewToken: options.reviewToken ?? reviewToken,
      describePod: options.describePod ?? (() => Promise.resolve(fitPod)),
      stores: () => stores,
      registry,
      log: options.log ?? createLog({ level: 'silent' }),
      uploadLimits: options.uploadLimits ?? {},
      ...(options.routes === undefined ? {} : { routes: options.routes }),
      ...(options.newcomerLimits === undefined ? {} : { newcomerLimits: options.newcomerLimits }),
      seams: { open: () => Promise.resolve(options.over?.(directory) ?? directory), ...options.seams },
    })
  async function tokenFile(pod: string): Promise<string> {
    const file = join(folder, `token-${pod}`)
    await writeFile(file, testToken(pod))
    return file
  }
  let server = await start(0, 0)
  const { port, readerPort } = server

  return {
    folder,
    directory,
    key,
    authority,
    origin: `https://127.0.0.1:${port}`,
    stores,
    refused,
    reviews,
    get server() {
      return server
    },
    get registry() {
      return registry
    },
    useCertificate(next) {
      leaf = next
      for (const listener of listeners) listener()
    },
    tokenFile,
    async client(pod, changes = {}) {
      const opened = openControlStore({
        url: `https://127.0.0.1:${port}`,
        store: 'default',
        tokenFile: await tokenFile(pod),
        caPem: authority.certificatePem,
        publicKeyPem: key.publicKeyPem,
        ...changes,
      })
      clients.push(opened)
      return opened
    },
    reader() {
      const opened = openControlStore({
        url: `http://127.0.0.1:${readerPort}`,
        store: 'default',
        tokenFile: null,
        caPem: null,
        publicKeyPem: null,
      })
      clients.push(opened)
      return opened
    },
    async restart() {
      await server.stop()
      registry = new Registry()
      server = await start(port, readerPort!)
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close()
      await server.stop()
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
