import { createMemoryStore } from './memory-store.ts'
import { storeConformance } from './stores/conformance.ts'

storeConformance('memory', async () => {
  const objects = new Map<string, Buffer>()
  return { open: async () => createMemoryStore(objects), [Symbol.asyncDispose]: async () => objects.clear() }
})
