import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { namesTable, parseTableName } from './table-names.ts'

const names = (sql: string, ...typed: string[]): boolean => namesTable(sql, typed.map(parseTableName))

test('a table is found wherever its name stands whole', () => {
  for (const sql of [
    'select * from orders',
    'SELECT * FROM Orders;',
    'select o.id from sales.orders as o',
    'select * from "orders"',
    'select orders.id from x',
    'select * from sales . orders',
    'select * from sales./* here */orders',
    'select 1 where exists(select from orders)',
    'insert into orders(id) values (1)',
    'select * from U&"\\006frders"',
  ]) {
    assert.ok(names(sql, 'orders'), sql)
  }
})

test('what only looks like its name is not found', () => {
  for (const sql of [
    'select * from orders2',
    'select * from my_orders',
    "select 'orders'",
    'select $$orders$$',
    '-- orders\nselect 1',
    '/* orders */ select 1',
    'select * from "Orders"',
    'select * from "sales.orders"',
    '',
  ]) {
    assert.ok(!names(sql, 'orders'), sql)
  }
})

test('a schema asked for has to be written, and quotes keep their case', () => {
  assert.ok(names('select * from sales.orders', 'sales.orders'))
  assert.ok(names('select * from shop.sales.orders', 'Sales.Orders'))
  assert.ok(names('select sales.orders.id', 'sales.orders'))
  assert.ok(names('select * from sales./* of */ orders', 'sales.orders'))
  assert.ok(!names('select * from orders', 'sales.orders'))
  assert.ok(!names('select sales, orders', 'sales.orders'))
  assert.ok(names('select * from "Orders"', '"Orders"'))
  assert.ok(!names('select * from Orders', '"Orders"'))
  assert.ok(names('select * from "a""b"', '"a""b"'))
  assert.ok(names('select * from b', 'a', 'b'))
})

test('what is no name is refused', () => {
  for (const text of ['', ' ', 'a b', '.a', 'a.', 'a..b', "'a'", '"a', 'a;', '1', 'a+b']) {
    assert.throws(() => parseTableName(text), { code: 'commander.invalidArgument' }, text)
  }
})

test('no text makes it throw', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (sql) => typeof names(sql, 'orders', 'a.b') === 'boolean'))
})
