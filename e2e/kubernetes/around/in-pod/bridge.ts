/**
 * A bridge in a pod: `node bridge.ts TARGET_HOST TARGET_PORT PORT...` forwards each TCP port to the target, echoes UDP on the same ports, and
 * prints one line for each peer and what a datagram said.
 */
import { createSocket } from 'node:dgram'
import { connect, createServer } from 'node:net'
import { pipeline } from 'node:stream/promises'

const [host = '', port = '', ...ports] = process.argv.slice(2)
const say = (line: string): void => void process.stdout.write(`${line}\n`)
for (const own of ports.map(Number)) {
  createServer({ allowHalfOpen: true }, (socket) => {
    say(`tcp ${own} from ${socket.remoteAddress}`)
    const far = connect({ host, port: Number(port) })
    Promise.all([pipeline(socket, far), pipeline(far, socket)]).catch((error: unknown) => {
      say(`tcp ${own} ended: ${String(error)}`)
      socket.destroy()
      far.destroy()
    })
  }).listen(own, '::')
  const udp = createSocket('udp4')
  udp.on('message', (message, peer) => {
    say(`udp ${own} from ${peer.address}: ${message.toString('latin1').slice(0, 100)}`)
    udp.send(message, peer.port, peer.address)
  })
  // A node has several addresses, and answers from the one that was asked only when it is bound to it.
  udp.bind(own, process.env['UDP_ADDRESS'])
}
say('listening')
