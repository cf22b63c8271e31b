/**
 * Control in a process of its own that dies on cue, as `control-world.ts` starts it. Started with one argument, a file of `ControlCue`.
 *
 * It is the real server over a folder; of the cluster it has a reviewer that takes tokens that begin with `good`, all of one pod, and a
 * description of that pod. Prints its port when it listens.
 */
import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Registry } from 'prom-client'
import { createLog } from '../../base/log.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import type { Store } from '../../session/stores/store.ts'
import { controlKeyOf } from '../../webhook/control/control-key.ts'
import { startControlServer } from '../../webhook/control/start.ts'

export type ControlCue = {
  readonly storeFolder: string
  readonly port: number
  /** PEM. */
  readonly certificate: { readonly key: string; readonly cert: string }
  readonly privateKey: string
  /** SIGKILL at the n-th object that is put, counted from this start; the store then has it, or not. */
  readonly death: { readonly put: number; readonly when: 'before' | 'after' } | null
}

const cue = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as ControlCue
const directory = openDirectoryStore(cue.storeFolder)
let puts = 0

const store: Store = {
  ...directory,
  async putIfAbsent(key, bytes) {
    const isLast = !key.startsWith('probe/') && ++puts === cue.death?.put
    if (isLast && cue.death.when === 'before') return die()
    const outcome = await directory.putIfAbsent(key, bytes)
    return isLast ? die() : outcome
  },
}

/** Nothing runs after the signal. */
function die(): Promise<never> {
  process.kill(process.pid, 'SIGKILL')
  return new Promise(() => {})
}

const server = await startControlServer({
  listen: { host: '127.0.0.1', port: cue.port },
  readerListen: null,
  certificates: { current: () => cue.certificate, onChange: () => {} },
  key: controlKeyOf(createPrivateKey(cue.privateKey)),
  reviewToken: (token) =>
    Promise.resolve(
      token.startsWith('good')
        ? { kind: 'pod', pod: { podUid: 'uid-1', podName: 'agent', podNamespace: 'shop', serviceAccount: 'agent', nodeName: null } }
        : { kind: 'refused', reason: 'it has expired' },
    ),
  describePod: () => Promise.resolve({ kind: 'fit', owner: null, image: null, nodeName: null, store: 'default' }),
  stores: () => [{ metadata: { name: 'default' }, spec: { type: 'volume', volume: { path: cue.storeFolder } } }],
  registry: new Registry(),
  log: createLog({ level: 'warn' }),
  seams: { open: () => Promise.resolve(store) },
})
process.stdout.write(`${server.port}\n`)
