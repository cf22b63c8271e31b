/**
 * What version 1.3.0 of the Open Cybersecurity Schema Framework asks of a Datastore Activity event, for tests: its required attributes,
 * the "at least one of" constraints, and the codes of its enumerations. No profiles.
 *
 * Taken from the published schema (https://github.com/ocsf/ocsf-schema, Apache-2.0): `events/base_event.json`,
 * `events/application/datastore_activity.json` and the objects that these name. Recommended and optional attributes are left out.
 */

export type Requirements = {
  readonly required: readonly string[]
  readonly atLeastOne?: readonly string[]
  /** Which object an attribute holds. */
  readonly objects?: Readonly<Record<string, keyof typeof objects>>
  readonly enumerations?: Readonly<Record<string, readonly number[]>>
}

export const datastoreActivity: Requirements = {
  required: ['activity_id', 'category_uid', 'class_uid', 'type_uid', 'severity_id', 'time', 'metadata', 'actor', 'src_endpoint'],
  atLeastOne: ['database', 'databucket', 'table'],
  objects: {
    metadata: 'metadata',
    actor: 'actor',
    src_endpoint: 'network_endpoint',
    dst_endpoint: 'network_endpoint',
    database: 'database',
    query_info: 'query_info',
  },
  enumerations: {
    activity_id: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99],
    category_uid: [6],
    class_uid: [6005],
    severity_id: [0, 1, 2, 3, 4, 5, 6, 99],
    status_id: [0, 1, 2, 99],
    type_id: [0, 1, 2, 3, 99],
  },
}

export const objects = {
  metadata: { required: ['product', 'version'], objects: { product: 'product' } },
  product: { required: ['vendor_name'], atLeastOne: ['name', 'uid'] },
  actor: {
    required: [],
    atLeastOne: ['process', 'user', 'invoked_by', 'session', 'app_name', 'app_uid'],
    objects: { user: 'user', session: 'session' },
  },
  user: { required: [], atLeastOne: ['account', 'name', 'uid'] },
  session: { required: [] },
  network_endpoint: {
    required: [],
    atLeastOne: ['ip', 'uid', 'name', 'hostname', 'svc_name', 'instance_uid', 'interface_uid', 'interface_name', 'domain'],
  },
  database: { required: ['type_id'], atLeastOne: ['name', 'uid'], enumerations: { type_id: [0, 1, 2, 3, 4, 5, 6, 99] } },
  query_info: { required: ['query_string'] },
} as const satisfies Record<string, Omit<Requirements, 'objects'> & { readonly objects?: Readonly<Record<string, string>> }>
