/** A pod's sidecar that hands what it records to a test's control, as agent-0 with its own token and a listener for one database. */
import type { TestContext } from 'node:test'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import type { TestControl } from '../../webhook/control/test-control.ts'
import { listenerFor, startSidecar, type SidecarProcess } from './sidecar-process.ts'

export type BesideControlOptions = {
  /** That of a sidecar before, to go on with its spool. */
  readonly folder?: string
  /** PEM; control's own unless told. */
  readonly publicKey?: string
}

export async function startBesideControl(
  t: TestContext,
  { control, localPort, database }: { readonly control: TestControl; readonly localPort: number; readonly database: EmbeddedPostgres },
  { folder, publicKey }: BesideControlOptions = {},
): Promise<SidecarProcess> {
  return startSidecar(t, {
    listeners: [listenerFor(0, { localPort, port: database.port })],
    control: { url: control.origin, store: 'default' },
    storeUrl: null,
    ...(folder === undefined ? {} : { folder }),
    variables: {
      STENO_SOURCE_0_DATABASE_URL: database.url,
      STENO_CONTROL_CA: control.authority.certificatePem,
      STENO_CONTROL_PUBLIC_KEY: publicKey ?? control.key.publicKeyPem,
      STENO_CONTROL_TOKEN_FILE: await control.tokenFile('agent-0'),
    },
  })
}
