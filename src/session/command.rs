//! A command of a MySQL client that changes who its session is, or what it may do. Floor 3.
//!
//! The relay stands still before such a command, with everything before it answered: the policy decides first, on the claim that
//! the session would have, and only then the server hears of it.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout, timeout_at},
};

use super::{
    admitted::PolicyOrders,
    login::No,
    login_mysql::{Agreed, Told, needed, rights},
    refusal::Refusal,
    relay::{End, Interlude, Leg, Relay},
    report,
    stages::MYSQL_PATIENCE,
    tenure::{Prospect, Revocation, Tenure},
};
use crate::{
    meter::{OriginMeters, RoundTrips},
    net::Stream,
    policy::{Claim, Denial, Reason, Replication},
    protocol::{
        Conversation, Hold,
        mysql::{self, Asked, Changed, LoginError, Whom},
    },
    wire::mysql::{ChangeUser, Edit, WireError},
};

/// Decides on the command that the relay holds. The relay goes on where this gives no end.
pub(super) async fn decide(relay: &mut Relay<Stream, Stream, PolicyOrders>) -> Option<End> {
    let by = Instant::now() + MYSQL_PATIENCE;
    let Interlude {
        client,
        conversation,
        held,
        orders,
        ..
    } = relay.interlude();
    let (Conversation::Mysql(conversation), Some(agreed)) = (conversation, &mut orders.agreed)
    else {
        return Some(End::Breach);
    };
    if let Some(Hold::Answered { ok }) = conversation.hold() {
        conversation.noted();
        let prospect = agreed.prospect.take().filter(|_| ok);
        if let Some(prospect) = prospect {
            becomes(relay, prospect);
        }
        return None;
    }
    let size = match timeout_at(by, mysql::whole_command(client, held)).await {
        Ok(Ok(Some(size))) => size,
        Ok(Err(_gone)) => return Some(End::ClientLeft),
        Ok(Ok(None)) | Err(_) => return Some(End::Breach),
    };
    relay.is_asked();
    let Interlude {
        client,
        conversation: Conversation::Mysql(conversation),
        held,
        orders,
        ..
    } = relay.interlude()
    else {
        return Some(End::Breach);
    };
    let Some(agreed) = &mut orders.agreed else {
        return Some(End::Breach);
    };
    let command = held.get(..size).unwrap_or_default();
    let tenure = &mut orders.tenure;
    match judge(tenure, command, agreed) {
        Verdict::Passes(prospect) => {
            conversation.let_pass();
            match prospect {
                // a stream has no yes at its beginning: the right is kept watch over at once
                Some(prospect) if prospect.claim().replication.is_some() => {
                    becomes(relay, prospect);
                }
                // takes effect only after the server's OK
                pending => agreed.prospect = pending,
            }
            None
        }
        Verdict::Becomes(command, prospect) => {
            mysql::forget_command(held, size);
            change_user(relay, &command, prospect, by).await
        }
        Verdict::Denied(denied) => {
            mysql::forget_command(held, size);
            conversation.dealt_with();
            let told = tell(client, denied.packet(tenure, 1)).await;
            told.or_else(|| denied.ends.then_some(End::Breach))
        }
        Verdict::Unreadable(error) => {
            let told = tell(client, Some(mysql::malformed(error.into(), 1))).await;
            told.or(Some(End::Breach))
        }
    }
}

/// The session is from now on what it was considered as.
fn becomes(relay: &mut Relay<Stream, Stream, PolicyOrders>, prospect: Prospect) {
    let Interlude {
        conversation,
        orders,
        ..
    } = relay.interlude();
    let moved = orders.tenure.adopt(prospect);
    if let Conversation::Mysql(conversation) = conversation {
        conversation.set_rights(rights(&orders.tenure));
    }
    if moved {
        let meters = orders.tenure.held.meters();
        relay.move_to(meters);
    }
}

enum Verdict {
    /// The server may have it; the session changes so.
    Passes(Option<Prospect>),
    /// The server may be asked to make the session another user's.
    Becomes(ChangeUser, Prospect),
    Denied(Box<Denied>),
    /// Server and gateway could read it differently.
    Unreadable(WireError),
}

/// A no to the claim that a command would make of the session's.
struct Denied {
    claim: Claim,
    refusal: Refusal,
    /// After it nobody could be sure which user the session has.
    ends: bool,
}

fn judge(tenure: &mut Tenure, command: &[u8], agreed: &Agreed) -> Verdict {
    let asked = match Asked::parse(command, agreed.reading()) {
        Ok(asked) => asked,
        Err(error) => return Verdict::Unreadable(error),
    };
    let claim = Claim::clone(&tenure.held.claim);
    if tenure.held.is_reserve() && !matches!(asked, Asked::Stop) {
        let rule = tenure
            .held
            .permit
            .origin()
            .map(|origin| Arc::clone(&origin.name));
        let denial = Denial {
            reason: Reason::LimitConnections,
            rule,
        };
        return Verdict::Denied(Box::new(Denied {
            claim,
            refusal: denial.into(),
            ends: tenure.held.warn(),
        }));
    }
    let denied = |claim, denial: Denial, ends| {
        Verdict::Denied(Box::new(Denied {
            claim,
            refusal: denial.into(),
            ends,
        }))
    };
    let passes = |claim: Claim| match tenure.consider(claim.clone()) {
        Ok(prospect) => Verdict::Passes(Some(prospect)),
        Err(denial) => denied(claim, denial, false),
    };
    match asked {
        Asked::InitDb(database) => passes(Claim {
            database: Some(database.into()),
            ..claim
        }),
        Asked::Replication => passes(Claim {
            replication: Some(Replication::Commands),
            ..claim
        }),
        Asked::ChangeUser(command) => {
            let other = mysql::other_identity(&command);
            let claim = Claim {
                user: other.user,
                database: other.database,
                application: other.application,
                replication: None,
                ..claim
            };
            match tenure.consider_login(claim.clone()) {
                Ok(prospect) => Verdict::Becomes(command, prospect),
                Err(denial) => denied(claim, denial, true),
            }
        }
        Asked::Stop | Asked::Other => Verdict::Passes(None),
    }
}

