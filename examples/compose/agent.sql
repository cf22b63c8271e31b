-- What the agent of the example does: it reads, changes, and tries what it may not.
select id, name from customers where city = 'Riga';
begin;
update orders set note = 'called' where id = 1;
commit;
update orders set cents = -1 where id = 2;
select rolname, rolpassword from pg_authid;
