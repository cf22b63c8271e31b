/**
 * What a SessionPolicy says of one database: where it is, how it is protected, and by which variables agents know it.
 *
 * Schema only: what several policies make of it is in `merge-databases.ts`, what becomes of the variables is the webhook's.
 */
import { z } from 'zod'
import {
  dnsLabel,
  hostPattern,
  integer,
  list,
  objectKey,
  objectName,
  portNumber,
  stringMap,
  text,
  variableName,
  withRules,
} from './schema-parts.ts'
import { firstLocalPort } from './defaults.ts'
import { sidecarHealthPort } from './sidecar-config.ts'

export const tlsMode = z.enum(['disable', 'require', 'verify-ca', 'verify-full'])

const keyReference = (what: string) =>
  z.object({
    name: objectName(`The name of the ${what}, in the pod's namespace.`),
    key: objectKey(`The key of the ${what} that holds the certificates in PEM.`),
  })

const certificateAuthority = withRules(
  z.object({
    configMapKeyRef: z.exactOptional(keyReference('ConfigMap').meta({ description: 'Certificates in a ConfigMap; at most 96 KiB.' })),
    secretKeyRef: z.exactOptional(keyReference('Secret').meta({ description: 'Certificates in a Secret; at most 96 KiB.' })),
    inline: z.exactOptional(
      withRules(text(65_536, 'The certificates themselves, in PEM.'), [
        {
          rule: "self.contains('-----BEGIN CERTIFICATE-----') && !self.contains('PRIVATE KEY')",
          message:
            'must be certificates in PEM (-----BEGIN CERTIFICATE-----) and no private key: paste only what the database operator publishes',
          holds: (pem) => pem.includes('-----BEGIN CERTIFICATE-----') && !pem.includes('PRIVATE KEY'),
        },
      ]),
    ),
  }),
  [
    {
      rule: '[has(self.configMapKeyRef), has(self.secretKeyRef), has(self.inline)].filter(given, given).size() == 1',
      message:
        'give exactly one of configMapKeyRef, secretKeyRef and inline: remove the others, or leave `ca` out to trust the public authorities',
      holds: ({ configMapKeyRef, secretKeyRef, inline }) =>
        [configMapKeyRef, secretKeyRef, inline].filter((given) => given !== undefined).length === 1,
    },
  ],
)

const tls = withRules(
  z.object({
    mode: tlsMode.default('verify-full').meta({
      description:
        'The weakest TLS that is accepted towards the database, as in libpq: a URL may ask for more, never for less. `verify-full` checks ' +
        'certificate and name.',
    }),
    ca: z.exactOptional(
      certificateAuthority.meta({ description: 'The authorities that the database certificate must come from; absent: the public ones.' }),
    ),
  }),
  [
    {
      rule: "!has(self.ca) || self.mode in ['verify-ca', 'verify-full']",
      message: 'tls.ca is used by verify-ca and verify-full only: raise tls.mode to one of them, or remove tls.ca',
      holds: ({ mode, ca }) => ca === undefined || mode === 'verify-ca' || mode === 'verify-full',
    },
  ],
)

const stenoParameters = [
  'host',
  'hostaddr',
  'port',
  'user',
  'password',
  'dbname',
  'passfile',
  'service',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
]

const clientParameters = withRules(
  stringMap(
    32,
    256,
    'Parameters for the agent’s client to stand in its URL when the value cannot be seen at admission, such as `connect_timeout`.',
  ),
  [
    {
      rule: `self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_.]{0,62}$') && !(name in [${stenoParameters.map((name) => `'${name}'`).join(', ')}]))`,
      message: `parameters are for the agent's client: remove those that steno sets (${stenoParameters.join(', ')}) and names that are none`,
      holds: (parameters) =>
        Object.keys(parameters).every((name) => /^[A-Za-z_][A-Za-z0-9_.]{0,62}$/.test(name) && !stenoParameters.includes(name)),
    },
  ],
)

const urlVariable = z.object({
  form: z.literal('url'),
  name: variableName('The variable that holds a connection URL, such as DATABASE_URL.'),
  scheme: z.exactOptional(
    text(
      63,
      'The scheme of the URL that the agent is given when the value cannot be seen at admission (it is in a Secret): `postgresql` when ' +
        'absent, `postgres`, `postgresql+asyncpg`, `jdbc:postgresql`.',
      /^(jdbc:)?[a-z][a-z0-9+.-]*$/,
    ),
  ),
  parameters: z.exactOptional(clientParameters),
})

