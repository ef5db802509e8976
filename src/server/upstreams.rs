//! Whether the databases are there: asked in the background, for readiness and for the operator. Floor 4.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::session::Door;

/// Looks up and probes the server behind a door, again and again. The first time is over when `first` is called.
pub(super) async fn watch(door: Arc<Door>, first: impl FnOnce() + Send) {
    let mut first = Some(first);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_up = None;
    for round in 0_u64.. {
        ticks.tick().await;
        let up = look(&door, round, was_up).await;
        was_up = Some(up);
        if let Some(first) = first.take() {
            first();
        }
    }
}

async fn look(door: &Door, round: u64, was_up: Option<bool>) -> bool {
    let name = &*door.settings.name;
    // a name that moved, or a socket that came back, is found by looking it up again
    if (round.is_multiple_of(LOOK_UP_ROUNDS) || was_up == Some(false))
        && let Err(error) = door.upstream.refresh().await
    {
        tracing::debug!(event = "upstream_lookup", listener = name, cause = %error);
    }
    let probed = door.upstream.probe(WITHIN).await;
    let up = probed.is_ok();
    door.meters.upstream_up(up);
    match probed {
        Ok(_) if was_up == Some(false) => {
            tracing::info!(event = "upstream_up", listener = name, upstream = %door.upstream);
        }
        Err(error) if was_up != Some(false) => {
            tracing::warn!(event = "upstream_down", listener = name, upstream = %door.upstream, cause = %error,
                "the database cannot be reached; clients are told so until it can");
        }
        Ok(_) | Err(_) => {}
    }
    up
}

const EVERY: Duration = Duration::from_secs(5);
/// Names are looked up every 30 s.
const LOOK_UP_ROUNDS: u64 = 6;
const WITHIN: Duration = Duration::from_secs(3);
