//! The answering side of the admin socket. Floor 4.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::Semaphore,
    time::timeout,
};

use super::{
    Tasks,
    control::{Answer, LONGEST_REQUEST, Refused, Request},
    house::House,
    no::No,
    reload::Caller,
};
use crate::net::{self, LocalListener};

/// Answers for ever, one request a connection.
pub(super) async fn serve(listener: LocalListener, house: Arc<House>, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok((stream, may)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if !may {
            tracing::warn!(
                event = "admin_refused",
                "a user outside of the socket's group asked"
            );
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            turn_away(&stream);
            continue;
        };
        let house = Arc::clone(&house);
        let by = stream.peer_cred().map_or_else(
            |_gone| "unknown".to_owned(),
            |peer| net::named_user(peer.uid()),
        );
        tasks.spawn("admin", async move {
            converse(stream, &house, by).await;
            drop(place);
        });
    }
}

/// One try at one short line: nobody is waited for. What was asked is taken in first, as far as it is there, for a socket
/// that is closed over it is reset, and the answer lost.
fn turn_away(stream: &UnixStream) {
    let busy = Answer::Refused {
        why: Refused::Busy,
        text: "the daemon is busy with other commands: try again".to_owned(),
    };
    let Ok(mut text) = serde_json::to_vec(&busy) else {
        return;
    };
    text.push(b'\n');
    let _unasked = stream.try_read(&mut [0; 4096]);
    let _gone = stream.try_write(&text);
}

async fn converse(stream: UnixStream, house: &House, by: String) {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    let mut bounded = BufReader::new(read.take(LONGEST_REQUEST as u64));
    let received = timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await;
    let answer = match received {
        Ok(Ok(_)) if line.ends_with(b"\n") => answer(&line, house, by).await,
        Ok(Ok(0) | Err(_)) | Err(_) => return,
        Ok(Ok(_)) => no_sense("a request is one line of at most 64 KiB"),
    };
    let Ok(mut text) = serde_json::to_vec(&answer) else {
        return;
    };
    text.push(b'\n');
    // who asks and does not listen has left
    let _gone = timeout(PATIENCE, async {
        write.write_all(&text).await?;
        write.shutdown().await
    })
    .await;
}

async fn answer(line: &[u8], house: &House, by: String) -> Answer {
    match serde_json::from_slice(line) {
        Ok(Request::Status) => Answer::Status(Box::new(house.status().await)),
        Ok(Request::Reload { yes }) => match house.reload(Caller::Operator { yes }).await {
            Ok(reloaded) => Answer::Reloaded(reloaded),
            Err(no) => refused(no),
        },
        Ok(Request::Why(question)) => match house.why(&question) {
            Ok(answer) => Answer::Why(Box::new(answer)),
            Err(bad) => no_sense(&bad.to_string()),
        },
        Ok(Request::Decide { questions }) => Answer::Decisions(house.decide(&questions)),
        Ok(Request::Refusal { reference }) => match house.refusal(&reference) {
            Some(answer) => Answer::Refusal(Box::new(answer)),
            None => no_sense(&format!(
                "no refusal is remembered under `{}`: the log may have it",
                reference.escape_debug()
            )),
        },
        Ok(Request::Latency) => Answer::Latency(house.latency()),
        Ok(Request::Watch { origin, seconds }) => {
            if house.watch(&origin, Duration::from_secs(seconds)) {
                Answer::Done
            } else {
                no_sense(&format!("there is no origin \"{}\"", origin.escape_debug()))
            }
        }
        Ok(Request::Sessions) => Answer::Sessions(house.live_sessions()),
        Ok(Request::EndSession { id }) => {
            if house.end_session(id, &by) {
                Answer::Done
            } else {
                no_sense(&format!("there is no session {id}"))
            }
        }
        Ok(Request::Logins) => Answer::Logins(house.logins()),
        Ok(Request::Bans) => Answer::Bans(house.bans()),
        Ok(Request::LiftBan { source }) => {
            if house.lift_ban(&source, &by) {
                Answer::Done
            } else if is_source(&source) {
                no_sense(&format!("`{source}` is not banned"))
            } else {
                no_sense(&format!(
                    "`{}` is not an address, as `doorward bans list` shows them",
                    source.escape_debug()
                ))
            }
        }
        Ok(Request::Allow(request)) => house
            .allow(request, by)
            .await
            .map_or_else(refused, Answer::Allowed),
        Ok(Request::Revoke { name }) => house
            .revoke(&name, &by)
            .await
            .map_or_else(refused, Answer::Revoked),
        Err(error) => no_sense(&error.to_string()),
    }
}

/// An address, or a network as bans have them.
fn is_source(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok()
}

fn refused(no: No) -> Answer {
    Answer::Refused {
        why: no.why,
        text: no.text,
    }
}

fn no_sense(text: &str) -> Answer {
    Answer::Refused {
        why: Refused::Request,
        text: text.to_owned(),
    }
}

/// Connections at a time.
const MOST: usize = 16;
/// How long a request may take to come, and an answer to be read.
const PATIENCE: Duration = Duration::from_secs(5);
