/**
 * `make e2e`: finds or starts a cluster, builds steno's image and the tests' own, installs the chart, runs every test of this folder, and
 * prints the counts.
 *
 * `node e2e/kubernetes/run.ts [TEST_FILE...]` runs some of them. `E2E=required` makes a missing cluster a failure; without it that is said
 * loudly, and the exit code is 0. `E2E_KEEP=1` leaves cluster and release as they are, to look around. `E2E_AGAIN=1` runs the files in
 * which something failed once more, and only what fails twice is a failure: on a busy machine a pod can be late.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { fetchRadosgw } from '../../tools/radosgw.ts'
import { findCluster, type Cluster } from './support/find-cluster.ts'
import { install, uninstall } from './support/release.ts'
import { testImages } from './support/test-images.ts'
import { buildStenoImage } from './support/steno-image.ts'

const folder = fileURLToPath(new URL('./', import.meta.url))
const project = fileURLToPath(new URL('../../', import.meta.url))
const testMillisecondsMax = 600_000
/** A line for each test that failed in the last look: its file, which a second look runs, and why. */
const failedTests = path.join(project, '.cache/e2e-failed-tests')

/** Replace parts of the release that others need, so they come last, one after the other. */
const aloneLast = ['get-started', 'break-glass', 'webhook-down', 'store', 'runtime', 'starved', 'day-two', 'chart'].map((name) =>
  path.join(folder, `${name}.test.ts`),
)
/** Of other folders, for the same cluster: they reach nothing that has to be fetched. */
const fromElsewhere = ['e2e/control/real-tokens.test.ts', 'e2e/s3/radosgw.test.ts'].map((name) => path.join(project, name))

/** Names of the image that is installed, and of one to upgrade to. */
type Images = Readonly<Record<'STENO_IMAGE' | 'STENO_OTHER_IMAGE', string>>

process.exitCode = await main()

async function main(): Promise<number> {
  const started = performance.now()
  const cluster = await findCluster(
    (reason) =>
      void process.stderr.write(`\n  NO TEST OF KUBERNETES RUNS: ${reason}.\n  Set KUBECONFIG, or see e2e/cluster/README.md.\n\n`),
    (what) => say(what, started),
  )
  if (cluster === null) return process.env['E2E'] === 'required' ? 1 : 0
  say(`${cluster.name} is ready`, started)
  try {
    // The cluster's network reaches no mirror.
    await fetchRadosgw()
    const steno = await buildStenoImage()
    const other = await buildStenoImage('day-two')
    await cluster.loadImages([...(await testImages()), steno.archive, other.archive])
    say(`images are loaded: ${steno.name}`, started)
    await install(cluster, steno)
    say('the chart is installed', started)
    const code = await runTests(cluster, { STENO_IMAGE: steno.name, STENO_OTHER_IMAGE: other.name })
    say('the tests ran', started)
    return code
  } finally {
    if (process.env['E2E_KEEP'] !== '1') {
      await uninstall(cluster)
      await cluster.end()
    }
  }
}

function say(what: string, started: number): void {
  process.stderr.write(`e2e: ${what} (${((performance.now() - started) / 1000).toFixed(0)} s)\n`)
}

async function runTests(cluster: Cluster, images: Images): Promise<number> {
  const asked = process.argv.slice(2)
  const own = readdirSync(folder).flatMap((name) => (name.endsWith('.test.ts') ? [path.join(folder, name)] : []))
  const together = [...own.filter((file) => !aloneLast.includes(file)), ...fromElsewhere]
  const counts = { tests: 0, pass: 0, fail: 0, skipped: 0 }
  const failures: string[] = []
  let code = 0
  for (const { files, concurrency } of asked.length > 0
    ? [{ files: asked, concurrency: 1 }]
    : [{ files: together, concurrency: 2 }, ...aloneLast.map((file) => ({ files: [file], concurrency: 1 }))]) {
    const began = performance.now()
    const first = await runFiles(cluster, images, files, concurrency, counts)
    failures.push(...first.failures)
    const filesAgain = [...new Set(first.failures.map((line) => line.slice(0, line.indexOf(':'))))]
    if (filesAgain.length > 0 && process.env['E2E_AGAIN'] === '1') {
      process.stderr.write('e2e: once more, only the files in which something failed\n')
      const again = await runFiles(cluster, images, filesAgain, concurrency, { tests: 0, pass: 0, fail: 0, skipped: 0 })
      code ||= again.code
      failures.push(...again.failures.map((line) => `once more: ${line}`))
    } else code ||= first.code
    say(files.length === 1 ? path.basename(files[0]!) : `${files.length} files together`, began)
  }
  const { tests, pass, fail, skipped } = counts
  // At the end, because what stands above it fills many screens.
  for (const failure of failures) process.stderr.write(`e2e: failed: ${failure}\n`)
  process.stderr.write(`e2e: ${tests} tests: ${pass} passed, ${fail} failed, ${skipped} skipped\n`)
  return code
}

async function runFiles(
  cluster: Cluster,
  images: Images,
  files: readonly string[],
  concurrency: number,
  counts: Record<'tests' | 'pass' | 'fail' | 'skipped', number>,
): Promise<{ readonly code: number; readonly failures: readonly string[] }> {
  const limits = [`--test-concurrency=${concurrency}`, `--test-timeout=${testMillisecondsMax}`]
  mkdirSync(path.dirname(failedTests), { recursive: true })
  rmSync(failedTests, { force: true })
  const reporters = [
    ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
    ...[`--test-reporter=${pathToFileURL(path.join(project, 'tools/failed-tests.ts')).href}`, `--test-reporter-destination=${failedTests}`],
  ]
  const args = ['--test', ...limits, ...reporters, ...files]
  const [command = process.execPath, ...rest] = [...cluster.prefix, process.execPath, ...args]
  const environment = { ...cluster.environment, E2E: 'required', ...images }
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'], env: environment })
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    process.stdout.write(text)
    printed += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  for (const name of ['tests', 'pass', 'fail', 'skipped'] as const)
    counts[name] += Number(new RegExp(`^ℹ ${name} (\\d+)$`, 'm').exec(printed)?.[1] ?? 0)
  return { code: code ?? 1, failures: existsSync(failedTests) ? readFileSync(failedTests, 'utf8').split('\n').slice(0, -1) : [] }
}
