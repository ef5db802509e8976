//! Where the hosts are that rules name. Floor 1: forward look-ups of both families, in the background, never inside a
//! connection.
//!
//! [`follow`] is the task. It asks, and tells what there is; what that means is [`host`](self)'s, which knows no socket.

mod host;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RecordType},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use self::host::{Answer, Host, Moment};
use crate::policy::{Freshness, HostAnswer, Hosts};

/// What is to be followed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub hosts: BTreeSet<Arc<str>>,
    /// Whom to ask; empty: those that the system names (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// How long the last answer holds when there is no new one.
    pub max_stale: Duration,
}

/// What is known at a moment.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// For a policy.
    pub hosts: Hosts,
    /// For whom asks how it stands, by host.
    pub states: BTreeMap<Arc<str>, HostState>,
    /// Every host that is followed was asked for at least once.
    pub complete: bool,
    /// Questions that were answered, and that were not, for all hosts that ever were followed.
    pub answered: u64,
    pub failed: u64,
}

/// How it stands with one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostState {
    /// `None`: nobody has answered yet.
    pub freshness: Option<Freshness>,
    pub addresses: Vec<IpAddr>,
    /// Answers that lead inside; they count only for the rules that ask for them.
    pub inward: Vec<IpAddr>,
    /// Questions that were answered, and that were not.
    pub answered: u64,
    pub failed: u64,
    /// Why the last question was not answered.
    pub error: Option<String>,
    /// What is strange about the addresses.
    pub warning: Option<String>,
}

/// Asks for the hosts that are wanted, until nobody can want others any more. Readers of `told` are woken when a decision
/// could change, not by a renewed answer that says the same; what they read is always the latest. A change of what is wanted,
/// even to the same, has every host asked for again soon.
pub async fn follow(mut wanted: watch::Receiver<Wanted>, told: watch::Sender<Resolved>) {
    let mut book = Book::default();
    let mut asking = Asking::default();
    let mut questions = JoinSet::new();
    // what is known since then was not told yet
    let mut untold = Some(Instant::now());
    book.want(&wanted.borrow_and_update(), Instant::now());
    loop {
        let now = Instant::now();
        for name in book.ask(now, MOST_QUESTIONS.saturating_sub(questions.len())) {
            let resolver = asking.resolver(&wanted.borrow().servers, now);
            questions.spawn(async move { (ask(resolver, &name).await, name) });
        }
        let next = book.next(now);
        let tell_at = untold.map(|since| since + GATHERED);
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                asking = Asking::default();
                book.want(&wanted.borrow_and_update(), Instant::now());
            }
            Some(answered) = questions.join_next() => {
                // one that broke is asked again when it is given up
                if let Ok((answers, name)) = answered {
                    book.hear(&name, answers, Moment::now());
                }
            }
            () = sleep_until(tell_at.unwrap_or(next).min(next)) => {
                if tell_at.is_some_and(|at| at <= Instant::now()) {
                    tell(&told, book.resolved(Instant::now()));
                    untold = None;
                    continue;
                }
            }
        }
        untold = untold.or(Some(now));
    }
}

/// Asks for every host once, for a command that runs beside no daemon. Takes as long as the slowest answer, and no longer than
/// a resolver tries.
pub async fn look_up(wanted: &Wanted) -> Resolved {
    let (now, mut book, mut asking) = (Instant::now(), Book::default(), Asking::default());
    book.want(wanted, now);
    let mut questions = JoinSet::new();
    loop {
        for name in book.ask(now, MOST_QUESTIONS.saturating_sub(questions.len())) {
            let resolver = asking.resolver(&wanted.servers, now);
            questions.spawn(async move { (ask(resolver, &name).await, name) });
        }
        match questions.join_next().await {
            Some(Ok((answers, name))) => book.hear(&name, answers, Moment::now()),
            Some(Err(_broken)) => {}
            None => return book.resolved(Instant::now()),
        }
    }
}

