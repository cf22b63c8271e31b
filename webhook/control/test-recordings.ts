/** What a sidecar puts, in the order in which it puts it, for tests: made in memory by the recorder of `session/`'s own tests. */
import { createMemoryStore } from '../../session/memory-store.ts'
import { nameOf } from '../../session/object-keys.ts'
import { createTestRecorder } from '../../session/test-recording.ts'

export type MadeObject = { readonly key: string; readonly bytes: Buffer }
export type MadeRecording = { readonly recorder: string; readonly session: string; readonly objects: readonly MadeObject[] }

/** One session in `segments` parts of a recorder with the key of `seed`: its document, then segments with indexes, manifest, ledger. */
export async function madeRecording(seed: number, segments = 2): Promise<MadeRecording> {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed })
  const session = await recorder.record(Array.from({ length: segments }, () => ({ statements: 2 })))
  await recorder.stop()
  const objects = [...store.objects].map(([key, bytes]) => ({ key, bytes }))
  return { recorder: recorder.key.id, session, objects: objects.sort((a, b) => turnOf(a.key) - turnOf(b.key)) }
}

function turnOf(key: string): number {
  const name = nameOf(key)
  switch (name.kind) {
    case 'recorder':
      return 0
    case 'segment':
      return 2 * name.number
    case 'index':
      return 2 * name.number + 1
    case 'manifest':
      return 1_000_000
    case 'ledger':
      return 2_000_000 + name.number
    default:
      return 3_000_000
  }
}
