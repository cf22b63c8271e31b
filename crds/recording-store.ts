/**
 * The kind RecordingStore: where recordings are kept. Read by control alone; sidecars know only its name.
 *
 * Holds the place, never a credential: those stand in a Secret of steno's namespace, or come from the workload's identity.
 */
import { z } from 'zod'
import { apiVersion, objectMeta, objectName, shortName, statusFields, text, withRules } from './schema-parts.ts'

const volume = z.object({
  type: z.literal('volume'),
  volume: z
    .object({
      path: text(
        256,
        'The folder, within control’s container, where the PersistentVolumeClaim is mounted.',
        /^\/[A-Za-z0-9._/-]*$/,
      ).default('/var/lib/steno/store'),
    })
    .prefault({})
    .meta({ description: 'A PersistentVolumeClaim behind control.' }),
})

const s3Credentials = withRules(
  z.object({
    secretName: z.exactOptional(
      objectName('A Secret in steno’s namespace with the keys accessKeyId and secretAccessKey, and sessionToken when there is one.'),
    ),
    workloadIdentity: z.exactOptional(
      z.boolean().meta({ description: 'true: control’s ServiceAccount has an identity of the cloud, by annotation or pod identity.' }),
    ),
  }),
  [
    {
      rule: 'has(self.secretName) != (has(self.workloadIdentity) && self.workloadIdentity)',
      message: 'give either credentials.secretName or credentials.workloadIdentity: true, and not both',
      holds: ({ secretName, workloadIdentity }) => (secretName !== undefined) !== (workloadIdentity === true),
    },
  ],
)

const s3 = z.object({
  type: z.literal('s3'),
  s3: withRules(
    z.object({
      bucket: text(63, 'The bucket; it must be there already.', /^[a-z0-9][a-z0-9.-]+[a-z0-9]$/),
      prefix: z.exactOptional(
        text(
          512,
          'What the keys of all objects begin with, without a slash at either end.',
          /^[A-Za-z0-9!_.*'()-]+(\/[A-Za-z0-9!_.*'()-]+)*$/,
        ),
      ),
      endpoint: z.exactOptional(
        withRules(text(512, 'The URL of the service when it is not Amazon’s.'), [
          {
            rule: "self.matches('^https?://[^/?#@]+/?$') && isURL(self)",
            message: 'endpoint is a URL of the form https://host:port: leave out path, query and credentials',
            holds: (endpoint) => /^https?:\/\/[^/?#@]+\/?$/.test(endpoint) && URL.canParse(endpoint),
          },
        ]),
      ),
      region: z.exactOptional(text(63, 'The region; with an endpoint it may be left out.', /^[a-z0-9-]+$/)),
      pathStyle: z.exactOptional(
        z
          .boolean()
          .meta({ description: 'true: the bucket stands in the path (most services of others); false or absent: in the host name.' }),
      ),
      credentials: s3Credentials.meta({ description: 'Who control is to the service.' }),
    }),
    [
      {
        rule: 'has(self.region) || has(self.endpoint)',
        message: 'region is missing: write the bucket’s region, or the endpoint of the service that has it',
        holds: ({ region, endpoint }) => region !== undefined || endpoint !== undefined,
      },
    ],
  ).meta({ description: 'A bucket of Amazon S3, or of a service that speaks its protocol.' }),
})

export const recordingStoreSpec = z.discriminatedUnion('type', [volume, s3]).meta({
  fieldDescriptions: { type: '`volume`: a folder behind control. `s3`: an object store.' },
})

export const recordingStoreSchema = withRules(
  z.object({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('RecordingStore'),
    metadata: objectMeta,
    spec: recordingStoreSpec.meta({ description: 'What is asked.' }),
    status: z.exactOptional(z.object(statusFields).meta({ description: 'What was found.' })),
  }),
  [shortName],
)

export type RecordingStore = z.output<typeof recordingStoreSchema>
