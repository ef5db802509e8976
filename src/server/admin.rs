//! The answering side of the admin socket. Floor 4.

use std::{sync::Arc, time::Duration};

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
    reload::{Caller, No},
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
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        if !may {
            tracing::warn!(
                event = "admin_refused",
                "a user outside of the socket's group asked"
            );
            continue;
        }
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
            } else {
                no_sense(&format!("`{}` is not banned", source.escape_debug()))
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
