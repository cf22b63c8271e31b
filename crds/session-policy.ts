/**
 * The kind SessionPolicy: which pods of a namespace are recorded, which databases they may speak to, and how.
 *
 * One zod schema gives the CustomResourceDefinition, the TypeScript types and the reference page. Holds no decision: what several policies
 * mean together is in `merge.ts`. Loads zod, so the sidecar takes `sidecar-config.ts` instead.
 */
import { z } from 'zod'
import { databases } from './database-rule.ts'
import { defaultEnforcement, defaultRecording, defaultResources } from './defaults.ts'
import { networkAllow } from './network-allow.ts'
import { bytesOf, compareQuantities } from './quantity.ts'
import {
  apiVersion,
  byteQuantity,
  integer,
  labelSelector,
  list,
  objectKey,
  objectMeta,
  objectName,
  quantity,
  shortName,
  statusFields,
  withRules,
} from './schema-parts.ts'

/** How much is recorded, and when the agent may see it; from weak to strict. */
export const recordingLevel = z.enum(['statements', 'results', 'stored'])

export const enforcementMode = z.enum(['Relay', 'CredentialsOnly'])
export const onOpenPath = z.enum(['Block', 'Report'])

const recording = z.object({
  level: recordingLevel.default(defaultRecording.level).meta({
    description:
      '`results`: every statement and every row that came back, kept in the pod until the store has it. `stored`: the same, and the agent ' +
      'is given a result only when the store has it. `statements`: every statement with its parameters, outcome, errors, and the size of ' +
      'its result, but of the result’s rows, COPY data and function values only how many they were.',
  }),
  store: objectName('The RecordingStore that recordings go to.').default(defaultRecording.store),
  onFailure: z.enum(['block', 'continue']).default(defaultRecording.onFailure).meta({
    description:
      'What happens to statements when they cannot be recorded: `block` makes them wait and then fail; `continue` lets them pass, with a gap stated.',
  }),
  spoolBytesMax: byteQuantity(
    '64Mi',
    '64Gi',
    'How much recording may wait in the pod while the store is away, before `onFailure` applies.',
  ).default(defaultRecording.spoolBytesMax),
  spoolAgeSecondsMax: integer(
    60,
    604_800,
    'How old, in seconds, the oldest recording waiting in the pod may be before `onFailure` applies.',
  ).default(defaultRecording.spoolAgeSecondsMax),
})

const enforcement = z.object({
  mode: enforcementMode.default(defaultEnforcement.mode).meta({
    description:
      '`Relay`: the pods reach the databases through steno’s relay only, which opens to the sidecar alone; a NetworkPolicy closes every other way. ' +
      '`CredentialsOnly`: the agent has no credential, its network is left alone and the sidecar connects directly.',
  }),
  onOpenPath: onOpenPath.default(defaultEnforcement.onOpenPath).meta({
    description:
      'What happens while the pod can reach a database past the sidecar, as the sidecar measures all the time in mode `Relay`: `Block` closes the agent’s way at once, `Report` only says so.',
  }),
})

const network = z.object({
  allow: list(
    networkAllow,
    { itemsMax: 16 },
    'What the pods may reach besides steno and the cluster’s DNS, in mode `Relay`: egress rules that the NetworkPolicy of the pods is given.',
  ).default([]),
})

const secrets = z.object({
  allowKeys: list(
    z.object({
      secret: objectName('The name of a Secret.'),
      keys: list(
        objectKey('A key of the Secret.'),
        { itemsMin: 1, itemsMax: 64, set: true },
        'The keys that the agents’ containers may still have.',
      ),
    }),
    { itemsMax: 64, mapKeys: ['secret'] },
    'A Secret that holds a database credential is closed to the agents’ containers, except for the keys named here.',
  ).default([]),
})

const quantities = (what: string) =>
  z.object({
    cpu: z.exactOptional(quantity(`${what} of processor time, such as 100m.`)),
    memory: z.exactOptional(quantity(`${what} of memory, such as 128Mi.`)),
    'ephemeral-storage': z.exactOptional(quantity(`${what} of the node’s disk, such as 1Gi.`)),
  })

const leastMemory = defaultResources.requests.memory
const limits = withRules(quantities('The upper bound'), [
  {
    rule: `!has(self.memory) || (type(self.memory) == int ? int(self.memory) >= ${bytesOf(leastMemory)} : !isQuantity(string(self.memory)) || quantity(string(self.memory)).compareTo(quantity('${leastMemory}')) >= 0)`,
    message: `limits.memory below ${leastMemory} would have the sidecar killed: raise it, or leave it out for 256Mi`,
    holds: ({ memory }) => memory === undefined || (compareQuantities(memory, leastMemory) ?? 0) >= 0,
  },
])

const sidecar = z.object({
  resources: z
    .object({
      requests: z.exactOptional(quantities('The share').meta({ description: 'What is set aside: 10m and 96Mi for what is absent.' })),
      limits: z.exactOptional(
        limits.meta({ description: 'What it may not exceed: 256Mi of memory when absent, no limit of processor time.' }),
      ),
    })
    .prefault({})
    .meta({ description: 'Resources of the sidecar’s container.' }),
})

export const sessionPolicySpec = z.object({
  selector: labelSelector('The pods that the policy is for; absent: all of its namespace.').default({}),
  databases,
  recording: recording.prefault({}).meta({ description: 'What is recorded, where to, and what happens when it cannot be.' }),
  enforcement: enforcement.prefault({}).meta({ description: 'How the ways past the sidecar are closed.' }),
  network: network.prefault({}).meta({ description: 'What the pods may reach besides.' }),
  secrets: secrets.prefault({}).meta({ description: 'Exceptions from the closing of Secrets.' }),
  sidecar: sidecar.prefault({}).meta({ description: 'The sidecar’s container.' }),
})

const count = (description: string) => integer(0, 2_147_483_647, description)

export const sessionPolicyStatus = z.object({
  ...statusFields,
  pods: z.exactOptional(
    z
      .object({
        matched: count('Pods that the policy is for.'),
        injected: count('Those of them that have the sidecar with the policy as it is now.'),
        stale: count('Those that have the sidecar with an earlier policy; the next rollout renews them.'),
        bare: count(
          'Those without the sidecar, because they are older than the policy; they hold their credential until they are made again.',
        ),
      })
      .meta({ description: 'How many pods the policy is for, and what they have.' }),
  ),
})

export const sessionPolicySchema = withRules(
  z.object({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('SessionPolicy'),
    metadata: objectMeta,
    spec: sessionPolicySpec.meta({ description: 'What is asked.' }),
    status: z.exactOptional(sessionPolicyStatus.meta({ description: 'What was found.' })),
  }),
  [shortName],
)

export type SessionPolicy = z.output<typeof sessionPolicySchema>
export type SessionPolicySpec = SessionPolicy['spec']

export type { DatabaseRule, TlsMode, VariableRule } from './database-rule.ts'
export type { NetworkAllow } from './network-allow.ts'
