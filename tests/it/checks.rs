//! `doorward check` beside a real PostgreSQL: what an operator should know before clients find it out.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use crate::harness::{
    Ended, Postgres,
    gateway::{Plan, doorward},
    network::{ELSEWHERE, in_own_network},
    run,
};

/// What `check` says of a file before this upstream.
fn check(upstream: &str, origins: &str) -> Ended {
    let plan = Plan::new(upstream);
    let file = plan.folder.path().join("allowlist.yaml");
    std::fs::write(&file, format!("{}{origins}", plan.head)).unwrap();
    run(doorward().arg("check").arg(&file))
}

#[test]
fn who_needs_no_password_behind_the_gateway_is_told() {
    let server = Postgres::shared();
    let origins = "\
origins:
  - {name: shop, from: [10.0.0.1], users: [app, by_md5, by_text, trusted], databases: [shop]}
  - {name: replica, from: [10.0.0.1], users: [replicator], replication: physical}
";
    let over_tcp = check(&server.address(), origins);
    let said = over_tcp.stdout + &over_tcp.stderr;
    assert!(said.contains("W-TRUST"), "{said}");
    assert!(
        said.contains("lets \"trusted\" in from 127.0.0.1 without a password"),
        "{said}"
    );
    assert!(
        said.contains("pg_hba.conf") && !said.contains("W-HBA"),
        "{said}"
    );
    // by the socket of this server its superuser is trusted, too
    let socket = server
        .socket_folder()
        .join(format!(".s.PGSQL.{}", server.port));
    let over_unix = check(socket.to_str().unwrap(), origins);
    let said = over_unix.stdout + &over_unix.stderr;
    assert!(
        said.contains("lets \"postgres\" in over the unix socket (`local`) without a password"),
        "{said}"
    );
    let harmless = origins.replace(", trusted", "");
    let well = check(&server.address(), &harmless);
    assert!(well.worked().ends_with("ok"), "{well:?}");
}

#[test]
fn who_has_no_line_in_pg_hba_and_a_server_that_is_not_there_are_told() {
    let origins =
        "origins:\n  - {name: a, from: [10.0.0.1], users: [tls_only], databases: [shop]}\n";
    let ended = check(&Postgres::shared().address(), origins);
    let said = ended.stdout + &ended.stderr;
    assert!(
        said.contains("W-HBA") && said.contains("turns \"tls_only\" away from 127.0.0.1"),
        "it comes in clear: {said}"
    );
    let ended = check("127.0.0.1:1", origins);
    let said = ended.stdout + &ended.stderr;
    assert!(said.contains("W-UPSTREAM"), "{said}");
}

#[test]
fn a_database_that_answers_past_the_gateway_is_told() {
    in_own_network(
        "checks::a_database_that_answers_past_the_gateway_is_told",
        || {
            let origins = "origins:\n  - {name: a, from: [10.0.0.1]}\n";
            for (bound, exposed) in [(Ipv4Addr::UNSPECIFIED, true), (Ipv4Addr::LOCALHOST, false)] {
                let server = TcpListener::bind((bound, 0)).unwrap();
                let port = server.local_addr().unwrap().port();
                // asks for a password in clear whoever comes, and knows no GSSAPI
                thread::spawn(move || {
                    for mut socket in server.incoming().map_while(Result::ok) {
                        let mut said = [0; 512];
                        let answer: &[u8] = match socket.read(&mut said) {
                            Ok(8) => b"N",
                            _ => b"R\0\0\0\x08\0\0\0\x03",
                        };
                        socket.write_all(answer).ok();
                    }
                });
                let ended = check(&format!("127.0.0.1:{port}"), origins);
                let said = ended.stdout + &ended.stderr;
                let told = said.contains("W-EXPOSED")
                    && said.contains(&format!("answers at {ELSEWHERE}:{port} too"))
                    && said.contains("listen_addresses");
                assert_eq!(told, exposed, "{bound}: {said}");
            }
        },
    );
}
