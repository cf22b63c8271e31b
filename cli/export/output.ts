/**
 * Where an export goes: standard output, or a file that appears under its name only when it is whole.
 *
 * The bytes are written beside it under a temporary name, synced, and renamed; a failure or a signal removes the temporary file. Only the
 * user may read it, since a recording holds what the database holds. What is no regular file (a pipe, a device) is written as it is.
 */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { open, realpath, rename, stat, unlink, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Writable } from 'node:stream'
import { KnownError, messageOf, systemCodeOf } from '../../base/errors.ts'

const pieceBytes = 64 * 1024
const fileMode = 0o600
const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** The file named by --output cannot be written. */
export class OutputUnusable extends KnownError {
  readonly code = 'OUTPUT_UNUSABLE'
  readonly remedy =
    'Name a file in a folder that exists, that you may write to and that has room; or leave --output out for standard output.'
  readonly safeToRetry = true
}

export type Piece = string | Buffer

/** `file` null or `-` is standard output, whose reader may go away at any time. @throws OutputUnusable */
export async function writeOutput(pieces: AsyncIterable<Piece>, file: string | null): Promise<void> {
  if (file === null || file === '-') return writeStream(joined(pieces), process.stdout)
  const target = await targetOf(file)
  if (target.kind === 'special') return writeSpecial(joined(pieces), file)
  const temporary = join(dirname(target.path), `.${basename(target.path)}.${randomBytes(6).toString('hex')}.part`)
  const opening = open(temporary, 'wx', fileMode)
  const removed = removeOnSignal(temporary, opening)
  try {
    const handle = await usable(file, () => opening)
    try {
      await writeAll(joined(pieces), file, handle)
      await usable(file, () => handle.sync())
    } finally {
      await handle.close()
    }
    await usable(file, () => rename(temporary, target.path))
  } catch (error) {
    await unlink(temporary).catch((failure: unknown) => {
      if (systemCodeOf(failure) !== 'ENOENT') throw failure
    })
    throw error
  } finally {
    removed.stop()
  }
}

type Target = { readonly kind: 'file'; readonly path: string } | { readonly kind: 'special' }

/** A link is followed, so that it goes on being one. */
async function targetOf(file: string): Promise<Target> {
  try {
    const path = await realpath(file)
    const status = await stat(path)
    if (status.isDirectory()) throw new OutputUnusable(`${file} is a folder`)
    return status.isFile() ? { kind: 'file', path } : { kind: 'special' }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return { kind: 'file', path: file }
    throw error instanceof OutputUnusable ? error : unusable(file, error)
  }
}

async function writeSpecial(pieces: AsyncIterable<Buffer>, file: string): Promise<void> {
  const handle = await usable(file, () => open(file, 'w'))
  try {
    await writeAll(pieces, file, handle)
  } finally {
    await handle.close()
  }
}

async function writeAll(pieces: AsyncIterable<Buffer>, file: string, handle: FileHandle): Promise<void> {
  for await (const piece of pieces) await usable(file, () => handle.writeFile(piece))
}

async function usable<Result>(file: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    throw unusable(file, error)
  }
}

function unusable(file: string, error: unknown): OutputUnusable {
  return new OutputUnusable(`cannot write ${file}: ${messageOf(error)}`, { cause: error })
}

/** No faster than the reader takes it; one that has seen enough ends it quietly. */
async function writeStream(pieces: AsyncIterable<Buffer>, stream: Writable): Promise<void> {
  let failure: Error | null = null
  const note = (error: Error | null | undefined): void => {
    failure ??= error ?? null
  }
  stream.on('error', note) // It would end the process; the callback below tells the same.
  try {
    for await (const piece of pieces) {
      note(await new Promise<Error | null | undefined>((resolve) => stream.write(piece, resolve)))
      if (failure !== null) break
    }
  } finally {
    stream.off('error', note)
  }
  if (failure !== null && systemCodeOf(failure) !== 'EPIPE') throw failure
}

/** In pieces worth a write. */
async function* joined(pieces: AsyncIterable<Piece>): AsyncGenerator<Buffer> {
  let held: Buffer[] = []
  let heldBytes = 0
  for await (const piece of pieces) {
    const bytes = typeof piece === 'string' ? Buffer.from(piece, 'utf8') : piece
    held.push(bytes)
    heldBytes += bytes.length
    if (heldBytes < pieceBytes) continue
    yield held.length === 1 ? bytes : Buffer.concat(held)
    held = []
    heldBytes = 0
  }
  if (heldBytes > 0) yield Buffer.concat(held)
}

function removeOnSignal(temporary: string, opening: Promise<FileHandle>): { stop(): void } {
  const end = (signal: NodeJS.Signals): void => {
    stop()
    const remove = (): void => {
      rmSync(temporary, { force: true })
      process.kill(process.pid, signal) // Nothing listens any more, so it ends as it would have.
    }
    opening.then(remove, remove) // Sooner it might appear behind its removal.
  }
  const stop = (): void => endingSignals.forEach((signal) => process.off(signal, end))
  endingSignals.forEach((signal) => process.on(signal, end))
  return { stop }
}
