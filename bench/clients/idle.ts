/**
 * Opens many connections, logs each in, prints `ready` and then does nothing with them until it is told to end (SIGTERM).
 *
 * The password comes from PGPASSWORD. A connection that is lost ends the program with a failure: fewer idle connections would look cheaper.
 * usage: node idle.ts PORT USER DATABASE CONNECTIONS
 */
import { openConnection } from './connection.ts'

/** More at once would only queue at the server, which starts a process for each. */
const openingAtOnce = 20

const [port, user, database, count] = process.argv.slice(2)
if (!port || !user || !database || !(Number(count) > 0)) throw new Error('usage: node idle.ts PORT USER DATABASE CONNECTIONS')
const target = { port: Number(port), user, password: process.env['PGPASSWORD'] ?? '', database, tls: false }

let remaining = Number(count)
const openSome = async (): Promise<void> => {
  while (remaining-- > 0) {
    const { socket } = await openConnection(target)
    socket.once('close', () => {
      process.stderr.write('an idle connection was closed\n')
      process.exit(1)
    })
  }
}
await Promise.all(Array.from({ length: openingAtOnce }, openSome))
process.stdout.write('ready\n')
