/**
 * Volumes of the pod without the keys that agents may not have: Secrets with a moved key, keys of ConfigMaps that are a connection.
 *
 * A Secret of which the policy lets agents keep some keys is mounted with those alone; one without is refused, for a program that finds its file
 * missing is worse than a pod that says why. What only a driver knows cannot be judged. Never changes its arguments.
 */
import type { V1Container, V1KeyToPath, V1Volume } from '@kubernetes/client-node'
import type { ClosedKeys } from './closed-keys.ts'
import type { Report } from './rules.ts'

/** The driver whose purpose is to bring secrets from elsewhere. */
const secretDrivers: readonly string[] = ['secrets-store.csi.k8s.io']
const annotationsField = /^metadata\.annotations(?:\[['"]kubectl\.kubernetes\.io\/last-applied-configuration['"]\])?$/

export function closeVolumes(
  volumes: readonly V1Volume[],
  containers: readonly { readonly container: V1Container; readonly where: string }[],
  closed: ClosedKeys,
  report: Report,
): V1Volume[] {
  return volumes.map((volume, index) => {
    const where = `spec.volumes[${index}]`
    judgeDrivers(volume, where, closed, report)
    const result = structuredClone(volume)
    const { secret, configMap, projected, downwardAPI } = volume
    const allowedFiles = new Set<string>()
    let isNarrowed = false
    if (secret !== undefined && closed.isClosedSecret(secret.secretName)) {
      const items = itemsLeft(secret.secretName!, secret.items, `${where}.secret`, closed, report)
      result.secret = narrowed(secret, items)
      isNarrowed = mountsAll(secret.items)
      for (const { path } of items ?? []) allowedFiles.add(path)
    }
    if (configMap !== undefined) judgeConfigMap(configMap, `${where}.configMap`, closed, report)
    judgeAnnotations(downwardAPI?.items ?? [], where, closed, report)
    if (projected?.sources !== undefined) {
      const sources = projected.sources.map((source, number) => {
        const place = `${where}.projected.sources[${number}]`
        if (source.configMap !== undefined) judgeConfigMap(source.configMap, `${place}.configMap`, closed, report)
        judgeAnnotations(source.downwardAPI?.items ?? [], place, closed, report)
        if (source.secret === undefined || !closed.isClosedSecret(source.secret.name)) return source
        const items = itemsLeft(source.secret.name!, source.secret.items, `${place}.secret`, closed, report)
        for (const { path } of items ?? []) allowedFiles.add(path)
        isNarrowed ||= mountsAll(source.secret.items)
        return Object.assign(structuredClone(source), { secret: narrowed(source.secret, items) })
      })
      result.projected = Object.assign(structuredClone(projected), { sources })
    }
    if (isNarrowed) judgeSubPaths(volume.name, allowedFiles, containers, report)
    return result
  })
}

/** Without items, or with none of them, a volume has every key. */
function mountsAll(items: readonly V1KeyToPath[] | undefined): boolean {
  return items === undefined || items.length === 0
}

/** A key that the policy names and that is not there is no reason for the pod not to start. */
function narrowed<T extends { readonly items?: V1KeyToPath[] }>(source: T, items: V1KeyToPath[] | undefined): T {
  if (items === undefined || !mountsAll(source.items)) return source
  return { ...source, items, optional: true }
}

/** The items that agents may have: those listed, or of all keys those that the policy names. Undefined when it is refused. */
function itemsLeft(
  secret: string,
  items: V1KeyToPath[] | undefined,
  where: string,
  closed: ClosedKeys,
  report: Report,
): V1KeyToPath[] | undefined {
  if (items !== undefined && !mountsAll(items)) {
    const bad = items.filter(({ key }) => closed.isClosed({ name: secret, key })).map(({ key }) => key)
    if (bad.length === 0) return items
    report.refuse('SecretVolumeClosed', where, `it mounts ${bad.join(', ')} of Secret ${secret}, which holds a database credential`)
    return undefined
  }
  const allowed = closed.allowedKeys(secret)
  if (allowed.length > 0) return allowed.map((key) => ({ key, path: key }))
  report.refuse('SecretVolumeClosed', where, `it mounts all keys of Secret ${secret}, which holds a database credential`)
  return undefined
}

function judgeConfigMap(
  { name, items }: { readonly name?: string; readonly items?: readonly V1KeyToPath[] },
  where: string,
  closed: ClosedKeys,
  report: Report,
): void {
  const keys = closed.closedConfigMapKeys(name)
  const mounted = items === undefined || items.length === 0 ? keys : items.map(({ key }) => key).filter((key) => keys.includes(key))
  if (mounted.length > 0)
    report.refuse('ConfigMapKeyClosed', where, `it mounts key ${mounted[0]} of ConfigMap ${name}, which is the connection to a database`)
}

/** `kubectl apply` keeps the whole manifest, with its passwords, in an annotation. */
function judgeAnnotations(
  items: readonly { readonly path: string; readonly fieldRef?: { readonly fieldPath: string } }[],
  where: string,
  closed: ClosedKeys,
  report: Report,
): void {
  const credential = items.find(({ fieldRef }) => closed.isClosedField(fieldRef?.fieldPath))?.fieldRef
  if (credential !== undefined)
    report.refuse('AnnotationsExposed', where, `it hands out ${credential.fieldPath} of the pod, which holds a database credential`)
  if (!closed.hasPasswords) return
  const exposed = items.find(({ fieldRef }) => annotationsField.test(fieldRef?.fieldPath ?? ''))
  if (exposed !== undefined)
    report.refuse(
      'AnnotationsExposed',
      where,
      'it hands out the annotations of the pod, where kubectl keeps the manifest with the password that stands in it',
    )
}

export function isAnnotationsField(fieldPath: string | undefined): boolean {
  return annotationsField.test(fieldPath ?? '')
}

function judgeDrivers({ csi, flexVolume }: V1Volume, where: string, closed: ClosedKeys, report: Report): void {
  const secret = csi?.nodePublishSecretRef?.name ?? flexVolume?.secretRef?.name
  if (closed.isClosedSecret(secret))
    report.refuse('VolumeNotJudged', where, `its driver is given Secret ${secret}, which holds a database credential`)
  else if (csi !== undefined && secretDrivers.includes(csi.driver))
    report.refuse('VolumeNotJudged', `${where}.csi`, `driver ${csi.driver} brings secrets that nobody sees at admission`)
  else if (csi !== undefined) report.warn(`${where}: what driver ${csi.driver} brings into the containers is not seen at admission`)
}

/** A subPath of a file that is not there any more would become an empty folder. */
function judgeSubPaths(
  volume: string,
  files: ReadonlySet<string>,
  containers: readonly { readonly container: V1Container; readonly where: string }[],
  report: Report,
): void {
  for (const { container, where } of containers)
    for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
      if (mount.name !== volume) continue
      const path = mount.subPathExpr ?? mount.subPath
      if (path && !files.has(path))
        report.refuse(
          'SecretVolumeClosed',
          `${where}.volumeMounts[${index}]`,
          `its subPath may be a key of a Secret that holds a database credential`,
        )
    }
}