fn tell(told: &watch::Sender<Resolved>, resolved: Resolved) {
    told.send_if_modified(|known| {
        let news = known.complete != resolved.complete || !known.says_the_same(&resolved);
        *known = resolved;
        news
    });
}

impl Resolved {
    /// Whether each of these hosts was asked for at least once, so that waiting brings nothing more.
    pub fn covers(&self, hosts: &BTreeSet<Arc<str>>) -> bool {
        hosts.iter().all(|host| {
            let state = self.states.get(host);
            state.is_some_and(|state| state.answered + state.failed > 0)
        })
    }

    /// Whether a policy of the one decides as a policy of the other.
    fn says_the_same(&self, other: &Self) -> bool {
        let counts = |answer: &HostAnswer| {
            let addresses = (answer.addresses.clone(), answer.inward.clone());
            (addresses, answer.is_stale())
        };
        let said = |resolved: &Self| -> BTreeMap<Arc<str>, _> {
            let hosts = resolved.hosts.iter();
            hosts
                .map(|(name, answer)| (Arc::clone(name), counts(answer)))
                .collect()
        };
        said(self) == said(other)
    }
}

/// All hosts, and when to ask for which. Pure.
#[derive(Debug, Default)]
struct Book {
    hosts: BTreeMap<Arc<str>, Entry>,
    answered: u64,
    failed: u64,
}

#[derive(Debug)]
struct Entry {
    host: Host,
    answered: u64,
    failed: u64,
}

impl Book {
    /// Forgets whom nobody wants any more; of the others nothing that is known is lost.
    fn want(&mut self, wanted: &Wanted, now: Instant) {
        self.hosts.retain(|name, _| wanted.hosts.contains(name));
        for entry in self.hosts.values_mut() {
            entry.host.keep_stale_for(wanted.max_stale);
            entry.host.hurry();
        }
        for name in &wanted.hosts {
            let entry = || Entry {
                host: Host::new(name, wanted.max_stale, now),
                answered: 0,
                failed: 0,
            };
            self.hosts.entry(Arc::clone(name)).or_insert_with(entry);
        }
    }

    /// Who is to be asked for now, `most` of them.
    fn ask(&mut self, now: Instant, most: usize) -> Vec<Arc<str>> {
        let mut due: Vec<_> = self.hosts.iter_mut().collect();
        due.retain(|(_, entry)| entry.host.due() <= now);
        // hosts that fail come back often: nobody may have to wait for ever behind them
        due.sort_by_key(|(_, entry)| entry.host.due());
        due.truncate(most);
        due.into_iter()
            .map(|(name, entry)| {
                entry.host.asked(now);
                Arc::clone(name)
            })
            .collect()
    }

    fn hear(&mut self, name: &str, answers: [Answer; 2], now: Moment) {
        // nobody may want it any more
        let Some(entry) = self.hosts.get_mut(name) else {
            return;
        };
        entry.host.hear(answers, now);
        let (own, all) = if entry.host.error().is_none() {
            (&mut entry.answered, &mut self.answered)
        } else {
            (&mut entry.failed, &mut self.failed)
        };
        *own += 1;
        *all += 1;
    }

    /// When something is to be done.
    fn next(&self, now: Instant) -> Instant {
        let moments = self.hosts.values().flat_map(|entry| {
            let changes = entry.host.changes(now);
            changes.into_iter().chain([entry.host.due()])
        });
        // in the past are those for which there was no room; an answer makes some
        let next = moments.filter(|moment| *moment > now).min();
        next.unwrap_or(now + IDLE).min(now + IDLE)
    }

