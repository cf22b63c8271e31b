/** Sessions with a real server as `connectUpstream` opens them, from the text of a connection string. */
import { parseConnectionString } from '../../postgres/connection-string.ts'
import { encodeMessage } from '../../postgres/startup-messages.ts'
import { connectUpstream } from './connect.ts'
import type { UpstreamSession } from './connect.ts'

export async function connect(
  text: string,
  more: {
    parameters?: Record<string, string>
    cleartext?: boolean
    database?: string
    environment?: Record<string, string>
  } = {},
): Promise<UpstreamSession> {
  const settings = parseConnectionString(text, more.environment ?? {})
  return connectUpstream(
    settings,
    { database: more.database ?? settings.database ?? 'postgres', parameters: more.parameters ?? {} },
    { allowCleartextPassword: more.cleartext ?? false },
  )
}
export const end = (session: UpstreamSession): void => void session.socket.destroy()

/** Runs one query over the session as its new owner would, and gives what came. */
export async function query(session: UpstreamSession, sql: string): Promise<string> {
  const pieces: Buffer[] = [session.leftover]
  session.socket.write(encodeMessage('Q', Buffer.from(`${sql}\0`)))
  await new Promise<void>((resolve, reject) => {
    session.socket.once('close', () => reject(new Error('closed')))
    session.socket.on('data', (bytes: Buffer) => {
      pieces.push(bytes)
      if (Buffer.concat(pieces).subarray(-6, -1).toString('latin1') === 'Z\0\0\0\u0005') resolve()
    })
    session.socket.resume()
  })
  return Buffer.concat(pieces).toString('latin1')
}
