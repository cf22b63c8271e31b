/** A session for the player's tests and its picture, recorded from a real PostgreSQL through `bin/steno`. */
import pg from 'pg'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { startProxyProcess } from '../support/proxy.ts'

/** What an agent does in a shop: tables, a transaction, wide and strange rows, errors, a notice, something that takes a while. */
export async function workInShop(client: pg.Client): Promise<void> {
  const fails = async (sql: string): Promise<void> => {
    await client.query(sql).then(
      () => Promise.reject(new Error(`it did not fail: ${sql}`)),
      () => undefined,
    )
  }
  client.on('notice', () => undefined)
  await client.query('create table customers (id int primary key, name text not null, city text, photo bytea)')
  await client.query(
    'create table orders (id int primary key, customer_id int references customers, cents int check (cents > 0), note text)',
  )
  await client.query('begin')
  const customers: [number, string, string | null, Buffer | null][] = [
    [1, 'Anna Bērziņa', 'Rīga', Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x00, 0xff])],
    [2, '佐藤 花子', '東京', null],
    [3, 'NULL', null, null],
  ]
  for (const customer of customers) await client.query('insert into customers (id, name, city, photo) values ($1, $2, $3, $4)', customer)
  await client.query("insert into orders select n, 1 + n % 3, 100 * n, repeat('parcel ', n % 20) from generate_series(1, 250) n")
  await client.query('commit')
  await client.query('select * from customers order by id')
  await client.query(
    `select o.id, c.name, o.cents, o.note -- what is owed
from orders o
  join customers c on c.id = o.customer_id
where c.city is not null or c.name = 'NULL'
order by o.id`,
  )
  await client.query('begin')
  await client.query('update orders set cents = cents - 50 where id = $1', [7])
  await fails('update orders set cents = -100 where id = 7')
  await fails('select 1')
  await client.query('rollback')
  await fails("select name, twon from customers where city = 'Rīga'")
  await client.query("do $$ begin raise notice 'stock of % is low', 'parcels'; end $$")
  await client.query("select e'\\x1b[2J\\x1b]0;mine\\x07' as title, e'two\\nlines' as text")
  await client.query('select pg_sleep(0.3)')
  await client.query('select count(*) from "orders" where cents > 1000')
}

/** How many statements that are. */
export const statementsInShop = 20

/** Records one session into `folder`, which the caller removes; returns the store's URL. */
export async function recordShop(folder: string): Promise<string> {
  await using server = await startPostgres()
  await server.query('create database shop')
  const upstream = server.url.replace(/\/postgres$/, '/shop')
  await using proxy = await startProxyProcess({ upstream, folder })
  const client = new pg.Client({ connectionString: proxy.url({ database: 'shop' }) })
  await client.connect()
  await workInShop(client)
  await client.end()
  await proxy.stop()
  return proxy.storeUrl
}
