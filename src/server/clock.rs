//! What happens by the clock alone: origins expire, certificates come to their end. Floor 4.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};

use super::house::House;
use crate::session::AUDIT;

/// Announces the policy again whenever an origin has expired, so that its sessions decide again, and renews the
/// certificate of the own authority. Looks at the wall clock in short steps: it may be set.
pub(super) async fn keep(house: Arc<House>) {
    let mut looked = SystemTime::now();
    let mut renewal = Instant::now() + RENEWAL;
    let mut changed = house.standing.subscribe();
    loop {
        let next = house.standing.borrow().policy.next_expiry(looked);
        let until = next
            .and_then(|at| at.duration_since(SystemTime::now()).ok())
            .map_or(STEP, |until| until.min(STEP));
        tokio::select! {
            () = sleep(until + TICK) => {}
            _ = changed.changed() => {}
        }
        let now = SystemTime::now();
        if next.is_some_and(|at| at <= now) {
            tracing::info!(target: AUDIT, event = "origin_expired", "live sessions are decided again");
            house.decide_all_again();
            house.forget_expired().await;
        }
        house.gateway.count_bans();
        house.gateway.sum_up_refusals();
        looked = now;
        if Instant::now() >= renewal {
            renewal = Instant::now() + RENEWAL;
            house.refresh().await;
        }
    }
}

const STEP: Duration = Duration::from_secs(15);
/// A timer may be early by its resolution; what expires at a moment has expired just after it.
const TICK: Duration = Duration::from_millis(2);
const RENEWAL: Duration = Duration::from_secs(60 * 60);
