//! The MySQL server behind a door: hearing its greeting, and what is known of it beyond one connection. Floor 3.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{Door, refusal::Refusal, stages::Visit};
use crate::{
    config::UpstreamProxyProtocol,
    net::{OnBehalf, Stream, announce},
    protocol::mysql::{self, Abandons, HearError, OnHeader, OwnKey, Unfinished, greeting_like},
    wire::mysql::{Greeting, errno},
};

/// The MySQL server behind a door. Empty for another protocol.
#[derive(Debug, Default)]
pub(super) struct MysqlServer {
    known: Mutex<Known>,
    abandons: Arc<Abandons>,
    /// What clients without TLS send their passwords under.
    pub(super) own_key: OwnKey,
}

#[derive(Debug, Default)]
struct Known {
    /// How it greeted last: the pattern for greetings of ours.
    greeting: Option<Arc<Greeting>>,
    /// Whether it reads PROXY headers of ours; unknown before it was asked.
    reads_headers: Option<bool>,
    /// When a slow greeting was last spoken of.
    complained: Option<Instant>,
    /// When to ask a server again that has shut our address out.
    spared_until: Option<Instant>,
}

impl MysqlServer {
    fn heard(&self, greeting: &Greeting) {
        let mut known = self.lock();
        known.spared_until = None;
        let same = |kept: &Arc<Greeting>| {
            kept.version() == greeting.version() && kept.capabilities() == greeting.capabilities()
        };
        if !known.greeting.as_ref().is_some_and(same) {
            known.greeting = Some(Arc::new(greeting.clone()));
        }
    }

    /// The server has shut our address out.
    fn shut_out(&self) {
        self.lock().spared_until = Some(Instant::now() + SPARE);
    }

    /// Whether the server has shut our address out and was asked lately. Of those who come later, one asks again.
    pub(super) fn is_spared(&self) -> bool {
        let mut known = self.lock();
        let now = Instant::now();
        let Some(until) = known.spared_until else {
            return false;
        };
        if now >= until {
            known.spared_until = Some(now + SPARE);
        }
        now < until
    }

    /// A greeting like the server's, of our own; `None` before the server was ever heard.
    pub(super) fn greeting(&self) -> Option<Greeting> {
        let known = self.lock().greeting.clone()?;
        Some(greeting_like(&known))
    }

    /// Whether connections bear a header: unless the server was seen to refuse one.
    fn takes_headers(&self) -> bool {
        self.lock().reads_headers.unwrap_or(true)
    }

    /// What the server made of a header. Tells whether that is news.
    fn learned_headers(&self, taken: bool) -> bool {
        self.lock().reads_headers.replace(taken) != Some(taken)
    }

    /// How long the server took to greet. One that looks up the name of each client's address takes seconds where that name server
    /// is slow, and every connect with it.
    fn took(&self, greeting: Duration, door: &Door) {
        if greeting < SLOW {
            return;
        }
        let now = Instant::now();
        let mut known = self.lock();
        if known
            .complained
            .is_some_and(|last| now - last < COMPLAIN_EVERY)
        {
            return;
        }
        known.complained = Some(now);
        tracing::warn!(
            event = "upstream_slow_greeting",
            listener = door.meters.name(),
            upstream = %door.upstream,
            ms = u64::try_from(greeting.as_millis()).unwrap_or(u64::MAX),
            "the database takes long to greet; most often it looks up names in vain: skip_name_resolve=ON in its configuration ends that",
        );
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// Whether a MySQL server has been heard, and has shown what it makes of headers where it gets them. `again`: whether one that
    /// refused them is to be asked once more.
    pub fn knows_its_server(&self, again: bool) -> bool {
        let known = self.mysql.lock();
        let headers = match known.reads_headers {
            Some(true) => true,
            Some(false) => !again,
            None => self.in_force().upstream_proxy_protocol == UpstreamProxyProtocol::Off,
        };
        known.greeting.is_some() && headers
    }

    /// Hears a MySQL server for the gateway's own sake. The connection is to be abandoned.
    ///
    /// # Errors
    /// Why it is no use, for the log.
    pub async fn knock(&self, within: Duration) -> Result<Unfinished, String> {
        let knocking = async {
            let stream = self.upstream.visit(within).await;
            let stream = stream.map_err(|error| error.to_string())?;
            let heard = self.hear(stream, OnBehalf::Gateway).await;
            heard.map_err(|refusal| refusal.to_string())
        };
        let knocked = timeout(within, knocking).await;
        knocked.unwrap_or_else(|_late| Err(format!("nothing is heard of it within {within:?}")))
    }

    /// Finds out what a MySQL server makes of the headers that it is to get. One that refuses them gets none: sessions go on without.
    pub async fn try_headers(&self, within: Duration) {
        if self.in_force().upstream_proxy_protocol == UpstreamProxyProtocol::Off {
            return;
        }
        let looking = async {
            let mut stream = self.upstream.visit(within).await.ok()?;
            announce(&mut stream, OnBehalf::Gateway).await.ok()?;
            mysql::look(stream, true, self.upstream.tls().as_deref())
                .await
                .ok()
        };
        // a refusal comes at once; what takes longer is none
        let Ok(Some(look)) = timeout(within + LOOKING, looking).await else {
            return;
        };
        let (taken, mend) = match look.on_header() {
            OnHeader::Unclear => return,
            OnHeader::Taken => (true, String::new()),
            OnHeader::NotFromHere => (false, look.allowing_headers()),
            OnHeader::Unknown => (
                false,
                "write `upstream_proxy_protocol: off`: this server reads no PROXY headers"
                    .to_owned(),
            ),
        };
        if self.mysql.learned_headers(taken) && !taken {
            tracing::warn!(
                event = "upstream_refuses_headers",
                listener = self.meters.name(),
                upstream = %self.upstream,
                mend,
                "the database refuses the gateway's PROXY headers; sessions go on without, and it sees the gateway's address",
            );
        }
    }

    /// Hears a MySQL server on a connection that has just been made.
    async fn hear(&self, mut stream: Stream, whom: OnBehalf) -> Result<Unfinished, Refusal> {
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
            HearError::Refused { errno, .. } if errno == errno::HOST_BLOCKED => {
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

/// More than a look waits for a refusal.
const LOOKING: Duration = Duration::from_secs(1);
/// How often a server is asked whether our address is still shut out.
const SPARE: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_secs(1);
const COMPLAIN_EVERY: Duration = Duration::from_secs(600);
