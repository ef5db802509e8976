//! MySQL's commands that ask for more than a statement: nobody becomes somebody else unseen, whatever the packets look like.

use std::time::Duration;

use crate::harness::{
    Client, Gateway, Raw, Rogue,
    mysql_raw::{
        self as mysql, AUTOCOMMIT, COM_BINLOG_DUMP, COM_BINLOG_DUMP_GTID, COM_CHANGE_USER,
        COM_INIT_DB, COM_PING, COM_QUERY, COM_REGISTER_SLAVE, COM_STMT_CLOSE,
        COM_STMT_SEND_LONG_DATA, Response, can, err, ok, packet,
    },
    wait_until,
};

const POLICY: &str = "\
require: {tls: false}
origins:
  - {name: shop, from: [127.0.0.1], users: [app, second], databases: [shop, spare]}
  - {name: far, from: [192.0.2.1], users: [boss], databases: [shop]}
";

fn gateway(server: &Rogue) -> Gateway {
    Gateway::mysql(&server.address(), POLICY)
}

fn session(gateway: &Gateway) -> Raw {
    let client = Client::greeted(gateway.port);
    client
        .log_in(&Response::of("app", "shop"), "secret")
        .unwrap()
}

fn pivot(user: &str, database: &str) -> Vec<u8> {
    mysql::change_user(&Response::of(user, database))
}

#[test]
fn nobody_becomes_somebody_else_whom_no_rule_admits() {
    // Teleport 6.2.22, ProxySQL 5927
    let server = Rogue::content();
    let gateway = gateway(&server);
    let mut latin = Response::of("", "shop");
    latin.user = b"app\xe9".to_vec();
    latin.charset = 8;
    let mut quoted = Response::of("'app'", "shop");
    quoted.charset = 45;
    let cases = [
        (pivot("boss", "shop"), 1045),
        (pivot("root", ""), 1045),
        (pivot("app", "mysql"), 1044),
        (pivot("", "shop"), 1045),
        (pivot(&"a".repeat(33), "shop"), 1045),
        (mysql::change_user(&latin), 1045),
        (mysql::change_user(&quoted), 1045),
    ];
    for (command, number) in &cases {
        let mut client = session(&gateway);
        client.put(0, command);
        let refusal = client.err();
        assert_eq!(
            (refusal.number, refusal.sequence),
            (*number, 1),
            "{refusal:?}"
        );
    }
    assert!(!server.has_heard(&[COM_CHANGE_USER]));
    let denied = ("reason", "user_not_allowed");
    assert!(gateway.metric("doorward_decisions_total", &[denied]) >= 2.0);
}

#[test]
fn whom_a_rule_admits_may_take_over_the_session() {
    let server = Rogue::content();
    let gateway = gateway(&server);
    let mut client = session(&gateway);
    let turns = || gateway.metric("doorward_connect_round_trips_total", &[]);
    let before = turns();
    // no database at all is what a client may begin with, too
    for (user, database) in [("second", "spare"), ("app", "shop"), ("second", "")] {
        client.put(0, &pivot(user, database));
        client.ok();
        client.command(COM_PING, b"");
        client.ok();
    }
    let heard = server.commands().concat();
    assert!(heard.starts_with(&[&[COM_CHANGE_USER], b"second\0".as_slice()].concat()));
    // each of them is an opening that the client waits for
    assert!(turns() >= before + 3.0, "{before} before, {} now", turns());
}

#[test]
fn a_change_of_user_is_seen_however_it_is_cut() {
    let server = Rogue::content();
    let gateway = gateway(&server);
    let whole = packet(0, &pivot("boss", "shop"));
    for cut in 1..whole.len() {
        let mut client = session(&gateway);
        client.send(&whole[..cut]);
        std::thread::sleep(Duration::from_millis(2));
        client.send(&whole[cut..]);
        assert_eq!(client.err().number, 1045, "cut at {cut}");
    }
    let mut client = session(&gateway);
    mysql::in_pieces(&mut client, &whole, 1).unwrap();
    assert_eq!(client.err().number, 1045);
    // an allowed one comes through as well
    let mut client = session(&gateway);
    mysql::in_pieces(&mut client, &packet(0, &pivot("second", "shop")), 1).unwrap();
    client.ok();
    assert!(!server.heard_in_a_command(b"boss"));
}

