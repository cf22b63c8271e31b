/**
 * What the cluster's tests say to the cluster: kubectl as a program, namespaces that end with the test, and bounded waiting.
 *
 * The cluster is the one of KUBECONFIG; `node e2e/kubernetes/run.ts` sets it. Without it a test says so and is skipped; with
 * `E2E=required` it fails.
 */
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runToEnd } from '../../../tools/run-to-end.ts'

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string }

const pollMilliseconds = 250

const isThere = process.env['KUBECONFIG'] !== undefined
const noCluster = 'no cluster: KUBECONFIG is not set; `make e2e` starts or finds one'

/** A test on a real cluster. `timeoutMilliseconds` defaults to five minutes: what must be quick is held to its own time by `eventually`. */
export function clusterTest(
  name: string,
  run: (context: TestContext) => Promise<void>,
  { timeoutMilliseconds = 300_000 }: { readonly timeoutMilliseconds?: number } = {},
): void {
  if (isThere) test(name, { timeout: timeoutMilliseconds }, run)
  else if (process.env['E2E'] === 'required') test(name, () => Promise.reject(new Error(noCluster)))
  else test(name, { skip: noCluster }, () => undefined)
}

/** Runs a program with `input`, and gives what it printed, whatever its exit code. */
export function ran(command: string, args: readonly string[], input = ''): Promise<Ran> {
  return runToEnd(command, args, { input })
}

/** Standard output of kubectl. @throws Error with what kubectl said */
export async function kubectl(args: readonly string[], input = ''): Promise<string> {
  const { code, stdout, stderr } = await ran('kubectl', args, input)
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`)
  return stdout
}

/** What kubectl said when the cluster refused. @throws Error when it did not refuse */
export async function refused(args: readonly string[], input = ''): Promise<string> {
  const { code, stdout, stderr } = await ran('kubectl', args, input)
  if (code === 0) throw new Error(`kubectl ${args.join(' ')} was not refused: ${stdout}`)
  return stderr
}

export async function getJson<Object_>(args: readonly string[]): Promise<Object_> {
  return JSON.parse(await kubectl(['get', '-o', 'json', ...args])) as Object_
}

/** Applies objects, given as JSON or YAML. */
export async function apply(objects: string | object | readonly object[], args: readonly string[] = []): Promise<string> {
  const text =
    typeof objects === 'string'
      ? objects
      : Array.isArray(objects)
        ? JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects as readonly object[] })
        : JSON.stringify(objects)
  return kubectl(['apply', '-f', '-', ...args], text)
}

/** A namespace of the test's own; gone, with all that is in it, when disposed of. */
export async function createNamespace(
  prefix: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<AsyncDisposable & { readonly name: string }> {
  const name = `${prefix}-${Math.random().toString(36).slice(2, 8)}`
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
  return {
    name,
    async [Symbol.asyncDispose]() {
      await kubectl(['delete', 'namespace', name, '--wait=false'])
    },
  }
}

/** What `look` gives once it neither throws nor gives null or undefined. @throws the last failure, after `withinMilliseconds` */
export async function eventually<Value>(
  what: string,
  look: () => Promise<Value | null | undefined>,
  { withinMilliseconds = 120_000 }: { readonly withinMilliseconds?: number } = {},
): Promise<Value> {
  const until = performance.now() + withinMilliseconds
  let last: unknown = 'it never came'
  for (;;) {
    try {
      const value = await look()
      if (value !== null && value !== undefined) return value
    } catch (error) {
      last = error
    }
    if (performance.now() > until) throw new Error(`not within ${withinMilliseconds} ms: ${what}`, { cause: last })
    await sleep(pollMilliseconds)
  }
}
