//! To the server behind the door, for one session: dial, and what a MySQL server says first. Floor 3.

use std::sync::Arc;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{Door, postgres_server::Unreached, refusal::Refusal, stages::Visit};
use crate::{
    config::UpstreamProxyProtocol,
    meter::Phase,
    net::{OnBehalf, Stream, announce},
    protocol::mysql::{HearError, Unfinished},
};

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

/// Tells a MySQL server on a fresh connection whom it is for, where it is to know, and waits for its greeting.
pub(super) async fn hear(
    visit: &Visit,
    stream: Stream,
    client: Option<&TcpStream>,
    by: Instant,
) -> Result<Unfinished, Refusal> {
    let to = client.and_then(|client| client.local_addr().ok());
    let from = visit.peer;
    let whom = to.map_or(OnBehalf::Gateway, |to| OnBehalf::Client { from, to });
    let heard = timeout_at(by, visit.door.hear(stream, whom)).await;
    heard.unwrap_or_else(|_late| {
        visit.door.meters.upstream_failed("no_greeting");
        let text = "the server took the connection and did not greet in time";
        Err(Refusal::Unreachable(text.to_owned()))
    })
}

impl Door {
    /// Hears a MySQL server on a connection that has just been made.
    pub(super) async fn hear(
        &self,
        mut stream: Stream,
        whom: OnBehalf,
    ) -> Result<Unfinished, Refusal> {
        let headers = self.in_force().upstream_proxy_protocol == UpstreamProxyProtocol::V2;
        let proxied = headers && self.mysql.takes_headers();
        if proxied {
            let announced = announce(&mut stream, whom).await;
            announced.map_err(|error| Refusal::Unreachable(error.to_string()))?;
        }
        let began = Instant::now();
        let mut upstream = Unfinished::new(stream, proxied, Arc::clone(&self.mysql.abandons));
        match upstream.hear().await {
            Ok(greeting) => {
                self.mysql.heard(greeting);
                self.meters.host_blocked(false);
                self.mysql.took(began.elapsed(), self);
                Ok(upstream)
            }
            Err(error) => Err(self.not_heard(error)),
        }
    }

    fn not_heard(&self, error: HearError) -> Refusal {
        match error {
            HearError::Refused { errno, .. } if errno == HOST_BLOCKED => {
                if !self.meters.host_is_blocked() {
                    tracing::error!(
                        event = "upstream_host_blocked",
                        listener = self.meters.name(),
                        upstream = %self.upstream,
                        "the database refuses the gateway's own address after too many connection errors (1129); \
                         nobody gets in until an administrator runs, at the database: \
                         TRUNCATE TABLE performance_schema.host_cache; (MySQL) or FLUSH HOSTS; (MariaDB)",
                    );
                }
                self.mysql.shut_out();
                self.meters.host_blocked(true);
                self.meters.upstream_failed("host_blocked");
                Refusal::HostBlocked
            }
            HearError::Refused { errno, payload } => {
                self.meters.upstream_failed("refused_by_server");
                Refusal::InsteadOfGreeting { errno, payload }
            }
            error @ (HearError::Closed | HearError::NotAGreeting(_) | HearError::Broke(_)) => {
                self.meters.upstream_failed("no_greeting");
                Refusal::Unreachable(error.to_string())
            }
        }
    }
}

/// `ER_HOST_IS_BLOCKED`.
const HOST_BLOCKED: u16 = 1129;
