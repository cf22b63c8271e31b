/**
 * Every measure besides the loads, in the order in which they run.
 */
import { idleConnections } from './idle-connections.ts'
import { idleMemory } from './idle-memory.ts'
import { markCompacts } from './mark-compacts.ts'
import type { Measure } from './measure.ts'
import { slowReader } from './slow-reader.ts'

export const measures: readonly Measure[] = [idleMemory, markCompacts, slowReader, idleConnections]
