/** Says a conversation to a server in random pieces with random pauses, and gives what came back in a form that two runs can be compared by. */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import type { Conversation } from './conversations.ts'
import type { Random } from './random.ts'
import { connectRaw, errorFields, type RawClient, type RawFrame, type RawOptions } from './raw-client.ts'

const silenceMilliseconds = 4
/** As `comparable` shows it. */
export const authenticationOk = 'R \0\0\0\0'

export type Heard = {
  /** Everything that the server sent from the connection's beginning to its end. */
  readonly frames: readonly string[]
  /**
   * The server ended the session while it had not read all that was sent. Its kernel then resets the connection, and what is
   * still on its way is lost to whoever talks to it: how much is chance.
   */
  readonly wasCutOff: boolean
}

export async function talk(options: RawOptions, conversation: Conversation, random: Random): Promise<Heard> {
  const client = connectRaw(options)
  try {
    await client.start()
    for (const { bytes, settles } of conversation.steps) {
      await sendInPieces(client, bytes, random)
      if (settles) await silence(client)
    }
    client.socket.end()
    await client.end()
    const all = client.frames()
    const isFatal = all.some(({ type, body }) => type === 'E' && errorFields(body)['V'] === 'FATAL')
    const wasCutOff = client.wasReset || isFatal
    return { frames: comparable(wasCutOff ? all.filter(({ type }) => type !== '(rest)') : all), wasCutOff }
  } finally {
    await client.destroy()
  }
}

async function sendInPieces(client: RawClient, bytes: Buffer, random: Random): Promise<void> {
  if (random.chance(0.5)) {
    client.send(bytes)
    return
  }
  const pieceBytesMax = random.pick([1, 4, 7, 60, 1000])
  for (let at = 0; at < bytes.length;) {
    // A long text byte by byte would only take time.
    const end = bytes.length - at > 1_000 ? at + 900 : at + 1 + random.below(pieceBytesMax)
    client.send(bytes.subarray(at, end))
    at = end
    if (random.chance(0.05)) await sleep(random.below(3))
    else if (random.chance(0.5)) await turn()
  }
}

/** Waits until the server has said nothing for a moment: what follows is then not pipelined. */
async function silence(client: RawClient): Promise<void> {
  for (let before = -1; before !== client.receivedBytes && !client.closed;) {
    before = client.receivedBytes
    await sleep(silenceMilliseconds)
  }
}

/** The frames as text, without what differs from connection to connection: process ids, cancel keys, SCRAM's random values. */
export function comparable(frames: readonly RawFrame[]): string[] {
  return frames.map(({ type, body }) => {
    const bytes = Buffer.from(body)
    if (type === 'K') bytes.fill(0)
    if (type === 'A') bytes.fill(0, 0, 4)
    if (type === 'R' && bytes.readUInt32BE() > 10) return `R ${bytes.readUInt32BE()} (SCRAM)`
    return `${type} ${bytes.toString('latin1')}`
  })
}

/** Custody leaves out the exchange that steno had with the database: what the agent sees begins with AuthenticationOk. */
export function withoutExchange(frames: readonly string[]): string[] {
  return frames.filter((frame) => !frame.startsWith('R ') || frame === authenticationOk)
}
