//! Logins of every plugin over every pair of ways, with a client and a server that each believe what they see of their own leg.

use std::sync::Arc;

use tokio::io::{AsyncWriteExt, duplex};

use super::{
    super::{
        players::{Client, PASSWORD, Seen, Server, UNIX_SOCKET, parsed_greeting, response},
        rsa::Nonce,
        unfinished::Abandoned,
    },
    tests::{FRESH, NONCE, opening, server, soon, terms},
    *,
};
use crate::wire::mysql::{Packet, plugin};

/// The nonce of a greeting by the gateway itself.
const GREETED: Nonce = *b"01234567890123456789";

fn client(way: Way, prefers: &'static str) -> Client {
    Client {
        way,
        prefers,
        password: PASSWORD,
    }
}

/// Greets `client` with the server's nonce or another, and logs it in. What the client and the server have seen, and the login.
async fn meet(
    client: Client,
    server: Server,
    shown: Nonce,
) -> (Result<(), u16>, Seen, Result<LoggedIn, LoginError>) {
    let (at_client, mut near) = duplex(1 << 20);
    let (upstream, mut at_server) = duplex(1 << 20);
    let mut upstream = Unfinished::over(upstream, server.way, true, Arc::default());
    let gateway = async {
        upstream.hear().await.unwrap();
        if server.way == Way::Tls {
            upstream.skip();
        }
        let mut leg = Leg::new(&mut near, 0);
        let greeting = parsed_greeting(shown, server.flavor);
        leg.send(&greeting.shown(true, false)).await.unwrap();
        if client.way == Way::Tls {
            leg.skip();
        }
        let answer = leg.receive(1 << 16).await.unwrap();
        let mut opening = opening(&answer, shown, leg.sequence());
        let login = log_in(&mut near, client.way, &mut upstream, &mut opening, terms()).await;
        drop(near);
        if login.is_err() {
            assert_eq!(upstream.abandon().await, Abandoned::InOrder);
        }
        login
    };
    let playing = async {
        let mut leg = Leg::new(at_client, 0);
        let greeted = client.answer_greeting(&mut leg).await;
        if client.way == Way::Tls {
            leg.skip();
        }
        leg.send(&greeted.0).await.unwrap();
        client.finish(&mut leg, greeted.1).await
    };
    let all = async { tokio::join!(playing, server.play(&mut at_server), gateway) };
    soon(all).await
}

const PLUGINS: [&str; 7] = [
    plugin::NATIVE,
    plugin::CACHING_SHA2,
    plugin::SHA256,
    plugin::ED25519,
    plugin::PARSEC,
    plugin::CLEAR,
    plugin::DIALOG,
];
const FROM: [Way; 3] = [Way::Tls, Way::Loopback, Way::Clear];
const TO: [Way; 4] = [Way::Tls, Way::Unix, Way::Loopback, Way::Clear];

