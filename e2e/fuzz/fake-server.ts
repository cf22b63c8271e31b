/** A database that signs anybody in and then says what it is told to, whatever it is asked. */
import { backend, int32 } from '../../postgres/messages/write-for-tests.ts'
import { startTcpListener, type TcpListener } from '../support/tcp-listener.ts'

export type Script = {
  /** Everything up to and with ReadyForQuery. */
  readonly startUp: Buffer
  /** Said as soon as something is asked. */
  readonly answer: Buffer
  /** Whether the connection is closed behind the answer, or left open. */
  readonly closes: boolean
}

export const soundStartUp = Buffer.concat([
  backend.raw('R', Buffer.alloc(4)),
  backend.parameterStatus('server_version', '18.0'),
  backend.parameterStatus('client_encoding', 'UTF8'),
  backend.raw('K', Buffer.from([0, 0, 0, 9, 1, 2, 3, 4])),
  backend.ready(),
])

/** What a database may ask before it lets anybody in; none of these goes on to a session. */
export const authenticationRequests: readonly Buffer[] = [
  backend.raw('R', Buffer.concat([int32(10), Buffer.from('SCRAM-SHA-256\0SCRAM-SHA-256-PLUS\0\0')])),
  backend.raw('R', Buffer.concat([int32(11), Buffer.from('r=abc,s=c2FsdA==,i=4096')])),
  backend.raw('R', Buffer.concat([int32(12), Buffer.from('v=c2lnbmF0dXJl')])),
  backend.raw('R', int32(3)),
  backend.raw('R', Buffer.concat([int32(5), Buffer.from('salt')])),
  backend.raw('v', Buffer.concat([int32(0x30000, 1), Buffer.from('_pq_.nothing\0')])),
  backend.error('28P01', 'no'),
  backend.notice('a word before'),
]

export async function startFakeServer(script: () => Script): Promise<TcpListener> {
  return startTcpListener({}, (socket) => {
    const { startUp, answer, closes } = script()
    let isStarted = false
    let isAnswered = false
    socket.on('data', () => {
      if (!isStarted) {
        isStarted = true
        socket.write(startUp)
      } else if (!isAnswered) {
        isAnswered = true
        if (closes) socket.end(answer)
        else socket.write(answer)
      }
    })
  })
}
