//! Tells of origins that are farther than they are expected to be. Floor 4: what that means is `meter`'s.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::house::House;
use crate::meter::{OriginMeters, Surprise};

/// Holds every origin against its `expect`, for ever.
pub(super) async fn keep(house: Arc<House>) {
    loop {
        sleep(STEP).await;
        for (origin, surprise) in house.gateway.meters.surprises(Instant::now()) {
            tell(&origin, surprise);
        }
    }
}

fn tell(origin: &OriginMeters, surprise: Surprise) {
    let micros = |rtt: Duration| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
    let (measured, expected) = (micros(surprise.measured), micros(surprise.expected));
    let (listener, origin) = (origin.listener(), origin.name());
    if surprise.broken {
        tracing::warn!(
            event = "rtt_exceeded",
            listener,
            origin,
            rtt_us = measured,
            expected_us = expected,
            "for five minutes the application was farther from here than it is expected to be"
        );
    } else {
        tracing::info!(
            event = "rtt_as_expected",
            listener,
            origin,
            rtt_us = measured,
            expected_us = expected,
            "the application is again as near as it is expected to be"
        );
    }
}

const STEP: Duration = Duration::from_secs(10);
