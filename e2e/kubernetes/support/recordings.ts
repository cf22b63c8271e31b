/**
 * The cluster's recordings as an auditor reads them: `steno` commands against control's reader, through a port-forward.
 */
import { openForward } from '../../../cli/kubectl/forward.ts'
import { steno, type StenoResult } from '../../support/proxy.ts'

export type Recordings = AsyncDisposable & {
  /** `control+http://127.0.0.1:PORT/default` */
  readonly url: string
  /** A command with `--store` set, and what it printed. */
  run(args: readonly string[]): Promise<StenoResult>
  /** Sessions of the pod, as `steno sessions --json` has them, newest first. */
  sessionsOf(podUid: string): Promise<RecordedSession[]>
}

export type RecordedSession = {
  readonly session: string
  readonly state: string
  readonly closed: number | null
  readonly statements?: number
  readonly identity: {
    readonly user: string
    readonly database: string
    readonly attested: Readonly<Record<string, string>>
    readonly policy: { readonly name: string; readonly hash: string } | null
  }
}

/** `since` leaves out the sessions before it, which in a store of many tests are most of them. */
export async function openRecordings(store = 'default', { since }: { readonly since?: Date } = {}): Promise<Recordings> {
  const forward = await openForward({ stenoNamespace: 'steno-system' })
  const url = `control+${forward.origin}/${store}`
  const run = (args: readonly string[]): Promise<StenoResult> => steno(args, { environment: { STENO_STORE: url } })
  return {
    url,
    run,
    async sessionsOf(podUid) {
      const { status, stdout, stderr } = await run([
        ...['sessions', '--json', '--limit', '1000'],
        ...(since === undefined ? [] : ['--since', since.toISOString()]),
      ])
      if (status !== 0) throw new Error(`steno sessions: ${stderr}`)
      const sessions = stdout
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as RecordedSession | (Omit<RecordedSession, 'identity'> & { readonly identity: null }))
      // A session that was lost before anything of it was stored has no identity.
      return sessions.filter((session) => session.identity !== null).filter(({ identity }) => identity.attested['podUid'] === podUid)
    },
    [Symbol.asyncDispose]: () => forward[Symbol.asyncDispose](),
  }
}
