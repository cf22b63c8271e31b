/** What following recordings gives: statements as they are stored, sessions as they open and close, and when there is nothing more for now. */
import type { SessionClose, SessionIdentity } from '../../session/identity.ts'
import { objectPieces } from '../../session/object-pieces.ts'
import { statementIndexKey } from '../../session/object-keys.ts'
import { RecordingDamaged } from '../../session/read-session.ts'
import { decodeStatementIndex } from '../../session/statement-index.ts'
import type { Store } from '../../session/stores/store.ts'
import { checkStatementLine, type StatementLine } from '../statement-line.ts'

export type Followed =
  | { readonly kind: 'statement'; readonly identity: SessionIdentity; readonly statement: StatementLine }
  | { readonly kind: 'opened'; readonly identity: SessionIdentity }
  | { readonly kind: 'closed'; readonly identity: SessionIdentity; readonly close: SessionClose }
  /** An object that cannot be read; what lies in it is left out, and the rest goes on. */
  | { readonly kind: 'problem'; readonly message: string }
  /** All that is stored was given; `news` tells whether that was anything since the last of these. */
  | { readonly kind: 'pause'; readonly news: boolean }

/** Between two looks at the store. */
const pollMilliseconds = 300
/** When a look takes long, as over very many recorders, the next is put off further, but not beyond what is promised. */
const pollMillisecondsMax = 1_500
const restShare = 3

export function restMilliseconds(lookMilliseconds: number): number {
  return Math.min(pollMillisecondsMax, Math.max(pollMilliseconds, lookMilliseconds * restShare))
}

/** The statements of one part of a session. Holds one line. @throws BadDocument, RecordingDamaged, StoreUnavailable */
export async function* statementsOfPart(store: Store, session: string, segment: number): AsyncGenerator<StatementLine> {
  const key = statementIndexKey(session, segment)
  for await (const line of decodeStatementIndex(objectPieces(store, key, () => undefined))) {
    if (line.session !== session || line.segment !== segment)
      throw new RecordingDamaged(session, key, 'the statement index is of another segment')
    yield checkStatementLine(line)
  }
}