/// The login again, in the middle of the session. A no of the server leaves the session whose it was, as the server does.
async fn change_user(
    relay: &mut Relay<Stream, Stream, PolicyOrders>,
    command: &ChangeUser,
    prospect: Prospect,
    by: Instant,
) -> Option<End> {
    let Interlude {
        client,
        upstream,
        conversation: Conversation::Mysql(conversation),
        orders,
        ..
    } = relay.interlude()
    else {
        return Some(End::Breach);
    };
    let Some(agreed) = &mut orders.agreed else {
        return Some(End::Breach);
    };
    let tenure = &mut orders.tenure;
    let told = Told::of(prospect.claim(), prospect.permit().name());
    let attributes = told.attributes();
    let authentication = tenure.has_to_answer(prospect.permit());
    let door = Arc::clone(&tenure.held.door);
    let mut revocation: Option<Revocation> = None;
    let terms = mysql::Terms {
        authentication,
        from: prospect.claim().address,
        edit: Edit {
            attributes: needed(agreed.flavor, agreed.proxied, &attributes),
            ..Edit::default()
        },
        own_key: Some(&door.mysql.own_key),
        interrupted: async {
            let ended = tenure.ended().await;
            let denial = ended.denial.clone();
            revocation = Some(ended);
            denial
        },
        by,
    };
    let began = Instant::now();
    match mysql::change_user(client, upstream, command, agreed.capabilities, terms).await {
        Ok(changed) => {
            tenure.adopt(prospect);
            agreed.charset = changed.charset;
            conversation.changed_user(changed.status);
            conversation.set_rights(rights(tenure));
            let meters = tenure.held.meters();
            opened(&meters, [client, upstream], &changed, began);
            relay.move_to(meters);
            None
        }
        Err((LoginError::Refused { errno }, _)) => {
            conversation.dealt_with();
            tenure.refused_by_server(prospect.claim(), errno);
            None
        }
        Err((error, sequence)) => {
            orders.ending = revocation.map(Box::new);
            let end = end_of(&error);
            let no = No::of_mysql(error, &orders.tenure);
            if no.tells {
                let denied = Denied {
                    claim: prospect.into_claim(),
                    refusal: no.refusal,
                    ends: true,
                };
                tell(client, denied.packet(&orders.tenure, sequence)).await;
            }
            Some(end)
        }
    }
}

/// It is an opening, if not of a connection.
fn opened(meters: &OriginMeters, legs: [&mut Stream; 2], changed: &Changed, began: Instant) {
    let [client, upstream] = legs.map(|leg| leg.facts().and_then(|facts| facts.min_rtt));
    let round_trips = |turns, rtt: Option<Duration>| RoundTrips {
        turns,
        rtt: rtt.unwrap_or_default(),
    };
    let path = round_trips(changed.turns, client);
    let beyond = round_trips(changed.upstream_turns, upstream);
    // the command was on its way to us, and the yes has still to arrive
    meters.opened(path, beyond, began.elapsed() + path.rtt);
}

impl Denied {
    /// What the client is told. It is counted and logged here, too.
    fn packet(&self, tenure: &Tenure, sequence: u8) -> Option<Vec<u8>> {
        let words = report::refused_command(tenure, &self.claim, &self.refusal);
        let whom = Whom {
            user: &self.claim.user,
            database: self.claim.database.as_deref(),
        };
        mysql::refusal(whom, sequence, self.refusal.reason(), &words)
    }
}

/// Whose end it is when a change of user fails half-way.
const fn end_of(error: &LoginError) -> End {
    match error {
        LoginError::ClientLeft => End::ClientLeft,
        LoginError::ClientBroke(_) | LoginError::Late => End::ClientBroke,
        LoginError::UpstreamClosed => End::DatabaseLeft,
        LoginError::UpstreamBroke(_) => End::DatabaseBroke,
        LoginError::Interrupted(_) => End::Revoked,
        LoginError::Refused { .. }
        | LoginError::NoChallenge
        | LoginError::Cleartext
        | LoginError::OldPassword
        | LoginError::Unsealed(_)
        | LoginError::ClientMalformed
        | LoginError::Unencrypted(_)
        | LoginError::UpstreamMalformed => End::Breach,
    }
}

/// Writes a packet of ours to a client that waits for one. An end where it cannot be reached.
async fn tell(client: &mut Stream, packet: Option<Vec<u8>>) -> Option<End> {
    let writing = async {
        client.write_all(&packet.unwrap_or_default()).await?;
        client.flush().await
    };
    match timeout(PATIENCE, writing).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) | Err(_) => Some(End::ClientBroke),
    }
}

/// How long a client may take to read a packet of ours.
const PATIENCE: Duration = Duration::from_secs(1);
