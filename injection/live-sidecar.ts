/**
 * The sidecar of a running pod, held against the only form that the webhook gives one, except for what policies and credentials decide.
 *
 * Sidecars outlive the release that made them, so this reads configurations of other releases: with fields that are not there yet or that
 * it does not know. That is safe because the image is a known one, and reads its configuration as strictly as this release does.
 * Judges no policy: whether the configuration says what the policies say is in `judge-live-pod.ts`.
 */
import type { V1Container, V1EnvVar, V1Pod, V1Volume } from '@kubernetes/client-node'
import { canonicalJson, type Json } from '../crds/canonical-json.ts'
import { caVariablePattern, sidecarConfigCharactersMax, sidecarConfigVersion, sourceVariablePattern } from '../crds/sidecar-config.ts'
import { admissionAnnotation, bearsSeal, createdAt } from './admission-seal.ts'
import { enforcementLabel, injectedLabel, policyHashAnnotation, versionAnnotation } from './inject-pod.ts'
import {
  fixedVariableNames,
  relayTokenAudience,
  sidecarContainer,
  sidecarName,
  sidecarVolumes,
  spoolVolumeName,
  tokenVolumeName,
} from './sidecar-container.ts'

/** What sidecars of this installation have in common. */
export type LiveEnvironment = {
  /** AdmissionParameters.spec.images: this release's first. */
  readonly images: readonly string[]
  readonly controlUrl: string
  /** `steno-relay.steno-system.svc:8443`. */
  readonly relayEndpoint: string
  /** PEM; the keys of control that a sidecar may have pinned. */
  readonly controlPublicKeys: readonly string[]
  /** PEM, each one certificate: the authorities that a sidecar may have pinned. Empty while they are not known: then not compared. */
  readonly controlCas: readonly string[]
  /**
   * Pods that were created later, in milliseconds since 1970, must bear the webhook's seal; null while that is not known. Before, there were
   * releases that made none.
   */
  readonly admissionsSignedSince: number | null
}

/** What stands in the pod, none of it secret. */
export type LiveSidecar = {
  readonly container: V1Container
  readonly image: string
  /** PEM, as it was at the admission. */
  readonly controlCa: string
  readonly controlPublicKey: string
  /** Of the policy that the sidecar was made by. */
  readonly policyHash: string
  /** Of the webhook that made it; empty when it does not say. */
  readonly version: string
}

export type LiveSidecarReading =
  | { readonly kind: 'read'; readonly sidecar: LiveSidecar }
  | { readonly kind: 'unfit'; readonly reason: string }

/** Why a sidecar is none, as a sentence without its subject. */
class NotExact extends Error {}

/** Reads the sidecar of a pod, or says what of it is not the webhook's. */
export function readLiveSidecar(pod: V1Pod, environment: LiveEnvironment): LiveSidecarReading {
  try {
    return { kind: 'read', sidecar: read(pod, environment) }
  } catch (error) {
    if (error instanceof NotExact) return { kind: 'unfit', reason: error.message }
    throw error
  }
}