#[test]
fn a_change_of_user_that_can_be_read_in_two_ways_is_refused() {
    let server = Rogue::content();
    let gateway = gateway(&server);
    let whole = pivot("app", "shop");
    for end in 1..whole.len() - 1 {
        let mut client = session(&gateway);
        client.put(0, &whole[..end]);
        let refusal = client.packet().and_then(|packet| packet.refusal());
        let refused = refusal.is_some_and(|refusal| refusal.number != 0);
        // the plugin's name may be any
        assert!(
            refused || end >= whole.len() - mysql::NATIVE.len(),
            "{end} bytes"
        );
    }
    let mut client = session(&gateway);
    client.put(0, &[&whole[..], b"more\0"].concat());
    client.err();
    for command in server.commands() {
        if command[0] == COM_CHANGE_USER {
            assert!(
                command.starts_with(&whole[..whole.len() - mysql::NATIVE.len()]),
                "{command:?}"
            );
        }
    }
}

#[test]
fn no_change_of_user_hides_behind_a_command_that_is_not_answered() {
    let server = Rogue::answering(|raw, heard| {
        std::thread::sleep(Duration::from_millis(50));
        raw.try_send(&packet(heard.sequence + 1, &ok(AUTOCOMMIT)))
            .ok();
    });
    let gateway = gateway(&server);
    for first in [vec![COM_PING], [&[COM_QUERY], b"do 1".as_slice()].concat()] {
        for user in ["boss", "second"] {
            let mut client = session(&gateway);
            client.send(&[packet(0, &first), packet(0, &pivot(user, "shop"))].concat());
            // with a command outstanding nobody knows whose answer is whose: the session ends
            client.rest();
        }
    }
    assert!(!server.has_heard(&[COM_CHANGE_USER]));
}

#[test]
fn commands_without_an_answer_hide_nothing() {
    let server = Rogue::answering(|raw, heard| {
        if ![COM_STMT_CLOSE, COM_STMT_SEND_LONG_DATA].contains(&heard.payload[0]) {
            raw.try_send(&packet(heard.sequence + 1, &ok(AUTOCOMMIT)))
                .ok();
        }
    });
    let gateway = gateway(&server);
    let close = packet(0, &[COM_STMT_CLOSE, 1, 0, 0, 0]);
    let data = packet(
        0,
        &[&[COM_STMT_SEND_LONG_DATA], [b'x'; 30].as_slice()].concat(),
    );
    let ping = packet(0, &[COM_PING]);
    let mut client = session(&gateway);
    client.send(&[&ping[..], &close, &data, &close, &ping, &ping].concat());
    for _ in 0..3 {
        let answer = client.packet().unwrap();
        assert_eq!((answer.sequence, answer.is_ok()), (1, true));
    }
    client.send(&[&close[..], &packet(0, &pivot("boss", "shop"))].concat());
    assert_eq!(client.err().number, 1045);
    wait_until("all but that are heard", || {
        (server.commands().len() == 7).then_some(())
    });
    assert!(!server.has_heard(&[COM_CHANGE_USER]));
}

#[test]
fn a_split_payload_is_one_command_and_only_its_first_byte_tells_which() {
    const FULL: usize = 0xff_ffff;
    let server = Rogue::answering(|raw, heard| {
        if heard.payload.len() < FULL {
            raw.try_send(&packet(heard.sequence + 1, &ok(AUTOCOMMIT)))
                .ok();
        }
    });
    let gateway = gateway(&server);
    let mut client = session(&gateway);
    let mut long = vec![b' '; FULL];
    long[0] = COM_QUERY;
    // what follows looks like a change of user, and is data
    for tail in [pivot("boss", "shop"), Vec::new(), vec![b'x']] {
        client.send(&[packet(0, &long), packet(1, &tail)].concat());
        client.ok();
        assert_eq!(server.commands().last(), Some(&tail));
    }
    client.send(
        &[
            packet(0, &long),
            packet(1, &vec![b'y'; FULL]),
            packet(2, b""),
        ]
        .concat(),
    );
    client.ok();
    // and what is no tail is a command again
    client.put(0, &pivot("boss", "shop"));
    assert_eq!(client.err().number, 1045);
    // a change of user that is so long itself names nobody
    let mut client = session(&gateway);
    long[0] = COM_CHANGE_USER;
    client.try_send(&packet(0, &long)).ok();
    client.rest();
    assert_eq!(server.commands().len(), 9);
    assert!(!server.has_heard(&[COM_CHANGE_USER, b' ']));
}

#[test]
fn three_pings_in_one_segment_have_three_answers_each_with_its_own_number() {
    let server = Rogue::content();
    let gateway = gateway(&server);
    let mut client = session(&gateway);
    client.send(&packet(0, &[COM_PING]).repeat(3));
    for _ in 0..3 {
        assert_eq!(client.packet().unwrap().sequence, 1);
    }
}

