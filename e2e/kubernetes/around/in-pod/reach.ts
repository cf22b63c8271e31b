/**
 * Tries one way to a server and prints THROUGH when there is any sign of it: `node reach.ts tcp|udp HOST PORT [TEXT]`.
 *
 * By TCP an open connection is such a sign, by UDP any answer. Otherwise it prints why not. With TEXT it sends that, and prints what comes.
 */
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'

const [kind = '', host = '', port = '', text] = process.argv.slice(2)
const waitMilliseconds = 3_000
const end = (said: string): void => {
  process.stdout.write(`${said}\n`, () => process.exit(said.startsWith('THROUGH') ? 0 : 1))
}
setTimeout(() => end('no answer'), waitMilliseconds)

if (kind === 'tcp') {
  const socket = connect({ host, port: Number(port) }, () => {
    if (text === undefined) return end('THROUGH')
    socket.write(text.replaceAll('\\r\\n', '\r\n'))
  })
  socket.on('data', (chunk) => end(chunk.toString('latin1')))
  socket.on('error', (error) => end(error.message))
  socket.on('close', () => end('closed without an answer'))
} else {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', () => end('THROUGH'))
  socket.on('error', (error) => end(error.message))
  socket.connect(Number(port), host, () => socket.send(text ?? 'hello'))
}
