//! Unchanged clients reach MySQL and MariaDB through the gateway, over TLS that they verify in full and without; and what
//! they send and get is what it would be without the gateway, however much it is.

use crate::harness::{
    Account, Ended, Gateway, Mysql,
    gateway::{Plan, SHOP},
    mariadb, mysql,
    mysql_clients::{Tls, newest_mariadb, php},
    node, python,
};

const WHO: &str = "select concat(substring_index(user(), '@', 1), '@', coalesce(database(), '-'))";

/// The same origin, for clients without TLS too, and for those that are asked for a file.
const OPEN: &str = "\
require: {tls: false}
origins:
  - {name: shop, from: [127.0.0.1], users: [app], databases: [shop], local_infile: true}
";

/// A gateway before each server, and how its clients come: each verifying, each in clear.
fn every_way() -> Vec<(Gateway, &'static Mysql)> {
    let before = |server: &'static Mysql| (Gateway::mysql(&server.address(), OPEN), server);
    Mysql::all().into_iter().map(before).collect()
}

/// Runs a client both with TLS and without at every server, and holds it to these words.
#[track_caller]
fn says(words: &str, client: impl Fn(&Account) -> Ended) {
    for (gateway, server) in every_way() {
        for tls in [Tls::Verified, Tls::Off] {
            let ended = client(&gateway.account().tls(tls));
            assert_eq!(ended.worked(), words, "{:?}, {tls:?}", server.kind);
        }
    }
}

/// Python that has a dictionary `to` for its driver, and `ca`, which is `None` where TLS is not wanted.
fn pythonic(script: &str) -> String {
    format!(
        "import os\n\
         e = os.environ; ca = e.get('DB_CA')\n\
         to = dict(host=e['DB_HOST'], port=int(e['DB_PORT']), user=e['DB_USER'], password=e['DB_PASSWORD'], database=e['DB_NAME'])\n\
         {script}"
    )
}

/// The same for Node: an object `to`.
fn nodish(script: &str) -> String {
    format!(
        "const e = process.env, crypto = require('crypto'), assert = require('assert');\n\
         const to = {{host: e.DB_HOST, port: +e.DB_PORT, user: e.DB_USER, password: e.DB_PASSWORD, database: e.DB_NAME}};\n\
         if (e.DB_CA) to.ssl = {{ca: require('fs').readFileSync(e.DB_CA)}};\n\
         (async () => {{ {script} }})()"
    )
}

#[test]
fn every_command_line_is_admitted_over_verified_tls() {
    for server in Mysql::all() {
        let gateway = Gateway::mysql(&server.address(), SHOP);
        for client in [mysql, mariadb, newest_mariadb] {
            let account = gateway.account();
            let kind = server.kind;
            assert_eq!(client(&account, WHO).worked(), "app@shop", "{kind:?}");
            let wrong = client(&account.password("wrong"), WHO);
            let refused = wrong.failed().contains("Access denied for user 'app'");
            assert!(refused, "{kind:?}: {wrong:?}");
        }
    }
}

#[test]
fn every_command_line_is_admitted_without_tls_where_that_is_allowed() {
    for (gateway, server) in every_way() {
        let account = gateway.account().tls(Tls::Off);
        for client in [mysql, mariadb, newest_mariadb] {
            assert_eq!(
                client(&account, WHO).worked(),
                "app@shop",
                "{:?}",
                server.kind
            );
        }
    }
}

#[test]
fn pymysql_is_admitted() {
    let script = pythonic(&format!(
        "import pymysql\n\
         c = pymysql.connect(ssl_ca=ca, ssl_verify_cert=bool(ca), ssl_verify_identity=bool(ca), **to)\n\
         k = c.cursor(); k.execute({WHO:?}); print(k.fetchone()[0]); c.ping(); c.close()"
    ));
    says("app@shop", |account| python(account, &script));
}

