//! From the database's yes to the end of the session. Floor 3.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    AUDIT, AUDIT_ONLY, command,
    login_mysql::Agreed,
    relay::{Closed, End, Line, Order, Orders, Relay, Told, Turn},
    report,
    stages::{MYSQL_PATIENCE, Visit},
    tenure::{Change, Revocation, Tenure},
};
use crate::{
    meter::{Attendance, RoundTrips},
    net::{Stream, kernel},
    policy::Reason,
    protocol::Conversation,
    wire::postgres::CancelKey,
};

/// The database itself said yes: both legs, the tenure, and where the login has left the conversation.
pub(super) struct LoggedIn {
    client: Stream,
    upstream: Stream,
    conversation: Conversation,
    agreed: Option<Box<Agreed>>,
    tenure: Tenure,
    attendance: Attendance,
    visit: Visit,
    client_rtt: Option<Duration>,
    upstream_rtt: Duration,
}

/// What a login leaves behind, in either protocol.
pub(super) struct LoginOutcome {
    pub(super) upstream: Stream,
    pub(super) conversation: Conversation,
    /// What a cancel request for it will bear (PostgreSQL).
    pub(super) cancel_key: Option<CancelKey>,
    /// What the session's own commands are read by (MySQL). Boxed, for it is seldom looked at.
    pub(super) agreed: Option<Box<Agreed>>,
    /// Round trips of the client's login.
    pub(super) turns: u32,
    /// Round trips to the database, from the dial to its yes.
    pub(super) upstream_turns: u32,
    /// How long the client took for its first answer, where that says something of its way.
    pub(super) first_answer: Option<Duration>,
}

impl LoggedIn {
    pub(super) fn new(
        client: Stream,
        session: LoginOutcome,
        mut tenure: Tenure,
        visit: Visit,
        turns: u32,
    ) -> Self {
        let LoginOutcome {
            upstream,
            conversation,
            cancel_key,
            agreed,
            upstream_turns,
            first_answer,
            ..
        } = session;
        let client_rtt = client.tcp().and_then(kernel::tcp_min_rtt).or(visit.rtt);
        let upstream_rtt = upstream
            .tcp()
            .and_then(kernel::tcp_min_rtt)
            .unwrap_or_default();
        visit.door.meters.upstream_rtt(upstream_rtt);
        let meters = tenure.held.meters();
        let path = RoundTrips {
            turns,
            rtt: client_rtt.unwrap_or_default(),
        };
        let beyond = RoundTrips {
            turns: upstream_turns,
            rtt: upstream_rtt,
        };
        // before the accept there was TCP's handshake, and the database's yes has still to arrive
        let waited = visit.since.elapsed() + path.rtt * 2;
        meters.opened(path, beyond, waited);
        if let Some(rtt) = client_rtt {
            let turns = [visit.turn, first_answer];
            meters.came_by(rtt, turns.into_iter().flatten().min(), visit.hop);
        }
        let reason = Reason::Allowed.label();
        let origin = Some(tenure.held.permit.name());
        let listener = &visit.door.settings.name;
        visit
            .gateway
            .meters
            .decision(listener, origin, true, reason);
        if let Some(denial) = tenure.held.permit.spared() {
            let meters = &visit.gateway.meters;
            meters.would_deny(listener, tenure.held.permit.name(), denial.reason.label());
            report::would_deny(&tenure, denial);
        }
        tenure.open(client_rtt.unwrap_or_default());
        log_begin(&tenure);
        if let Some(key) = cancel_key {
            tenure.held.register(key);
        }
        Self {
            client,
            upstream,
            conversation,
            agreed,
            tenure,
            attendance: meters.attend(SystemTime::now()),
            visit,
            client_rtt,
            upstream_rtt,
        }
    }

    /// Relays to the end of the session and writes its line in the log. Not an `async fn`: its future would hold `self` beside the
    /// relay that is made of it.
    pub(super) fn relay(self) -> impl Future<Output = ()> + Send {
        let line = Line {
            origin: self.attendance,
            listener: Arc::clone(&self.visit.door.meters),
            since: self.visit.since,
            client_rtt: self.client_rtt,
            upstream_rtt: self.upstream_rtt,
        };
        let orders = PolicyOrders {
            tenure: self.tenure,
            agreed: self.agreed,
            ending: None,
        };
        let passing = orders.tenure.held.is_reserve();
        let mut relay = Relay::new(self.client, self.upstream, self.conversation, line, orders);
        if passing {
            // the next one may need the place to stop a statement
            relay.end_by(Instant::now() + MYSQL_PATIENCE);
        }
        async move {
            let end = loop {
                match (&mut relay).await {
                    Turn::Over(end) => break end,
                    // boxed, so that no session carries the size of what it seldom does
                    Turn::Asks => {
                        if let Some(end) = Box::pin(command::decide(&mut relay)).await {
                            break end;
                        }
                    }
                }
            };
            if let Some(rest) = finish(relay, end) {
                rest.await;
            }
        }
    }
}

