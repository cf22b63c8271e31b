/**
 * A relay in a process of its own, without a cluster: the real server and its tunnels, with verdicts that are always yes.
 *
 * `node relay.ts PORT DATABASE-PORT CERTIFICATE KEY`, the last two files of PEM. A tunnel leads to `localhost` at the database's port and nowhere else.
 * A token is the UID of the pod that shows it.
 * Token reviews, verdicts and names cost nothing here; in a cluster they cost something when a tunnel opens, and nothing after that. Ends on SIGTERM.
 */
import { readFileSync } from 'node:fs'
import { Registry } from 'prom-client'
import { createLog } from '../../base/log.ts'
import type { MergedDatabase } from '../../crds/merge.ts'
import { addressFormsOf } from '../../relay/address-forms.ts'
import { startRelayServer } from '../../relay/relay-server.ts'

const [port, databasePort, certificateFile, keyFile] = process.argv.slice(2)
if (port === undefined || databasePort === undefined || certificateFile === undefined || keyFile === undefined) {
  throw new Error('usage: node relay.ts PORT DATABASE-PORT CERTIFICATE KEY')
}

const loopback = '127.0.0.1'
const certificate = { cert: readFileSync(certificateFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
const database: MergedDatabase = {
  ...{ name: 'bench', engine: 'postgresql', hosts: ['localhost'], port: Number(databasePort), databaseNames: ['postgres'] },
  ...{ tls: { mode: 'verify-full' }, variables: [], localPort: 15_432, policy: 'bench/bench' },
}
const pod = { podName: 'bench', podNamespace: 'bench', serviceAccount: 'bench', nodeName: null }

await startRelayServer({
  listen: { host: loopback, port: Number(port) },
  certificates: { current: () => certificate, onChange: () => () => undefined },
  reviewToken: (token) => Promise.resolve({ kind: 'pod', pod: { ...pod, podUid: token } }),
  judgePod: () => Promise.resolve({ kind: 'fit', podIPs: [loopback], databases: [database], ceilings: [] }),
  resolveName: () => Promise.resolve([addressFormsOf(loopback)!]),
  whatForbids: () => null, // The database is on this machine, where no tunnel leads otherwise.
  checkSourceAddress: false, // All clients here share one address.
  drainMilliseconds: 0,
  registry: new Registry(),
  log: createLog({ level: 'info' }),
})
