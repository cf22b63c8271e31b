/**
 * `node reach-client.ts HOST PORT [udp-dns]`: tries to reach one address from the network it is started in, and says `open` or `closed`.
 *
 * Closed is what does not answer within the time; a refusal (RST) says that packets pass, so it is `open`. With `udp-dns` a name is asked for.
 */
import { Resolver } from 'node:dns/promises'
import net from 'node:net'

const [host = '', port = '', how = 'tcp'] = process.argv.slice(2)
const waitMilliseconds = 1_500

function reaches(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: Number(port) })
    const end = (isOpen: boolean): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(isOpen)
    }
    const timer = setTimeout(() => end(false), waitMilliseconds)
    socket.on('connect', () => end(true))
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET'))
  })
}

async function answers(): Promise<boolean> {
  const resolver = new Resolver({ timeout: waitMilliseconds, tries: 1 })
  resolver.setServers([`${host}:${port}`])
  try {
    return (await resolver.resolve4('kubernetes.default.svc.cluster.local')).length > 0
  } catch {
    return false // No answer in time is what is asked about.
  }
}

process.stdout.write((await (how === 'udp-dns' ? answers() : reaches())) ? 'open' : 'closed')
