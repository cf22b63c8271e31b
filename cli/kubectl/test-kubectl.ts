/**
 * A kubectl for tests: answers by a table of what kubectl 1.33 printed, notes what it was asked, and forwards a port to one that is told.
 *
 * Asked for something that is not in the table it fails as kubectl does for an object that is not there.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { runToEnd } from '../../tools/run-to-end.ts'

const plugin = fileURLToPath(new URL('../../bin/kubectl-steno', import.meta.url))

/** What kubectl prints: an object as JSON, or why it failed. */
export type KubectlAnswer = object | { readonly stderr: string }
/** By the words that it is asked with, as `get -n shop pod agent`; `-o json` and options for all requests are left out, `create -f *` is of any file, `steno-probe-*` any probe's pod. */
export type KubectlAnswers = Readonly<Record<string, KubectlAnswer | string>>

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string }
export type TestKubectl = Disposable & {
  readonly program: string
  readonly folder: string
  /** What it was asked so far, with all words. */
  asked(): string[]
  /** The plugin with this kubectl. */
  steno(args: readonly string[], input?: string): Promise<Ran>
}

/** `forwardTo` is the port that stands for control's: what `port-forward` takes goes there. */
export function createTestKubectl(answers: KubectlAnswers, { forwardTo = 0 }: { readonly forwardTo?: number } = {}): TestKubectl {
  const folder = mkdtempSync(path.join(tmpdir(), 'steno-kubectl-'))
  const program = path.join(folder, 'kubectl')
  const log = path.join(folder, 'asked')
  writeFileSync(path.join(folder, 'answers.json'), JSON.stringify({ answers, forwardTo }))
  writeFileSync(program, `#!${process.execPath}\n${script}`)
  chmodSync(program, 0o755)
  return {
    program,
    folder,
    asked: () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []),
    steno: (args, input = '') => ran(plugin, args, { KUBECTL: program, HOME: folder }, input),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export function ran(command: string, args: readonly string[], environment: NodeJS.ProcessEnv, input = ''): Promise<Ran> {
  const clean = Object.entries(process.env).filter(([name]) => !/^(STENO_|KUBE|NO_COLOR$|FORCE_COLOR$)/.test(name))
  return runToEnd(command, args, { env: { ...Object.fromEntries(clean), ...environment }, input })
}

const script = `
const { appendFileSync, readFileSync } = require('node:fs')
const { join } = require('node:path')
const args = process.argv.slice(2)
appendFileSync(join(__dirname, 'asked'), args.join(' ') + '\\n')
const { answers, forwardTo } = JSON.parse(readFileSync(join(__dirname, 'answers.json'), 'utf8'))
const key = args.filter((word, at) => !word.startsWith('--request-timeout') && !['-o', '--context', '--kubeconfig'].includes(word) && !['-o', '--context', '--kubeconfig'].includes(args[at - 1])).join(' ')
const answer = answers[args.includes('port-forward') ? 'port-forward' : key] ?? answers[key.replace(/^(create -f) .*/, '$1 *').replace(/\\b(steno-probe)-[0-9a-f]{8}/, '$1-*')]
if (answer?.stderr !== undefined) {
  process.stderr.write(answer.stderr)
  process.exitCode = 1
} else if (answer !== undefined) process.stdout.write(typeof answer === 'string' ? answer : JSON.stringify(answer))
else if (args.includes('port-forward') && forwardTo !== 0) {
  const { connect, createServer } = require('node:net')
  const quiet = (socket) => socket.on('error', () => socket.destroy())
  const server = createServer((near) => {
    const far = quiet(connect(forwardTo, '127.0.0.1')).on('error', () => near.resetAndDestroy())
    quiet(near).pipe(far).pipe(near)
  })
  server.listen(0, '127.0.0.1', () => process.stdout.write('Forwarding from 127.0.0.1:' + server.address().port + ' -> 8081\\n'))
} else {
  process.stderr.write('Error from server (NotFound): ' + key + ' not found\\n')
  process.exitCode = 1
}
`
