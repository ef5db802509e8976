//! The exact lines.

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};

const FILE: &str = r#"version: 1
listeners:
  - {name: pg, protocol: postgres, listen: "192.0.2.10:5432", upstream: "127.0.0.1:5432"}
  - {name: my, protocol: mysql, listen: "192.0.2.10:3306", upstream: /run/mysqld}
tls: {names: [db.example.com], client_ca: /etc/doorward/clients.crt}
state_dir: /var/lib/doorward
admin: {socket: /nonexistent/admin.sock}
origins:
  - {name: shop, listeners: [pg, my], from: [203.0.113.7], users: [shop_app], databases: [shop]}
  - {name: blog, listeners: [pg, my], from: [any], proof: {certificate: {dns: blog.example.org}}, users: [blog], databases: [blog]}
"#;

/// Exit, standard output and standard error of `doorward connect`.
fn connect(text: &str, arguments: &str) -> (Exit, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("allowlist.yaml");
    std::fs::write(&file, text).unwrap();
    let given = format!("doorward connect --config {} {arguments}", file.display());
    let cli = Cli::try_parse_from(given.split_whitespace()).unwrap();
    let Command::Connect(arguments) = &cli.command else {
        panic!("not connect");
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = Output::new(&cli.global, &mut out, &mut err);
    let exit = run(arguments, &cli.global, &mut output);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit, text(out), text(err))
}

/// Holds what is printed on both outputs.
#[track_caller]
fn prints(arguments: &str, out: &str, err: &str) {
    let (exit, printed, said) = connect(FILE, arguments);
    assert_eq!(printed, out, "{said}");
    assert_eq!(said, err);
    assert_eq!(exit, Exit::Fine);
}

#[test]
fn psql_and_what_is_built_on_libpq() {
    prints(
        "--for psql --origin shop",
        r#"psql "host=db.example.com port=5432 user=shop_app dbname=shop sslmode=verify-full sslrootcert=/etc/ssl/doorward-ca.crt"
"#,
        "note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
trap: `sslmode=require` encrypts and checks nothing: anybody in between may answer
",
    );
    prints(
        "--for psql --origin blog --host db.other.example",
        r#"psql "host=db.other.example port=5432 user=blog dbname=blog sslmode=verify-full sslrootcert=/etc/ssl/doorward-ca.crt sslcert=/etc/ssl/blog.example.org.crt sslkey=/etc/ssl/blog.example.org.key"
"#,
        "note: the certificate is not for db.other.example: add it to `tls.names`
note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
note: the origin asks for a client certificate: `doorward cert issue blog.example.org` makes it; its key is for the application alone (mode 0600)
trap: `sslmode=require` encrypts and checks nothing: anybody in between may answer
",
    );
}

#[test]
fn django_at_both_servers() {
    prints(
        "--for django --origin shop",
        r#"DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": "db.example.com", "PORT": "5432",
    "USER": "shop_app", "PASSWORD": "...", "NAME": "shop",
    "OPTIONS": {"sslmode": "verify-full", "sslrootcert": "/etc/ssl/doorward-ca.crt"},
}}
"#,
        "note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
trap: dj-database-url's `ssl_require=True` verifies nothing: say `sslmode=verify-full`
trap: workers that live long need `close_old_connections()` around each task
",
    );
    prints(
        "--for django --origin blog --listener my",
        r#"DATABASES = {"default": {
    "ENGINE": "django.db.backends.mysql",
    "HOST": "db.example.com", "PORT": "3306",
    "USER": "blog", "PASSWORD": "...", "NAME": "blog",
    "OPTIONS": {"ssl_mode": "VERIFY_IDENTITY", "ssl": {"ca": "/etc/ssl/doorward-ca.crt", "cert": "/etc/ssl/blog.example.org.crt", "key": "/etc/ssl/blog.example.org.key"}},
}}
"#,
        "note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
note: the origin asks for a client certificate: `doorward cert issue blog.example.org` makes it; its key is for the application alone (mode 0600)
trap: without `ssl_mode` the host name is not checked
trap: workers that live long need `close_old_connections()` around each task
",
    );
}

#[test]
fn rails_at_both_servers() {
    prints(
        "--for rails --origin blog",
        r#"production:
  adapter: postgresql
  host: "db.example.com"
  port: 5432
  username: "blog"
  password: <%= ENV["DATABASE_PASSWORD"] %>
  database: "blog"
  sslmode: verify-full
  sslrootcert: "/etc/ssl/doorward-ca.crt"
  sslcert: "/etc/ssl/blog.example.org.crt"
  sslkey: "/etc/ssl/blog.example.org.key"
"#,
        "note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
note: the origin asks for a client certificate: `doorward cert issue blog.example.org` makes it; its key is for the application alone (mode 0600)
trap: the default application name is `$0`: set `variables: {application_name: ...}` to tell apps apart in the log
",
    );
    prints(
        "--for rails --origin shop --listener my",
        r#"production:
  adapter: mysql2
  host: "db.example.com"
  port: 3306
  username: "shop_app"
  password: <%= ENV["DATABASE_PASSWORD"] %>
  database: "shop"
  ssl_mode: verify_identity
  sslca: "/etc/ssl/doorward-ca.crt"
"#,
        "note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
trap: old mysql2 gems, and new ones over MariaDB's client library, check no name
",
    );
}