#[test]
fn a_database_that_no_rule_names_is_not_opened_by_a_command() {
    let server = Rogue::content();
    let gateway = gateway(&server);
    let mut client = session(&gateway);
    client.command(COM_INIT_DB, b"spare");
    client.ok();
    for name in [
        &b"mysql"[..],
        b"Shop",
        b"shop ",
        b"sh\xf6p",
        b"shop\0",
        b"`shop`",
    ] {
        let mut client = session(&gateway);
        client.command(COM_INIT_DB, name);
        let refusal = client.packet().unwrap().refusal().unwrap();
        assert_eq!(
            (refusal.number, refusal.sequence),
            (1044, 1),
            "{name:?}: {refusal:?}"
        );
    }
    let databases: Vec<_> = server
        .commands()
        .into_iter()
        .filter(|command| command[0] == COM_INIT_DB)
        .collect();
    assert_eq!(databases, [b"\x02spare"]);
}

#[test]
fn who_may_not_replicate_cannot_ask_for_the_binary_log() {
    let server = Rogue::content();
    let gateway = gateway(&server);
    for command in [COM_BINLOG_DUMP, COM_REGISTER_SLAVE, COM_BINLOG_DUMP_GTID] {
        let mut client = session(&gateway);
        // behind another command in the same segment, too
        client.send(&[packet(0, &[COM_PING]), packet(0, &[command, 4, 0, 0, 0])].concat());
        client.ok();
        let refusal = client.packet().unwrap().refusal().unwrap();
        assert_eq!(
            (refusal.number, refusal.state.as_deref()),
            (1227, Some("42000")),
            "{command:x}"
        );
    }
    for command in [COM_BINLOG_DUMP, COM_REGISTER_SLAVE, COM_BINLOG_DUMP_GTID] {
        assert!(!server.has_heard(&[command]));
    }
}

#[test]
fn a_server_gets_no_file_of_a_client_that_no_rule_lends_to_it() {
    let server = asks_for_a_file();
    let gateway = gateway(&server);
    let mut client = Client::greeted(gateway.port);
    let mut claim = Response::of("app", "shop");
    claim.capabilities |= can::LOCAL_FILES;
    client.claim(&claim);
    let mut client = client.proven("").unwrap();
    assert_eq!(
        server.claims()[0][0] & 0x80,
        0,
        "the server is told that the client has no files"
    );
    client.command(COM_QUERY, b"select 1");
    let rest = client.rest();
    assert!(
        !rest.windows(6).any(|window| window == b"passwd"),
        "{rest:?}"
    );
    gateway.until_metric("doorward_connections", &[], 0.0);
}

/// Answers every statement by asking for a file; says OK when the file has come.
fn asks_for_a_file() -> Rogue {
    Rogue::answering(|raw, heard| {
        let answer = match heard.payload.as_slice() {
            [COM_QUERY, ..] => b"\xfb/etc/passwd".to_vec(),
            [COM_PING | COM_CHANGE_USER, ..] if heard.sequence == 0 => ok(AUTOCOMMIT),
            [] => ok(AUTOCOMMIT),
            _ => return,
        };
        raw.try_send(&packet(heard.sequence + 1, &answer)).ok();
    })
}

#[test]
fn a_file_that_a_rule_allows_is_data_whatever_it_holds() {
    let server = asks_for_a_file();
    let policy = POLICY.replace(
        "databases: [shop, spare]",
        "databases: [shop, spare], local_infile: true",
    );
    let gateway = Gateway::mysql(&server.address(), &policy);
    let mut claim = Response::of("app", "shop");
    claim.capabilities |= can::LOCAL_FILES;
    let mut client = Client::greeted(gateway.port);
    client.claim(&claim);
    let mut client = client.proven("").unwrap();
    assert_ne!(server.claims()[0][0] & 0x80, 0);
    client.command(COM_QUERY, b"load data local infile 'x' into table t");
    assert_eq!(client.packet().unwrap().payload, b"\xfb/etc/passwd");
    client.send(&packet(2, &pivot("boss", "shop")));
    client.send(&packet(3, &[COM_PING]));
    client.send(&packet(4, b""));
    client.ok();
    assert!(
        server.has_heard(&[&[COM_CHANGE_USER], b"boss".as_slice()].concat()),
        "as a file's content"
    );
    // after the empty packet the next is a command
    client.put(0, &pivot("boss", "shop"));
    assert_eq!(client.err().number, 1045);
    let said: Vec<_> = server
        .commands()
        .into_iter()
        .filter(|said| said.first() == Some(&COM_CHANGE_USER))
        .collect();
    assert_eq!(said.len(), 1);
    // where the client has gone on to something else, nobody knows what it is that follows
    let mut client = Client::greeted(gateway.port);
    client.claim(&claim);
    let mut client = client.proven("").unwrap();
    client.send(&[packet(0, b"\x03load data"), packet(0, &[COM_PING])].concat());
    let rest = client.rest();
    assert!(
        !rest.windows(6).any(|window| window == b"passwd"),
        "{rest:?}"
    );
}

