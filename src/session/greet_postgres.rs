//! From the screened socket to a PostgreSQL client's opening. Floor 3.

use std::sync::Arc;

use tokio::{net::TcpStream, time::timeout_at};

use super::{
    refusal::Refusal,
    report::Refused,
    stages::{Cancelling, Greeted, Guest, Purpose},
};
use crate::{
    meter::Phase,
    protocol::{
        Opening,
        postgres::{self, GreetError},
    },
};

/// The client speaks first, and the database hears of nothing.
pub(super) async fn greet_postgres(
    socket: TcpStream,
    mut guest: Guest,
) -> Result<Purpose, Refused> {
    let visit = &guest.visit;
    let greeting = postgres::Greeting {
        tls: Arc::clone(&visit.gateway.tls.borrow()),
        asks: guest.shortlist.asks_for_certificate(),
        first_byte: visit.since + visit.gateway.limits.borrow().first_byte,
    };
    let meters = &visit.door.meters;
    let greeted = match timeout_at(visit.deadline, postgres::greet(socket, greeting)).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(GreetError::Probe)) => {
            meters.probe();
            return Ok(Purpose::Probe);
        }
        Ok(Err(error)) => return Err(not_greeted(error, guest).await),
        Err(_late) => return Err(guest.refused(Refusal::Late, None)),
    };
    if let Some(tls) = &greeted.tls {
        meters.tls_handshake(Some(tls.version.label()));
        meters.phase(Phase::Tls, tls.took);
    }
    meters.phase(Phase::Opening, visit.since.elapsed());
    if let Some(tls) = &greeted.tls {
        guest.visit.turned(tls.turn);
    }
    Ok(match greeted.asked {
        postgres::Asked::Startup(startup) => Purpose::Session(Greeted {
            client: greeted.client,
            tls: greeted.tls,
            opening: Opening::Postgres(startup),
            turns: greeted.turns,
            guest,
        }),
        postgres::Asked::Cancel(key) => Purpose::Cancel(Cancelling {
            client: greeted.client,
            key,
            tls: greeted.tls.is_some(),
            guest,
        }),
    })
}

/// A greeting that failed: told where the client can be told, closed where it cannot.
async fn not_greeted(error: GreetError, guest: Guest) -> Refused {
    let text = error.to_string();
    match error {
        GreetError::Probe | GreetError::Left | GreetError::Broke(_) => {
            guest.refused(Refusal::Left, None)
        }
        GreetError::Silent => guest.refused(Refusal::Silent, None),
        GreetError::Tls(_) => {
            guest.visit.door.meters.tls_handshake(None);
            guest.refused(Refusal::Tls(text), None)
        }
        GreetError::Malformed { client, error } => {
            let refused = guest.refused(Refusal::Malformed(error.to_string()), None);
            refused.tell_malformed(client, error).await
        }
    }
}
