//! From the screened socket to a MySQL client's opening. Floor 3.
//!
//! The server speaks first, and its greeting holds what the client answers to: so it is dialled before the client has said who it is,
//! though only for an address that some origin mentions. Every other client is greeted by the gateway itself.

use std::sync::Arc;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    mysql_server::hear,
    refusal::Refusal,
    report::Refused,
    stages::{Greeted, Guest, Purpose, unknown},
    upstream::dial,
};
use crate::{
    config::{Compression, ProtectUpstream},
    meter::Phase,
    protocol::{
        Opening,
        mysql::{self, Answered, GreetError, Unfinished},
    },
    wire::mysql::Greeting,
};

pub(super) async fn greet_mysql(socket: TcpStream, mut guest: Guest) -> Result<Purpose, Refused> {
    let met = match meet(&socket, &guest).await {
        Ok(met) => met,
        Err(refusal) => return Err(guest.refused(refusal, None).tell_unheard(&socket)),
    };
    let (visit, meters) = (&guest.visit, &guest.visit.door.meters);
    let greeting = mysql::Greeting {
        server: met.greeting(),
        compression: visit.door.in_force().compression == Compression::Passthrough,
        tls: Arc::clone(&visit.gateway.tls.borrow()),
        asks: guest.shortlist.asks_for_certificate(),
        first_byte: Instant::now() + visit.gateway.limits.borrow().first_byte,
    };
    let greeted = timeout_at(visit.deadline, mysql::greet(socket, greeting)).await;
    let upstream = met.into_upstream();
    let greeted = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(GreetError::Probe)) => {
            meters.probe();
            abandon(upstream).await;
            return Ok(Purpose::Probe);
        }
        Ok(Err(error)) => return Err(not_greeted(error, upstream, guest).await),
        Err(_late) => {
            abandon(upstream).await;
            return Err(guest.refused(Refusal::Late, None));
        }
    };
    if let Some(tls) = &greeted.tls {
        meters.tls_handshake(Some(tls.version.label()));
        meters.phase(Phase::Tls, tls.took);
    }
    meters.phase(Phase::Opening, visit.since.elapsed());
    guest.visit.turned(greeted.answered);
    if let Some(tls) = &greeted.tls {
        guest.visit.turned(tls.turn);
    }
    Ok(Purpose::Session(Greeted {
        client: greeted.client,
        tls: greeted.tls,
        opening: Opening::Mysql(Box::new(Answered {
            opening: greeted.opening,
            upstream,
        })),
        turns: greeted.turns,
        guest,
    }))
}

/// Whose greeting a client gets.
enum Met {
    /// The server's own, which waits for the answer.
    Server(Box<Unfinished>, Box<Greeting>),
    /// One of ours; the server knows nothing.
    Gateway(Box<Greeting>),
}

impl Met {
    const fn greeting(&self) -> &Greeting {
        match self {
            Self::Server(_, greeting) | Self::Gateway(greeting) => greeting,
        }
    }

    fn into_upstream(self) -> Option<Unfinished> {
        match self {
            Self::Server(upstream, _) => Some(*upstream),
            Self::Gateway(_) => None,
        }
    }
}

/// What the address alone decides is said now; then somebody greets.
async fn meet(socket: &TcpStream, guest: &Guest) -> Result<Met, Refusal> {
    let (visit, shortlist) = (&guest.visit, guest.shortlist);
    let (gateway, door) = (&visit.gateway, &visit.door);
    let denial = gateway
        .standing
        .borrow()
        .policy
        .address_denial(visit.address);
    if let Some(denial) = denial {
        return Err(denial.into());
    }
    if !shortlist.is_possible() {
        return Err(unknown().into());
    }
    let strict = door.in_force().protect_upstream == ProtectUpstream::Strict;
    if strict || !shortlist.is_mentioned() {
        let greeting = door.mysql.greeting();
        let greeting = greeting.ok_or_else(|| Refusal::Unreachable(NOT_HEARD.to_owned()))?;
        return Ok(Met::Gateway(Box::new(greeting)));
    }
    let within = gateway.limits.borrow().dial;
    let stream = dial(visit, door.upstream.dial(shortlist, within)).await?;
    let upstream = hear(visit, stream, Some(socket), visit.deadline).await?;
    let greeting = upstream.greeting().cloned();
    let greeting = greeting.ok_or_else(|| Refusal::Unreachable(NOT_HEARD.to_owned()))?;
    Ok(Met::Server(Box::new(upstream), Box::new(greeting)))
}

/// A greeting that failed: told where the client can be told, closed where it cannot. The server is left in order either way.
async fn not_greeted(error: GreetError, upstream: Option<Unfinished>, guest: Guest) -> Refused {
    let text = error.to_string();
    let (refusal, answer) = match error {
        GreetError::Probe | GreetError::Left | GreetError::Broke(_) => (Refusal::Left, None),
        GreetError::Silent => (Refusal::Silent, None),
        GreetError::Tls(_) => {
            guest.visit.door.meters.tls_handshake(None);
            (Refusal::Tls(text), None)
        }
        GreetError::Malformed {
            client,
            sequence,
            error,
        } => (
            Refusal::Malformed(error.to_string()),
            Some((client, mysql::malformed(error, sequence))),
        ),
    };
    let telling = async {
        if let Some((client, packet)) = answer {
            mysql::refuse(client, &packet).await;
        }
    };
    tokio::join!(telling, abandon(upstream));
    guest.refused(refusal, None)
}

async fn abandon(upstream: Option<Unfinished>) {
    if let Some(upstream) = upstream {
        upstream.abandon().await;
    }
}

const NOT_HEARD: &str = "the server has not been heard yet";
