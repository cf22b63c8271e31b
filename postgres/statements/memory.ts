/**
 * How much a tracker may keep of what waits for an answer or for its use by name.
 *
 * Many trackers share the memory of one thread. Whoever has them all adds up what they hold and says when it is too much: from then on each
 * keeps little until it is less. What is left out is named as such in the statements that lack it, and is whole in the recording.
 */
export type TrackerMemory = { readonly isScarce: boolean }

export const ampleMemory: TrackerMemory = { isScarce: false }

export type Amount = {
  readonly entriesMax: number
  /** In characters and bytes. */
  readonly weightMax: number
}

/** In the queue of expected answers while memory is scarce. Beyond the entries its tracker loses track, so they are more. */
export const scarceQueue: Amount = { entriesMax: 1_024, weightMax: 16 * 1024 }
/** Of each kind of name. */
export const scarceNames: Amount = { entriesMax: 256, weightMax: 16 * 1024 }
/** Of a frame that comes in several pieces. */
export const scarceFrameBytes = 8 * 1024
/** Of a Bind that comes in several pieces; a value may have a thousand bytes. */
export const scarceParametersMax = 16

/** What an entry takes besides its texts and values, about. */
export const entryWeight = 128
