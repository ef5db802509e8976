//! Whether the databases are there. Floor 4.
//!
//! Nothing dials a database that is well by the clock: sessions tell what they find, and beside them a database is asked
//! only when somebody wants to know (`/readyz`, `doorward status`). So a gateway that only strangers visit opens no socket
//! upstream. One that was found down is asked until it is back.

use std::{ops::Deref, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::Tasks;
use crate::{config::Protocol, session::Door};

/// All doors of the gateway, and when the databases behind them were last asked.
#[derive(Debug)]
pub(super) struct Doors {
    all: Vec<Arc<Door>>,
    asked: Mutex<Option<Instant>>,
    /// What databases say at the end of a question that is answered already.
    endings: Tasks,
}

impl Doors {
    pub(super) fn new(all: Vec<Arc<Door>>) -> Self {
        Self {
            all,
            asked: Mutex::new(None),
            endings: Tasks::default(),
        }
    }

    /// Asks every database whether it takes connections, unless that was done a moment ago. The answers are in the meters.
    pub(super) async fn ask(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let mut probes = JoinSet::new();
        for door in &self.all {
            probes.spawn(probe(Arc::clone(door), self.endings.clone()));
        }
        while probes.join_next().await.is_some() {}
        *asked = Some(Instant::now());
    }
}

impl Deref for Doors {
    type Target = [Arc<Door>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

async fn probe(door: Arc<Door>, endings: Tasks) {
    let was_up = door.meters.upstream_is_up();
    // a socket that came back is found by looking again
    if was_up == Some(false) {
        look_up(&door).await;
    }
    let probed = knock(&door, &endings).await;
    door.meters.upstream_up(probed.is_ok());
    let (listener, upstream) = (&*door.settings.name, &door.upstream);
    match probed {
        Ok(()) if was_up == Some(false) => {
            tracing::info!(event = "upstream_up", listener, %upstream);
        }
        Err(error) if was_up != Some(false) => {
            tracing::warn!(event = "upstream_down", listener, %upstream, cause = %error,
                "the database cannot be reached; clients are told so until it can");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Asks a database whether it takes connections, in a way that it does not mind.
async fn knock(door: &Door, endings: &Tasks) -> Result<(), String> {
    match door.settings.protocol {
        Protocol::Postgres => {
            let reached = door.reach(WITHIN).await;
            reached.map(drop).map_err(|error| error.to_string())
        }
        Protocol::Mysql => {
            let server = door.knock(WITHIN).await?;
            // it counts who hangs up without a login; what it thinks of nobody is of no interest, and takes it a moment
            endings.spawn("abandon", async {
                server.abandon().await;
            });
            Ok(())
        }
    }
}

/// Keeps looking up where the server behind a door is, never inside a connection, and whether one that is down has come back.
/// `first` is called after the first time.
pub(super) async fn follow(door: Arc<Door>, first: impl FnOnce() + Send) {
    let (mut first, endings) = (Some(first), Tasks::default());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_u32.. {
        ticks.tick().await;
        if round.is_multiple_of(LOOK_UP_ROUNDS) {
            look_up(&door).await;
        }
        let news = door.settings.protocol == Protocol::Mysql
            && !door.knows_its_server(round.is_multiple_of(LOOK_UP_ROUNDS));
        if door.meters.upstream_is_up() == Some(false) || news {
            probe(Arc::clone(&door), endings.clone()).await;
        }
        if news {
            door.try_headers(WITHIN).await;
        }
        if let Some(first) = first.take() {
            first();
        }
    }
}

async fn look_up(door: &Door) {
    if let Err(error) = door.upstream.refresh().await {
        let listener = &*door.settings.name;
        tracing::warn!(event = "upstream_lookup", listener, cause = %error);
    }
}

/// How long an answer is good. Below the intervals at which balancers ask.
const FRESH: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_secs(5);
/// Names are looked up every 30 s.
const LOOK_UP_ROUNDS: u32 = 6;
/// Less than the deadline of an HTTP answer.
const WITHIN: Duration = Duration::from_millis(700);
