/**
 * A pod's sidecar as the kubelet would start it, for tests: `bin/steno sidecar` in a process of its own with the environment that the
 * webhook writes, and nothing else of what is said to it.
 *
 * Spool, store and termination message lie in one folder below the system's temporary folder. A small shell ends the process when the
 * test's own ends, however it ends.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { endWithThisProcess } from '../support/guard.ts'
import type { PodNetwork } from './pod-network.ts'
import { writeSidecarConfig, type Listener, type SidecarConfig } from '../../crds/sidecar-config.ts'

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))

export const testPolicy = { names: ['shop/orders', 'ClusterSessionPolicy/floor'], hash: '0123456789abcdef0123456789abcdef' }
export const testFacts = {
  STENO_POD_NAME: 'agent-0',
  STENO_POD_NAMESPACE: 'shop',
  STENO_POD_UID: 'uid-agent-0',
  STENO_SERVICE_ACCOUNT: 'agent',
  STENO_NODE_NAME: 'node-1',
}

export type SidecarSettings = {
  readonly listeners: readonly Listener[]
  /** STENO_SOURCE_… and STENO_CA_…, and whatever else a test wants. */
  readonly variables?: Readonly<Record<string, string>>
  readonly recording?: Partial<SidecarConfig['recording']>
  /** 120 unless told, so that a busy machine ships in time. */
  readonly terminationGraceSeconds?: number
  readonly control?: SidecarConfig['control']
  /** None unless told, and nothing enforced. */
  readonly relay?: SidecarConfig['relay']
  readonly enforcement?: SidecarConfig['enforcement']
  /** Whose network it runs in; the test's own unless told. */
  readonly network?: PodNetwork
  /** Of an earlier sidecar: the next one goes on with its spool and store. */
  readonly folder?: string
  /** Null for control's store. */
  readonly storeUrl?: string | null
  /** The text of STENO_SIDECAR_CONFIG, instead of a fitting one. */
  readonly configText?: string
}

export type SidecarProcess = {
  readonly pid: number
  readonly folder: string
  readonly storeFolder: string
  readonly spoolFolder: string
  readonly healthPort: number
  readonly stdout: () => string
  readonly stderr: () => string
  readonly terminationMessage: () => string
  get(path: string): Promise<{ readonly status: number; readonly text: string }>
  signal(name: NodeJS.Signals): void
  /** The exit code, or -1 when a signal ended it. */
  readonly ended: Promise<number>
  /** SIGTERM, and the exit code. */
  stop(): Promise<number>
  kill(): Promise<void>
}

/** Starts it and returns when it records. @throws with its log when it ends instead */
export async function startSidecar(t: TestContext, settings: SidecarSettings): Promise<SidecarProcess> {
  const sidecar = await spawnSidecar(t, settings)
  await untilLogged(sidecar, '"msg":"recording"')
  const healthInside = Number(/"health":(\d+)/.exec(sidecar.stderr())![1])
  const healthPort = (await settings.network?.publish(healthInside)) ?? healthInside
  return { ...sidecar, healthPort, get: (path) => getText(healthPort, path) }
}

/** Starts it and returns at once. */
export async function spawnSidecar(t: TestContext, settings: SidecarSettings): Promise<SidecarProcess> {
  const folder = settings.folder ?? (await mkdtemp(join(tmpdir(), 'steno-pod-')))
  const [storeFolder, spoolFolder, termination] = ['store', 'spool', 'termination-log'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  if (settings.folder === undefined) t.after(() => rm(folder, { recursive: true, force: true }))
  if (!existsSync(storeFolder)) await mkdir(storeFolder)
  const storeUrl = settings.storeUrl === undefined ? pathToFileURL(storeFolder).href : settings.storeUrl
  const config: SidecarConfig = {
    version: 1,
    control: settings.control ?? { url: 'https://steno-control.steno-system.svc:443', store: 'default' },
    relay: settings.relay ?? null,
    enforcement: settings.enforcement ?? { mode: 'CredentialsOnly', onOpenPath: 'Report' },
    policy: testPolicy,
    recording: {
      level: 'results',
      onFailure: 'block',
      spoolBytesMax: 64 * 1024 * 1024,
      spoolAgeMillisecondsMax: 3_600_000,
      ...settings.recording,
    },
    terminationGraceSeconds: settings.terminationGraceSeconds ?? 120,
    listeners: settings.listeners,
  }
  const args = ['sidecar', '--spool', spoolFolder, '--health-listen', '127.0.0.1:0', '--termination-log', termination]
  const [command = program, ...words] = [
    ...(settings.network?.enter ?? []),
    program,
    ...args,
    ...(storeUrl === null ? [] : ['--store', storeUrl]),
  ]
  const child = spawn(command, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      STENO_SIDECAR_CONFIG: settings.configText ?? writeSidecarConfig(config),
      ...testFacts,
      ...settings.variables,
    },
  })
  await once(child, 'spawn')
  const guard = endWithThisProcess(child.pid!)
  const said = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text))
  const ended = once(child, 'close').then(() => {
    guard.kill('SIGKILL')
    return child.exitCode ?? -1
  })
  const end = async (name: NodeJS.Signals): Promise<number> => {
    child.kill(name)
    return ended
  }
  t.after(() => end('SIGKILL'))
  return {
    ...{ pid: child.pid!, folder, storeFolder, spoolFolder, healthPort: 0, ended },
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    terminationMessage: () => (existsSync(termination) ? readFileSync(termination, 'utf8') : ''),
    get: () => Promise.reject(new Error('it does not listen yet')),
    signal: (name) => void child.kill(name),
    stop: () => end('SIGTERM'),
    kill: async () => void (await end('SIGKILL')),
  }
}

/** Returns when its log holds `text`. @throws with the log when the process ends before */
export async function untilLogged(sidecar: SidecarProcess, text: string): Promise<void> {
  let hasEnded = false
  void sidecar.ended.then(() => (hasEnded = true))
  while (!sidecar.stderr().includes(text)) {
    assert.ok(!hasEnded, `the sidecar ended before it said ${text}:\n${sidecar.stderr()}\n${sidecar.terminationMessage()}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function getText(port: number, path: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`)
  return { status: answer.status, text: await answer.text() }
}

/** A listener for a URL in STENO_SOURCE_<number>_DATABASE_URL. */
export function listenerFor(
  number: number,
  {
    localPort,
    host = '127.0.0.1',
    port,
    databaseNames = ['postgres'],
    tls = { mode: 'disable', caVariable: null },
  }: {
    readonly localPort: number
    readonly host?: string
    readonly port: number
    readonly databaseNames?: readonly string[]
    readonly tls?: Listener['tls']
  },
): Listener {
  return {
    database: `database-${number}`,
    localPort,
    allowed: { hosts: [host], port, databaseNames },
    tls,
    source: { kind: 'url', variable: `STENO_SOURCE_${number}_DATABASE_URL` },
  }
}
