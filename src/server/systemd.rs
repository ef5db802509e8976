//! What the service manager is told. Floor 4. Without one, nothing is said.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// Everything is bound and connections are accepted.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it.
pub(super) fn reloading() {
    // `Type=notify-reload` asks for the time, in the same message
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_no_clock) => tell(&[NotifyState::Reloading]),
    }
}

/// No more connections are accepted; sessions get the time to end.
pub(super) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(event = "notify", cause = %error, "the service manager cannot be told");
    }
}

/// Beats as long as the loop that holds it goes round.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The loop has ended as it should; the pulse is not missed.
    pub(super) fn rest(&self) {
        self.0.store(RESTING, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a [`Pulse`] has to beat at least: twice within each word to the watchdog.
pub(super) fn beat_every() -> Duration {
    sd_notify::watchdog_enabled().map_or(Duration::from_secs(10), |limit| limit / 4)
}

/// Tells the watchdog, twice within its time, that every accept loop goes round. One that is stuck silences it, and the
/// service manager starts anew. Ends at once where nobody watches.
pub(super) async fn watchdog(pulses: Vec<Pulse>) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = interval((limit / 2).max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Vec<Option<u64>> = vec![None; pulses.len()];
    loop {
        ticks.tick().await;
        let now: Vec<_> = pulses.iter().map(|pulse| Some(pulse.count())).collect();
        let beats = |(now, last)| now == &Some(RESTING) || now != last;
        if now.iter().zip(&last).all(beats) {
            tell(&[NotifyState::Watchdog]);
        }
        last = now;
    }
}

const RESTING: u64 = u64::MAX;