function read(pod: V1Pod, environment: LiveEnvironment): LiveSidecar {
  const { labels = {}, annotations = {} } = pod.metadata ?? {}
  if (labels[injectedLabel] !== 'true') throw new NotExact(`it has no label ${injectedLabel}=true`)
  const found = (pod.spec?.initContainers ?? []).filter(({ name }) => name === sidecarName)
  const [container] = found
  if (container === undefined) throw new NotExact('it has no steno sidecar')
  if (found.length > 1) throw new NotExact('it has two containers of the sidecar’s name')
  const { image = '' } = container
  if (!environment.images.includes(image)) throw new NotExact('its sidecar runs an image that is none of this installation’s')
  const env = variablesOf(container)
  const controlCa = literal(env, 'STENO_CONTROL_CA')
  const controlPublicKey = literal(env, 'STENO_CONTROL_PUBLIC_KEY')
  if (!environment.controlPublicKeys.includes(controlPublicKey)) throw new NotExact('its sidecar trusts a key that is none of control’s')
  if (!trustsKnownAlone(controlCa, environment.controlCas)) throw new NotExact('its sidecar trusts an authority that is none of control’s')
  checkContainer(container, { image, controlCa, controlPublicKey })
  const { policyHash, mode } = readConfig(literal(env, 'STENO_SIDECAR_CONFIG'), environment)
  if (annotations[policyHashAnnotation] !== policyHash)
    throw new NotExact(`its annotation ${policyHashAnnotation} names another policy than its sidecar has`)
  // Before there was a relay, pods had neither the field nor the label.
  if (labels[enforcementLabel] !== mode) throw new NotExact(`its label ${enforcementLabel} is not what its sidecar was made with`)
  checkVolumes(pod.spec?.volumes ?? [], mode)
  checkSeal(pod, environment)
  return { container, image, controlCa, controlPublicKey, policyHash, version: annotations[versionAnnotation] ?? '' }
}

/** A closed list: `NODE_OPTIONS` and its like change what a program does. */
function variablesOf({ env = [], envFrom = [] }: V1Container): ReadonlyMap<string, V1EnvVar> {
  if (envFrom.length > 0) throw new NotExact('its sidecar takes variables from somewhere else')
  const fixed = new Map<string, V1EnvVar>()
  for (const variable of env) {
    const { name } = variable
    if (sourceVariablePattern.test(name) || caVariablePattern.test(name)) continue
    if (!fixedVariableNames.includes(name)) throw new NotExact('its sidecar has a variable that the webhook gives none')
    if (fixed.has(name)) throw new NotExact(`its sidecar has the variable ${name} twice`)
    fixed.set(name, variable)
  }
  return fixed
}

function literal(env: ReadonlyMap<string, V1EnvVar>, name: string): string {
  const variable = env.get(name)
  if (variable?.value === undefined || variable.valueFrom !== undefined)
    throw new NotExact(`its sidecar was not told ${name} by the webhook`)
  return variable.value
}

/** As the admission policy SidecarTrust cuts them: whatever stands between two certificates belongs to the one behind it, and makes it another. */
function trustsKnownAlone(bundle: string, known: readonly string[]): boolean {
  if (known.length === 0) return true
  return bundle.split(/(?<=-----END CERTIFICATE-----\n)/).every((certificate) => known.includes(certificate))
}

/** By the API server's clock, which the pod's author does not set. */
function checkSeal(pod: V1Pod, { admissionsSignedSince, controlPublicKeys }: LiveEnvironment): void {
  if (admissionsSignedSince === null || createdAt(pod) < admissionsSignedSince || bearsSeal(pod, controlPublicKeys)) return
  throw new NotExact(`its annotation ${admissionAnnotation} does not say that the webhook made its sidecar, so the pod must be made again`)
}

/** Whose value no policy decides: those of the pod's own fields. */
function checkContainer(container: V1Container, told: Pick<LiveSidecar, 'image' | 'controlCa' | 'controlPublicKey'>): void {
  const form = sidecarContainer({
    ...told,
    config: formConfig,
    sourceVariables: [],
    caVariables: [],
    resources: { limits: {}, requests: {} },
  })
  for (const wanted of (form.env ?? []).filter(({ valueFrom }) => valueFrom !== undefined)) {
    const has = (container.env ?? []).find(({ name }) => name === wanted.name)
    if (textOf(has) !== textOf(wanted)) throw new NotExact(`the variable ${wanted.name} of its sidecar is not the webhook’s`)
  }
  const fields = new Set([...Object.keys(form), ...Object.keys(container)])
  for (const field of fields) {
    if (decidedElsewhere.has(field)) continue
    const [has, wanted] = [container, form].map((one) => textOf((one as unknown as Record<string, unknown>)[field]))
    if (has !== wanted) throw new NotExact(`the field ${field.slice(0, 64)} of its sidecar’s container is not the webhook’s`)
  }
}

