/**
 * What `spool-lock.test.ts` starts: a thread that takes the lock of each folder it is told at the moment that all threads do, or a process that
 * kills itself before one of its calls of the file system, or waits there for a byte from standard input.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import { lockSpool } from './spool-lock.ts'

/** Waits for as many threads as there are; the last to come lets all go. */
function meet(barrier: Int32Array, threads: number, round: number): void {
  const all = threads * round
  if (Atomics.add(barrier, 0, 1) + 1 === all) Atomics.notify(barrier, 0)
  for (let here = Atomics.load(barrier, 0); here < all; here = Atomics.load(barrier, 0)) Atomics.wait(barrier, 0, here)
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : String(error))

if (parentPort === null) {
  const [folder, calls, how] = [process.argv[2]!, Number(process.argv[3]), process.argv[4]]
  let left = calls
  const intercept = (): void => {
    if (left-- !== 0) return
    if (how === 'die') process.kill(process.pid, 'SIGKILL')
    fs.writeSync(1, 'waiting\n')
    fs.readSync(0, Buffer.alloc(1))
  }
  const intercepted =
    <Arguments extends unknown[], Result>(call: (...given: Arguments) => Result) =>
    (...given: Arguments): Result => {
      intercept()
      return call(...given)
    }
  Object.assign(fs, {
    linkSync: intercepted(fs.linkSync),
    readdirSync: intercepted(fs.readdirSync),
    unlinkSync: intercepted(fs.unlinkSync),
  })
  syncBuiltinESMExports()
  const answer = await lockSpool(folder).then(() => 'held', codeOf)
  fs.writeSync(1, `${answer}\n`)
  process.kill(process.pid, 'SIGKILL')
} else {
  const port = parentPort
  const { shared, threads } = workerData as { readonly shared: SharedArrayBuffer; readonly threads: number }
  const barrier = new Int32Array(shared)
  let round = 0
  let held: { release(): void } | null = null
  const take = async (folder: string): Promise<unknown> => {
    try {
      held = await lockSpool(folder)
      return 'held'
    } catch (error) {
      return codeOf(error)
    }
  }
  port.on('message', (folder: string | null) => {
    if (folder !== null) {
      meet(barrier, threads, ++round)
      void take(folder).then((answer) => port.postMessage(answer))
      return
    }
    held?.release()
    held = null
    port.postMessage('released')
  })
}
