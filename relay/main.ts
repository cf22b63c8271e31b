/** The relay: the only way out of an agent's pod. */
export { startRelay } from './start-relay.ts'
export type { RelaySettings } from './settings.ts'
