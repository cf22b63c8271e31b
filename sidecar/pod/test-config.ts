/** The config of a pod that records beside control and enforces nothing, for tests; each changes what it is about. Its listeners are the test's. */
import type { SidecarConfig } from '../../crds/sidecar-config.ts'

export const testConfig: SidecarConfig = {
  version: 1,
  control: { url: 'https://steno-control.steno-system.svc:443', store: 'default' },
  relay: null,
  enforcement: { mode: 'CredentialsOnly', onOpenPath: 'Report' },
  policy: { names: ['shop/orders'], hash: '0'.repeat(32) },
  recording: { level: 'results', onFailure: 'block', spoolBytesMax: 1_000, spoolAgeMillisecondsMax: 2_000 },
  terminationGraceSeconds: 30,
  listeners: [],
}
