"""Kinds of work over a line, each by a connection and as a user of its own; prints how long each took, in milliseconds."""

import asyncio
import json
import os
import threading
import time

import asyncpg
import psycopg

host, port = os.environ["WORK_HOST"], int(os.environ["WORK_PORT"])
took = {}


def connection(name):
    return psycopg.connect(
        host=host, port=port, user=f"w_{name}", password="secret", dbname="shop", sslmode="require", autocommit=True, prepare_threshold=None
    )


def simple(c):
    for _ in range(10):
        c.execute("select 1").fetchall()


def extended(c):
    for n in range(10):
        c.execute("select %s::int", (n,)).fetchall()


def pipelined(c):
    with c.pipeline():
        for n in range(20):
            c.execute("select %s::int", (n,))


def copy(c):
    with c.cursor() as cursor, cursor.copy("copy work_data from stdin") as data:
        for n in range(20):
            data.write(b"%d\tsome words\n" % n * 2000)
            time.sleep(0.01)


def sleep(c):
    c.execute("select pg_sleep(0.05)").fetchall()
    # the server sends what it has when eight kilobytes are full
    rows = "select n, pg_sleep(case n when 500 then 0.05 else 0 end) from generate_series(1, 500) n"
    c.execute(rows).fetchall()
    c.execute("select pg_sleep(0.05)").fetchall()


def think(c):
    for _ in range(6):
        c.execute("select 1").fetchall()
        time.sleep(0.03)


def large(c):
    c.execute("select repeat('x', 300000)").fetchall()


async def flush():
    begun = time.monotonic()
    c = await asyncpg.connect(
        host=host, port=port, user="w_flush", password="secret", database="shop", ssl="require", statement_cache_size=0
    )
    connected = time.monotonic()
    for n in range(5):
        await c.fetchval("select $1::int", n)
    done = time.monotonic()
    await c.close()
    took["flush"] = {"connecting": (connected - begun) * 1000, "work": (done - connected) * 1000}


def timed(name, work):
    begun = time.monotonic()
    with connection(name) as c:
        connected = time.monotonic()
        work(c)
        took[name] = {"connecting": (connected - begun) * 1000, "work": (time.monotonic() - connected) * 1000}


kinds = [simple, extended, pipelined, copy, sleep, think, large]
threads = [threading.Thread(target=timed, args=(kind.__name__, kind)) for kind in kinds]
threads.append(threading.Thread(target=lambda: asyncio.run(flush())))
for thread in threads:
    thread.start()
    # they work side by side, but connect one after the other: proving a password takes a processor
    time.sleep(0.02)
for thread in threads:
    thread.join()
print(json.dumps(took))
