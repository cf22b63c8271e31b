/** The server's own types: tid, pg_lsn, snapshots. Transaction and object ids are plain numbers (`numbers.ts`). */
import type { Decoder } from './decoder.ts'
import { malformed } from './reader.ts'

export const tidText: Decoder = (reader) => `(${reader.uint32()},${reader.uint16()})`

export const lsnText: Decoder = (reader) => `${reader.uint32().toString(16)}/${reader.uint32().toString(16)}`.toUpperCase()

export const snapshotText: Decoder = (reader) => {
  const count = reader.int32()
  const shown = `${reader.int64()}:${reader.int64()}:`
  if (count < 0 || count * 8 !== reader.left) malformed('a snapshot has the wrong length')
  const running: bigint[] = []
  for (let index = 0; index < count; index++) running.push(reader.int64())
  return shown + running.join(',')
}
