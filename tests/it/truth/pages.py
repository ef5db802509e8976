"""Pages of a Django application, one kind a process; prints the mean of their milliseconds, the first one not counted."""

import json
import os
import sys
import time

import django
from django.conf import settings
from django.db import close_old_connections, connection, models, reset_queries

kind, lives, pages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
settings.configure(
    USE_TZ=True,
    TIME_ZONE="UTC",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["WORK_HOST"],
            "PORT": os.environ["WORK_PORT"],
            "NAME": "shop",
            "USER": os.environ["WORK_USER"],
            "PASSWORD": "secret",
            "OPTIONS": {"sslmode": "require"},
            "CONN_MAX_AGE": lives,
        }
    },
)
django.setup()


class Author(models.Model):
    name = models.TextField()

    class Meta:
        app_label = "shop"
        db_table = "author"


class Book(models.Model):
    title = models.TextField()
    author = models.ForeignKey(Author, on_delete=models.CASCADE)

    class Meta:
        app_label = "shop"
        db_table = "book"


def different(queries):
    with connection.cursor() as cursor:
        for n in range(queries):
            cursor.execute(f"select {n} as figure_{n}")
            cursor.fetchall()


def page():
    if kind == "different":
        different(42)
    elif kind == "busy":
        different(8)
        # the next page comes soon
        time.sleep(0.006)
    elif kind == "one_by_one":
        assert len([book.author.name for book in Book.objects.order_by("id")]) == 37
    elif kind == "joined":
        assert len([book.author.name for book in Book.objects.select_related("author").order_by("id")]) == 37


took = []
for _ in range(pages + 1):
    begun = time.monotonic()
    page()
    # what Django does at the end of a request
    close_old_connections()
    reset_queries()
    took.append((time.monotonic() - begun) * 1000)
print(json.dumps(sum(took[1:]) / pages))
