/** For tests of what reads and writes sockets: waiting for a state, and all that a socket has received. */
import type net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(2)
}

export function collect(socket: net.Socket): { readonly bytes: () => Buffer } {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  return { bytes: () => Buffer.concat(chunks) }
}
