/**
 * The ways out of a pod that the attackers try, as shell commands that print THROUGH where there is a way.
 *
 * Whoever tries knows the database's credential, so that nothing but the network is in the way.
 */
import { sidecarHealthPort } from '../../../crds/sidecar-config.ts'
import { type Attacker, type Attempt, bridgePort, nodePort, type Places } from './world.ts'

const everybody: readonly Attacker[] = ['agent', 'root', 'first-agent', 'first-root']
const running: readonly Attacker[] = ['agent', 'root']
const asRoot: readonly Attacker[] = ['root', 'first-root']

export function waysOut({ database, node, neighbour, friend, stranger, components, services, dnsPod }: Places, url: string): Attempt[] {
  const psql = (host: string, port = 5432): string => {
    const target = new URL(url)
    target.host = `${host.includes(':') ? `[${host}]` : host}:${port}`
    return `PGCONNECT_TIMEOUT=15 psql '${target.href}?sslmode=require' -Atc "select 'THROUGH'"`
  }
  const tcp = (host: string, port: number): string => `node /programs/reach.ts tcp ${host} ${port}`
  const udp = (host: string, port: number): string => `node /programs/reach.ts udp ${host} ${port}`
  const raw = (...words: (string | number)[]): string => `python3 /programs/raw.py ${words.join(' ')}`
  return [
    { name: 'the database by the address of its pod', command: psql(database.ip), by: everybody },
    { name: 'the database by the name of its Service', command: psql(database.service), by: everybody },
    { name: 'the database by the address of its Service', command: psql(database.serviceIp), by: everybody },
    { name: 'the database by a headless name', command: psql(database.headless), by: everybody },
    { name: 'the database by an IPv6-mapped address', command: psql(`::ffff:${database.ip}`), by: everybody },
    { name: 'the database by a nodePort', command: psql(node.ip, nodePort), by: everybody },
    { name: 'the database’s port, not a word said', command: tcp(database.ip, 5432), by: everybody },
    { name: 'the database by busybox', command: `nc -w 3 ${database.ip} 5432 </dev/null && echo THROUGH`, by: running },
    { name: 'a bridge on the node’s own network', command: tcp(node.ip, bridgePort), by: everybody },
    { name: 'the database over a bridge on the node’s own network', command: psql(node.ip, bridgePort), by: running },
    { name: 'a neighbour of the same namespace', command: tcp(neighbour, bridgePort), by: everybody },
    { name: 'the database over a neighbour of another opted-in namespace', command: psql(friend, bridgePort), by: everybody },
    { name: 'the database over a pod that steno does not know', command: psql(stranger, bridgePort), by: everybody },
    { name: 'a server by UDP', command: udp(stranger, bridgePort), by: everybody },
    { name: 'a server on the node by UDP', command: udp(node.ip, bridgePort), by: running },
    { name: 'another server than cluster DNS, at port 53 by TCP', command: tcp(stranger, 53), by: everybody },
    { name: 'another server than cluster DNS, at port 53 by UDP', command: udp(stranger, 53), by: everybody },
    { name: 'another port of cluster DNS', command: tcp(dnsPod, 8080), by: running },
    { name: 'the health port of another pod’s sidecar', command: tcp(friend, sidecarHealthPort), by: running },
    { name: 'control’s metrics port', command: tcp(components.control, 8080), by: running },
    { name: 'control’s metrics port, by its Service', command: tcp(services.control, 8080), by: running },
    { name: 'the relay’s metrics port', command: tcp(components.relay, 8080), by: running },
    { name: 'the webhook', command: tcp(components.webhook, 8443), by: running },
    { name: 'the webhook by its Service', command: tcp(services.webhook, 443), by: running },
    { name: 'the webhook’s metrics port', command: tcp(components.webhook, 8080), by: running },
    { name: 'the API server by the address of its Service', command: tcp(services.kubernetes, 443), by: everybody },
    { name: 'the API server by name', command: tcp('kubernetes.default.svc', 443), by: running },
    { name: 'the API server on the node', command: tcp(node.ip, 6443), by: running },
    { name: 'the kubelet', command: tcp(node.ip, 10250), by: everybody },
    { name: 'the database by a TCP frame made by hand', command: raw('tcp-packet', database.ip, 5432), by: asRoot },
    { name: 'the database by a raw TCP socket', command: raw('tcp-raw', database.ip, 5432), by: asRoot },
    { name: 'the database’s pod by ICMP', command: raw('icmp', database.ip), by: asRoot },
    { name: 'a pod that steno does not know by ICMP', command: raw('icmp', stranger), by: asRoot },
    { name: 'the node by ICMP', command: raw('icmp', node.ip), by: asRoot },
  ]
}
