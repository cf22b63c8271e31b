/**
 * DuckDB, when it is installed: an optional dependency, since its library is as large as all the rest together.
 *
 * Knows how a database is opened so that SQL from anybody can run in it: read-only, without files, network and extensions, with limits
 * that the SQL cannot change.
 */
import type * as DuckDbModule from '@duckdb/node-api'
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { KnownError, messageOf, systemCodeOf } from '../../base/errors.ts'
import { printable } from '../text.ts'

export type DuckDb = typeof DuckDbModule

const threadsMax = 4
/** For sorts and joins; what does not fit goes to the temporary folder. */
const memoryLimit = '512MB'
const spillLimit = '16GB'

/** `steno query` needs a package that was not installed. */
export class DuckDbMissing extends KnownError {
  readonly code = 'DUCKDB_MISSING'
  readonly remedy =
    'Install it beside steno with `npm install @duckdb/node-api`; or `steno export --format parquet`, which any DuckDB reads, or `steno search`.'
  readonly safeToRetry = true
}

/** DuckDB did not take the SQL, or failed while it ran. */
export class QueryFailed extends KnownError {
  readonly code = 'QUERY_FAILED'
  readonly remedy =
    'The message is DuckDB\'s. `steno query "describe statements"` lists the columns; files, network and settings are closed to queries.'
  readonly safeToRetry = true
}

/** @throws DuckDbMissing */
export async function loadDuckDb(load: () => Promise<DuckDb> = () => import('@duckdb/node-api')): Promise<DuckDb> {
  try {
    return await load()
  } catch (error) {
    const missing = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND', 'ERR_DLOPEN_FAILED'].includes(systemCodeOf(error) ?? '')
    if (!missing && !messageOf(error).includes('node-bindings')) throw error
    throw new DuckDbMissing('DuckDB is not installed for this platform', { cause: error })
  }
}

export type Database = { readonly instance: DuckDBInstance; readonly connection: DuckDBConnection; close(): void }

/** A database in the private folder `folder`; `sandbox` is for the user's SQL, `load` for filling it before. */
export async function openDatabase({ DuckDBInstance: instances }: DuckDb, folder: string, purpose: 'load' | 'sandbox'): Promise<Database> {
  const instance = await instances.create(join(folder, 'statements.duckdb'), {
    ...(purpose === 'sandbox' ? { access_mode: 'READ_ONLY' } : {}),
    threads: String(Math.min(threadsMax, availableParallelism())),
    memory_limit: memoryLimit,
    temp_directory: join(folder, 'spill'),
    max_temp_directory_size: spillLimit,
    preserve_insertion_order: 'true',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    // These two last: behind them nothing can be set.
    enable_external_access: 'false',
    lock_configuration: 'true',
  })
  const connection = await instance.connect()
  return {
    instance,
    connection,
    close() {
      connection.closeSync()
      instance.closeSync()
    },
  }
}

/** Runs DuckDB's part of the work. @throws QueryFailed */
export async function asked<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    // DuckDB throws plain errors; any other class is a defect, or has its own code.
    if (!(error instanceof Error) || error.constructor !== Error) throw error
    // It quotes values, which come from a recording.
    throw new QueryFailed(printable(messageOf(error).trimEnd()), { cause: error })
  }
}
