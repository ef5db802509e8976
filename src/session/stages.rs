//! The stages of a connection, from the socket to the permit. Floor 3.
//!
//! A stage is a struct that owns what is true by then; its method consumes it. There is no `state` field, so there is no
//! wrong state. What goes wrong is told and counted in `report`.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    Door, Gateway,
    gate::{Caps, Crowd, Pass, Source},
    greet_mysql::greet_mysql,
    greet_postgres::greet_postgres,
    refusal::Refusal,
    report::Refused,
    standing::Snapshot,
    tenure::Tenure,
};
use crate::{
    config::Protocol,
    meter::{self, Hop},
    net::{self, Proxied, ProxiedError, Shown, Stream, kernel},
    policy::{Answer, Claim, Denial, Reason, Shortlist, canonical},
    protocol::{ClientTls, Opening},
    wire::postgres::CancelKey,
};

/// A connection from its first moment: the socket, who is at its other end, the deadline of its opening.
#[derive(Debug)]
pub struct Accepted {
    socket: TcpStream,
    visit: Visit,
}

/// + the true peer, behind a balancer too.
#[derive(Debug)]
pub(super) struct Introduced {
    socket: TcpStream,
    visit: Visit,
}

/// What stays true of a connection through all its stages.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) gateway: Arc<Gateway>,
    pub(super) door: Arc<Door>,
    /// The peer, canonical; once it is introduced, whom a balancer has named.
    pub(super) address: IpAddr,
    /// The same with its port, as it came.
    pub(super) peer: SocketAddr,
    pub(super) since: Instant,
    /// The one deadline of the opening.
    pub(super) deadline: Instant,
    /// The kernel's smallest round trip so far; the TCP handshake has given it one.
    pub(super) rtt: Option<Duration>,
    /// Its quickest turn so far in which the client had nothing to think about.
    pub(super) turn: Option<Duration>,
    /// What the peer's address tells of the way to the client.
    pub(super) hop: Option<Hop>,
    /// Counted as an opening in progress until the session begins.
    pub(super) opening: Option<meter::Opening>,
}

/// What stays true of a connection until it is a session: a visit, what its address alone tells, and its place among the
/// openings in progress.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) visit: Visit,
    pub(super) shortlist: Shortlist,
    pub(super) pass: Pass,
}

/// + the shortlist and the place: a guest.
#[derive(Debug)]
pub(super) struct Screened {
    socket: TcpStream,
    guest: Guest,
}

/// + the client's stream, plain or TLS, and the bounded opening.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) client: Stream,
    pub(super) tls: Option<ClientTls>,
    pub(super) opening: Opening,
    pub(super) turns: u32,
    pub(super) guest: Guest,
}

/// + the claim.
#[derive(Debug)]
pub(super) struct Identified {
    client: Stream,
    shown: Option<Arc<Shown>>,
    opening: Opening,
    claim: Claim,
    /// By which the claim's certificate was judged, and the claim will be decided.
    snapshot: Snapshot,
    turns: u32,
    guest: Guest,
}

/// + the permit and the seat, in a tenure that watches the policy.
pub(super) struct Allowed {
    pub(super) client: Stream,
    /// What the client has seen of us; `None` without TLS.
    pub(super) shown: Option<Arc<Shown>>,
    pub(super) opening: Opening,
    pub(super) tenure: Tenure,
    pub(super) turns: u32,
    pub(super) guest: Guest,
}

/// What the client asked for once its opening was read.
pub(super) enum Purpose {
    Session(Greeted),
    Cancel(Cancelling),
    /// A connection that was closed without a byte: somebody's health check.
    Probe,
}

/// A cancel request, to be held against the policy.
pub(super) struct Cancelling {
    /// Held open until the request has been passed on: some clients wait for the close.
    pub(super) client: Stream,
    pub(super) key: CancelKey,
    pub(super) tls: bool,
    pub(super) guest: Guest,
}

