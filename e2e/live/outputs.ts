/** What a proxy's standard output can be, for tests: a pipe that is read or not, as a shell or a container's runtime makes it. */
import { spawnSync } from 'node:child_process'
import { closeSync, constants, createReadStream, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A pipe. Nothing is read from it before `read` is called. */
export function createPipe() {
  const folder = mkdtempSync(join(tmpdir(), 'steno-live-'))
  const path = join(folder, 'pipe')
  const made = spawnSync('mkfifo', [path])
  if (made.status !== 0) throw new Error(`mkfifo failed: ${made.stderr.toString()}`)
  // Opened for both first, so that no end waits for the other to be opened.
  let own = [openSync(path, constants.O_RDWR)]
  const descriptor = openSync(path, constants.O_WRONLY)
  own.push(descriptor)
  const text: Buffer[] = []
  const closeOwn = (): void => {
    for (const each of own) closeSync(each)
    own = []
  }
  return {
    /** To be given to a process as its standard output. */
    descriptor,
    /** Reads all there is from now on; call it when the process has the pipe. Ends when the last writer is gone. */
    read(): { readonly text: () => string; readonly ended: Promise<void> } {
      const stream = createReadStream(path)
      const ended = new Promise<void>((resolve, reject) => stream.on('end', resolve).on('error', reject))
      stream.on('data', (piece) => text.push(piece as Buffer)).on('open', closeOwn)
      return { text: () => Buffer.concat(text).toString('utf8'), ended }
    },
    /** Closes the reading end as well: who writes from now on is told that nobody reads. */
    [Symbol.dispose](): void {
      closeOwn()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export type LiveLine = {
  readonly time: string
  readonly event: 'statement' | 'session-opened' | 'session-closed' | 'lines-dropped'
  readonly session: string
  readonly number: number
  readonly outcome: string
  readonly tag: string | null
  readonly sqlstate: string | null
  readonly rows: number
  readonly bytes: number
  readonly durationMilliseconds: number
  readonly user: string
  readonly database: string
  readonly application: string
  readonly decision: string
  readonly sql?: string
  readonly sqlCut?: true
  readonly sqlBytes?: number
  readonly recovered?: true
  readonly lines?: number
}

/** Each line must be one JSON object: throws when one is not. */
export function linesOf(text: string): LiveLine[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as LiveLine)
}
