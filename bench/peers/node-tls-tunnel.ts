/**
 * The least that a tunnel costs in Node: TLS 1.3 in, TCP out, `pipe` between them. What the relay's speed is measured against.
 *
 * `node node-tls-tunnel.ts PORT DATABASE-PORT CERTIFICATE KEY`, the last two files of PEM; both ports of 127.0.0.1. Asks nobody for anything.
 */
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'

const [port, databasePort, certificateFile, keyFile] = process.argv.slice(2)
if (port === undefined || databasePort === undefined || certificateFile === undefined || keyFile === undefined) {
  throw new Error('usage: node node-tls-tunnel.ts PORT DATABASE-PORT CERTIFICATE KEY')
}

const certificate = { cert: readFileSync(certificateFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
const server = tls.createServer({ ...certificate, minVersion: 'TLSv1.3', noDelay: true }, (client) => {
  const database = net.connect({ host: '127.0.0.1', port: Number(databasePort), noDelay: true })
  client.pipe(database).pipe(client)
  for (const socket of [client, database]) socket.on('error', () => [client, database].forEach((each) => each.destroy()))
})
server.listen(Number(port), '127.0.0.1')