#[test]
fn mysqlclient_is_admitted() {
    let script = pythonic(&format!(
        "import MySQLdb\n\
         c = MySQLdb.connect(**(dict(ssl=dict(ca=ca)) if ca else dict(ssl_mode='DISABLED')), **to)\n\
         k = c.cursor(); k.execute({WHO:?}); print(k.fetchone()[0]); c.close()"
    ));
    says("app@shop", |account| python(account, &script));
}

#[test]
fn mysql_connector_is_admitted_in_python_and_in_c() {
    let script = pythonic(&format!(
        "import _mysql_connector, mysql.connector # in this order: with an OpenSSL of its own\n\
         way = dict(ssl_ca=ca, ssl_verify_cert=True, ssl_verify_identity=True) if ca else dict(ssl_disabled=True)\n\
         for pure in (True, False):\n\
         \x20   c = mysql.connector.connect(use_pure=pure, **way, **to)\n\
         \x20   k = c.cursor(); k.execute({WHO:?}); print(k.fetchone()[0])\n\
         \x20   c.reset_session(); k = c.cursor(prepared=True); k.execute('select %s', (7,)); print(k.fetchone()[0]); c.close()"
    ));
    says("app@shop\n7\napp@shop\n7", |account| {
        python(account, &script)
    });
}

#[test]
fn django_makes_its_tables_and_finds_its_rows() {
    let script = pythonic(
        "import django\n\
         from django.conf import settings\n\
         from django.db import connection, models, transaction\n\
         options = dict(ssl=dict(ca=ca)) if ca else dict(ssl_mode='DISABLED')\n\
         settings.configure(USE_TZ=True, DATABASES=dict(default=dict(ENGINE='django.db.backends.mysql', HOST=to['host'], PORT=to['port'],\n\
         \x20   USER=to['user'], PASSWORD=to['password'], NAME=to['database'], OPTIONS=options)))\n\
         django.setup()\n\
         name = 'django_%d' % os.getpid()\n\
         class Book(models.Model):\n\
         \x20   title = models.CharField(max_length=99)\n\
         \x20   class Meta: app_label = 'books'; db_table = name\n\
         with connection.schema_editor() as editor: editor.create_model(Book)\n\
         with transaction.atomic():\n\
         \x20   Book.objects.bulk_create(Book(title='t%d é✓' % i) for i in range(500))\n\
         print(Book.objects.filter(title__endswith='✓').count(), Book.objects.get(title='t7 é✓').title)\n\
         with connection.schema_editor() as editor: editor.delete_model(Book)",
    );
    says("500 t7 é✓", |account| python(account, &script));
}

#[test]
fn node_mysql2_is_admitted_and_may_become_itself_again() {
    let script = nodish(&format!(
        "const c = await require('mysql2/promise').createConnection(to);\n\
         const who = async () => console.log(Object.values((await c.query({WHO:?}))[0][0])[0]);\n\
         await who(); await c.changeUser({{user: to.user, password: to.password, database: to.database}}); await who();\n\
         console.log((await c.execute('select ? + 1 as n', [41]))[0][0].n); await c.end()"
    ));
    says("app@shop\napp@shop\n42", |account| node(account, &script));
}

#[test]
fn node_mariadb_is_admitted_and_sends_before_it_is_answered() {
    let script = nodish(&format!(
        "to.pipelining = true; to.allowPublicKeyRetrieval = true;\n\
         const c = await require('mariadb').createConnection(to);\n\
         console.log(Object.values((await c.query({WHO:?}))[0])[0]);\n\
         const all = await Promise.all(Array.from({{length: 300}}, (_, i) => c.query('select ' + i + ' as n')));\n\
         assert.deepStrictEqual(all.map(rows => Number(rows[0].n)), Array.from({{length: 300}}, (_, i) => i));\n\
         await c.query('create temporary table t (a int, b varchar(20))');\n\
         await c.batch('insert into t values (?, ?)', Array.from({{length: 200}}, (_, i) => [i, 'b' + i]));\n\
         console.log(Number((await c.query('select count(distinct b) as n from t'))[0].n)); await c.end()"
    ));
    says("app@shop\n200", |account| node(account, &script));
}

