/**
 * The kind AdmissionParameters: what steno's ValidatingAdmissionPolicies compare pods with. Internal: the chart writes the images, reconcile
 * the rest, and the only object is called `steno`. Without it the policies deny, so deleting it closes rather than opens.
 */
import { z } from 'zod'
import { apiVersion, dnsLabel, list, matchLabels, momentText, objectMeta, statusFields, text, withRules } from './schema-parts.ts'

/** The name of the one object. */
export const admissionParametersName = 'steno'

/** Releases whose pods may live on. */
export const knownImagesMax = 8
/** Authorities whose pods may live on; one is replaced once a year, unless it is asked for otherwise. */
export const controlCasMax = 64

export const admissionParametersSpec = z.object({
  images: list(
    text(512, 'An image, as it stands in pods.'),
    { itemsMin: 1, itemsMax: 8, set: true },
    'The images that a sidecar may run: this release’s, and during an upgrade the one before.',
  ),
  knownImages: list(
    text(512, 'An image, as it stands in pods.'),
    { itemsMax: knownImagesMax, set: true },
    'The images of this release and of those before, newest first, as reconcile has seen them: relay and control serve the pods that run one, also after a rollback, which puts `images` back to what it was.',
  ).default([]),
  stenoNamespace: dnsLabel('The namespace that steno runs in.'),
  exemptPods: list(
    z.object({
      namespace: dnsLabel('The namespace of the pods.'),
      matchLabels: matchLabels('Labels that the pods have; empty: all pods of the namespace.').default({}),
      until: z.exactOptional(momentText('Pods that are made from then on (RFC 3339 in UTC) are not exempt; absent: it has no end.')),
    }),
    { itemsMax: 1024 },
    'Pods that need no sidecar, from every ClusterSessionPolicy.',
  ).default([]),
  foreignInitContainers: list(
    z.object({ name: dnsLabel('The name of the init container.'), image: text(512, 'What its image begins with.') }),
    { itemsMax: 256 },
    'Init containers that may run before the sidecar, from every ClusterSessionPolicy.',
  ).default([]),
  controlPublicKeys: z.exactOptional(
    list(
      text(1024, 'A public key: SubjectPublicKeyInfo in PEM, as sidecars get it.'),
      { itemsMax: 4, set: true },
      'The keys of control that a sidecar may trust; absent or empty: not compared. Written once control has its key, and before another is used.',
    ),
  ),
  controlCas: list(
    text(4096, 'A certificate in PEM, with one line feed at its end.'),
    { itemsMax: controlCasMax, set: true },
    'The authorities of control and relay that a sidecar may trust, newest first, those before too, for a sidecar may have several of which one has ended; absent or empty: not compared. Written before a sidecar is given one.',
  ).default([]),
  admissionsSignedSince: z.exactOptional(
    text(
      64,
      'When the chart was first installed whose webhook seals each pod, with a few minutes for webhooks of the release before (RFC 3339). Pods that were created later must bear the seal; absent: none must.',
    ),
  ),
})

export const admissionParametersSchema = withRules(
  z.object({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('AdmissionParameters'),
    metadata: objectMeta,
    spec: admissionParametersSpec.meta({ description: 'What pods are compared with.' }),
    status: z.exactOptional(z.object(statusFields).meta({ description: 'What was found.' })),
  }),
  [
    {
      rule: "self.metadata.name == 'steno'",
      message: 'there is one object of this kind, and it is called steno: edit that one',
      holds: ({ metadata }) => metadata.name === admissionParametersName,
    },
  ],
)

export type AdmissionParameters = z.output<typeof admissionParametersSchema>
export type AdmissionParametersSpec = AdmissionParameters['spec']
