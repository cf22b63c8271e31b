/** What may be wrong with the volumes of the sidecar in a pod that is created and with how it mounts them, and beside each what may differ. */
import { of, type Case, type Rule } from './policies-cases.ts'
import { sidecarOf } from './policies-pods.ts'

const withMount = (what: string, mount: { name: string; mountPath: string }): Case =>
  of(what, (pod) => {
    pod.spec.volumes.push({ name: 'mine', configMap: { name: 'mine' } })
    sidecarOf(pod).volumeMounts?.push(mount)
  })
const withFirstMount = (what: string, fields: object): Case =>
  of(what, (pod) => Object.assign(sidecarOf(pod).volumeMounts?.[0] ?? {}, fields))
const withVolume = (name: string, what: string, source: object): Case =>
  of(what, (pod) => {
    pod.spec.volumes = pod.spec.volumes.map((volume) => (volume.name === name ? { name, ...source } : volume))
  })
const controlToken = { audience: 'steno-control', expirationSeconds: 3600, path: 'token' }
const relayToken = { audience: 'steno-relay', expirationSeconds: 3600, path: 'relay-token' }
const tokens = (...sources: readonly object[]) => ({ projected: { sources, defaultMode: 0o644 } })
const token = (fields: object, more: readonly object[] = []) =>
  tokens({ serviceAccountToken: { ...controlToken, ...fields } }, { serviceAccountToken: relayToken }, ...more)

export const volumeRules: readonly Rule[] = [
  {
    policy: 'sidecar-volumes',
    rule: 'SidecarMounts',
    refused: [
      withMount('a mount more', { name: 'mine', mountPath: '/app' }),
      withFirstMount('a subPath', { subPath: 'evil' }),
      withFirstMount('a subPathExpr', { subPathExpr: '$(STENO_POD_NAME)' }),
      withFirstMount('another path', { mountPath: '/var/lib' }),
      withFirstMount('a volume of the same path and another name', { name: 'steno-token' }),
      of('a token that may be written', (pod) => {
        for (const mount of sidecarOf(pod).volumeMounts ?? []) mount.readOnly = false
      }),
      of('the API token in place of ours', (pod) => void sidecarOf(pod).volumeMounts?.pop()),
    ],
    admitted: [
      of('the mounts in another order', (pod) => void (sidecarOf(pod).volumeMounts = sidecarOf(pod).volumeMounts?.toReversed() ?? [])),
    ],
  },
  {
    policy: 'sidecar-volumes',
    rule: 'SpoolVolume',
    refused: [
      withVolume('steno-spool', 'a spool in memory', { emptyDir: { medium: 'Memory', sizeLimit: '1Gi' } }),
      withVolume('steno-spool', 'a spool without limit', { emptyDir: {} }),
      withVolume('steno-spool', 'a spool that others can mount', { persistentVolumeClaim: { claimName: 'mine' } }),
      withVolume('steno-spool', 'a spool that brings a file', { configMap: { name: 'mine' } }),
    ],
    admitted: [withVolume('steno-spool', 'another limit', { emptyDir: { sizeLimit: '64Gi' } })],
  },
  {
    policy: 'sidecar-volumes',
    rule: 'TokenVolume',
    refused: [
      withVolume('steno-token', 'a Secret', { secret: { secretName: 'mine' } }),
      withVolume('steno-token', 'another audience', token({ audience: 'https://kubernetes.default.svc' })),
      withVolume('steno-token', 'another file', token({ path: 'mine' })),
      withVolume('steno-token', 'a token that lives for a day', token({ expirationSeconds: 86_400 })),
      withVolume('steno-token', 'a source more', token({}, [{ configMap: { name: 'mine' } }])),
      withVolume('steno-token', 'no token for the relay', tokens({ serviceAccountToken: controlToken })),
      withVolume('steno-token', 'no token for control', tokens({ serviceAccountToken: relayToken })),
      withVolume(
        'steno-token',
        'a token for the relay at the place of that for control',
        tokens(
          { serviceAccountToken: { ...controlToken, path: 'relay-token' } },
          { serviceAccountToken: { ...relayToken, path: 'token' } },
        ),
      ),
      withVolume(
        'steno-token',
        'a token for the relay that lives for a day',
        tokens({ serviceAccountToken: controlToken }, { serviceAccountToken: { ...relayToken, expirationSeconds: 86_400 } }),
      ),
    ],
    admitted: [of('the two that steno sets', () => undefined)],
  },
]
