/**
 * A psql session that touches much of what psql can do, as one script. Its output depends only on the database being empty.
 *
 * Used to compare, word for word, what psql prints through steno and without it.
 */
export const psqlScript = String.raw`
\set VERBOSITY verbose
\pset null '∅'
create schema shop;
set search_path = shop;
create type mood as enum ('glad', 'sad');
create table customer (
  id integer generated always as identity primary key,
  name text not null check (name <> ''),
  tags text[] default '{}',
  feeling mood,
  born date,
  balance numeric(12, 2),
  note jsonb
);
create table orders (id serial primary key, customer integer not null references customer deferrable, amount numeric, at timestamptz default '2026-01-02 03:04:05+00');
create index on orders (customer);
create view rich as select name, balance from customer where balance > 100;
\d customer
\d+ rich
\dt
insert into customer (name, tags, feeling, born, balance, note) values
  ('Ada', '{a,"b c",NULL}', 'glad', '1815-12-10', 1234.5, '{"k": [1, null]}'),
  ('Žofie', default, null, null, null, null),
  ('O''Brien; drop', '{}', 'sad', 'infinity', -0.01, '"x"') returning id, name;
select * from customer order by id;
\x on
select * from customer where id = 1;
\x off
-- Several statements in one message, one of them with a semicolon in a text.
select 1 as a\; select 'b;c' as b\; select null as n;
select 1 as before\; select 1/0 as broken\; select 2 as never;
/* a comment
   over two lines */ select
  'a text
over
lines' as multiline, $body$ dollar ; quoted $body$ as dollar;
;
-- Errors, and going on after them.
select nothing from nowhere;
selec 1;
insert into customer (name) values ('');
insert into orders (customer, amount) values (4711, 1);
begin;
insert into customer (name) values ('Eve') returning name;
savepoint one;
select 1/0;
select 'in a failed transaction';
rollback to savepoint one;
savepoint two;
insert into orders (customer, amount) select 1, g from generate_series(1, 5) g;
release savepoint two;
commit;
begin isolation level serializable read only;
delete from orders;
rollback;
begin;
set constraints all deferred;
insert into orders (customer, amount) values (999, 9);
commit;
-- Statements and cursors by SQL.
prepare find(int) as select name from customer where id = $1;
execute find(1);
execute find(99);
deallocate find;
begin;
declare c scroll cursor for select g, repeat('x', g) from generate_series(1, 10) g;
fetch 3 from c;
move 2 in c;
fetch backward 1 from c;
fetch all from c;
close c;
commit;
\set FETCH_COUNT 7
select g from generate_series(1, 20) g;
\unset FETCH_COUNT
-- The extended protocol.
select id, name, balance from customer where id = 1 \gdesc
select name as found from customer where id = 1 \gset
\echo :found
select format('select %s as generated', g) from generate_series(1, 3) g \gexec
-- Notices at every level.
do $$ begin
  raise notice 'a notice, %', 42;
  raise warning using message = 'a warning', detail = 'its detail', hint = 'its hint', errcode = 'SN001';
  raise info 'information';
end $$;
do $$ begin raise exception 'on purpose' using detail = 'd', hint = 'h', schema = 's', table = 't', column = 'c', constraint = 'k', datatype = 'y'; end $$;
drop table if exists not_there;
-- COPY both ways, well and badly.
copy customer (name, balance) from stdin;
Grace	7.25
Tab\\tand\\nnewline	\N
\.
copy customer (name, balance) from stdin with (format csv, header);
name,balance
"Quoted, with ""quotes""
and a line",1
\.
copy customer (name, balance) from stdin;
broken	not a number
\.
copy customer (name, balance, tags) to stdout;
copy (select g, null from generate_series(1, 3) g) to stdout with (format csv, header, force_quote *);
\copy (select name from customer order by id limit 2) to stdout
copy nowhere to stdout;
-- Notifications.
listen news;
notify news, 'payload with ''quotes'' and ž';
select pg_notify('news', repeat('n', 20)) is not null as sent;
unlisten news;
-- Large objects go by function calls.
\lo_import /etc/hosts 'a file'
select count(*) from pg_largeobject_metadata;
\lo_unlink :LASTOID
-- Settings that the server reports.
set client_encoding = latin1;
select 'é' as latin;
reset client_encoding;
set datestyle = 'German, DMY';
select date '2026-11-21' as d, timestamptz '2026-11-21 01:02:03+00' as t;
reset datestyle;
set statement_timeout = 20;
select pg_sleep(5);
reset statement_timeout;
create function shop.f(n int) returns setof record language sql as $$ select g, 'r' || g from generate_series(1, n) g $$;
select * from shop.f(3) as t(a int, b text);
create procedure shop.p(inout n int) language plpgsql as $$ begin n := n * 2; commit; end $$;
call shop.p(21);
create table many as select g, md5(g::text) from generate_series(1, 1000) g;
select * from many;
explain (costs off) select * from customer join orders on orders.customer = customer.id;
merge into many using (values (1, 'one'), (2000, 'new')) v(k, t) on many.g = v.k when matched then update set md5 = v.t when not matched then insert values (v.k, v.t);
truncate many;
vacuum many;
select length(repeat('long', 500000)), repeat('long', 3) from generate_series(1, 2);
`
