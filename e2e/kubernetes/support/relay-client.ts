/**
 * Asks the relay for a tunnel from inside a pod's network, as a sidecar does, and prints one JSON line for the answer and one for each thing
 * that follows. Run by `nsenter`; standard input is `RelayAsk`.
 */
import { readFileSync } from 'node:fs'
import tls from 'node:tls'

export type RelayAsk = {
  /** The address of the Service, for a pod's DNS is not this process's. */
  readonly address: string
  readonly port: number
  readonly ca: string
  readonly servername: string
  readonly tokenFile: string
  readonly target: string
  readonly database: string
}

/** `first` is the database's first byte: what it answers to SSLRequest. */
export type RelayLine =
  | { readonly status: number; readonly head: string; readonly body: string }
  | { readonly first: string }
  | { readonly closed: true }

const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])
const ask = JSON.parse(readFileSync(0, 'utf8')) as RelayAsk
const say = (line: RelayLine): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const socket = tls.connect({ host: ask.address, port: ask.port, ca: ask.ca, servername: ask.servername, minVersion: 'TLSv1.3' })
const token = readFileSync(ask.tokenFile, 'utf8').trim()
const headers = [`Host: ${ask.target}`, `Proxy-Authorization: Bearer ${token}`, `Steno-Database: ${ask.database}`]
socket.on('secureConnect', () => socket.write(`CONNECT ${ask.target} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`))
let bytes = Buffer.alloc(0)
let isOpen = false
socket.on('data', (chunk: Buffer) => {
  if (isOpen) return say({ first: chunk.subarray(0, 1).toString('latin1') })
  bytes = Buffer.concat([bytes, chunk])
  const at = bytes.indexOf('\r\n\r\n')
  if (at < 0) return
  const head = bytes.subarray(0, at).toString('latin1')
  const status = Number(head.split(' ')[1])
  if (status !== 200 && bytes.length < at + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)) return
  isOpen = status === 200
  say({ status, head, body: bytes.subarray(at + 4).toString() })
  if (isOpen) socket.write(sslRequest)
})
socket.on('error', (error) => process.stderr.write(`${error.message}\n`))
socket.on('close', () => say({ closed: true }))