#[test]
fn express_at_both_servers() {
    prints(
        "--for express --origin blog",
        r#"DATABASE_URL="postgres://blog:PASSWORD@db.example.com:5432/blog?sslmode=verify-full&sslrootcert=/etc/ssl/doorward-ca.crt&sslcert=/etc/ssl/blog.example.org.crt&sslkey=/etc/ssl/blog.example.org.key"
"#,
        "note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
note: the origin asks for a client certificate: `doorward cert issue blog.example.org` makes it; its key is for the application alone (mode 0600)
trap: `pool.on('error', ...)` is obligatory: an idle connection that ends would end the process
trap: `sslrootcert=system` fails: it is read as a file
",
    );
    prints(
        "--for express --origin shop --listener my",
        r#"mysql.createPool({
  host: "db.example.com", port: 3306, user: "shop_app", password: process.env.DATABASE_PASSWORD, database: "shop",
  ssl: {ca: fs.readFileSync("/etc/ssl/doorward-ca.crt"), verifyIdentity: true},
})
"#,
        "note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
trap: without `verifyIdentity` the host name is not checked
",
    );
}

#[test]
fn the_command_lines_of_mysql() {
    prints(
        "--for mysql --origin blog",
        "mysql --host=db.example.com --port=3306 --user=blog --password --ssl-mode=VERIFY_IDENTITY --ssl-ca=/etc/ssl/doorward-ca.crt --ssl-cert=/etc/ssl/blog.example.org.crt --ssl-key=/etc/ssl/blog.example.org.key blog
",
        "note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
note: the origin asks for a client certificate: `doorward cert issue blog.example.org` makes it; its key is for the application alone (mode 0600)
trap: `--host=localhost` means the unix socket: give a name, or `--protocol=tcp`
",
    );
    prints(
        "--for mariadb --origin shop --ca /opt/ca.crt",
        "mariadb --host=db.example.com --port=3306 --user=shop_app --password --ssl-verify-server-cert --ssl-ca=/opt/ca.crt shop
",
        "note: copy /var/lib/doorward/tls/ca.crt to /opt/ca.crt on the client's machine
trap: `--host=localhost` means the unix socket: give a name, or `--protocol=tcp`
trap: to 127.0.0.1 it checks no certificate: try it by the name
",
    );
}

#[test]
fn pymysql_and_nobody_in_particular() {
    prints(
        "--for pymysql --origin blog",
        r#"pymysql.connect(
    host="db.example.com", port=3306, user="blog", password="...", database="blog",
    ssl_ca="/etc/ssl/doorward-ca.crt", ssl_verify_cert=True, ssl_verify_identity=True,
    ssl_cert="/etc/ssl/blog.example.org.crt", ssl_key="/etc/ssl/blog.example.org.key",
)
"#,
        "note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
note: the origin asks for a client certificate: `doorward cert issue blog.example.org` makes it; its key is for the application alone (mode 0600)
trap: without `ssl_verify_identity` the host name is not checked
",
    );
    prints(
        "--for pymysql",
        r#"pymysql.connect(
    host="db.example.com", port=3306, user="USER", password="...", database="DATABASE",
    ssl_ca="/etc/ssl/doorward-ca.crt", ssl_verify_cert=True, ssl_verify_identity=True,
)
"#,
        "note: `--origin` fills in user and database; there are shop, blog
note: copy /var/lib/doorward/tls/ca.crt to /etc/ssl/doorward-ca.crt on the client's machine
trap: without `ssl_verify_identity` the host name is not checked
",
    );
}

#[test]
fn names_that_mean_something_to_a_shell_or_a_url_are_quoted() {
    let text = FILE
        .replace("shop_app", "\"o'hara $x\"")
        .replace("[shop]", "[\"a/b c\"]");
    let (_, psql, _) = connect(&text, "--for psql --origin shop");
    assert!(
        psql.starts_with(
            r"psql 'host=db.example.com port=5432 user='\''o\'\''hara $x'\'' dbname='\''a/b c'\'' "
        ),
        "{psql}"
    );
    let (_, url, _) = connect(&text, "--for express --origin shop");
    assert!(
        url.contains("postgres://o%27hara%20%24x:PASSWORD@db.example.com:5432/a%2Fb%20c?"),
        "{url}"
    );
}

#[test]
fn what_is_not_there_is_said() {
    for (arguments, expected) in [
        (
            "--for psql --origin shopp",
            "error: there is no origin `shopp`; there are shop, blog\n",
        ),
        (
            "--for psql --listener my",
            "error: there is no postgres listener\n",
        ),
        (
            "--for django --listener mi",
            "error: there is no such listener\n",
        ),
    ] {
        let (exit, out, err) = connect(FILE, arguments);
        assert_eq!(
            (exit, out.as_str(), err.as_str()),
            (Exit::Usage, "", expected)
        );
    }
}

#[test]
fn a_program_reads_the_same() {
    let (exit, out, err) = connect(FILE, "--for psql --origin blog --format json");
    assert_eq!((exit, err.as_str()), (Exit::Fine, ""));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["host"], "db.example.com");
    assert_eq!(json["port"], 5432);
    assert_eq!(json["ca"], "/var/lib/doorward/tls/ca.crt");
    assert_eq!(json["certificate"], "/etc/ssl/blog.example.org.crt");
    assert!(json["lines"][0].as_str().unwrap().starts_with("psql "));
    assert!(
        json["traps"][0]
            .as_str()
            .unwrap()
            .contains("sslmode=require")
    );
}
