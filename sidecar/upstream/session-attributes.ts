/**
 * Whether a session is of the kind that target_session_attrs asks for.
 *
 * Servers from version 14 on say so at start-up; older ones are asked with one query before the session is handed over.
 * Source: PostgreSQL documentation, "target_session_attrs".
 */
import type { TargetSessionAttributes } from '../../postgres/connection-string.ts'
import { BadStartup, decodeErrorResponse, encodeMessage } from '../../postgres/startup-messages.ts'
import { AttemptFailed } from './errors.ts'
import type { StartUp } from './start-up.ts'
import type { Wire } from './wire.ts'

const queryMessagesMax = 100

/** Null when the session will do, else why it will not. @throws AttemptFailed when the server does not answer properly */
export async function attributeMismatch(wire: Wire, session: StartUp, wanted: TargetSessionAttributes): Promise<string | null> {
  if (wanted === 'any') return null
  if (wanted === 'primary' || wanted === 'standby' || wanted === 'prefer-standby') {
    const standby = yes(session.parameters['in_hot_standby'] ?? (await ask(wire, session, 'select pg_catalog.pg_is_in_recovery()')))
    if (wanted === 'primary') return standby ? 'the server is a standby' : null
    return standby ? null : 'the server is not a standby'
  }
  const known = session.parameters['default_transaction_read_only']
  const readOnly =
    known === undefined || session.parameters['in_hot_standby'] === undefined
      ? yes(await ask(wire, session, 'show transaction_read_only'))
      : yes(known) || yes(session.parameters['in_hot_standby'])
  if (wanted === 'read-write') return readOnly ? 'the session is read-only' : null
  return readOnly ? null : 'the session is not read-only'
}

const yes = (value: string): boolean => value === 'on' || value === 't'

/** One text value by a simple query. */
async function ask(wire: Wire, { reader, startupFrames }: StartUp, sql: string): Promise<string> {
  wire.socket.write(encodeMessage('Q', Buffer.from(`${sql}\0`)))
  let answer: string | null = null
  let refusal: string | null = null
  for (let messages = 0; messages < queryMessagesMax; messages++) {
    const { type, frame, body } = await reader.next()
    if (type === 'D') {
      const length = body.length >= 6 ? body.readInt32BE(2) : -1
      if (length < 0 || body.readUInt16BE(0) !== 1 || body.length !== 6 + length) throw new BadStartup('a row has an impossible length')
      answer = body.toString('latin1', 6)
    } else if (type === 'E') refusal = decodeErrorResponse(body).message
    else if (type === 'S' || type === 'N') startupFrames.push(frame)
    else if (type === 'Z') {
      if (answer === null)
        throw new AttemptFailed('session', `the server does not say what kind of session it is${refusal === null ? '' : `: ${refusal}`}`)
      return answer
    } else if (type !== 'T' && type !== 'C' && type !== 'A') break
  }
  throw new AttemptFailed('protocol', 'the server answered a query with something else')
}