#[test]
fn node_mysql_which_knows_no_plugins_is_told_so() {
    let script = nodish("require('mysql').createConnection(to).connect()");
    for (gateway, _) in every_way() {
        for tls in [Tls::Verified, Tls::Off] {
            let said = node(&gateway.account().tls(tls), &script);
            assert!(
                said.failed().contains("CLIENT_PLUGIN_AUTH is missing"),
                "{said:?}"
            );
        }
    }
}

#[test]
fn both_drivers_of_php_are_admitted() {
    let script = format!(
        "$ca = getenv('DB_CA'); $c = mysqli_init(); if ($ca) $c->ssl_set(null, null, $ca, null, null);\n\
         $at = [getenv('DB_HOST'), getenv('DB_USER'), getenv('DB_PASSWORD'), getenv('DB_NAME'), (int)getenv('DB_PORT')];\n\
         $c->real_connect(...[...$at, null, $ca ? MYSQLI_CLIENT_SSL : 0]);\n\
         echo $c->query({WHO:?})->fetch_row()[0], \"\\n\"; $c->change_user($at[1], $at[2], $at[3]);\n\
         echo $c->query({WHO:?})->fetch_row()[0], \"\\n\";\n\
         $p = new PDO(\"mysql:host=$at[0];port=$at[4];dbname=$at[3]\", $at[1], $at[2], $ca ? [PDO::MYSQL_ATTR_SSL_CA => $ca] : []);\n\
         $p->setAttribute(PDO::ATTR_EMULATE_PREPARES, false); $s = $p->prepare('select ?'); $s->execute(['pdo']); echo $s->fetchColumn();"
    );
    says("app@shop\napp@shop\npdo", |account| php(account, &script));
}

#[test]
fn the_upstream_may_be_a_name_a_unix_socket_or_its_folder() {
    for server in Mysql::all() {
        let folder = server.socket_folder();
        let socket = folder.join("mysqld.sock");
        let name = format!("localhost:{}", server.port);
        for upstream in [&*name, folder.to_str().unwrap(), socket.to_str().unwrap()] {
            let gateway = Gateway::mysql(upstream, SHOP);
            let said = mariadb(&gateway.account(), WHO);
            assert_eq!(said.worked(), "app@shop", "{:?} {upstream}", server.kind);
        }
    }
}

#[test]
fn fifty_megabytes_come_through_unchanged_in_both_directions() {
    let script = nodish(
        "const c = await require('mysql2/promise').createConnection(to);\n\
         const sum = bytes => crypto.createHash('sha256').update(bytes).digest('hex');\n\
         const data = crypto.randomBytes(50_000_000);\n\
         await c.query('create temporary table t (b longblob)');\n\
         await c.execute('insert into t values (?)', [data]);\n\
         const [[row]] = await c.query('select b, sha2(b, 256) as s from t');\n\
         assert.strictEqual(row.s, sum(data)); assert.strictEqual(sum(row.b), sum(data)); console.log('same'); await c.end()",
    );
    says("same", |account| node(account, &script));
}

#[test]
fn packets_about_the_longest_payload_come_through_in_both_directions() {
    let script = pythonic(
        "import pymysql\n\
         c = pymysql.connect(ssl_ca=ca, **to); k = c.cursor()\n\
         full = 0xFFFFFF\n\
         for payload in (full - 1, full, full + 1, 2 * full - 1, 2 * full, 2 * full + 1):\n\
         \x20   head, tail = \"select length('\", \"')\"\n\
         \x20   letters = payload - 1 - len(head) - len(tail)\n\
         \x20   k.execute(head + 'x' * letters + tail); assert k.fetchone() == (letters,)\n\
         \x20   letters = payload - (4 if payload < full + 4 else 9)\n\
         \x20   k.execute(\"select repeat('y', %d), 'z'\" % (letters - 2)); y, z = k.fetchone(); assert (len(y), z) == (letters - 2, 'z')\n\
         \x20   k.execute(\"select repeat('y', %d)\" % letters); assert k.fetchone() == ('y' * letters,)\n\
         \x20   k.execute('select 1'); assert k.fetchone() == (1,)\n\
         print('whole')",
    );
    says("whole", |account| python(account, &script));
}

