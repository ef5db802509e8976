//! `doorward learn`: rules drawn up from a real application's run are enough for that run, and for nobody else.

use std::fs;

use crate::harness::{
    Ended, Gateway, Login, Postgres,
    clients::Environ,
    drivers,
    gateway::doorward,
    process::{Running, run},
    psql,
};

const OBSERVED: &str = "\
observe: {until: 2036-01-01T00:00:00Z, from: [127.0.0.0/8]}
origins: []
";

/// Django's own test runner over an application with two tests: it makes a database of its own, and drops it.
fn tested_by_django(gateway: &Gateway, folder: &std::path::Path) -> Ended {
    fs::create_dir_all(folder.join("books")).unwrap();
    let settings = "\
import os
SECRET_KEY = 'for a test'
INSTALLED_APPS = ['books']
DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'
USE_TZ = True
DATABASES = {'default': {
    'ENGINE': 'django.db.backends.postgresql', 'NAME': 'learned', 'USER': 'learner', 'PASSWORD': 'secret',
    'HOST': os.environ['PGHOST'], 'PORT': os.environ['PGPORT'],
    'OPTIONS': {'sslmode': 'verify-full', 'sslrootcert': os.environ['PGSSLROOTCERT']},
}}
";
    let models = "\
from django.db import models
class Book(models.Model):
    title = models.CharField(max_length=50, unique=True)
    class Meta:
        app_label = 'books'
";
    let tests = "\
from django.db import IntegrityError, transaction
from django.test import TestCase, TransactionTestCase
from books.models import Book
class Rows(TestCase):
    def test_a_row_is_found_again(self):
        Book.objects.create(title='one')
        self.assertEqual(Book.objects.get().title, 'one')
class Rules(TransactionTestCase):
    def test_a_rule_of_the_database_holds(self):
        Book.objects.create(title='one')
        with self.assertRaises(IntegrityError), transaction.atomic():
            Book.objects.create(title='one')
";
    for (name, text) in [
        ("settings.py", settings),
        ("books/__init__.py", ""),
        ("books/models.py", models),
        ("books/tests.py", tests),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    let mut command = std::process::Command::new(drivers("python").join("bin/python"));
    command
        .args([
            "-m",
            "django",
            "test",
            "--settings=settings",
            "--noinput",
            "books",
        ])
        .env("PYTHONPATH", folder)
        .current_dir(folder);
    Running::start(Login::new(gateway.port, "learner", "learned").environ(&mut command)).end()
}

#[test]
fn what_is_learned_from_a_test_run_lets_it_pass_and_no_stranger() {
    let server = Postgres::shared();
    server.sql("create role learner login createdb password 'secret'");
    let gateway = Gateway::start(&server.address(), OBSERVED);
    let folder = tempfile::tempdir().unwrap();
    let first = tested_by_django(&gateway, folder.path());
    assert!(first.stderr.contains("Ran 2 tests"), "{first:?}");
    assert_eq!(first.code(), 0, "{first:?}");

    let learned = gateway.command(&["learn"]);
    assert_eq!(learned.code(), 0, "{learned:?}");
    let file = folder.path().join("learned.yaml");
    fs::write(&file, &learned.stdout).unwrap();
    let checked = run(doorward().args([
        "check",
        "--offline",
        "--deny-warnings",
        file.to_str().unwrap(),
    ]));
    assert_eq!(checked.code(), 0, "{checked:?}\n{}", learned.stdout);

    let (_, rules) = learned.stdout.split_once("origins:\n").unwrap();
    gateway.reload(&format!("origins:\n{rules}"));
    let second = tested_by_django(&gateway, folder.path());
    assert!(second.stderr.contains("Ran 2 tests"), "{second:?}");
    assert_eq!(second.code(), 0, "{second:?}\n{rules}");
    for stranger in [
        Login::new(gateway.port, "app", "shop"),
        Login::new(gateway.port, "learner", "shop"),
    ] {
        let refused = psql(&stranger, "select 1");
        assert!(
            refused.failed().contains("[user_not_allowed]")
                || refused.failed().contains("[database_not_allowed]"),
            "{refused:?}"
        );
    }
    let elsewhere = gateway.seen_from([127, 0, 0, 66]);
    let stranger = Login::new(elsewhere.port, "learner", "postgres");
    assert!(psql(&stranger, "select 1").failed().contains("not allowed"));
}
