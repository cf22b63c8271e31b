/**
 * An OCI image archive from layers, without a daemon: what `ctr images import`, `podman load`, `docker load` and `skopeo` read.
 *
 * The bytes depend on nothing but what is given. Holds the image in memory. Knows one image of one platform per archive.
 *
 * Source: OCI image-spec 1.1, "Image Layout", "Image Manifest", "Image Configuration".
 */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { writeTar, type ArchiveEntry } from './tar.ts'

const mediaTypes = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: { gzip: 'application/vnd.oci.image.layer.v1.tar+gzip', none: 'application/vnd.oci.image.layer.v1.tar' },
} as const

export type Layer = {
  readonly mediaType: string
  readonly blob: Buffer
  readonly diffId: string
  readonly unpackedBytes: number
  readonly comment: string
}

export type ImageFacts = {
  readonly architecture: string
  readonly user: string
  readonly environment: readonly string[]
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly workingFolder: string
  readonly labels: Readonly<Record<string, string>>
  /** RFC 3339. */
  readonly created: string
}

export type Image = { readonly archive: Buffer; /** Of the manifest: what pins the image. */ readonly digest: string }

/** A layer as it is unpacked. */
export function makeLayer(entries: readonly ArchiveEntry[], comment: string): Layer {
  const tar = writeTar(entries)
  return { mediaType: mediaTypes.layer.none, blob: tar, diffId: digestOf(tar), unpackedBytes: tar.length, comment }
}

/** The same layer as it is sent. zlib writes neither name nor time, so equal layers stay equal under one version of it. */
export function compressLayer(layer: Layer, compress: (tar: Buffer) => Buffer = (tar) => gzipSync(tar)): Layer {
  return { ...layer, mediaType: mediaTypes.layer.gzip, blob: compress(layer.blob) }
}

/**
 * @param names what the importing program shall call the image: `registry/path:tag`
 * @param isNamedByDigest also as `registry/path@sha256:…`, which a node without a registry needs where a pod names the image by digest
 */
export function makeImage(
  facts: ImageFacts,
  layers: readonly Layer[],
  { names, isNamedByDigest }: { readonly names: readonly string[]; readonly isNamedByDigest: boolean },
): Image {
  const blobs = new Map<string, Buffer>()
  const store = (mediaType: string, blob: Buffer): Descriptor => {
    const digest = digestOf(blob)
    blobs.set(digest, blob)
    return { mediaType, digest, size: blob.length }
  }
  const descriptors = layers.map(({ mediaType, blob }) => store(mediaType, blob))
  const config = store(mediaTypes.config, json(configOf(facts, layers)))
  const manifest = store(mediaTypes.manifest, json({ schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: descriptors }))
  const allNames = isNamedByDigest ? [...names, ...new Set(names.map((name) => `${withoutTag(name)}@${manifest.digest}`))] : names
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: allNames.map((name) => ({
      ...manifest,
      platform: { architecture: facts.architecture, os: 'linux' },
      annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.slice(withoutTag(name).length + 1) },
    })),
  }
  const archive = writeTar([
    { kind: 'file', mode: 0o644, path: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }) },
    { kind: 'file', mode: 0o644, path: 'index.json', content: json(index) },
    ...[...blobs].map(([digest, content]): ArchiveEntry => ({
      kind: 'file',
      mode: 0o644,
      path: `blobs/${digest.replace(':', '/')}`,
      content,
    })),
  ])
  return { archive, digest: manifest.digest }
}

type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number }

function configOf(facts: ImageFacts, layers: readonly Layer[]): unknown {
  return {
    created: facts.created,
    architecture: facts.architecture,
    os: 'linux',
    config: {
      User: facts.user,
      Env: facts.environment,
      Entrypoint: facts.entrypoint,
      Cmd: facts.command,
      WorkingDir: facts.workingFolder,
      Labels: facts.labels,
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(({ comment }) => ({ created: facts.created, created_by: comment })),
  }
}

/** A colon before the last slash belongs to the registry's port. */
export function withoutTag(name: string): string {
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1)
  return colon < 0 ? name : name.slice(0, colon)
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
