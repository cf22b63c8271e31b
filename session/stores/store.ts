/**
 * What a place that keeps recordings must be able to do. One file beside this per kind of store;
 * `conformance.ts` is the suite that each passes.
 *
 * Keys are `/`-separated names of `[A-Za-z0-9._-]` parts, never starting with a dot.
 */
import { KnownError } from '../../base/errors.ts'

export type ObjectInformation = { readonly key: string; readonly bytes: number }

export interface Store {
  /** For messages: `file:///var/lib/steno`. Never carries a credential. */
  readonly url: string
  /**
   * Keeps `bytes` under `key` for good, or says that something is there already. Atomic: a reader sees all or nothing,
   * and once this resolves a crash of the machine does not undo it.
   * @throws StoreUnavailable when the store does not take it
   */
  putIfAbsent(key: string, bytes: Buffer): Promise<'stored' | 'exists'>
  /** The whole object, or null. */
  get(key: string): Promise<Buffer | null>
  /** Bytes from `start` (included) to `end` (excluded); shorter at the object's end; null when there is no such object. */
  range(key: string, start: number, end: number): Promise<Buffer | null>
  head(key: string): Promise<ObjectInformation | null>
  /** Every object whose key starts with `prefix`, in the order of the keys' bytes. */
  list(prefix: string): AsyncIterable<ObjectInformation>
  /** The next name parts below `prefix` (which ends in `/` or is empty), sorted: as folders would be listed. */
  folders(prefix: string): Promise<readonly string[]>
  delete(key: string): Promise<void>
}

/** The store did not answer, or refused. */
export class StoreUnavailable extends KnownError {
  readonly code = 'STORE_UNAVAILABLE'
  readonly remedy: string
  readonly safeToRetry = true
  /** For want of room, which waiting alone does not make. */
  readonly isFull: boolean
  /** What control itself called it; empty where nobody said more. */
  readonly toldCode: string
  constructor(
    what: string,
    remedy: string,
    cause?: unknown,
    { isFull = false, toldCode = '' }: { readonly isFull?: boolean; readonly toldCode?: string } = {},
  ) {
    super(what, { cause })
    this.remedy = remedy
    this.isFull = isFull
    this.toldCode = toldCode
  }
}

/** The store behind control has no document of this recorder: it is a fresh one, or was emptied. Publishing the document again mends it. */
export class RecorderForgotten extends StoreUnavailable {}