    fn resolved(&self, now: Instant) -> Resolved {
        let mut resolved = Resolved {
            complete: self
                .hosts
                .values()
                .all(|entry| entry.answered + entry.failed > 0),
            answered: self.answered,
            failed: self.failed,
            ..Resolved::default()
        };
        for (name, entry) in &self.hosts {
            let answer = entry.host.answer(now);
            resolved.states.insert(
                Arc::clone(name),
                HostState {
                    freshness: answer.as_ref().map(|answer| answer.freshness),
                    addresses: answer.iter().flat_map(|a| a.addresses.clone()).collect(),
                    inward: answer.iter().flat_map(|a| a.inward.clone()).collect(),
                    answered: entry.answered,
                    failed: entry.failed,
                    error: entry.host.error().map(str::to_owned),
                    warning: entry.host.warning(now),
                },
            );
            if let Some(answer) = answer {
                resolved.hosts.insert(Arc::clone(name), answer);
            }
        }
        resolved
    }
}

impl Moment {
    fn now() -> Self {
        Self {
            tick: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

/// Whom to ask, read anew now and then: the system's files change with its networks.
#[derive(Default)]
struct Asking(Option<(Instant, Result<TokioResolver, String>)>);

impl Asking {
    fn resolver(&mut self, servers: &[SocketAddr], now: Instant) -> Result<TokioResolver, String> {
        let kept = self.0.as_ref().filter(|(made, _)| now < *made + READ_ANEW);
        if let Some((_, resolver)) = kept {
            return resolver.clone();
        }
        let resolver = resolver(servers).map_err(|error| error.to_string());
        self.0 = Some((now, resolver.clone()));
        resolver
    }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    // what is remembered, and for how long, is ours to say
    options.cache_size = 0;
    // the alias on the way may be good for less time than what it leads to
    options.preserve_intermediates = true;
    options.timeout = TRY;
    options.attempts = RETRIES;
    builder.build()
}

/// Asks for both families at once.
async fn ask(resolver: Result<TokioResolver, String>, host: &str) -> [Answer; 2] {
    let (resolver, name) = match (resolver, absolute(host)) {
        (Ok(resolver), Ok(name)) => (resolver, name),
        (Err(cause), _) | (_, Err(cause)) => {
            return [Answer::Failed(cause.clone()), Answer::Failed(cause)];
        }
    };
    let (v4, v6) = tokio::join!(
        ask_family(&resolver, name.clone(), RecordType::A),
        ask_family(&resolver, name, RecordType::AAAA)
    );
    [v4, v6]
}

/// The name as it stands: no search list of the system may lead it elsewhere.
fn absolute(host: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(host).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    Ok(name)
}

async fn ask_family(resolver: &TokioResolver, name: Name, family: RecordType) -> Answer {
    let looked_up = match timeout(IN_ALL, resolver.lookup(name, family)).await {
        Ok(looked_up) => looked_up,
        Err(_elapsed) => return Answer::Failed(format!("{family}: no answer")),
    };
    match looked_up {
        Ok(found) => {
            let ttls = found.answers().iter().map(|record| record.ttl);
            Answer::Found {
                ttl: Duration::from_secs(ttls.min().unwrap_or_default().into()),
                addresses: found
                    .answers()
                    .iter()
                    .filter(|record| record.record_type() == family)
                    .filter_map(|record| record.data.ip_addr())
                    .collect(),
            }
        }
        // there is no such name, or it has no address of this family
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Answer::Found {
            addresses: Vec::new(),
            ttl: Duration::from_secs(none.negative_ttl.unwrap_or_default().into()),
        },
        Err(error) => Answer::Failed(format!("{family}: {error}")),
    }
}

/// At a time.
const MOST_QUESTIONS: usize = 32;
/// How long one server may take, and how often all are asked again.
const TRY: Duration = Duration::from_secs(2);
const RETRIES: usize = 1;
/// With every server, both transports and all aliases.
const IN_ALL: Duration = Duration::from_secs(20);
/// Answers that come together are told together: each telling may make a policy.
const GATHERED: Duration = Duration::from_millis(20);
const READ_ANEW: Duration = Duration::from_secs(60);
/// The longest sleep.
const IDLE: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