/**
 * Compared by themselves, or harmless: resources may be changed in place (KEP-1287) and by a LimitRange, `resizePolicy` is defaulted by some
 * releases of Kubernetes, and the admission plugin AlwaysPullImages sets `imagePullPolicy`.
 */
const decidedElsewhere: ReadonlySet<string> = new Set(['env', 'envFrom', 'resources', 'resizePolicy', 'imagePullPolicy'])

/** One that can be written; it is not compared. */
const formConfig = {
  version: sidecarConfigVersion,
  control: { url: 'https://control.invalid', store: 'form' },
  relay: null,
  enforcement: { mode: 'CredentialsOnly', onOpenPath: 'Report' },
  policy: { names: [], hash: '0'.repeat(32) },
  recording: { level: 'results', onFailure: 'block', spoolBytesMax: 1, spoolAgeMillisecondsMax: 1 },
  terminationGraceSeconds: 1,
  listeners: [],
} as const

/** What no policy decides of a configuration: where control and relay are. */
function readConfig(text: string, { controlUrl, relayEndpoint }: LiveEnvironment): { policyHash: string; mode: string | undefined } {
  if (text.length > sidecarConfigCharactersMax) throw new NotExact('the configuration of its sidecar is too long for one')
  const config = objectIn(text)
  if (config === null) throw new NotExact('the configuration of its sidecar is none')
  if (config['version'] !== sidecarConfigVersion)
    throw new NotExact('the configuration of its sidecar is of a form that this release does not know')
  const [control, relay, enforcement, policy] = ['control', 'relay', 'enforcement', 'policy'].map((name) => fieldsOf(config[name]))
  if (control?.['url'] !== controlUrl) throw new NotExact('its sidecar was told of another control')
  const mode = enforcement?.['mode']
  if (mode !== undefined && mode !== 'Relay' && mode !== 'CredentialsOnly')
    throw new NotExact('the configuration of its sidecar names a mode that this release does not know')
  const endpoint = relay?.['endpoint']
  if (endpoint !== (mode === 'Relay' ? relayEndpoint : undefined)) throw new NotExact('its sidecar was told of another relay')
  const policyHash = policy?.['hash']
  if (typeof policyHash !== 'string') throw new NotExact('the configuration of its sidecar names no policy')
  return { policyHash, mode }
}

function objectIn(text: string): Readonly<Record<string, unknown>> | null {
  try {
    return fieldsOf(JSON.parse(text)) ?? null
  } catch {
    return null // What JSON.parse says quotes the text.
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : undefined
}

/** That the spool is an `emptyDir` on disk is among the faults of pods; its size is the policy's, which is compared where the policy is the same. */
function checkVolumes(volumes: readonly V1Volume[], mode: string | undefined): void {
  const [, form] = sidecarVolumes({ spoolBytesMax: 1 })
  const of = (name: string): V1Volume => {
    const [volume, ...others] = volumes.filter((candidate) => candidate.name === name)
    if (volume === undefined || others.length > 0) throw new NotExact(`it does not have the volume ${name} once`)
    return volume
  }
  of(spoolVolumeName)
  const token = textOf(of(tokenVolumeName))
  const forms = [form, ...(mode === undefined ? [withoutRelay(form)] : [])]
  if (!forms.some((one) => textOf(one) === token)) throw new NotExact(`its volume ${tokenVolumeName} is not the webhook’s`)
}

/** As releases without a relay made it. */
function withoutRelay(volume: V1Volume | undefined): unknown {
  const sources = (volume?.projected?.sources ?? []).filter((source) => source.serviceAccountToken?.audience !== relayTokenAudience)
  return Object.assign({}, volume, { projected: Object.assign({}, volume?.projected, { sources }) })
}

function textOf(value: unknown): string {
  return value === undefined ? '' : canonicalJson(value as Json)
}
