//! What is in force, as each session sees it, and the notice that it has changed. Floor 3.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::SystemTime,
};

use tokio::{sync::watch, time::Instant};

use super::{Gateway, roll::Enrolled};
use crate::{
    net::{ClientTrust, Stream},
    policy::{Certificate, Policy},
};

/// What is in force: the policy, whose word for clients it goes by, and once the gateway is ending, the moment by which sessions
/// have to be gone. Travels in a `watch`: a snapshot and a notice of change in one.
#[derive(Clone, Debug)]
pub struct Standing {
    pub policy: Arc<Policy>,
    pub trust: Arc<ClientTrust>,
    pub closing: Option<Instant>,
}

/// What stood at a moment, and the notice of what changes after it.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) standing: Standing,
    pub(super) notice: watch::Receiver<Standing>,
}

impl Snapshot {
    pub(super) fn take(gateway: &Gateway) -> Self {
        let mut notice = gateway.standing.clone();
        let standing = notice.borrow_and_update().clone();
        Self { standing, notice }
    }

    /// What the client has shown of itself, and what it is worth.
    pub(super) fn shown_by(&self, client: &Stream) -> Option<Certificate> {
        let trust = &self.standing.trust;
        trust.certificate(client.client_chain(), SystemTime::now())
    }
}

/// Tells when what stands has changed, cheaply enough to be asked at every turn of the relay: the session is woken by the roll.
pub(super) struct Notice {
    pub(super) standing: watch::Receiver<Standing>,
    /// Whom the roll wakes.
    wakes: Option<Waker>,
}

impl Notice {
    pub(super) const fn of(standing: watch::Receiver<Standing>) -> Self {
        Self {
            standing,
            wakes: None,
        }
    }

    pub(super) fn poll(&mut self, enrolled: &Enrolled, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker();
        if !self
            .wakes
            .as_ref()
            .is_some_and(|kept| kept.will_wake(waker))
        {
            enrolled.wake_by(waker);
            self.wakes = Some(waker.clone());
        }
        // looked at after the roll knows whom to wake, so that no change falls between
        if !self.standing.has_changed().unwrap_or(false) {
            return Poll::Pending;
        }
        self.standing.mark_unchanged();
        Poll::Ready(())
    }
}
