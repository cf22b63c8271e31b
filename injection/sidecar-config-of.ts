/**
 * The sidecar's configuration for one pod, from its merged policy and the sources that were moved out of its containers.
 *
 * Every listener says again what the policy allows, so nothing that a pod's author writes can widen it.
 */
import type { V1EnvVar } from '@kubernetes/client-node'
import { invariant } from '../base/invariant.ts'
import type { MergedDatabase, MergedPolicy } from '../crds/merge.ts'
import { bytesOf } from '../crds/quantity.ts'
import { sidecarConfigVersion, terminationGraceSecondsMax, type Listener, type SidecarConfig } from '../crds/sidecar-config.ts'
import type { KnownSource } from './known-sources.ts'

/** Every source names a database of the policy. */
export function sidecarConfigOf(
  policy: MergedPolicy,
  sources: readonly KnownSource[],
  {
    controlUrl,
    relayEndpoint,
    terminationGraceSeconds,
  }: { readonly controlUrl: string; readonly relayEndpoint: string; readonly terminationGraceSeconds: number },
): SidecarConfig {
  const { recording, enforcement } = policy
  return {
    version: sidecarConfigVersion,
    control: { url: controlUrl, store: recording.store },
    relay: enforcement.mode === 'Relay' ? { endpoint: relayEndpoint } : null,
    enforcement: { mode: enforcement.mode, onOpenPath: enforcement.onOpenPath },
    policy: { names: policy.sources, hash: policy.hash },
    recording: recordingOf(policy),
    terminationGraceSeconds: Math.min(terminationGraceSeconds, terminationGraceSecondsMax),
    listeners: sources.map((source) => listenerOf(policy, source)),
  }
}

/** How the policy wants it recorded, in the units that a sidecar reckons in. */
export function recordingOf(policy: MergedPolicy): SidecarConfig['recording'] {
  const { level, onFailure, spoolAgeSecondsMax } = policy.recording
  return { level, onFailure, spoolBytesMax: spoolBytesMaxOf(policy), spoolAgeMillisecondsMax: spoolAgeSecondsMax * 1_000 }
}

/** The spool's cap in bytes; the resource's schema has checked the quantity. */
export function spoolBytesMaxOf({ recording }: MergedPolicy): number {
  const bytes = bytesOf(recording.spoolBytesMax)
  invariant(bytes !== null, 'a policy that was read has a spool of so many bytes')
  return bytes
}

/** `STENO_CA_<n>` for each database that has both a source and an authority of its own; n is its place in the policy. */
export function caVariablesOf(policy: MergedPolicy, sources: readonly KnownSource[]): V1EnvVar[] {
  return policy.databases.flatMap((database, index): V1EnvVar[] => {
    const ca = database.tls.ca
    if (ca === undefined || !sources.some((source) => source.database === database.name)) return []
    const name = caVariable(index)
    if (ca.configMapKeyRef !== undefined) return [{ name, valueFrom: { configMapKeyRef: { ...ca.configMapKeyRef } } }]
    if (ca.secretKeyRef !== undefined) return [{ name, valueFrom: { secretKeyRef: { ...ca.secretKeyRef } } }]
    // The kubelet would expand $(…), which a comment between certificates may hold.
    return [{ name, value: (ca.inline ?? '').replaceAll('$', '$$$$') }]
  })
}

function listenerOf(policy: MergedPolicy, { database: name, localPort, source }: KnownSource): Listener {
  const index = policy.databases.findIndex((candidate) => candidate.name === name)
  const database: MergedDatabase | undefined = policy.databases[index]
  invariant(database !== undefined, 'a source names a database of the policy')
  return {
    database: name,
    localPort,
    allowed: { hosts: database.hosts, port: database.port, databaseNames: database.databaseNames },
    tls: { mode: database.tls.mode, caVariable: database.tls.ca === undefined ? null : caVariable(index) },
    source,
  }
}

function caVariable(index: number): string {
  return `STENO_CA_${index}`
}