impl Visit {
    /// A turn of the client took so long, and it had nothing to think about.
    pub(super) fn turned(&mut self, took: Duration) {
        self.turn = Some(self.turn.map_or(took, |least| least.min(took)));
    }
}

impl Guest {
    pub(super) fn refused(self, refusal: Refusal, claim: Option<Claim>) -> Refused {
        let refused = Refused::new(self.visit, Some(self.shortlist), refusal, claim);
        refused.in_place(self.pass)
    }
}

impl Accepted {
    pub fn new(
        socket: TcpStream,
        peer: SocketAddr,
        door: Arc<Door>,
        gateway: Arc<Gateway>,
    ) -> Self {
        let since = Instant::now();
        let rtt = kernel::tcp_min_rtt(&socket);
        let opening = gateway.limits.borrow().opening;
        let deadline = since
            + match door.settings.protocol {
                Protocol::Postgres => opening,
                Protocol::Mysql => opening.min(MYSQL_PATIENCE),
            };
        let opening = Some(door.meters.accepted());
        Self {
            socket,
            visit: Visit {
                gateway,
                door,
                address: canonical(peer.ip()),
                peer,
                since,
                deadline,
                rtt,
                turn: None,
                hop: peer
                    .ip()
                    .to_canonical()
                    .is_loopback()
                    .then_some(Hop::Loopback),
                opening,
            },
        }
    }

    /// A trusted balancer says for whom it has come. `None` is its own probe, which is never decided.
    pub(super) async fn introduce(self) -> Result<Option<Introduced>, Refused> {
        let Self {
            mut socket,
            mut visit,
        } = self;
        let settings = visit.door.in_force();
        let mut balancers = settings.proxy_protocol.iter();
        if !balancers.any(|trusted| trusted.contains(&visit.address)) {
            return Ok(Some(Introduced { socket, visit }));
        }
        let by = visit.deadline.min(visit.since + INTRODUCTION);
        let refusal = match timeout_at(by, net::proxied(&mut socket)).await {
            Ok(Ok(Proxied::Client(client))) => {
                visit.address = canonical(client.ip());
                visit.peer = client;
                visit.hop = Some(Hop::Balancer);
                return Ok(Some(Introduced { socket, visit }));
            }
            Ok(Ok(Proxied::Probe)) => {
                visit.door.meters.probe();
                return Ok(None);
            }
            Ok(Err(ProxiedError::Left | ProxiedError::Broke(_))) => Refusal::Left,
            Ok(Err(error)) => Refusal::Malformed(error.to_string()),
            Err(_late) => Refusal::Silent,
        };
        Err(Refused::new(visit, None, refusal, None))
    }
}

impl Introduced {
    /// One look at the address. A stranger who gets no answer ends here, before a byte is read.
    pub(super) async fn screen(self) -> Result<Screened, Refused> {
        let Self { socket, visit } = self;
        let gateway = &visit.gateway;
        let (shortlist, answer) = {
            let standing = gateway.standing.borrow();
            (
                standing.policy.screen(visit.address),
                standing.policy.rules().strangers.answer,
            )
        };
        let limits = *gateway.limits.borrow();
        let source = Source::of(visit.address);
        let stranger = !shortlist.is_mentioned();
        if stranger && let Some(refusal) = turned_away(&visit, shortlist, answer) {
            return Err(Refused::new(visit, Some(shortlist), refusal, None));
        }
        let caps = Caps {
            all: limits.openings,
            per_source: limits.per_source,
        };
        let pass = if stranger {
            gateway.gate.enter(source, false, caps)
        } else {
            gateway.gate.wait(source, caps, visit.deadline).await
        };
        let pass = match pass {
            Ok(pass) => pass,
            Err(crowd) => {
                let refusal = Refusal::TooMany(crowd);
                let refused = Refused::new(visit, Some(shortlist), refusal, None);
                return Err(refused.tell_unheard(&socket));
            }
        };
        let guest = Guest {
            visit,
            shortlist,
            pass,
        };
        Ok(Screened { socket, guest })
    }
}

