/** A merged policy for tests: one database `orders` unless told otherwise, carried by DATABASE_URL. */
import type { MergedDatabase, MergedPolicy } from '../../crds/merge.ts'

export function testDatabase(more: Partial<MergedDatabase> = {}): MergedDatabase {
  return {
    name: 'orders',
    engine: 'postgresql',
    hosts: ['db.shop.svc'],
    port: 5432,
    databaseNames: ['shop', 'archive'],
    tls: { mode: 'disable' },
    variables: [{ form: 'url', name: 'DATABASE_URL' }],
    localPort: 15432,
    policy: 'shop/orders',
    ...more,
  }
}

export function testPolicy(
  databases: readonly MergedDatabase[] = [testDatabase()],
  allowKeys: MergedPolicy['secrets']['allowKeys'] = [],
): MergedPolicy {
  return {
    databases,
    recording: { level: 'results', store: 'default', onFailure: 'block', spoolBytesMax: '512Mi', spoolAgeSecondsMax: 3600 },
    enforcement: { mode: 'Relay', onOpenPath: 'Block' },
    network: { allow: [] },
    secrets: { allowKeys },
    sidecar: { resources: { requests: {}, limits: {} } },
    sources: ['shop/orders'],
    hash: '0'.repeat(32),
  }
}
