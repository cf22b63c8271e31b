/**
 * The kind ClusterSessionPolicy: what the cluster's administrators hold every namespace to.
 *
 * A floor that namespaces may only tighten, the ceiling of hosts that policies may name, exempt pods, and foreign init containers.
 * Holds no decision: `merge.ts` has them.
 */
import { z } from 'zod'
import {
  addressRange,
  apiVersion,
  dnsLabel,
  hostPattern,
  labelSelector,
  list,
  matchLabels,
  momentText,
  objectMeta,
  shortName,
  statusFields,
  text,
  withRules,
} from './schema-parts.ts'
import { tlsMode } from './database-rule.ts'
import { enforcementMode, onOpenPath, recordingLevel } from './session-policy.ts'

const floor = z.object({
  tls: z.exactOptional(
    z
      .object({ mode: tlsMode.meta({ description: 'The weakest mode that counts; a policy that asks for less is raised to it.' }) })
      .meta({ description: 'TLS towards databases.' }),
  ),
  recording: z.exactOptional(
    z
      .object({
        level: z.exactOptional(
          recordingLevel.meta({
            description: 'The lowest level that counts, of `statements` < `results` < `stored`; a namespace’s policies may only raise it.',
          }),
        ),
        onFailure: z.exactOptional(
          z.enum(['block']).meta({ description: '`block`: nothing passes unrecorded, whatever a policy of a namespace says.' }),
        ),
      })
      .meta({ description: 'Recording.' }),
  ),
  enforcement: z.exactOptional(
    z
      .object({
        mode: z.exactOptional(
          enforcementMode.meta({ description: 'The weakest mode that counts; `Relay` is stricter than `CredentialsOnly`.' }),
        ),
        onOpenPath: z.exactOptional(onOpenPath.meta({ description: 'The weakest answer that counts; `Block` is stricter than `Report`.' })),
      })
      .meta({ description: 'Closing of other ways.' }),
  ),
})

/** The ceiling that admits everything, which is what an absent one means. */
export const openCeiling = { hosts: ['*'], addressRanges: ['0.0.0.0/0', '::/0'] }

const ceiling = z.object({
  hosts: list(
    hostPattern('A host: a name, `*.example.com` for every name below it, an address, or `*` for every name.', { any: true }),
    { itemsMax: 256, set: true },
    'The hosts that policies may name. Empty: no name may be.',
  ),
  addressRanges: list(
    addressRange('A range of addresses, such as 10.20.0.0/16.'),
    { itemsMax: 256, set: true },
    'The ranges that addresses named by policies must lie in. Empty: policies may name no address, except those in `hosts`.',
  ),
})

const exemptPods = withRules(
  z.object({
    namespaces: list(dnsLabel('The name of a namespace.'), { itemsMin: 1, itemsMax: 64, set: true }, 'The namespaces of the pods.'),
    matchLabels: matchLabels('Labels that the pods have; absent: all pods of these namespaces.').default({}),
    reason: text(256, 'Why they are exempt; auditors read it.'),
    until: z.exactOptional(
      momentText(
        'When it ends by itself (RFC 3339 in UTC): pods that are made from then on get the sidecar. Absent: it has no end of its own.',
      ),
    ),
  }),
  [
    {
      rule: 'self.reason.trim().size() > 0',
      message: 'an exemption needs a reason that an auditor can read: write one sentence into `reason`',
      holds: ({ reason }) => reason.trim() !== '',
    },
  ],
)

const foreignInitContainer = z.object({
  name: dnsLabel('The name of the init container.'),
  image: text(
    512,
    'What its image must begin with: a repository, and a tag or digest when only that one may run. A prefix matches up to its end or up to `:`, `@` or `/`.',
    /^[a-z0-9][-A-Za-z0-9._:/@]*$/,
  ),
})

export const clusterSessionPolicySpec = z.object({
  floor: floor.default({}).meta({ description: 'What every policy is raised to; namespaces may only be stricter.' }),
  ceiling: ceiling
    .default(openCeiling)
    .meta({ description: 'What policies may name at all; absent: everything. Both lists belong together.' }),
  exemptPods: list(exemptPods, { itemsMax: 64 }, 'Pods of opted-in namespaces that are left as they are.').default([]),
  foreignInitContainers: list(
    foreignInitContainer,
    { itemsMax: 32 },
    'Init containers of others that may run before the sidecar, such as a service mesh’s.',
  ).default([]),
  namespaceSelector: labelSelector('The namespaces that this is for; absent: all.').default({}),
})

export const clusterSessionPolicySchema = withRules(
  z.object({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('ClusterSessionPolicy'),
    metadata: objectMeta,
    spec: clusterSessionPolicySpec.prefault({}).meta({ description: 'What is asked.' }),
    status: z.exactOptional(z.object(statusFields).meta({ description: 'What was found.' })),
  }),
  [shortName],
)

export type ClusterSessionPolicy = z.output<typeof clusterSessionPolicySchema>
export type ClusterSessionPolicySpec = ClusterSessionPolicy['spec']
