"""Kinds of work over a line, each by a connection and as a user of its own; prints how long each took, in milliseconds."""

import contextlib
import json
import os
import ssl
import threading
import time

import mysql.connector
import pymysql
from pymysql.constants import CLIENT

host, port = os.environ["WORK_HOST"], int(os.environ["WORK_PORT"])
took = {}
unverified = ssl.create_default_context()
unverified.check_hostname = False
unverified.verify_mode = ssl.CERT_NONE


def connection(name):
    return pymysql.connect(
        host=host,
        port=port,
        user=f"w_{name}",
        password="secret",
        database="shop",
        ssl=unverified,
        autocommit=None,
        init_command=None,
        client_flag=CLIENT.MULTI_STATEMENTS,
    )


def text(c):
    cursor = c.cursor()
    for _ in range(10):
        cursor.execute("select 1")
        cursor.fetchall()


def several(c):
    cursor = c.cursor()
    for _ in range(3):
        cursor.execute("select 1; select 2; select 3")
        while cursor.nextset():
            cursor.fetchall()


def sleep(c):
    cursor = c.cursor()
    for _ in range(3):
        cursor.execute("select sleep(0.05)")
        cursor.fetchall()


def timed(name, work):
    begun = time.monotonic()
    c = connection(name)
    connected = time.monotonic()
    work(c)
    took[name] = {"connecting": (connected - begun) * 1000, "work": (time.monotonic() - connected) * 1000}
    c.close()


def connected_to(host, port):
    return mysql.connector.connect(
        host=host, port=port, user="w_prepared", password="secret", database="shop", use_pure=True, ssl_verify_cert=False
    )


def prepared():
    # the modules that it reads at its first try are no part of connecting
    with contextlib.suppress(mysql.connector.Error):
        connected_to("127.0.0.1", 1)
    begun = time.monotonic()
    c = connected_to(host, port)
    connected = time.monotonic()
    cursor = c.cursor(prepared=True)
    for n in range(10):
        cursor.execute("select %s + 1", (n,))
        cursor.fetchall()
    took["prepared"] = {"connecting": (connected - begun) * 1000, "work": (time.monotonic() - connected) * 1000}
    cursor.close()
    c.close()


threads = [threading.Thread(target=timed, args=(kind.__name__, kind)) for kind in (text, several, sleep)]
threads.append(threading.Thread(target=prepared))
for thread in threads:
    thread.start()
    time.sleep(0.02)
for thread in threads:
    thread.join()
print(json.dumps(took))
