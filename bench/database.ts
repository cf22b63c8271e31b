/**
 * The database that is measured through, and its data: filled once per run, the same for every contestant.
 *
 * `bench_key` holds 100,000 short rows found by key; `bench_wide` holds as many rows of 1 KiB as the bulk loads ask for. Durability is off, since the
 * question is what a proxy costs, not a disk.
 */
import { startPostgres, type EmbeddedPostgres } from '../tools/embedded-postgres.ts'

export const keyRows = 100_000
/** One column of 1,024 characters: with the frame and column headers a DataRow of 1,035 bytes. */
export const wideRowBytes = 1024 + 1 + 4 + 2 + 4

const settings = {
  max_connections: '1200',
  shared_buffers: '512MB',
  temp_buffers: '64MB',
  max_wal_size: '4GB',
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  autovacuum: 'off',
  jit: 'off',
  max_parallel_workers_per_gather: '0',
  log_statement: 'none',
  log_connections: 'off',
  log_disconnections: 'off',
  log_min_duration_statement: '-1',
}

/** How many wide rows make a result of `bytes`, as it crosses the wire. */
export function wideRowsOf(bytes: number): number {
  return Math.ceil(bytes / wideRowBytes)
}

/** Starts PostgreSQL with TLS and SCRAM and fills it. The data of `bench_wide` compresses about as text does, not as one repeated letter. */
export async function startDatabase(bulkBytes: number): Promise<EmbeddedPostgres> {
  const database = await startPostgres({ tls: true, authentication: 'scram-sha-256', settings })
  try {
    await database.query(`create table bench_key (id integer primary key, payload text not null);
      insert into bench_key select i, md5(i::text) || md5((-i)::text) from generate_series(1, ${keyRows}) i;
      create table bench_wide (payload text not null);
      insert into bench_wide
        select repeat(md5(i::text) || md5((i + 0.1)::text) || md5((i + 0.2)::text) || md5((i + 0.3)::text)
          || md5((i + 0.4)::text) || md5((i + 0.5)::text) || md5((i + 0.6)::text) || md5((i + 0.7)::text), 4)
        from generate_series(1, ${wideRowsOf(bulkBytes)}) i`)
    await database.query('vacuum analyze bench_key')
    await database.query('vacuum analyze bench_wide')
    return database
  } catch (error) {
    await database.stop('immediate')
    throw error
  }
}
