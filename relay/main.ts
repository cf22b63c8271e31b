/** The relay: the only way out of an agent's pod; and how it resolves names, for who must speak of the same addresses. */
export { startRelay } from './start-relay.ts'
export { createNameResolver } from './resolve-name.ts'
export type { RelaySettings } from './settings.ts'