#[test]
fn a_client_that_says_it_compresses_is_not_believed() {
    // CVE-2026-102664 and its like: nothing is decompressed here, so nothing can be hidden in it
    let server = Rogue::content();
    let gateway = gateway(&server);
    for bits in [can::COMPRESS, can::ZSTD, can::COMPRESS | can::ZSTD] {
        let mut client = Client::greeted(gateway.port);
        assert_eq!(
            client.greeting.capabilities & (can::COMPRESS | can::ZSTD),
            0
        );
        let mut claim = Response::of("app", "shop");
        claim.capabilities |= bits;
        let mut bytes = claim.encode();
        if bits & can::ZSTD != 0 {
            bytes.push(3);
        }
        client.put(&bytes);
        let mut client = client.proven("").unwrap();
        let told = server.claims().pop().unwrap();
        let told = u32::from_le_bytes(*told.first_chunk().unwrap());
        assert_eq!(told & (can::COMPRESS | can::ZSTD), 0, "{bits:x}");
        client.put(0, &pivot("boss", "shop"));
        assert_eq!(client.err().number, 1045);
    }
}

#[test]
fn another_opening_after_the_login_is_a_command_like_any_other() {
    // CVE-2026-107350, as MySQL has it
    let server = Rogue::content();
    let gateway = gateway(&server);
    for sequence in [0, 1] {
        let mut client = session(&gateway);
        client.put(sequence, &Response::of("boss", "shop").encode());
        client.rest_within(Duration::from_millis(200));
    }
    // whatever the server makes of it, it makes of a command: nobody was logged in by it at the gateway
    let names: Vec<_> = server
        .claims()
        .iter()
        .map(|claim| claim[32..35].to_vec())
        .collect();
    assert_eq!(names, [b"app", b"app"]);
}

#[test]
fn a_server_that_answers_what_nobody_asked_is_cut_off() {
    // CVE-2024-27304's family: an answer too many shifts all that follow
    let server = Rogue::answering(|raw, heard| {
        let twice = [
            packet(heard.sequence + 1, &ok(AUTOCOMMIT)),
            packet(1, &ok(AUTOCOMMIT)),
        ];
        raw.try_send(&twice.concat()).ok();
    });
    let gateway = gateway(&server);
    let mut client = session(&gateway);
    client.command(COM_PING, b"");
    client.ok();
    let rest = client.rest();
    assert!(!rest.starts_with(&packet(1, &ok(AUTOCOMMIT))), "{rest:?}");
}

#[test]
fn what_the_server_says_unasked_when_it_goes_reaches_the_client() {
    let farewell = err(4031, "HY000", "The client was disconnected by the server.");
    let said = farewell.clone();
    let server = Rogue::answering(move |raw, heard| {
        raw.try_send(&packet(heard.sequence + 1, &ok(AUTOCOMMIT)))
            .ok();
        std::thread::sleep(Duration::from_millis(100));
        raw.try_send(&packet(0, &said)).ok();
        raw.half_close();
    });
    let gateway = gateway(&server);
    let mut client = session(&gateway);
    client.command(COM_PING, b"");
    client.ok();
    assert_eq!(client.packet().unwrap().payload, farewell);
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_full_origin_keeps_one_place_for_stopping_a_statement() {
    let server = Rogue::content();
    let policy = POLICY.replace(
        "databases: [shop, spare]",
        "databases: [shop, spare], limits: {connections: 1}",
    );
    let gateway = Gateway::mysql(&server.address(), &policy);
    let mut first = session(&gateway);
    let mut killer = session(&gateway);
    killer.command(COM_QUERY, b"KILL QUERY 7");
    killer.ok();
    assert!(server.has_heard(b"\x03KILL QUERY 7"));
    let too_many = Client::greeted(gateway.port).log_in(&Response::of("app", "shop"), "secret");
    assert_eq!(
        too_many.map(drop).unwrap_err().number,
        1203,
        "one place past the limit, and not two"
    );
    // what else is asked there is refused, and not for long
    let others = [
        "select 1",
        "KILL QUERY 7; select 1",
        "/* kill */ do sleep(1)",
    ];
    for other in others {
        killer.command(COM_QUERY, other.as_bytes());
        let refusal = killer.packet().unwrap().refusal().unwrap();
        assert_eq!(refusal.number, 1203, "{other}");
    }
    assert_eq!(killer.rest(), b"");
    drop(killer);
    wait_until("the place is free again", || {
        let client = Client::greeted(gateway.port);
        let mut killer = client.log_in(&Response::of("app", "shop"), "secret").ok()?;
        killer.command(COM_QUERY, b"killer");
        Some(killer.packet()?.refusal()?.number).filter(|number| *number == 1203)
    });
    first.command(COM_PING, b"");
    first.ok();
    assert_eq!(server.commands().len(), 2);
}
