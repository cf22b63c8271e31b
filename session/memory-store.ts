/** A store in memory for tests, and the ways to damage what is in it. Passes the conformance suite. */
import { checkKey, checkPrefix } from './stores/keys.ts'
import type { Store } from './stores/store.ts'

export type MemoryStore = Store & { readonly objects: Map<string, Buffer> }

export function createMemoryStore(objects = new Map<string, Buffer>()): MemoryStore {
  const keys = (): string[] => [...objects.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  const checked = (key: string): string => {
    checkKey(key)
    return key
  }
  return {
    url: 'memory:',
    objects,
    async putIfAbsent(key, bytes) {
      if (objects.has(checked(key))) return 'exists'
      objects.set(key, Buffer.from(bytes))
      return 'stored'
    },
    get: async (key) => objects.get(checked(key)) ?? null,
    range: async (key, start, end) => objects.get(checked(key))?.subarray(start, end) ?? null,
    async head(key) {
      const bytes = objects.get(checked(key))
      return bytes === undefined ? null : { key, bytes: bytes.length }
    },
    async *list(prefix) {
      checkPrefix(prefix)
      for (const key of keys()) {
        const bytes = objects.get(key)
        if (bytes !== undefined && key.startsWith(prefix)) yield { key, bytes: bytes.length }
      }
    },
    async folders(prefix) {
      checkPrefix(prefix)
      const inner = keys().filter((key) => key.startsWith(prefix) && key.includes('/', prefix.length))
      return [...new Set(inner.map((key) => key.slice(prefix.length, key.indexOf('/', prefix.length))))]
    },
    async delete(key) {
      objects.delete(checked(key))
    },
  }
}
