/**
 * A Python program that works with psycopg 3 as programs do, and checks what it gets. Its argument is a connection string.
 * Prints one JSON object with the count of rows it was given. Every failed check ends it with a traceback.
 */
export const psycopgProgram = String.raw`
import datetime, decimal, json, sys, threading, uuid
import psycopg
from psycopg import errors, sql
from psycopg.types.json import Jsonb

conninfo = sys.argv[1]
rows_seen = 0

def rows(cursor):
    global rows_seen
    answer = cursor.fetchall()
    rows_seen += len(answer)
    return answer

def raises(kind, call, *args, **named):
    try:
        call(*args, **named)
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")

samples = [
    (1, "text ž \U0001f600", decimal.Decimal("12345678901234567890.0123456789"), 1.5, True, datetime.date(2026, 11, 21),
     datetime.datetime(2026, 11, 21, 1, 2, 3, 456789, datetime.timezone.utc), datetime.timedelta(days=3, seconds=4), uuid.UUID(int=5),
     b"\x00\xff\\", [1, None, 3], ["a", None, 'quote " and , comma'], Jsonb({"k": [1, None, "ž"]})),
    tuple([2] + [None] * 12),
]

def work(connection, binary):
    table = sql.Identifier("sample_binary" if binary else "sample_text")
    marker = "%b" if binary else "%t"
    with connection.cursor(binary=binary) as cursor:
        cursor.execute(sql.SQL("""
            create table {} (id int primary key, words text, exact numeric, inexact float8, yes bool, day date, at timestamptz,
              span interval, key uuid, raw bytea, numbers int[], texts text[], document jsonb)""").format(table))
        insert = sql.SQL("insert into {} values (" + ", ".join([marker] * 13) + ")").format(table)
        cursor.executemany(insert, samples)
        cursor.execute(sql.SQL("select * from {} order by id").format(table))
        got = rows(cursor)
        assert got[0][:12] == samples[0][:12], got[0]
        assert got[0][12] == samples[0][12].obj
        assert got[1] == samples[1]
        # Often enough that psycopg prepares it.
        for n in range(12):
            cursor.execute("select " + marker + "::int * 2", (n,), prepare=True if n > 8 else None)
            assert rows(cursor) == [(2 * n,)]
        connection.commit()

        # Errors within a transaction, at a savepoint, and what is left afterwards.
        with connection.transaction():
            cursor.execute(sql.SQL("update {} set words = 'kept' where id = 2").format(table))
            def inner():
                with connection.transaction():
                    cursor.execute(sql.SQL("insert into {} (id) values (1)").format(table))
            error = raises(errors.UniqueViolation, inner)
            assert error.diag.constraint_name.endswith("_pkey")
        cursor.execute(sql.SQL("select words from {} where id = 2").format(table))
        assert rows(cursor) == [("kept",)]
        raises(errors.SyntaxError, cursor.execute, "selec 1")
        raises(errors.InFailedSqlTransaction, cursor.execute, "select 1")
        connection.rollback()
        error = raises(errors.InvalidTextRepresentation, cursor.execute, "select %t::int", ("many",))
        connection.rollback()

        # COPY both ways, in the format's own binary form too.
        form = "(format binary)" if binary else "(format text)"
        cursor.execute("create temp table bulk (n int, t text)")
        with cursor.copy("copy bulk from stdin " + form) as copy:
            copy.set_types(["int4", "text"])
            for n in range(3000):
                copy.write_row((n, None if n % 7 == 0 else f"row\t{n}\n"))
        with cursor.copy("copy bulk to stdout " + form) as copy:
            copy.set_types(["int4", "text"])
            got = list(copy.rows())
        assert got == [(n, None if n % 7 == 0 else f"row\t{n}\n") for n in range(3000)]
        def broken():
            with cursor.copy("copy bulk from stdin") as copy:
                copy.write("not a number\n")
        raises(errors.InvalidTextRepresentation, broken)
        connection.rollback()
        def given_up():
            with cursor.copy("copy sample_text (id) from stdin") as copy:
                copy.write("77\n")
                raise KeyError("the program changed its mind")
        raises(errors.QueryCanceled, given_up)
        connection.rollback()

    # A cursor at the server, in portions.
    with connection.cursor(name="portions", binary=binary) as cursor:
        cursor.itersize = 50
        cursor.execute("select g, md5(g::text) from generate_series(1, 320) g")
        global rows_seen
        got = list(cursor)
        rows_seen += len(got)
        assert [row[0] for row in got] == list(range(1, 321))
    connection.commit()

with psycopg.connect(conninfo) as connection:
    work(connection, binary=False)
    work(connection, binary=True)

    notices = []
    connection.add_notice_handler(lambda diag: notices.append((diag.severity_nonlocalized, diag.message_primary, diag.message_hint)))
    connection.execute("do $$ begin raise notice 'noticed' using hint = 'a hint'; end $$")
    assert notices == [("NOTICE", "noticed", "a hint")], notices
    connection.commit()

    # Many statements on their way at once, with a failure among them.
    if psycopg.Pipeline.is_supported():
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (n,)) for n in range(40)]
            connection.commit()
        assert [rows(cursor) for cursor in cursors] == [[(n,)] for n in range(40)]
        def failing():
            with connection.pipeline():
                connection.execute("select 'before'")
                connection.execute("select 1 / %s::int", (0,))
                connection.execute("select 'never run'")
        # Depending on what has come back already, psycopg raises the error itself or that the pipeline is aborted.
        raises((errors.DivisionByZero, errors.PipelineAborted), failing)
        rows_seen += 1 # Of the first of the three.
        connection.rollback()

    large = "x" * 3_000_000
    with connection.cursor() as cursor:
        cursor.execute("select %s::text, length(%s)", (large, large))
        assert rows(cursor) == [(large, len(large))]
        cursor.execute("select 1; select 2 union select 3 order by 1")
        assert rows(cursor) == [(1,)]
        assert cursor.nextset() and rows(cursor) == [(2,), (3,)]
    connection.commit()

    # Cancelled from another thread.
    def cancel():
        while True:
            with psycopg.connect(conninfo, application_name="psycopg-watch") as watch:
                found = watch.execute("select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'", (connection.info.backend_pid,))
                if found.fetchone():
                    break
        connection.cancel()
    thread = threading.Thread(target=cancel)
    thread.start()
    raises(errors.QueryCanceled, connection.execute, "select pg_sleep(120)")
    thread.join()
    connection.rollback()
    assert rows(connection.execute("select 'alive'")) == [("alive",)]

with psycopg.connect(conninfo, autocommit=True) as connection:
    heard = []
    connection.add_notify_handler(lambda notification: heard.append((notification.channel, notification.payload)))
    connection.execute("listen news")
    connection.execute("notify news, 'a payload, ž'")
    assert rows(connection.execute("select 'a round trip'")) == [("a round trip",)]
    assert heard == [("news", "a payload, ž")], heard

def one(n):
    with psycopg.connect(conninfo, application_name="psycopg-many") as connection:
        for _ in range(3):
            assert connection.execute("select %s::int, count(*) from generate_series(1, 1000)", (n,)).fetchone() == (n, 1000)

threads = [threading.Thread(target=one, args=(n,)) for n in range(30)]
for thread in threads: thread.start()
for thread in threads: thread.join()

print(json.dumps({"rows": rows_seen, "psycopg": psycopg.__version__, "pipeline": psycopg.Pipeline.is_supported()}))
`
