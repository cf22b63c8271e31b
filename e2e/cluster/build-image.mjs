#!/usr/bin/env node
// Makes an OCI image archive of one layer from a folder, without a daemon.
// Equal folders and options make equal bytes: entries are sorted, owners are
// root, times are 0, and modes are 0755 or 0644 (a sticky folder stays 1777).
//
//   build-image --name localhost/x:1 --root FOLDER --out FILE.tar
//     [--entrypoint JSON] [--cmd JSON] [--env NAME=VALUE]... [--user ID] [--workdir PATH]
import { createHash } from 'node:crypto'
import { closeSync, lstatSync, openSync, readFileSync, readdirSync, readlinkSync, renameSync, writeSync } from 'node:fs'
import { parseArgs } from 'node:util'

const { values: options } = parseArgs({
  options: {
    name: { type: 'string' },
    root: { type: 'string' },
    out: { type: 'string' },
    entrypoint: { type: 'string' },
    cmd: { type: 'string' },
    user: { type: 'string' },
    workdir: { type: 'string' },
    env: { type: 'string', multiple: true, default: [] },
  },
})
if (!options.name || !options.root || !options.out) {
  console.error('usage: build-image --name NAME --root FOLDER --out FILE.tar [options]')
  process.exit(2)
}

const BLOCK = 512
const padding = (size) => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)

function header(name, { mode, size = 0, type, link = '' }) {
  const block = Buffer.alloc(BLOCK)
  const octal = (value, offset, length) => block.write(value.toString(8).padStart(length - 1, '0') + '\0', offset, 'latin1')
  block.write(name.slice(0, 100), 0)
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size, 124, 12)
  octal(0, 136, 12)
  block.write('        ', 148, 'latin1')
  block.write(type, 156, 'latin1')
  block.write(link.slice(0, 100), 157)
  block.write('ustar\x0000', 257, 'latin1')
  let sum = 0
  for (const byte of block) sum += byte
  block.write(sum.toString(8).padStart(6, '0') + '\0 ', 148, 'latin1')
  return block
}

// A pax record carries what does not fit into the 100 bytes of a header field.
function pax(key, value) {
  const body = ` ${key}=${value}\n`
  let length = Buffer.byteLength(body) + 1
  while (String(length).length + Buffer.byteLength(body) !== length) length = String(length).length + Buffer.byteLength(body)
  return `${length}${body}`
}

function* entry(name, fields, content = Buffer.alloc(0)) {
  let extra = ''
  if (Buffer.byteLength(name) > 100) extra += pax('path', name)
  if (Buffer.byteLength(fields.link ?? '') > 100) extra += pax('linkpath', fields.link)
  if (extra) {
    const records = Buffer.from(extra)
    yield header('pax', { mode: 0o644, size: records.length, type: 'x' })
    yield records
    yield padding(records.length)
  }
  yield header(name, { ...fields, size: content.length })
  yield content
  yield padding(content.length)
}

function* tree(folder, prefix = '') {
  for (const file of readdirSync(folder).sort()) {
    const path = `${folder}/${file}`
    const name = prefix + file
    const stat = lstatSync(path)
    if (stat.isSymbolicLink()) {
      yield* entry(name, { mode: 0o777, type: '2', link: readlinkSync(path) })
    } else if (stat.isDirectory()) {
      yield* entry(`${name}/`, { mode: stat.mode & 0o1000 ? 0o1777 : 0o755, type: '5' })
      yield* tree(path, `${name}/`)
    } else if (stat.isFile()) {
      yield* entry(name, { mode: stat.mode & 0o100 ? 0o755 : 0o644, type: '0' }, readFileSync(path))
    } else {
      throw new Error(`${path}: only files, folders and links can be in an image`)
    }
  }
}

const end = Buffer.alloc(2 * BLOCK)
const layer = Buffer.concat([...tree(options.root), end])
const blobs = []
const blob = (mediaType, content) => {
  const hash = createHash('sha256').update(content).digest('hex')
  blobs.push([`blobs/sha256/${hash}`, content])
  return { mediaType, digest: `sha256:${hash}`, size: content.length }
}
const json = (value) => Buffer.from(JSON.stringify(value))

const layerDescriptor = blob('application/vnd.oci.image.layer.v1.tar', layer)
const config = blob(
  'application/vnd.oci.image.config.v1+json',
  json({
    created: '1970-01-01T00:00:00Z',
    architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch],
    os: 'linux',
    config: {
      Env: options.env.some((pair) => pair.startsWith('PATH=')) ? options.env : ['PATH=/usr/local/bin:/usr/bin:/bin', ...options.env],
      ...(options.entrypoint && { Entrypoint: JSON.parse(options.entrypoint) }),
      ...(options.cmd && { Cmd: JSON.parse(options.cmd) }),
      ...(options.user && { User: options.user }),
      ...(options.workdir && { WorkingDir: options.workdir }),
    },
    rootfs: { type: 'layers', diff_ids: [layerDescriptor.digest] },
  }),
)
const manifest = blob(
  'application/vnd.oci.image.manifest.v1+json',
  json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config,
    layers: [layerDescriptor],
  }),
)
const index = json({
  schemaVersion: 2,
  manifests: [
    {
      ...manifest,
      annotations: { 'io.containerd.image.name': options.name, 'org.opencontainers.image.ref.name': options.name.split(':').pop() },
    },
  ],
})

const file = openSync(`${options.out}.tmp`, 'w')
for (const [name, content] of [['oci-layout', json({ imageLayoutVersion: '1.0.0' })], ['index.json', index], ...blobs]) {
  for (const part of entry(name, { mode: 0o644, type: '0' }, content)) writeSync(file, part)
}
writeSync(file, end)
closeSync(file)
renameSync(`${options.out}.tmp`, options.out)
console.log(`${options.name} ${manifest.digest}`)
