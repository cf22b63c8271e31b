/**
 * What may be wrong with the variables of the sidecar in a pod that is created, its config among them, and beside each what may differ all
 * the same. The texts that cases look for are those of the pod in policies-pods.ts: one that is not there changes nothing, and fails.
 */
import { of, withVariable, type Case, type Rule } from './policies-cases.ts'
import { type InjectedPod, sidecarOf } from './policies-pods.ts'

const withConfig = (what: string, change: (text: string) => string): Case =>
  of(what, (pod) => {
    const variable = sidecarOf(pod).env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')
    if (variable !== undefined) variable.value = change(variable.value ?? '')
  })
const relayPort = '.svc:8443'

/** As the webhook makes a pod whose policy leaves its network alone. */
function withCredentialsOnly(pod: InjectedPod): void {
  pod.metadata.labels['steno.dev/enforcement'] = 'CredentialsOnly'
  const variable = sidecarOf(pod).env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')
  if (variable !== undefined)
    variable.value =
      variable.value?.replace(/"relay":\{[^}]*\}/, '"relay":null').replace('"mode":"Relay"', '"mode":"CredentialsOnly"') ?? ''
}

export const environmentRules: readonly Rule[] = [
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentName',
    refused: [
      withVariable('NODE_OPTIONS', { name: 'NODE_OPTIONS', value: '--require=/var/lib/steno/evil.js' }),
      withVariable('NODE_EXTRA_CA_CERTS', { name: 'NODE_EXTRA_CA_CERTS', value: '/var/lib/steno/ca.pem' }),
      withVariable('NODE_TLS_REJECT_UNAUTHORIZED', { name: 'NODE_TLS_REJECT_UNAUTHORIZED', value: '0' }),
      withVariable('LD_PRELOAD', { name: 'LD_PRELOAD', value: '/var/lib/steno/evil.so' }),
      withVariable('an option of steno', { name: 'STENO_UPSTREAM', value: 'postgresql://evil.example/orders' }),
      withVariable('a source without a number', { name: 'STENO_SOURCE_DATABASE_URL', value: 'x' }),
      withVariable('a source by the end of its name', { name: 'MY_STENO_SOURCE_0_X', value: 'x' }),
    ],
    admitted: [
      of('the variables in another order', (pod) => void (sidecarOf(pod).env = sidecarOf(pod).env?.toReversed() ?? [])),
      withVariable('a further source', { name: 'STENO_SOURCE_12_PGPASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'p' } } }),
      withVariable('a further CA', { name: 'STENO_CA_3', value: 'PEM' }),
    ],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentSet',
    refused: [
      of('one that is missing', (pod) => {
        const sidecar = sidecarOf(pod)
        sidecar.env = (sidecar.env ?? []).filter(({ name }) => name !== 'STENO_POD_UID')
      }),
      of('one that is there twice', (pod) => void sidecarOf(pod).env?.push({ name: 'STENO_SIDECAR_CONFIG', value: '{}' })),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentLiteral',
    refused: [
      withVariable('a config from a ConfigMap', {
        name: 'STENO_SIDECAR_CONFIG',
        valueFrom: { configMapKeyRef: { name: 'mine', key: 'config' } },
      }),
      withVariable('an empty config', { name: 'STENO_SIDECAR_CONFIG', value: '' }),
      withConfig('a config that another variable completes', (text) => text.replace(/}$/, ',"of":"$(STENO_POD_NAME)"}')),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentControl',
    refused: [
      withConfig('another control', (text) => text.replace('https://steno-control.', 'https://evil.')),
      withConfig('a control whose name begins like it', (text) => text.replace('.svc:443', '.svc:443.evil.example')),
      withConfig('a second control behind the first', (text) =>
        text.replace(/}$/, ',"control" :{"url":"https://evil.example","store":"default"}}'),
      ),
      withConfig('a second URL behind the first', (text) => text.replace('"store":', '"url":"https://evil.example","store":')),
      withConfig('a key that is written with an escape', (text) =>
        text.replace('"store":', String.raw`"\u0075rl":"https://evil.example","store":`),
      ),
      withConfig('no JSON', () => 'none'),
    ],
    admitted: [
      withConfig('a database that is called like it', (text) => text.replace('"database":"orders"', '"database":"control"')),
      withConfig('a database whose name is escaped', (text) =>
        text.replace('"databaseNames":[', String.raw`"databaseNames":["a\"b\u0024(c)",`),
      ),
    ],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentRelay',
    refused: [
      withConfig('another relay', (text) => text.replace('"steno-relay.', '"evil.')),
      withConfig('a relay whose name begins like it', (text) => text.replace(relayPort, '.svc:8443.evil.example:8443')),
      withConfig('a relay at another port', (text) => text.replace(relayPort, '.svc:8444')),
      withConfig('no relay in mode Relay', (text) => text.replace(/"relay":\{[^}]*\}/, '"relay":null')),
      withConfig('a relay in mode CredentialsOnly', (text) => text.replace('"mode":"Relay"', '"mode":"CredentialsOnly"')),
      withConfig('no word of a relay', (text) => text.replace(/"relay":\{[^}]*\},/, '')),
      withConfig('a second relay behind the first', (text) => text.replace(/}$/, ',"relay" :{"endpoint":"evil.example:8443"}}')),
      withConfig('a second relay that is none', (text) => text.replace('"listeners":', '"relay":null,"listeners":')),
      withConfig('a second endpoint behind the first', (text) =>
        text.replace(relayPort + '"', relayPort + '","endpoint":"evil.example:8443"'),
      ),
      withConfig('a second mode behind the first', (text) => text.replace('"mode":"Relay"', '"mode":"Relay","mode":"CredentialsOnly"')),
      withConfig('a second enforcement behind the first', (text) =>
        text.replace('"listeners":', '"enforcement":{"mode":"CredentialsOnly","onOpenPath":"Report"},"listeners":'),
      ),
      withConfig('an answer to an open way that there is not', (text) => text.replace('"onOpenPath":"Block"', '"onOpenPath":"Ignore"')),
    ],
    admitted: [
      of('no relay in mode CredentialsOnly, with its label', withCredentialsOnly),
      withConfig('a report of an open way', (text) => text.replace('"onOpenPath":"Block"', '"onOpenPath":"Report"')),
      withConfig('a database that is called like it', (text) => text.replace('"database":"orders"', '"database":"relay"')),
    ],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnforcementLabel',
    refused: [
      of('no label', (pod) => void delete pod.metadata.labels['steno.dev/enforcement']),
      of('the label of the other mode', (pod) => void (pod.metadata.labels['steno.dev/enforcement'] = 'CredentialsOnly')),
      of('the label of the other mode without a relay', (pod) => {
        withCredentialsOnly(pod)
        pod.metadata.labels['steno.dev/enforcement'] = 'Relay'
      }),
      of('a label that is no mode', (pod) => void (pod.metadata.labels['steno.dev/enforcement'] = 'relay')),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentField',
    refused: [
      withVariable('a name that is written down', { name: 'STENO_POD_NAME', value: 'another' }),
      withVariable('a namespace from a label', {
        name: 'STENO_POD_NAMESPACE',
        valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: "metadata.labels['app']" } },
      }),
      withVariable('a UID from a Secret', { name: 'STENO_POD_UID', valueFrom: { secretKeyRef: { name: 'mine', key: 'uid' } } }),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentSource',
    refused: [
      withVariable('a CA from a field of the pod', {
        name: 'STENO_CA_0',
        valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: "metadata.annotations['ca']" } },
      }),
      withVariable('a CA from a resource', {
        name: 'STENO_CA_0',
        valueFrom: { resourceFieldRef: { containerName: 'app', resource: 'limits.cpu' } },
      }),
    ],
    admitted: [
      withVariable('a literal source', { name: 'STENO_SOURCE_0_DATABASE_URL', value: 'postgresql://orders.example.com/orders' }),
      withVariable('a source that names a field of the pod', {
        name: 'STENO_SOURCE_0_POD',
        valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.name' } },
      }),
    ],
  },
]
