//! The stages of a connection, from the socket to the permit. Floor 3.
//!
//! A stage is a struct that owns what is true by then; its method consumes it. There is no `state` field, so there is no
//! wrong state. What goes wrong is told and counted in `report`.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    Door, Gateway,
    gate::{Caps, Pass, Source},
    refusal::Refusal,
    report::Refused,
    tenure::Tenure,
};
use crate::{
    config::Protocol,
    meter::{Opening, Phase},
    net::{Stream, kernel},
    policy::{Answer, Claim, Denial, Reason, Replication, Shortlist, TlsVersion},
    protocol::postgres::{self, GreetError},
    wire::postgres::{self as wire, CancelKey, StartupMessage},
};

/// A connection from its first moment: the socket, the true peer, the deadline of its opening.
#[derive(Debug)]
pub struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) visit: Visit,
}

/// What stays true of a connection through all its stages.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) gateway: Arc<Gateway>,
    pub(super) door: Arc<Door>,
    /// The peer, canonical.
    pub(super) address: IpAddr,
    pub(super) since: Instant,
    /// The one deadline of the opening.
    pub(super) deadline: Instant,
    /// The kernel's smallest round trip so far; the TCP handshake has given it one.
    pub(super) rtt: Option<Duration>,
    /// Counted as an opening in progress until the session begins.
    pub(super) opening: Option<Opening>,
}

/// + what the address alone tells, and a place among the openings in progress.
#[derive(Debug)]
pub(super) struct Screened {
    socket: TcpStream,
    visit: Visit,
    shortlist: Shortlist,
    pass: Pass,
}

/// + the client's stream, plain or TLS, and the bounded opening.
#[derive(Debug)]
pub(super) struct Greeted {
    client: Stream,
    tls: Option<TlsVersion>,
    startup: StartupMessage,
    turns: u32,
    visit: Visit,
    shortlist: Shortlist,
    pass: Pass,
}

/// + the claim.
#[derive(Debug)]
pub(super) struct Identified {
    client: Stream,
    startup: StartupMessage,
    claim: Claim,
    turns: u32,
    visit: Visit,
    shortlist: Shortlist,
    pass: Pass,
}

/// + the permit and the seat, in a tenure that watches the policy.
pub(super) struct Allowed {
    pub(super) client: Stream,
    pub(super) startup: StartupMessage,
    pub(super) tenure: Tenure,
    pub(super) turns: u32,
    pub(super) visit: Visit,
    pub(super) shortlist: Shortlist,
    pub(super) pass: Pass,
}

/// What a client wants that has opened its mouth.
pub(super) enum Knock {
    Session(Greeted),
    Cancel(Cancelling),
    /// A connection that was closed without a byte: somebody's health check.
    Probe,
}

/// A cancel request, to be held against the policy.
pub(super) struct Cancelling {
    /// Held open until the request has been passed on: some clients wait for the close.
    pub(super) _client: Stream,
    pub(super) key: CancelKey,
    pub(super) tls: bool,
    pub(super) visit: Visit,
    pub(super) _pass: Pass,
}

impl Accepted {
    pub fn new(socket: TcpStream, address: IpAddr, door: Arc<Door>, gateway: Arc<Gateway>) -> Self {
        let since = Instant::now();
        let rtt = kernel::tcp_min_rtt(&socket);
        let deadline = since + gateway.limits.borrow().opening;
        let address = crate::policy::canonical(address);
        let opening = Some(door.meters.accepted());
        Self {
            socket,
            visit: Visit {
                gateway,
                door,
                address,
                since,
                deadline,
                rtt,
                opening,
            },
        }
    }

    /// One look at the address. A stranger who gets no answer ends here, before a byte is read.
    pub(super) async fn screen(self) -> Result<Screened, Refused> {
        let Self { socket, visit } = self;
        let gateway = &visit.gateway;
        let (shortlist, answer) = {
            let standing = gateway.standing.borrow();
            (
                standing.policy.screen(visit.address),
                standing.policy.answer(),
            )
        };
        let limits = *gateway.limits.borrow();
        let stranger = !shortlist.is_mentioned();
        if stranger && !shortlist.is_possible() {
            let unheard = answer == Answer::Drop || !gateway.may_explain(limits.refusals_explained);
            if unheard {
                return Err(Refused::new(visit, Some(shortlist), unknown().into(), None));
            }
        }
        let caps = Caps {
            all: limits.openings,
            per_source: limits.per_source,
        };
        let source = Source::of(visit.address);
        let pass = if stranger {
            gateway.gate.enter(source, false, caps)
        } else {
            gateway.gate.wait(source, caps, visit.deadline).await
        };
        match pass {
            Some(pass) => Ok(Screened {
                socket,
                visit,
                shortlist,
                pass,
            }),
            None => Err(Refused::new(visit, Some(shortlist), Refusal::TooMany, None)),
        }
    }
}

