/**
 * Control in a process of its own (control-process.ts) at a port that stays, over a folder of its own, with a certificate and a key that
 * outlive the process; and a proxy that ships to it. It listens on 127.0.0.1 alone, and a test ends it as it likes.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createAuthority, issueLeaf, type Issued } from '../../tools/certificates.ts'
import { freePort } from '../../tools/free-port.ts'
import { startProxyProcess, type RunningProxy } from '../support/proxy.ts'
import type { ControlCue } from './control-process.ts'

const program = fileURLToPath(new URL('./control-process.ts', import.meta.url))

export type ControlWorld = {
  /** Where control keeps what it is handed. */
  readonly storeFolder: string
  /** The public half of control's key, PEM. */
  readonly publicKeyFile: string
  /** Returns when it listens. @throws when it ends instead */
  start(death?: ControlCue['death']): Promise<ChildProcess>
  /** Kills it, unless it has ended. */
  stop(): Promise<void>
  /** From the next start on it has a certificate of this authority. */
  use(authority: Issued): Promise<void>
  writeToken(token: string): Promise<void>
  /** A proxy in the same folder each time, so that it goes on with the spool of the one before. */
  startProxy(upstream: string): Promise<RunningProxy>
}

/** `trusted`: the authorities that the proxy takes control's certificate from; control begins with the first. */
export async function createControlWorld(t: TestContext, trusted?: readonly [Issued, ...Issued[]]): Promise<ControlWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'steno-e2e-control-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const storeFolder = join(folder, 'kept-by-control')
  const [port, authorities] = await Promise.all([freePort(), trusted ?? createAuthority('steno').then((one) => [one] as const)])
  const leafOf = (issuer: Issued): Promise<Issued> => issueLeaf(issuer, { kind: 'server', commonName: 'control', names: ['127.0.0.1'] })
  let leaf = await leafOf(authorities[0])
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const publicKeyPem = String(publicKey.export({ type: 'spki', format: 'pem' }))
  const publicKeyFile = join(folder, 'public.pem')
  await writeFile(publicKeyFile, publicKeyPem)
  const tokenFile = join(folder, 'token')
  await writeFile(tokenFile, 'good-1')
  let control: ChildProcess | null = null
  t.after(() => control?.kill('SIGKILL'))
  return {
    storeFolder,
    publicKeyFile,
    async start(death = null) {
      const cue: ControlCue = {
        ...{ storeFolder, port, death, certificate: { key: leaf.keyPem, cert: leaf.certificatePem } },
        privateKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
      }
      await writeFile(join(folder, 'cue.json'), JSON.stringify(cue))
      const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, join(folder, 'cue.json')], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      control = started
      await Promise.race([
        once(started.stdout, 'data'),
        once(started, 'exit').then(() => Promise.reject(new Error('control ended instead of listening'))),
      ])
      return started
    },
    async stop() {
      if (control === null || control.exitCode !== null || control.signalCode !== null) return
      control.kill('SIGKILL')
      await once(control, 'exit')
    },
    async use(authority) {
      leaf = await leafOf(authority)
    },
    writeToken: (token) => writeFile(tokenFile, token),
    startProxy: (upstream) =>
      startProxyProcess({
        upstream,
        folder,
        arguments: ['--store', `control+https://127.0.0.1:${port}/default`],
        environment: {
          STENO_CONTROL_CA: authorities.map(({ certificatePem }) => certificatePem).join(''),
          STENO_CONTROL_PUBLIC_KEY: publicKeyPem,
          STENO_CONTROL_TOKEN_FILE: tokenFile,
        },
      }),
  }
}
