//! The gateway without a database: reload, the admin's doors, health.

use std::{
    fs,
    io::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn_blocking,
    time::sleep,
};

use super::{
    admin,
    control::{self, Answer, Refused, Request},
    house::House,
    http,
    reload::Caller,
    *,
};
use crate::{config::Overrides, wire::mysql::Packet};

/// An open house in a folder of its own. Nobody accepts at its doors.
struct Fixture {
    folder: TempDir,
    house: Arc<House>,
    http: std::net::SocketAddr,
}

impl Fixture {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), ORIGINS);
        Self::open_in(folder).await
    }

    /// With the allowlist that is there.
    async fn open_in(folder: TempDir) -> Self {
        let source = Source::File {
            path: file(folder.path()),
            overrides: Overrides::default(),
        };
        let configuration = Configuration::read(source).unwrap();
        let logging = Logging::unheard();
        let Open {
            house,
            http,
            admin: local,
            ..
        } = start::open(configuration, &logging).await.unwrap();
        let tasks = Tasks::default();
        let at = http.local_addr().unwrap();
        let pages = Pages {
            house: Arc::clone(&house),
            loopback: true,
        };
        tasks.spawn("http", http::serve(http, Arc::new(pages), tasks.clone()));
        let answering = admin::serve(local, Arc::clone(&house), tasks.clone());
        tasks.spawn("admin", answering);
        Self {
            folder,
            house,
            http: at,
        }
    }

    fn write(&self, rules: &str) {
        write(self.folder.path(), rules);
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    async fn ask(&self, request: Request) -> Answer {
        let socket = self.socket();
        let asked = spawn_blocking(move || control::ask(&socket, &request)).await;
        asked.unwrap().unwrap()
    }

    fn generation(&self) -> u64 {
        self.house.standing.borrow().policy.generation()
    }

    fn kept(&self) -> String {
        let path = self.folder.path().join("state").join(source::LAST_GOOD);
        let json: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        json["texts"]["main"].as_str().unwrap().to_owned()
    }

    async fn get(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("allowlist.yaml")
}

fn write(folder: &Path, rules: &str) {
    let text = format!(
        "version: 1
listeners:
  - {{name: pg, protocol: postgres, listen: \"127.0.0.1:0\", upstream: \"127.0.0.1:1\"}}
admin: {{http: \"127.0.0.1:0\", socket: {folder}/admin.sock}}
state_dir: {folder}/state
tls: {{names: [localhost]}}
{rules}",
        folder = folder.display()
    );
    fs::write(file(folder), text).unwrap();
}

const ORIGINS: &str = "origins:
  - {name: shop, from: [192.0.2.7], users: [shop], databases: [shop]}
";
const MORE_ORIGINS: &str = "origins:
  - {name: shop, from: [192.0.2.7], users: [shop], databases: [shop]}
  - {name: blog, from: [192.0.2.8], users: [blog], databases: [blog]}
";

#[tokio::test]
async fn a_good_file_is_in_force_at_once_and_kept_as_the_last_good_one() {
    let fixture = Fixture::open().await;
    assert_eq!(fixture.generation(), 1);
    assert!(!fixture.kept().contains("blog"));
    fixture.write(MORE_ORIGINS);
    let Answer::Reloaded(reloaded) = fixture.ask(Request::Reload { yes: false }).await else {
        panic!("not reloaded");
    };
    assert_eq!((reloaded.generation, reloaded.origins), (2, 2));
    assert!(reloaded.needs_restart.is_empty(), "{reloaded:?}");
    assert_eq!(fixture.generation(), 2);
    assert!(fixture.kept().contains("blog"));
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_says_why() {
    let fixture = Fixture::open().await;
    let before = fixture.kept();
    fixture.write("colour: red\n");
    let answer = fixture.ask(Request::Reload { yes: true }).await;
    let Answer::Refused { why, text } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(why, Refused::Configuration);
    assert!(text.contains("colour"), "{text}");
    assert_eq!((fixture.generation(), fixture.kept()), (1, before));
    let status = fixture.house.status().await;
    assert!(status.problem.unwrap().contains("colour"));
    let path = file(fixture.folder.path()).display().to_string();
    assert_eq!(status.differs, [path]);
    assert_eq!(status.origins[0].origin, "shop");
    fixture.write(ORIGINS);
    fixture.house.reload(Caller::Signal).await.unwrap();
    let status = fixture.house.status().await;
    assert_eq!((status.problem, status.differs.len()), (None, 0));
    assert_eq!(fixture.generation(), 2, "a failure uses up no number");
}

#[tokio::test]
async fn rules_whose_own_tests_fail_do_not_come_into_force_whoever_asks() {
    let fixture = Fixture::open().await;
    let tests = "tests:\n  - {from: 192.0.2.7, user: shop, tls: true, expect: deny}\n";
    fixture.write(&format!("{MORE_ORIGINS}{tests}"));
    for caller in [Caller::Signal, Caller::Operator { yes: true }] {
        let no = fixture.house.reload(caller).await.unwrap_err();
        assert_eq!(no.why, Refused::Configuration);
        assert!(
            no.text
                .ends_with("expected deny, got allow by \"shop\" (line 8)"),
            "{no:?}"
        );
    }
    assert_eq!(fixture.generation(), 1);
    let told = fixture.house.status().await.problem.unwrap();
    assert!(told.starts_with("tests: 0 passed, 1 failed"), "{told}");
    fixture.write(&format!("{MORE_ORIGINS}{}", tests.replace("deny", "allow")));
    fixture.house.reload(Caller::Signal).await.unwrap();
    assert_eq!(fixture.generation(), 2);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_keeps_rules_and_certificate() {
    let fixture = Fixture::open().await;
    let folder = fixture.folder.path().display();
    let tls = Arc::clone(&fixture.house.gateway.tls.borrow());
    fixture.write(&format!(
        "{MORE_ORIGINS}limits: {{dial: 1s}}\nlog: {{level: debug}}\n"
    ));
    let with_files = fs::read_to_string(file(fixture.folder.path()))
        .unwrap()
        .replace(
            "tls: {names: [localhost]}",
            &format!("tls: {{certificate: {folder}/none.crt, key: {folder}/none.key}}"),
        );
    fs::write(file(fixture.folder.path()), with_files).unwrap();
    let no = fixture.house.reload(Caller::Signal).await.unwrap_err();
    assert!(no.text.contains("none.crt"), "{no:?}");
    assert_eq!(fixture.generation(), 1);
    assert_eq!(fixture.house.gateway.limits.borrow().dial.as_secs(), 5);
    assert!(Arc::ptr_eq(&tls, &fixture.house.gateway.tls.borrow()));
}

#[tokio::test]
async fn a_person_is_asked_before_everybody_is_shut_out_and_a_signal_is_not() {
    let fixture = Fixture::open().await;
    fixture.write("origins: []\n");
    let answer = fixture.ask(Request::Reload { yes: false }).await;
    let Answer::Refused { why, text } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(why, Refused::AsksForYes);
    assert!(text.contains("--yes"), "{text}");
    assert_eq!(fixture.generation(), 1);
    assert_eq!(
        fixture.house.status().await.problem,
        None,
        "the file is good"
    );
    fixture.house.reload(Caller::Signal).await.unwrap();
    assert_eq!(fixture.generation(), 2);
}

#[tokio::test]
async fn no_more_origins_have_series_of_their_own_than_the_file_says() {
    let fixture = Fixture::open().await;
    fixture.write(&format!("metrics: {{max_origins: 1}}\n{MORE_ORIGINS}"));
    fixture.house.reload(Caller::Signal).await.unwrap();
    let meters = &fixture.house.gateway.meters;
    assert_eq!(meters.origin("pg", "shop").name(), "shop");
    assert_eq!(meters.origin("pg", "blog").name(), "_other");
}

#[tokio::test]
async fn what_waits_for_a_restart_is_said_and_the_rest_is_live() {
    let fixture = Fixture::open().await;
    let text = fs::read_to_string(file(fixture.folder.path())).unwrap();
    let changed = text
        .replace("127.0.0.1:1\"", "127.0.0.1:2\", allow_plain_cancel: false")
        .replace("/state\n", "/elsewhere\n");
    fs::write(
        file(fixture.folder.path()),
        format!("{changed}limits: {{dial: 1s}}\n"),
    )
    .unwrap();
    let reloaded = fixture.house.reload(Caller::Signal).await.unwrap();
    assert_eq!(reloaded.needs_restart, ["listeners", "state_dir"]);
    assert_eq!(fixture.house.gateway.limits.borrow().dial.as_secs(), 1);
    let door = &fixture.house.doors[0];
    assert!(!door.in_force().allow_plain_cancel);
    assert_eq!(door.upstream.to_string(), "127.0.0.1:1");
}

#[tokio::test]
async fn a_reload_changes_what_the_server_behind_a_door_must_prove() {
    let folder = tempfile::tempdir().unwrap();
    let (at, ca) = (file(folder.path()), folder.path().join("ca.pem"));
    write(folder.path(), ORIGINS);
    let text = fs::read_to_string(&at)
        .unwrap()
        .replace("postgres", "mysql");
    fs::write(&at, &text).unwrap();
    let fixture = Fixture::open_in(folder).await;
    let reload = async |way: &str| {
        let way = way.replace("CA", ca.to_str().unwrap());
        fs::write(&at, text.replace("upstream: \"127.0.0.1:1\"", &way)).unwrap();
        fixture.house.reload(Caller::Signal).await
    };
    let door = &fixture.house.doors[0];
    assert!(door.upstream.tls().is_none());

    let verified = "upstream: \"127.0.0.1:1\", protect_upstream: strict, upstream_tls: {mode: verify-full, ca: CA}";
    let refused = reload(verified).await.unwrap_err();
    assert!(refused.text.contains("ca.pem"), "{refused:?}");
    assert!(door.upstream.tls().is_none(), "nothing has changed");
    let made = rcgen::generate_simple_self_signed(["db.example.com".to_owned()]).unwrap();
    fs::write(&ca, made.cert.pem()).unwrap();
    reload(verified).await.unwrap();
    assert!(door.upstream.tls().is_some());
    let strict = crate::config::ProtectUpstream::Strict;
    assert_eq!(door.in_force().protect_upstream, strict);

    // the server is another only after a restart, and till then what is said of the new one is not said of this one
    let reloaded = reload("upstream: /run/mysqld").await.unwrap();
    assert_eq!(reloaded.needs_restart, ["listeners"]);
    assert!(door.upstream.tls().is_some());
}

#[tokio::test]
async fn a_mysql_server_that_is_asked_after_hears_a_whole_login() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let serving = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        // PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH
        let parts: [&[u8]; 3] = [
            b"\x0a11.8.2-MariaDB\0\x07\0\0\0aaaaaaaa\0\0\x82\x2d\x02\0\x08\0\x15",
            &[0; 10],
            b"bbbbbbbbbbbb\0mysql_native_password\0",
        ];
        let greeting = Packet::encode(0, &parts.concat());
        socket.write_all(&greeting).await.unwrap();
        let mut heard = vec![0; 512];
        let many = socket.read(&mut heard).await.unwrap();
        heard.truncate(many);
        let denied = Packet::encode(2, b"\xff\x15\x04#28000No");
        socket.write_all(&denied).await.unwrap();
        (heard, socket.read(&mut [0]).await.unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), ORIGINS);
    let text = fs::read_to_string(file(folder.path())).unwrap();
    let text = text.replace("postgres", "mysql");
    let text = text.replace("127.0.0.1:1\"", &format!("{server}\""));
    fs::write(file(folder.path()), text).unwrap();
    let fixture = Fixture::open_in(folder).await;
    let (status, (heard, then)) = tokio::join!(fixture.house.status(), serving);
    assert!(status.listeners[0].upstream_up);
    assert!(heard.windows(15).any(|part| part == b"doorward_nobody"));
    assert_eq!(then, 0, "and hangs up after the no");
}

#[tokio::test]
async fn a_broken_file_at_the_start_is_replaced_loudly_by_the_last_good_copy() {
    let fixture = Fixture::open().await;
    fixture.write("colour: red\n");
    let source = Source::File {
        path: file(fixture.folder.path()),
        overrides: Overrides::default(),
    };
    let configuration = Configuration::read(source.clone()).unwrap();
    assert!(configuration.problem.unwrap().contains("colour"));
    assert_eq!(configuration.loaded.rules.origins.len(), 1);
    let elsewhere = fixture.folder.path().join("elsewhere.yaml");
    fs::copy(file(fixture.folder.path()), &elsewhere).unwrap();
    let another = Source::File {
        path: elsewhere,
        overrides: Overrides::default(),
    };
    assert!(
        Configuration::read(another).is_err(),
        "it is not that file's copy"
    );
    fs::remove_dir_all(fixture.folder.path().join("state")).unwrap();
    let error = Configuration::read(source).unwrap_err();
    assert!(error.to_string().contains("colour"), "{error}");
}

#[tokio::test]
async fn the_admin_socket_takes_one_line_of_bounded_length_and_sense() {
    let fixture = Fixture::open().await;
    let say = |bytes: Vec<u8>| {
        let socket = fixture.socket();
        spawn_blocking(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            // a daemon that has heard enough may close before it has heard all
            let _closed = stream.write_all(&bytes);
            let mut answer = String::new();
            let _reset = std::io::Read::read_to_string(&mut stream, &mut answer);
            answer
        })
    };
    let answer = say(b"{\"command\":\"stop\"}\n".to_vec()).await.unwrap();
    assert!(answer.contains("\"why\":\"request\""), "{answer}");
    let answer = say(vec![b'x'; 1 << 20]).await.unwrap();
    assert!(answer.is_empty() || answer.contains("64 KiB"), "{answer}");
    let answer = say(b"{\"command\":\"status\"}\n".to_vec()).await.unwrap();
    assert!(answer.starts_with("{\"answer\":\"status\""), "{answer}");
}

#[tokio::test]
async fn http_serves_what_it_has_to_whom_it_may() {
    let fixture = Fixture::open().await;
    for (request, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "200"),
        ("HEAD /healthz HTTP/1.0\r\n\r\n", "200"),
        ("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "200"),
        ("GET /readyz HTTP/1.1\r\nHost: [::1]:9432\r\n\r\n", "503"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "200"),
        (
            "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "200",
        ),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
        ("GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("GET /metrics/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "403"),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
            "400",
        ),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let answer = fixture.get(request).await;
        let got = answer.split(' ').nth(1);
        assert_eq!(got, Some(status), "{request:?}\n{answer}");
    }
}

#[tokio::test]
async fn slow_and_crowding_readers_of_the_metrics_go_after_a_second() {
    let fixture = Fixture::open().await;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(TcpStream::connect(fixture.http).await.unwrap());
    }
    let began = Instant::now();
    for stream in &mut held {
        let mut byte = [0];
        // closed, or reset
        assert!(!matches!(stream.read(&mut byte).await, Ok(1)));
    }
    assert!(began.elapsed() < Duration::from_secs(3));
    sleep(Duration::from_millis(50)).await;
    let answer = fixture
        .get("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