const libpqVariables = z.object({
  form: z.literal('libpq'),
  prefix: variableName(
    'What the variables begin with: `PG` for PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE; or a prefix of the agent, such as `DB_`.',
  ),
  names: z.exactOptional(
    z
      .object({
        host: z.exactOptional(variableName('The variable with the host.')),
        port: z.exactOptional(variableName('The variable with the port.')),
        user: z.exactOptional(variableName('The variable with the user.')),
        password: z.exactOptional(variableName('The variable with the password.')),
        database: z.exactOptional(variableName('The variable with the database.')),
        sslmode: z.exactOptional(variableName('The variable with the TLS mode.')),
      })
      .meta({ description: 'Whole names of the variables that do not follow prefix and HOST, PORT, USER, PASSWORD, DATABASE, SSLMODE.' }),
  ),
})

const variableRule = z.discriminatedUnion('form', [urlVariable, libpqVariables]).meta({
  fieldDescriptions: { form: '`url`: one variable with a connection URL. `libpq`: one variable for each part of the connection.' },
})

const databaseRule = z.object({
  name: dnsLabel('What recordings and messages call this database.'),
  engine: z.enum(['postgresql']).default('postgresql').meta({ description: 'The protocol that is spoken.' }),
  hosts: list(
    hostPattern(
      'A host: a name, `*.example.com` for every name below it, or an address. With a dot at its end a name is whole: the relay never looks for it in the pod’s namespace first.',
    ),
    { itemsMin: 1, itemsMax: 16, set: true },
    'The hosts that the real connection may lead to; any other is refused by the sidecar.',
  ),
  port: portNumber('The port of the database.').default(5432),
  databaseNames: list(
    text(63, 'The name of a database.'),
    { itemsMin: 1, itemsMax: 64, set: true },
    'The databases that may be opened. The first is what agents are given when their own choice cannot be seen at admission.',
  ),
  tls: tls.prefault({}).meta({ description: 'How the connection to the database is protected.' }),
  variables: list(
    variableRule,
    { itemsMin: 1, itemsMax: 8 },
    'The environment variables by which the agents’ containers know this database.',
  ).default([{ form: 'url', name: 'DATABASE_URL' }]),
  localPort: z.exactOptional(
    withRules(
      integer(
        1024,
        65_535,
        `The port on localhost where agents find the database; absent: ${firstLocalPort} for the first, and on from there.`,
      ),
      [
        {
          rule: `self != ${sidecarHealthPort}`,
          message: `localPort ${sidecarHealthPort} is where the sidecar answers the kubelet: choose another port`,
          holds: (port) => port !== sidecarHealthPort,
        },
      ],
    ),
  ),
})

export const databases = withRules(
  list(databaseRule, { itemsMin: 1, itemsMax: 16, mapKeys: ['name'] }, 'The databases that the pods may speak to.'),
  [
    {
      rule: 'self.all(a, !has(a.localPort) || self.exists_one(b, has(b.localPort) && b.localPort == a.localPort))',
      message: 'two databases have the same localPort: give each its own, or leave localPort out',
      holds: (rules) => hasNoDouble(rules.flatMap(({ localPort }) => localPort ?? [])),
    },
    {
      rule:
        'self.all(a, self.all(b, a.name == b.name || !a.variables.exists(x, b.variables.exists(y, ' +
        '(has(x.name) && has(y.name) && x.name == y.name) || (has(x.prefix) && has(y.prefix) && x.prefix == y.prefix)))))',
      message:
        'two databases are carried by the same variable, so agents could not tell them apart: give each database `variables` of its own ' +
        '(the default is DATABASE_URL)',
      holds: (rules) => hasNoDouble(rules.flatMap(({ variables }) => [...new Set(variables.map(variableKey))])),
    },
  ],
)

/** The variable, or the prefix of variables, that a rule is about. */
function variableKey(rule: VariableRule): string {
  return rule.form === 'url' ? `name ${rule.name}` : `prefix ${rule.prefix}`
}

function hasNoDouble(values: readonly (string | number)[]): boolean {
  return new Set(values).size === values.length
}

export type DatabaseRule = z.output<typeof databaseRule>
export type VariableRule = z.output<typeof variableRule>
export type TlsMode = z.output<typeof tlsMode>
