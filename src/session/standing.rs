//! What is in force, as each session sees it, and the notice that it has changed. Floor 3.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::SystemTime,
};

use tokio::{sync::watch, time::Instant};

use super::Gateway;
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

type Bell = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells when what stands has changed, cheaply enough to be asked at every turn of the relay.
pub(super) struct Notice {
    pub(super) standing: watch::Receiver<Standing>,
    /// Registered with the channel; only polled when that may say something new.
    bell: Bell,
    /// Whom the bell wakes.
    wakes: Option<Waker>,
}

impl Notice {
    pub(super) fn of(standing: watch::Receiver<Standing>) -> Self {
        Self {
            bell: ring(standing.clone()),
            standing,
            wakes: None,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let registered = self
            .wakes
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if registered && !self.standing.has_changed().unwrap_or(false) {
            return Poll::Pending;
        }
        if self.bell.as_mut().poll(cx).is_pending() {
            self.wakes = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.standing.mark_unchanged();
        self.bell = ring(self.standing.clone());
        self.wakes = None;
        Poll::Ready(())
    }
}

/// An `async fn` would hold the receiver twice, in every session.
fn ring(mut standing: watch::Receiver<Standing>) -> Bell {
    Box::pin(async move {
        if standing.changed().await.is_err() {
            // the gateway itself is gone: nobody can change the policy any more
            std::future::pending::<()>().await;
        }
    })
}
