/** Settings of a proxy that runs inside a test's own process, or a program of it: custody, no token, store and spool in `folder`. */
import { pathToFileURL } from 'node:url'
import { parseConnectionString } from '../../postgres/connection-string.ts'
import { defaultSegmentLimits, defaultSpoolLimits, type ProxySettings } from '../../sidecar/main.ts'

export function testSettings(upstream: string, folder: string): ProxySettings {
  return {
    listen: { host: '127.0.0.1', port: 0 },
    upstream: parseConnectionString(upstream, {}),
    databases: [],
    agentToken: null,
    allowCleartextPassword: false,
    storeUrl: pathToFileURL(`${folder}/store`).href,
    spoolFolder: `${folder}/spool`,
    spoolLimits: defaultSpoolLimits,
    segment: { ...defaultSegmentLimits, ageMilliseconds: 200 },
    onRecordFailure: 'block',
    recordWaitMilliseconds: 10_000,
    connectionsMax: 100,
    startupMillisecondsMax: 60_000,
    drainMilliseconds: 1_000,
    metricsListen: null,
  }
}
