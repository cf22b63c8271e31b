/**
 * Tells the content of results from everything else that the backend says: rows, COPY data on its way to the agent, and the value of a
 * function call, for recordings that keep none of it.
 *
 * Takes what `BackendScanner` passes: heads are checked and whole, bodies may be cut anywhere. Holds a few numbers and no bytes.
 * What ErrorResponse and NoticeResponse quote of a row is not content here: an error says what it says.
 */
const dataRow = 0x44
const copyData = 0x64
const functionCallResponse = 0x56

const isContent = new Uint8Array(256)
for (const type of [dataRow, copyData, functionCallResponse]) isContent[type] = 1

/** Both are given bytes that alias what was pushed. */
export type ResultContentSink = {
  pass(bytes: Buffer): void
  /** Messages of one type, of which so many end here; the last may be cut, and then its rest follows. */
  leaveOut(type: number, messages: number, bytes: Buffer): void
}

export class ResultContentSplitter {
  /** What is still to come of the message under way, head included. */
  #remaining = 0
  /** Type of the content under way; 0 for everything else. */
  #run = 0

  push(bytes: Buffer, sink: ResultContentSink): void {
    let at = 0
    let from = 0
    let messages = 0
    while (at < bytes.length) {
      if (this.#remaining === 0) {
        const type = bytes[at]!
        const run = isContent[type] === 0 ? 0 : type
        if (run !== this.#run) {
          if (at > from) this.#give(sink, messages, bytes.subarray(from, at))
          this.#run = run
          from = at
          messages = 0
        }
        this.#remaining = 1 + bytes.readUInt32BE(at + 1)
      }
      const count = Math.min(this.#remaining, bytes.length - at)
      at += count
      this.#remaining -= count
      if (this.#remaining === 0) messages++
    }
    if (at > from) this.#give(sink, messages, from === 0 ? bytes : bytes.subarray(from))
  }

  #give(sink: ResultContentSink, messages: number, bytes: Buffer): void {
    if (this.#run === 0) sink.pass(bytes)
    else sink.leaveOut(this.#run, messages, bytes)
  }
}
