/**
 * From a pod's environment to what its recorder is told, or everything in it that does not fit, all at once.
 *
 * The figures are for a container of 96 to 256 MiB that has a spool of its own and a store that may be away.
 */
import { KnownError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { Listener } from '../../crds/sidecar-config.ts'
import { defaultSegmentLimits, type ListenerSettings, type RecorderSettings } from '../settings.ts'
import type { PodEnvironment } from './environment.ts'
import type { Problem } from './source.ts'
import { podUpstream } from './upstream.ts'

/** A file is deleted whole: small ones keep what lies on the disk near what waits, for which the volume has 64 MiB to spare. */
const spoolFileBytesMax = 8 * 1024 * 1024
const reserveBytes = 1024 * 1024
/**
 * With TLS to the database a session takes about 0.3 MiB, and as much again while the database does not take what it says. This many fit
 * beside long statements (`held-statements.ts`) and the sealing thread, whatever an agent has them say.
 */
const connectionsMax = 200
const recordWaitMilliseconds = 10_000
const startupMillisecondsMax = 60_000
/** When the sidecar is told to end, the agent's containers have ended, or have used up their time: little is worth waiting for. */
const drainMilliseconds = 500
const closeMillisecondsMax = 1_000
const liveSqlCharacters = 1_000

/** What moved here from the agent's containers is not a connection that the policy allows. */
export class SourcesRefused extends KnownError {
  readonly code = 'SOURCES_REFUSED'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(problems: readonly { readonly listener: Listener; readonly problem: Problem }[]) {
    super(problems.map(({ listener, problem }) => `database ${listener.database} (${variableOf(listener)}): ${problem.what}`).join('; '))
    this.remedy = [...new Set(problems.map(({ problem }) => problem.remedy))].join(' ')
  }
}

/** @throws SourcesRefused, which names every problem of every listener and no secret */
export function podSettings(
  { config, attested, values }: PodEnvironment,
  { storeUrl, spoolFolder, log }: { readonly storeUrl: string | null; readonly spoolFolder: string; readonly log: Log },
): RecorderSettings {
  const { recording, policy } = config
  const listeners: ListenerSettings[] = []
  const refused: { listener: Listener; problem: Problem }[] = []
  for (const listener of config.listeners) {
    const upstream = podUpstream(listener, values)
    if (upstream.kind === 'unfit') {
      refused.push(...upstream.problems.map((problem) => ({ listener, problem })))
      continue
    }
    for (const warning of upstream.warnings) log.warn({ database: listener.database, variable: variableOf(listener) }, warning)
    const port = listener.localPort
    listeners.push({
      addresses: [
        { host: '127.0.0.1', port },
        { host: '::1', port, optional: true },
      ],
      upstream: upstream.settings,
      databases: listener.allowed.databaseNames,
      agentToken: null,
      allowCleartextPassword: false,
    })
  }
  if (refused.length > 0) throw new SourcesRefused(refused)
  return {
    listeners,
    storeUrl: storeUrl ?? controlStoreUrl(config.control),
    storeAtStart: 'may-be-away',
    spoolFolder,
    spoolLimits: {
      unshippedBytesMax: recording.spoolBytesMax,
      unshippedMillisecondsMax: recording.spoolAgeMillisecondsMax,
      fileBytesMax: spoolFileBytesMax,
      reserveBytes,
    },
    segment: defaultSegmentLimits,
    level: recording.level,
    onRecordFailure: recording.onFailure,
    recordWaitMilliseconds,
    connectionsMax,
    startupMillisecondsMax,
    drainMilliseconds,
    // For a store that is away at the end: what is not stored by then is lost with the pod.
    endMillisecondsMax: { close: closeMillisecondsMax, store: config.terminationGraceSeconds * 1_000 },
    metricsListen: null,
    countsMetrics: true,
    countsRecords: true,
    liveView: { format: 'json', sqlCharacters: liveSqlCharacters },
    surroundings: {
      policy: policy.names.length === 0 ? null : { name: policy.names.join(','), hash: policy.hash },
      attested,
    },
    changedBy: { databases: '`databaseNames` of the SessionPolicy', connections: 'the number of pods' },
  }
}

/** `control+https://steno-control.steno-system.svc:443/default`; see session/stores/open-store.ts. */
export function controlStoreUrl({ url, store }: { readonly url: string; readonly store: string }): string {
  return `control+${url.replace(/\/$/, '')}/${encodeURIComponent(store)}`
}

/** The variable that names the source best. */
function variableOf({ source }: Listener): string {
  return source.kind === 'url' ? source.variable : (source.variables.host ?? Object.values(source.variables)[0]!)
}
