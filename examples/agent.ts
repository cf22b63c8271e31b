/**
 * The agent of the demo: a script that does what a model with a database tool does, through npm `postgres`.
 *
 * Knows where the database is and nothing of steno. Every step says what came of it, so that the demo can compare.
 */
import postgres from 'postgres'

/** What the agent is told of the database: no password, since the proxy holds it. */
export type Place = { readonly host: string; readonly port: number; readonly database: string }

/** What the agent got, to be compared with what was expected. */
export type Account = {
  readonly tables: readonly string[]
  readonly customers: readonly { readonly id: number; readonly name: string }[]
  readonly refusedUpdate: string
  readonly copiedRows: number
  readonly batches: readonly number[]
  readonly otherDatabase: string
}

/** `password` is the literal of the role that the agent creates. @throws what the database answered, where no error was to be expected */
export async function runAgent(
  place: Place,
  { password, say }: { readonly password: string; readonly say: (step: string) => void },
): Promise<Account> {
  const sql = connect(place)
  try {
    say('reads the schema')
    const tables = await sql`select table_name from information_schema.tables where table_schema = 'public' order by table_name`
    say('looks for customers in Riga, with a prepared statement')
    const customers = await sql`select id, name, city, joined from customers where city = ${'Riga'} order by id`
    say('tries to correct an order in a transaction, which a constraint refuses, and rolls back')
    const refusedUpdate = await refusedTransaction(sql)
    say('loads new orders with COPY')
    const copiedRows = await copyOrders(sql)
    say('reads the orders by a cursor, forty at a time')
    const batches: number[] = []
    await sql`select id, customer_id, cents from orders order by id`.cursor(40, (rows) => void batches.push(rows.length))
    say('creates a role with a password')
    await sql.unsafe(`create role reporting login password '${password}'`)
    say('tries another database, which is not open to it')
    const otherDatabase = await refusalBy({ ...place, database: 'payroll' })
    return {
      tables: tables.map((row) => String(row['table_name'])),
      customers: customers.map((row) => ({ id: Number(row['id']), name: String(row['name']) })),
      refusedUpdate,
      copiedRows,
      batches,
      otherDatabase,
    }
  } finally {
    await sql.end({ timeout: 5 })
  }
}

function connect({ host, port, database }: Place): postgres.Sql {
  return postgres({
    ...{ host, port, database, user: 'agent', password: '', ssl: false },
    max: 1,
    fetch_types: false,
    onnotice: () => undefined,
    connection: { application_name: 'demo-agent' },
  })
}

/** The SQLSTATE that the transaction ended with, or `none`. */
async function refusedTransaction(sql: postgres.Sql): Promise<string> {
  try {
    await sql.begin(async (transaction) => {
      await transaction`update orders set note = 'corrected' where id = 7`
      await transaction`update orders set cents = -100 where id = 7`
    })
    return 'none'
  } catch (error) {
    if (error instanceof postgres.PostgresError) return error.code
    throw error
  }
}

async function copyOrders(sql: postgres.Sql): Promise<number> {
  const lines = Array.from({ length: 60 }, (_, index) => `${(index % 4) + 1}\t${1_000 + index}\tfrom a file\n`)
  const writable = await sql`copy orders (customer_id, cents, note) from stdin`.writable()
  await new Promise<void>((resolve, reject) => {
    writable.once('finish', resolve)
    writable.once('error', reject)
    writable.end(lines.join(''))
  })
  const [row] = await sql`select count(*)::int as count from orders where note = 'from a file'`
  return Number(row?.['count'])
}

/** The SQLSTATE with which a connection to `place` is refused, or `none`. */
async function refusalBy(place: Place): Promise<string> {
  const sql = connect(place)
  try {
    await sql`select 1`
    return 'none'
  } catch (error) {
    if (error instanceof postgres.PostgresError) return error.code
    throw error
  } finally {
    await sql.end({ timeout: 5 })
  }
}