/// Writes the session's line in the log. Gives what remains: last words, and to stop a statement that nobody waits for. Boxed,
/// so that no session carries the size of its end.
fn finish(
    relay: Relay<Stream, Stream, PolicyOrders>,
    end: End,
) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let over = relay.close(end);
    log_end(&over.orders, &over.closed);
    let given_up = matches!(end, End::ClientLeft | End::ClientBroke) && over.orders.forgo_answers();
    let stops = end == End::Revoked || (over.busy && given_up);
    let stop = stops.then(|| over.orders.tenure.held.stop()).flatten();
    match (over.parting, stop) {
        (None, None) => None,
        (Some(parting), None) => Some(Box::pin(parting)),
        (None, Some(stop)) => Some(Box::pin(stop)),
        (Some(parting), Some(stop)) => Some(Box::pin(async {
            tokio::join!(parting, stop);
        })),
    }
}

/// What the policy orders of a session that is being relayed.
pub(super) struct PolicyOrders {
    pub(super) tenure: Tenure,
    pub(super) agreed: Option<Box<Agreed>>,
    /// The order to end that was given, so that only a stricter one follows.
    pub(super) ending: Option<Box<Revocation>>,
}

impl Orders for PolicyOrders {
    fn poll_order(&mut self, cx: &mut Context<'_>) -> Poll<Order> {
        while let Poll::Ready(change) = self.tenure.poll_change(cx) {
            match change {
                Change::Moved => {
                    return Poll::Ready(Order::Move {
                        meters: self.tenure.held.meters(),
                        local_infile: self.tenure.held.permit.local_infile(),
                    });
                }
                Change::Ends(revocation) => {
                    if let Some(order) = self.end(revocation) {
                        return Poll::Ready(order);
                    }
                }
                Change::Nothing => {}
            }
        }
        Poll::Pending
    }

    fn told(&mut self, told: &Told) {
        self.tenure.told(told);
    }

    fn forgo_answers(&self) -> bool {
        self.tenure.held.door.in_force().cancel_on_disconnect
    }
}

impl PolicyOrders {
    fn end(&mut self, revocation: Revocation) -> Option<Order> {
        let stricter = match self.ending.as_deref() {
            None => {
                self.tenure.held.gateway.count_revoked();
                self.tenure
                    .held
                    .meters()
                    .revoked(revocation.denial.reason.label());
                true
            }
            Some(Revocation { grace: None, .. }) => false,
            Some(Revocation {
                grace: Some(given), ..
            }) => revocation.grace.is_none_or(|by| by < *given),
        };
        if !stricter {
            return None;
        }
        let farewell = self.tenure.held.farewell(&revocation).message;
        let order = match revocation.grace {
            Some(by) => Order::Drain { farewell, by },
            None => Order::Cut { farewell },
        };
        self.ending = Some(Box::new(revocation));
        Some(order)
    }
}

/// For the audit alone: the log has one line for each session, at its end.
fn log_begin(tenure: &Tenure) {
    let claim = &tenure.held.claim;
    tracing::info!(
        target: AUDIT_ONLY,
        event = "opened",
        listener = &*claim.listener,
        origin = tenure.held.permit.name(),
        client = %claim.address,
        user = &*report::capped(&claim.user),
        database = claim.database.as_deref().map(report::capped).as_deref(),
        certificate = report::shown(claim),
        tls = claim.tls.map(crate::policy::TlsVersion::label),
        generation = tenure.held.permit.generation(),
    );
}

/// The access log: one line for each session, at its end.
fn log_end(orders: &PolicyOrders, closed: &Closed) {
    let tenure = &orders.tenure;
    let claim = &tenure.held.claim;
    let ending = orders.ending.as_ref();
    let revoked = ending.map(|ending| ending.denial.reason);
    let reference = ending.map(|ending| tenure.held.reference(ending).to_string());
    let user = report::capped(&claim.user);
    let database = claim.database.as_deref().map(report::capped);
    let application = claim.application.as_deref().map(report::capped);
    let spared = tenure.held.permit.spared();
    tracing::info!(
        target: AUDIT,
        event = "closed",
        listener = &*claim.listener,
        origin = tenure.held.permit.name(),
        reason = revoked.unwrap_or(Reason::Allowed).label(),
        end = closed.end.label(),
        client = %claim.address,
        user = &*user,
        database = database.as_deref(),
        application = application.as_deref(),
        certificate = report::shown(claim),
        would_deny = spared.map(|denial| denial.reason.label()),
        tls = claim.tls.map(crate::policy::TlsVersion::label),
        rtt_us = closed.client_rtt.map(report::micros),
        r#ref = reference,
        frame_lost = closed.frame_lost.then_some(true),
        generation = tenure.held.permit.generation(),
        r#in = closed.received,
        out = closed.transmitted,
        ms = u64::try_from(closed.lasted.as_millis()).unwrap_or(u64::MAX),
    );
}
