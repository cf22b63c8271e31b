/** What a pod that is created may not have its node do for it, and beside each what is admitted. */
import type { V1Container, V1Volume } from '@kubernetes/client-node'
import { of, type Case, type Rule } from './policies-cases.ts'
import { appOf } from './policies-pods.ts'
import { exemptLabels, foreignInit, sidecarImage } from './policies-world.ts'

const withVolume = (what: string, source: Omit<V1Volume, 'name'>): Case =>
  of(what, (pod) => void pod.spec.volumes.push({ name: 'mine', ...source }))
const withApp = (what: string, fields: Partial<V1Container>): Case => of(what, (pod) => Object.assign(appOf(pod), fields))
const iscsi = { targetPortal: '10.0.0.9', iqn: 'iqn.2001-04.com.example:a', lun: 0 }
const http = (host?: string) => ({ httpGet: { port: 8080, path: '/', ...(host !== undefined && { host }) } })
const tcp = (host?: string) => ({ tcpSocket: { port: 5432, ...(host !== undefined && { host }) } })

export const nodeRules: readonly Rule[] = [
  {
    policy: 'pod-node',
    rule: 'NodeVolume',
    refused: [
      withVolume('a folder of an NFS server', { nfs: { server: '10.0.0.9', path: '/' } }),
      withVolume('a disk of an iSCSI server', { iscsi }),
      withVolume('a FlexVolume', { flexVolume: { driver: 'example.com/any' } }),
      withVolume('a git repository', { gitRepo: { repository: 'https://git.example/a.git' } }),
      of('a folder of an NFS server in an exempt pod', (pod) => {
        pod.metadata.labels = { ...exemptLabels }
        pod.spec.initContainers = []
        pod.spec.volumes = [{ name: 'mine', nfs: { server: '10.0.0.9', path: '/' } }]
      }),
    ],
    admitted: [
      withVolume('a claim', { persistentVolumeClaim: { claimName: 'nfs' } }),
      withVolume('a ConfigMap', { configMap: { name: 'nfs' } }),
      withVolume('an emptyDir', { emptyDir: {} }),
    ],
  },
  {
    policy: 'pod-node',
    rule: 'NodeProbe',
    refused: [
      withApp('a liveness probe by TCP to another host', { livenessProbe: tcp('10.0.0.9') }),
      withApp('a readiness probe by HTTP to another host', { readinessProbe: http('db.example.com') }),
      withApp('a start-up probe to localhost, which is the node', { startupProbe: http('127.0.0.1') }),
      withApp('a hook at the start to another host', { lifecycle: { postStart: http('10.0.0.9') } }),
      withApp('a hook at the end to another host', { lifecycle: { postStart: http(), preStop: http('10.0.0.9') } }),
      of('a probe of a second container', (pod) => {
        pod.spec.containers.push({ name: 'second', image: sidecarImage, readinessProbe: tcp('10.0.0.9') })
      }),
      of('a probe of another init container that goes on', (pod) => {
        pod.spec.initContainers.push({ name: 'helper', image: sidecarImage, restartPolicy: 'Always', startupProbe: tcp('10.0.0.9') })
      }),
      of('a hook of a foreign init container that goes on', (pod) => {
        pod.spec.initContainers.unshift({ ...foreignInit, restartPolicy: 'Always', lifecycle: { preStop: http('10.0.0.9') } })
      }),
    ],
    admitted: [
      withApp('probes and hooks of the pod itself', {
        livenessProbe: tcp(),
        readinessProbe: http(),
        startupProbe: { exec: { command: ['true'] } },
        lifecycle: { postStart: http(), preStop: { exec: { command: ['true'] } } },
      }),
      withApp('a probe with a header for a host', {
        readinessProbe: { httpGet: { port: 8080, path: '/', httpHeaders: [{ name: 'Host', value: 'shop.example.com' }] } },
      }),
    ],
  },
  {
    policy: 'pod-node',
    rule: 'HostPort',
    refused: [
      withApp('a port of the node', { ports: [{ containerPort: 8080, hostPort: 5432 }] }),
      withApp('a port of the node behind another', {
        ports: [{ containerPort: 8081 }, { containerPort: 8080, hostPort: 80, hostIP: '127.0.0.1' }],
      }),
      of('a port of an init container', (pod) => {
        pod.spec.initContainers.push({ name: 'first', image: sidecarImage, ports: [{ containerPort: 8080, hostPort: 80 }] })
      }),
    ],
    admitted: [withApp('ports of its own', { ports: [{ containerPort: 8080 }, { containerPort: 8081, name: 'metrics' }] })],
  },
]