#[test]
fn many_results_cursors_and_files_come_through() {
    let script = pythonic(
        "import tempfile, pymysql, mysql.connector as m\n\
         from pymysql.constants import CLIENT\n\
         c = pymysql.connect(ssl_ca=ca, local_infile=True, client_flag=CLIENT.MULTI_STATEMENTS, **to); k = c.cursor()\n\
         k.execute('create temporary table t (a int, b text); insert into t values (1, 2), (3, 4); select * from t; select count(*) from t; set @x = 1; select @x')\n\
         got = [k.fetchall()]\n\
         while k.nextset(): got.append(k.fetchall())\n\
         assert [r for r in got if r] == [((1, '2'), (3, '4')), ((2,),), ((1,),)], got\n\
         with tempfile.NamedTemporaryFile('w') as f:\n\
         \x20   f.writelines('%d\\t%s\\n' % (i, 'é' * (i % 90)) for i in range(30000)); f.flush()\n\
         \x20   k.execute(\"load data local infile '%s' into table t character set utf8mb4\" % f.name)\n\
         k.execute('select count(*), sum(char_length(b)) from t'); print(*k.fetchone())\n\
         s = c.cursor(pymysql.cursors.SSCursor); s.execute('select a from t'); assert sum(1 for _ in s) == 30002\n\
         way = dict(ssl_ca=ca) if ca else dict(ssl_disabled=True)\n\
         d = m.connect(use_pure=True, **way, **to); p = d.cursor(prepared=True)\n\
         for i in range(50): p.execute('select %s, repeat(%s, 1000)', (i, 'p')); assert p.fetchall() == [(i, 'p' * 1000)]\n\
         try: p.execute('select nonsense from nowhere')\n\
         except m.Error as wrong: print(wrong.errno)\n\
         k.execute('select 1'); print(k.fetchone()[0])",
    );
    let lengths: usize = (0..30_000).map(|i| i % 90).sum();
    says(&format!("30002 {}\n1146\n1", lengths + 2), |account| {
        python(account, &script)
    });
}

#[test]
fn a_statement_is_stopped_by_the_connection_id_that_its_client_knows() {
    for (gateway, server) in every_way() {
        let script = pythonic(
            "import threading, time, pymysql\n\
             c, other = (pymysql.connect(ssl_ca=ca, **to) for _ in range(2)); k = c.cursor()\n\
             k.execute('select connection_id()'); assert k.fetchone()[0] == c.thread_id()\n\
             def stop():\n\
             \x20   o = other.cursor()\n\
             \x20   while not o.execute(\"select 1 from information_schema.processlist where info like 'select sleep(40)%'\"): time.sleep(0.02)\n\
             \x20   o.execute('kill query %d' % c.thread_id())\n\
             t = threading.Thread(target=stop); t.start(); began = time.time()\n\
             try: k.execute('select sleep(40) from dual'); stopped = k.fetchone() == (1,)\n\
             except pymysql.Error as wrong: stopped = wrong.args[0] == 1317\n\
             t.join(); print(stopped and time.time() - began < 30); k.execute('select 1')",
        );
        let said = python(&gateway.account(), &script);
        assert_eq!(said.worked(), "True", "{:?}", server.kind);
    }
}

#[test]
fn the_way_to_the_server_may_be_encrypted_and_verified() {
    for server in Mysql::all() {
        let root = crate::harness::Authority::shared().root();
        let keys = format!(
            ", upstream_tls: {{mode: verify-full, ca: {}}}",
            root.display()
        );
        let gateway = Plan::mysql(&server.address(), &keys).start(
            "origins:\n  - {name: shop, from: [127.0.0.1], users: [app, tls_only], databases: [shop]}\n",
        );
        for user in ["app", "tls_only"] {
            let mut account = gateway.account();
            user.clone_into(&mut account.user);
            let said = mysql(&account, WHO);
            assert_eq!(said.worked(), format!("{user}@shop"), "{:?}", server.kind);
        }
    }
}
