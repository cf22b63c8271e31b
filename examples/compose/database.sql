-- Run once by the database's container, as the superuser, in the database `shop`.
\set shop_password `cat /run/secrets/shop-password`
create role shop login password :'shop_password';

create table customers (id int primary key, name text not null, city text not null);
create table orders (id int primary key, customer int not null references customers, cents int not null check (cents >= 0), note text);
insert into customers values (1, 'Anna Berzina', 'Riga'), (2, 'Jonas Petraitis', 'Vilnius');
insert into orders values (1, 1, 1250, null), (2, 2, 990, null);

-- What the agent may do is decided here; steno records, it forbids nothing.
grant select on customers to shop;
grant select, update on orders to shop;
