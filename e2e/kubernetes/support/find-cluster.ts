/**
 * Which cluster the tests run on: the one of KUBECONFIG, else kind where docker runs, else the one of `e2e/cluster` on a Linux machine
 * with root and Go, which is built on the first use (about five minutes) and kept in the user's cache.
 *
 * Each says how to run a program where the cluster's addresses are reached, how images get in, and what ends it.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const local = fileURLToPath(new URL('../../cluster/', import.meta.url))
const kindName = 'steno-e2e'
/** Between two words about a cluster that takes its time. */
const progressMilliseconds = 20_000

export type Cluster = {
  /** For people: which one it is. */
  readonly name: string
  /** What stands before a command line so that it reaches the cluster. */
  readonly prefix: readonly string[]
  readonly environment: NodeJS.ProcessEnv
  loadImages(archives: readonly string[]): Promise<void>
  /** Ends what `findCluster` started; a cluster that was there before stays. */
  end(): Promise<void>
}

/** Null where no cluster can be had; `why` is told then. `progress` is told what is waited for, now and then. */
export async function findCluster(why: (reason: string) => void, progress: (what: string) => void): Promise<Cluster | null> {
  const kubeconfig = process.env['KUBECONFIG']
  if (kubeconfig !== undefined && kubeconfig !== '') return givenCluster(kubeconfig)
  if ((await works('docker', ['info'])) && (await works('kind', ['version']))) return kindCluster()
  const missing = await missingForLocal()
  if (missing.length === 0) return localCluster(progress)
  why(`KUBECONFIG is not set, docker with kind does not run, and the cluster of e2e/cluster needs ${missing.join(', ')}`)
  return null
}

function givenCluster(kubeconfig: string): Cluster {
  return {
    name: `the cluster of KUBECONFIG (${kubeconfig})`,
    prefix: [],
    environment: process.env,
    async loadImages(archives) {
      const command = process.env['E2E_LOAD_IMAGE']
      if (command === undefined)
        throw new Error('set E2E_LOAD_IMAGE to a command that gives an OCI archive, its last argument, to every node')
      for (const archive of archives) await run('/bin/sh', ['-c', `${command} "$1"`, 'load', archive])
    },
    end: () => Promise.resolve(),
  }
}

async function kindCluster(): Promise<Cluster> {
  const { stdout } = await run('kind', ['get', 'clusters'])
  const wasThere = stdout.split('\n').includes(kindName)
  const kubeconfig = fileURLToPath(new URL('../../../.cache/kind.kubeconfig', import.meta.url))
  if (!wasThere) await run('kind', ['create', 'cluster', '--name', kindName, '--wait', '120s', '--kubeconfig', kubeconfig])
  else await run('kind', ['export', 'kubeconfig', '--name', kindName, '--kubeconfig', kubeconfig])
  return {
    name: 'kind',
    prefix: [],
    environment: { ...process.env, KUBECONFIG: kubeconfig },
    async loadImages(archives) {
      for (const archive of archives) await run('kind', ['load', 'image-archive', '--name', kindName, archive])
    },
    async end() {
      if (!wasThere) await run('kind', ['delete', 'cluster', '--name', kindName])
    },
  }
}

async function missingForLocal(): Promise<string[]> {
  const needs: [string, boolean][] = [
    ['Linux', process.platform === 'linux'],
    ['root', process.getuid?.() === 0],
    ['Debian’s apt-get', existsSync('/usr/bin/apt-get')],
    ['Go', await works('go', ['version'])],
    ['gcc', await works('gcc', ['--version'])],
  ]
  return needs.flatMap(([name, isThere]) => (isThere ? [] : [name]))
}

async function localCluster(progress: (what: string) => void): Promise<Cluster> {
  const wasThere = await works(path.join(local, 'exec'), ['kubectl', 'get', '--raw', '/readyz'])
  if (!wasThere) await bringUp(progress)
  return {
    name: 'the cluster of e2e/cluster',
    prefix: [path.join(local, 'exec')],
    environment: process.env,
    async loadImages(archives) {
      await run(path.join(local, 'load-image'), archives)
    },
    async end() {
      if (!wasThere) await run(path.join(local, 'down'))
    },
  }
}

/** Says that it goes on, and the last line of what the script says of itself: a first build takes minutes. @throws Error when it fails */
async function bringUp(progress: (what: string) => void): Promise<void> {
  progress('starting the cluster of e2e/cluster; the first time it is built from source, which takes some minutes')
  const child = spawn(path.join(local, 'up'), { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (said = `${said}${text}`.slice(-4_000)))
  const timer = setInterval(() => {
    const last = said.trimEnd().split('\n').at(-1) ?? ''
    progress(`still starting the cluster${last === '' ? '' : `: ${last.slice(0, 200)}`}`)
  }, progressMilliseconds)
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) throw new Error(`e2e/cluster/up ended with ${code}: ${said}`)
  } finally {
    clearInterval(timer)
  }
}

async function works(command: string, args: readonly string[]): Promise<boolean> {
  try {
    await run(command, args)
    return true
  } catch {
    return false // Not there, or not allowed: the next kind of cluster is tried.
  }
}
