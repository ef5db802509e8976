//! To the server behind the door, for one session. Floor 3.

use tokio::time::Instant;

use super::{postgres_server::Unreached, refusal::Refusal, stages::Visit};
use crate::{meter::Phase, net::Stream};

/// Waits for `dialling` and counts what came of it.
pub(super) async fn dial<E: Into<Unreached>>(
    visit: &Visit,
    dialling: impl Future<Output = Result<Stream, E>>,
) -> Result<Stream, Refusal> {
    if visit.door.mysql.is_spared() {
        return Err(Refusal::HostBlocked);
    }
    let meters = &visit.door.meters;
    let began = Instant::now();
    match dialling.await {
        Ok(upstream) => {
            let took = began.elapsed();
            meters.phase(Phase::Dial, took);
            // its round trip is better known after the login
            meters.upstream_connected(took, None);
            Ok(upstream)
        }
        Err(error) => {
            let error = error.into();
            if meters.upstream_is_up() != Some(false) {
                tracing::warn!(
                    event = "upstream_down",
                    listener = meters.name(),
                    upstream = %visit.door.upstream,
                    cause = %error,
                    "the database cannot be reached; clients are told so until it can",
                );
            }
            meters.upstream_failed(error.label());
            Err(Refusal::Unreachable(error.to_string()))
        }
    }
}
