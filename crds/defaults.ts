/**
 * What holds when nobody says otherwise. The schemas write these into the API, and the merge uses them for pods without a SessionPolicy,
 * so both have them from here. Loads no package.
 */
export const defaultRecording = {
  level: 'results',
  store: 'default',
  onFailure: 'block',
  spoolBytesMax: '512Mi',
  spoolAgeSecondsMax: 3600,
} as const

export const defaultEnforcement = { mode: 'Relay', onOpenPath: 'Block' } as const

/** The sidecar's container. The measured need of one busy sidecar is below the limit; no limit of processor time, for that would slow agents. */
export const defaultResources = {
  requests: { cpu: '10m', memory: '96Mi' },
  limits: { memory: '256Mi' },
} as const

/** The first port on localhost where agents find a database. */
export const firstLocalPort = 15_432
