//! PostgreSQL's cancel requests: a connection of their own that names a session and no user. Floor 3.
//!
//! A cancel is never answered. It is forwarded only with a [`CancelPermit`](crate::policy::CancelPermit), through a budget
//! for its source and one for everybody; strangers open nothing upstream.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Duration, Instant, timeout},
};

use super::{
    Door,
    budget::{Bucket, Buckets},
    gate::Source,
    stages::Cancelling,
    standing::Snapshot,
};
use crate::{
    net::Stream,
    policy::{Cancelled, Permit},
    wire::postgres::CancelKey,
};

impl Cancelling {
    /// Forwards the request if it may pass, and closes. What became of it is only counted: an answer would tell which keys exist.
    pub(super) async fn forward(mut self) {
        let forwarded = self.forwarded().await;
        let meters = &self.guest.visit.door.meters;
        meters.cancel(forwarded.unwrap_or_else(|why| why));
        // in TLS an end that is not announced is an error to libpq 17 and later, whose caller then believes that nothing was sent
        let _announced = timeout(GOODBYE, self.client.shutdown()).await;
    }

    async fn forwarded(&self) -> Result<&'static str, &'static str> {
        let (gateway, door) = (&self.guest.visit.gateway, &self.guest.visit.door);
        if !self.tls && !door.in_force().allow_plain_cancel {
            return Err("plain_refused");
        }
        let session = door.sessions.owner(&self.key);
        let snapshot = Snapshot::take(gateway);
        let shown = snapshot.shown_by(&self.client);
        let permit = snapshot.standing.policy.decide_cancel(
            self.guest.visit.address,
            shown.as_ref(),
            SystemTime::now(),
            session.as_ref().map(|owner| Cancelled {
                origin: &owner.origin,
                address: owner.address,
            }),
        );
        let permit = permit.ok_or("refused")?;
        // who guesses keys is slowed down; who knows one is not
        let source = Source::of(self.guest.visit.address);
        if session.is_none() && !gateway.cancels.take(source, Instant::now()) {
            return Err("limited");
        }
        let within = gateway.limits.borrow().dial;
        let dialling = door.upstream.connect_for_cancel(&permit, within);
        let dialled = door.encrypted(dialling, within).await;
        let upstream = dialled.map_err(|_unreachable| "unreachable")?;
        let told = tell(upstream, &self.key).await;
        told.map_err(|_broke| "unreachable")?;
        Ok("forwarded")
    }
}

/// How many cancels may be forwarded: from one source, from one IPv6 site, in all, each a second.
#[derive(Debug)]
pub(super) struct CancelBudget {
    buckets: Mutex<(Buckets<Source>, Buckets<Source>, Bucket)>,
}

impl CancelBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            buckets: Mutex::new((
                Buckets::new(PER_SOURCE, now),
                Buckets::new(PER_SITE, now),
                Bucket::full(IN_ALL, now),
            )),
        }
    }

    /// Takes one from each; a cancel with a key of a known session is not asked.
    pub(super) fn take(&self, source: Source, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (by_source, by_site, all) = &mut *buckets;
        by_source.take(source, now) && by_site.take(source.site(), now) && all.take(IN_ALL, now)
    }
}

/// Has the server stop what a session is running that was cut: a close alone it would notice only after the statement, which
/// would still commit. Nothing is said of a failure: the session is over either way.
pub(super) async fn stop_statement(
    door: Arc<Door>,
    permit: Permit,
    key: CancelKey,
    within: Duration,
) {
    let dialling = door.upstream.connect(&permit, within);
    if let Ok(upstream) = door.encrypted(dialling, within).await {
        let _told = tell(upstream, &key).await;
    }
}

/// The server closes when the signal is sent: a client that waits for our close knows that much.
async fn tell(mut upstream: Stream, key: &CancelKey) -> io::Result<()> {
    upstream.write_all(&key.encode_request()).await?;
    upstream.flush().await?;
    let _closed = timeout(SERVER_CLOSES, upstream.read(&mut [0])).await;
    Ok(())
}

/// How long the server may take to act on a cancel.
const SERVER_CLOSES: Duration = Duration::from_secs(5);

/// How long the client may take to make room for the last few bytes.
const GOODBYE: Duration = Duration::from_secs(1);

/// Cancels with unknown keys, a second.
const PER_SOURCE: u32 = 20;
const PER_SITE: u32 = 100;
const IN_ALL: u32 = 500;
