//! The notice that the policy in force has changed, as each session holds it. Floor 3.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::sync::watch;

use super::Standing;

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