impl Screened {
    /// Reads the opening, in the listener's protocol.
    pub(super) async fn greet(self) -> Result<Purpose, Refused> {
        let Self { socket, guest } = self;
        match guest.visit.door.settings.protocol {
            Protocol::Postgres => greet_postgres(socket, guest).await,
            Protocol::Mysql => greet_mysql(socket, guest).await,
        }
    }
}

impl Greeted {
    /// Who the client says it is, with what the network and TLS prove.
    pub(super) fn identify(self) -> Identified {
        let identity = self.opening.identity();
        let visit = &self.guest.visit;
        let snapshot = Snapshot::take(&visit.gateway);
        let claim = Claim {
            listener: visit.door.settings.name.clone(),
            address: visit.address,
            user: identity.user,
            database: identity.database,
            replication: identity.replication,
            tls: self.tls.as_ref().map(|tls| tls.version),
            certificate: snapshot.shown_by(&self.client).map(Arc::new),
            application: identity.application,
        };
        Identified {
            client: self.client,
            shown: self.tls.map(|tls| tls.shown),
            opening: self.opening,
            claim,
            snapshot,
            turns: self.turns,
            guest: self.guest,
        }
    }
}

impl Identified {
    /// The one decision. Whatever path the connection took here, it is this call.
    pub(super) async fn allow(self) -> Result<Allowed, Refused> {
        let visit = &self.guest.visit;
        if visit.gateway.record.is_wanting() {
            let refused = self.guest.refused(Refusal::Unrecorded, Some(self.claim));
            return Err(refused.tell(self.client, self.opening).await);
        }
        // banned since it came, or let this far only to be told of its ban
        let source = Source::of(visit.address);
        if !self.guest.shortlist.is_mentioned() && visit.gateway.bans.holds(source, Instant::now())
        {
            let refused = self.guest.refused(banned().into(), Some(self.claim));
            return Err(refused.tell(self.client, self.opening).await);
        }
        match Tenure::begin(&visit.gateway, &visit.door, self.snapshot, self.claim) {
            Ok(tenure) => {
                if !self.guest.shortlist.is_mentioned() {
                    visit.gateway.need_not_explain();
                }
                Ok(Allowed {
                    client: self.client,
                    shown: self.shown,
                    opening: self.opening,
                    tenure,
                    turns: self.turns,
                    guest: self.guest,
                })
            }
            Err(refused) => {
                let (claim, denial) = *refused;
                let refused = self.guest.refused(denial.into(), Some(claim));
                Err(refused.tell(self.client, self.opening).await)
            }
        }
    }
}

/// Whether a stranger ends here, before a byte is read: who is banned, who is not to be answered, and who comes when as many as
/// may be answered in this second already were.
fn turned_away(visit: &Visit, shortlist: Shortlist, answer: Answer) -> Option<Refusal> {
    let gateway = &visit.gateway;
    let rate = gateway.limits.borrow().refusals_explained;
    let (source, now) = (Source::of(visit.address), Instant::now());
    if gateway.bans.holds(source, now) {
        let told = answer != Answer::Drop
            && gateway.bans.may_tell(source, now)
            && gateway.may_explain(rate);
        return (!told).then(|| banned().into());
    }
    let hopeless = !shortlist.is_possible();
    if hopeless && answer == Answer::Drop {
        return Some(unknown().into());
    }
    match gateway.may_explain(rate) {
        true => None,
        false if hopeless => Some(unknown().into()),
        false => Some(Refusal::TooMany(Crowd::Answered)),
    }
}

/// A MySQL server counts a connection against its host that has not logged in within `connect_timeout`, 10 s unless set.
pub(super) const MYSQL_PATIENCE: Duration = Duration::from_secs(8);

pub(super) fn unknown() -> Denial {
    Denial {
        reason: Reason::NoOrigin,
        rule: None,
    }
}

const fn banned() -> Denial {
    Denial {
        reason: Reason::Banned,
        rule: None,
    }
}

/// How long a balancer may take to name its client.
const INTRODUCTION: Duration = Duration::from_secs(5);