impl Screened {
    /// Negotiates TLS and reads the opening, in the listener's protocol.
    pub(super) async fn greet(self) -> Result<Knock, Refused> {
        let Self {
            socket,
            visit,
            shortlist,
            pass,
        } = self;
        let Protocol::Postgres = visit.door.settings.protocol;
        let greeting = postgres::Greeting {
            tls: Arc::clone(&visit.gateway.tls.borrow()),
            first_byte: visit.since + visit.gateway.limits.borrow().first_byte,
        };
        let meters = &visit.door.meters;
        let greeted = match timeout_at(visit.deadline, postgres::greet(socket, greeting)).await {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(GreetError::Probe)) => {
                meters.probe();
                return Ok(Knock::Probe);
            }
            Ok(Err(error)) => return Err(not_greeted(error, visit, shortlist).await),
            Err(_late) => return Err(Refused::new(visit, Some(shortlist), Refusal::Late, None)),
        };
        if let (Some(version), Some(took)) = (greeted.tls, greeted.tls_took) {
            meters.tls_handshake(Some(version.label()));
            meters.phase(Phase::Tls, took);
        }
        meters.phase(Phase::Opening, visit.since.elapsed());
        let client = greeted.client;
        Ok(match greeted.asked {
            postgres::Asked::Startup(startup) => Knock::Session(Greeted {
                client,
                tls: greeted.tls,
                startup,
                turns: greeted.turns,
                visit,
                shortlist,
                pass,
            }),
            postgres::Asked::Cancel(key) => Knock::Cancel(Cancelling {
                _client: client,
                key,
                tls: greeted.tls.is_some(),
                visit,
                _pass: pass,
            }),
        })
    }
}

impl Greeted {
    /// Who the client says it is, with what the network and TLS prove.
    pub(super) fn identify(self) -> Identified {
        let Self {
            client,
            tls,
            startup,
            turns,
            visit,
            shortlist,
            pass,
        } = self;
        let replication = startup.replication().map(|kind| match kind {
            wire::Replication::Physical => Replication::Physical,
            wire::Replication::Logical => Replication::Logical,
        });
        let claim = Claim {
            listener: Arc::clone(&visit.door.settings.name),
            address: visit.address,
            user: startup.user().to_owned(),
            // physical replication opens no database, whatever the packet says
            database: (replication != Some(Replication::Physical))
                .then(|| startup.database().to_owned()),
            replication,
            tls,
            application: startup.application_name().map(str::to_owned),
        };
        Identified {
            client,
            startup,
            claim,
            turns,
            visit,
            shortlist,
            pass,
        }
    }
}

impl Identified {
    /// The one decision. Whatever path the connection took here, it is this call.
    pub(super) async fn allow(self) -> Result<Allowed, Refused> {
        let Self {
            client,
            startup,
            claim,
            turns,
            visit,
            shortlist,
            pass,
        } = self;
        // the notice of change is taken before the decision
        let standing = visit.gateway.standing.clone();
        match Tenure::begin(&visit.gateway, &visit.door, standing, claim) {
            Ok(tenure) => Ok(Allowed {
                client,
                startup,
                tenure,
                turns,
                visit,
                shortlist,
                pass,
            }),
            Err(refused) => {
                let (claim, denial) = *refused;
                let refused = Refused::new(visit, Some(shortlist), denial.into(), Some(claim));
                Err(refused.tell(client, startup.error_form()).await)
            }
        }
    }
}

/// A greeting that failed: told where the client can be told, closed where it cannot.
async fn not_greeted(error: GreetError, visit: Visit, shortlist: Shortlist) -> Refused {
    let text = error.to_string();
    let (refusal, answer) = match error {
        GreetError::Probe | GreetError::Left | GreetError::Broke(_) => (Refusal::Left, None),
        GreetError::Silent => (Refusal::Silent, None),
        GreetError::Tls(_) => {
            visit.door.meters.tls_handshake(None);
            (Refusal::Tls(text), None)
        }
        GreetError::Malformed { client, error } => {
            (Refusal::Malformed(error.to_string()), Some((client, error)))
        }
    };
    if let Some((client, error)) = answer
        && let Some(sqlstate) = error.sqlstate()
    {
        // the parser's own sentence: it repeats nothing of what the client sent
        let response = wire::ErrorResponse {
            sqlstate,
            message: &error.to_string(),
            detail: None,
            hint: None,
        };
        postgres::refuse(client, &response.encode(error.form())).await;
    }
    Refused::new(visit, Some(shortlist), refusal, None)
}

fn unknown() -> Denial {
    Denial {
        reason: Reason::NoOrigin,
        rule: None,
    }
}
