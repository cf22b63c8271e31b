/** A proxy over a real database with somebody at work in it, who must not notice what happens to others. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { assertVerified, readRecorded, type RecordedConversation } from '../nothing-lost/recorded.ts'
import { connectRemembering, errorFields, firstColumn, framesOf, type RememberingClient } from '../nothing-lost/remembering-client.ts'
import { startProxyProcess, stopUntilStored, type RunningProxy } from '../support/proxy.ts'

export type FailureWorld = AsyncDisposable & {
  readonly proxy: RunningProxy
  readonly port: number
  /** Fails unless the process lives, the other session goes on and a fresh one begins. */
  assertOthersGoOn(): Promise<void>
  /** Stops in good order; fails unless everything verifies. */
  recorded(): Promise<Map<string, RecordedConversation>>
}

export async function startFailureWorld(upstream: string, args: readonly string[] = []): Promise<FailureWorld> {
  const proxy = await startProxyProcess({ upstream, arguments: args })
  const bystander: RememberingClient = await connectRemembering(proxy.port, 'bystander')
  let fresh = 0
  return {
    proxy,
    port: proxy.port,
    async assertOthersGoOn() {
      assert.deepEqual(firstColumn(await bystander.query("select 'goes on'")), ['goes on'])
      const client = await connectRemembering(proxy.port, `fresh-${++fresh}`)
      assert.deepEqual(firstColumn(await client.query("select 'begins'")), ['begins'])
      await client.end()
    },
    async recorded() {
      await bystander.end()
      await stopUntilStored(proxy, upstream)
      await assertVerified(proxy.storeFolder, proxy.spoolFolder)
      const recorded = await readRecorded(proxy.storeFolder)
      assert.ok(recorded.get('bystander')!.backend.equals(bystander.received()), 'nothing that passed is lost')
      return recorded
    },
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  }
}

/** Sends bytes on a connection of its own and gives the ErrorResponse that it ends with, or null. */
export async function sendRaw(port: number, bytes: Buffer): Promise<ReadonlyMap<string, string> | null> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => undefined)
  socket.write(bytes)
  await new Promise((resolve) => socket.once('close', resolve))
  const error = framesOf(Buffer.concat(chunks)).frames.find(({ type }) => type === 'E')
  return error === undefined ? null : errorFields(error)
}

/** Waits until the socket has been given this many bytes at least. */
export async function untilReceived(client: RememberingClient, bytes: number): Promise<void> {
  while (client.received().length < bytes) await once(client.socket, 'data')
}