/// The plugin x leg x cache matrix, with the greeting of the server and with one of ours.
#[tokio::test]
async fn every_plugin_logs_in_over_every_pair_of_ways() {
    let mut tried = 0;
    for (from, to) in FROM.iter().flat_map(|from| TO.map(|to| (*from, to))) {
        for plugin in PLUGINS {
            for prefers in [plugin::CACHING_SHA2, plugin] {
                for (warm, shown) in [(true, NONCE), (false, NONCE), (false, GREETED)] {
                    let server = Server {
                        warm,
                        ..server(to, plugin)
                    };
                    let (told, seen, login) = meet(client(from, prefers), server, shown).await;
                    let case = format!("{plugin} {prefers} {from:?} {to:?} {warm} {shown:?}");
                    let in_clear = [plugin::CLEAR, plugin::DIALOG].contains(&plugin);
                    if in_clear && (from == Way::Clear || to == Way::Clear) {
                        let refused = matches!(login, Err(LoginError::Cleartext));
                        assert!(refused, "{case} {login:?}");
                        assert!(!seen.let_in && told == Err(0), "{case} {told:?}");
                    } else {
                        login.unwrap_or_else(|error| panic!("{case}: {error}"));
                        assert!(seen.let_in, "{case}");
                        assert_eq!(told, Ok(()), "{case}");
                    }
                    let hidden = matches!(to, Way::Tls | Way::Unix) || in_clear;
                    assert!(hidden || !seen.has(PASSWORD), "{case}");
                    let never = to == Way::Clear && seen.has(PASSWORD);
                    assert!(!never, "{case}");
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(tried, 3 * 4 * 7 * 2 * 3);
}

#[tokio::test]
async fn a_wrong_password_is_the_server_s_to_refuse_over_every_pair_of_ways() {
    for (from, to) in FROM.iter().flat_map(|from| TO.map(|to| (*from, to))) {
        for plugin in [plugin::NATIVE, plugin::CACHING_SHA2, plugin::SHA256] {
            let client = Client {
                password: "falsch",
                ..client(from, plugin)
            };
            let (told, _, login) = meet(client, server(to, plugin), NONCE).await;
            let refused = matches!(login, Err(LoginError::Refused { errno: 1045 }));
            assert!(refused, "{plugin} {from:?} {to:?} {login:?}");
            assert_eq!(told, Err(1045));
        }
    }
}

/// The authentication floor.
#[tokio::test]
async fn who_needs_no_password_is_put_out_and_not_told_ok() {
    for to in TO {
        for plugin in [plugin::NATIVE, plugin::CACHING_SHA2, plugin::SHA256] {
            for shown in [NONCE, GREETED] {
                let (mut client, mut server) = (client(Way::Tls, plugin), server(to, plugin));
                (client.password, server.password) = ("", "");
                let (told, seen, login) = meet(client, server, shown).await;
                assert!(matches!(login, Err(LoginError::NoChallenge)), "{login:?}");
                assert!(seen.let_in && told == Err(0), "{plugin} {to:?} {told:?}");
            }
        }
    }
}

/// The server lets in the gateway's own user and looks at no password: then one that is sent along is no proof.
#[tokio::test]
async fn a_server_that_knows_the_gateway_itself_opens_to_nobody() {
    for prefers in [plugin::NATIVE, plugin::CACHING_SHA2] {
        let server = server(Way::Unix, UNIX_SOCKET);
        let (told, seen, login) = meet(client(Way::Tls, prefers), server, NONCE).await;
        assert!(matches!(login, Err(LoginError::NoChallenge)), "{login:?}");
        assert!(seen.let_in && told == Err(0));
    }
}

#[tokio::test]
async fn nobody_becomes_the_gateway_s_own_user_behind_a_unix_socket() {
    let Some(own) = net::user_name() else { return };
    for (way, asked) in [(Way::Unix, false), (Way::Loopback, true)] {
        let (mut near, _at_client) = duplex(1 << 12);
        let (upstream, mut at_server) = duplex(1 << 12);
        let mut upstream = Unfinished::over(upstream, way, true, Arc::default());
        let greeting = Packet::encode(0, &server(way, plugin::NATIVE).greeting());
        at_server.write_all(&greeting).await.unwrap();
        upstream.hear().await.unwrap();
        at_server.shutdown().await.unwrap();
        let mut opening = opening(&response(own, &[7; 20], plugin::NATIVE), NONCE, 2);
        let login = log_in(&mut near, Way::Tls, &mut upstream, &mut opening, terms()).await;
        assert_eq!(!matches!(login, Err(LoginError::NoChallenge)), asked);
    }
}

/// `COM_CHANGE_USER` with a cold cache, by a server that brings a new nonce and by one that keeps its own.
#[tokio::test]
async fn a_session_changes_its_user_over_every_pair_of_ways() {
    for (from, to) in FROM.iter().flat_map(|from| TO.map(|to| (*from, to))) {
        for plugin in PLUGINS {
            for (flavor, nonce) in [(Flavor::MySql, FRESH), (Flavor::MariaDb, NONCE)] {
                let server = Server {
                    flavor,
                    ..server(to, plugin)
                };
                let client = client(from, plugin);
                let legs = Legs {
                    client: from,
                    upstream: to,
                };
                let (at_client, mut near) = duplex(1 << 20);
                let (mut upstream, mut at_server) = duplex(1 << 20);
                let command = client.change_user(&NONCE);
                let playing = async {
                    let mut leg = Leg::new(at_client, 1);
                    client.finish(&mut leg, NONCE).await
                };
                let gateway = async {
                    let agreed = (&command, Capabilities::default());
                    let changed = change(&mut near, &mut upstream, legs, agreed, terms()).await;
                    drop((near, upstream));
                    changed
                };
                let serving = server.play_change(&mut at_server, nonce);
                let all = async { tokio::join!(playing, serving, gateway) };
                let (told, seen, changed) = soon(all).await;
                let case = format!("{plugin} {from:?} {to:?} {flavor:?}");
                let in_clear = [plugin::CLEAR, plugin::DIALOG].contains(&plugin);
                if in_clear && (from == Way::Clear || to == Way::Clear) {
                    let refused = matches!(changed, Err((LoginError::Cleartext, _)));
                    assert!(refused && !seen.let_in, "{case} {changed:?}");
                    continue;
                }
                assert!(changed.is_ok() && seen.let_in, "{case} {changed:?}");
                assert_eq!(told, Ok(()), "{case}");
            }
        }
    }
}
