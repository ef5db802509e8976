//! A reload: the configuration is read again and takes the place of the one in force, whole, or not at all. Floor 4.

use std::{sync::Arc, time::SystemTime};

use tokio::task::spawn_blocking;

use super::{
    control::{Refused, Reloaded},
    guard,
    house::House,
    in_force::InForce,
    made::Made,
    no::No,
    refresh,
    source::Source,
    systemd,
    temporary::join,
};
use crate::{
    config::{Listener, Loaded, Log, Settings},
    net::ClientTrust,
    policy::Origin,
    session::AUDIT,
};

/// All that a reload reads before it changes anything.
struct Read {
    loaded: Loaded,
    /// What of its settings can be in force without a restart.
    settings: Settings,
    made: Made,
    needs_restart: Vec<String>,
}

/// Who asks for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A person, who may have locked everybody out by mistake.
    Operator { yes: bool },
    /// SIGHUP: never asked, for a revocation must work.
    Signal,
}

impl House {
    /// Reads the configuration again and puts it in force, or changes nothing. The answer waits a moment to count the
    /// sessions that it ends.
    pub(super) async fn reload(&self, caller: Caller) -> Result<Reloaded, No> {
        let _one = self.one_at_a_time.lock().await;
        systemd::reloading();
        let outcome = self.try_reload(caller).await;
        match &outcome {
            Ok(reloaded) => {
                tracing::info!(
                    target: AUDIT,
                    event = "reloaded",
                    generation = reloaded.generation,
                    origins = reloaded.origins,
                    decided_again = reloaded.decided_again,
                    revoked = reloaded.revoked,
                    needs_restart = reloaded.needs_restart.join(", "),
                );
                for warning in &reloaded.warnings {
                    tracing::warn!(event = "config_warning", cause = warning);
                }
            }
            Err(no) if no.why == Refused::AsksForYes => {}
            Err(no) => {
                self.gateway.meters.configuration_refused();
                tracing::error!(
                    target: AUDIT,
                    event = "reload_failed",
                    cause = no.text,
                    "the old configuration goes on"
                );
                self.lock().problem = Some(no.text.clone());
            }
        }
        systemd::ready(&self.in_a_line());
        outcome
    }

    async fn try_reload(&self, caller: Caller) -> Result<Reloaded, No> {
        let kept = self.lock().settings.clone();
        let source = self.source.clone();
        let believed = Arc::clone(&self.standing.borrow().trust);
        // reading and parsing may take a while, and a worker has sessions to serve
        let read = spawn_blocking(move || read(&source, kept, &believed));
        let Read {
            loaded,
            settings,
            made,
            needs_restart,
        } = read.await.map_err(|_panic| No {
            why: Refused::Configuration,
            text: "reading the configuration failed in a way that was not foreseen".to_owned(),
        })??;
        let now = SystemTime::now();
        let Loaded {
            rules,
            warnings,
            texts,
            ..
        } = loaded;
        let joined = join(rules, self.temporary.all(), now);
        self.hold_against_tests(&joined.rules, &settings.resolver, now)
            .await?;
        self.ask_first(caller, &joined.rules.origins, now)?;
        self.logging.audit().write_to(&settings.audit)?;
        let (decided, revoked) = self.gateway.decisions_again();
        joined.tell_lapses();
        self.names.want(&joined.rules, &settings.resolver);
        let (book, given) = (Arc::clone(&self.temporary), joined.given);
        let policy = self.next_policy(joined.rules);
        let generation = policy.generation();
        let origins = policy.origins().len();
        let certificates = made.certificates.clone();
        let of_accounts = made.accounts.warnings.clone();
        let trust = Arc::clone(&made.clients);
        self.put_beside(&settings, made);
        let (state_dir, texts) = (settings.state_dir.clone(), Arc::new(texts));
        *self.lock() = InForce {
            settings,
            texts: Arc::clone(&texts),
            certificates,
            loaded: now,
            source: self.source.to_string(),
            problem: None,
        };
        // before the origins that are gone are forgotten, and their sessions with them
        let live = self.sessions();
        self.put_in_force(&policy, Some(trust));
        self.gateway.meters.reloaded(now);
        let _told = spawn_blocking(move || book.keep_or_tell(given)).await;
        self.keep(state_dir, texts).await;
        let (decided_again, revoked) = self.count_since(decided, revoked, live).await;
        Ok(Reloaded {
            generation,
            origins,
            decided_again,
            revoked,
            needs_restart,
            warnings: warnings
                .iter()
                .map(ToString::to_string)
                .chain(of_accounts)
                .collect(),
        })
    }

    /// Where a person has to confirm what a slip of the hand could have done.
    fn ask_first(&self, caller: Caller, new: &[Arc<Origin>], now: SystemTime) -> Result<(), No> {
        if caller != (Caller::Operator { yes: false }) {
            return Ok(());
        }
        let policy = Arc::clone(&self.standing.borrow().policy);
        guard::ask(&policy, new, now).map_or(Ok(()), |text| {
            Err(No {
                why: Refused::AsksForYes,
                text,
            })
        })
    }

    /// Puts in force what holds beside the policy, which comes after it.
    fn put_beside(&self, settings: &Settings, made: Made) {
        refresh::tell_ends(&self.gateway.meters, &made.certificates, &made.clients);
        self.tls.send_replace(Arc::clone(&made.certificates.tls));
        self.limits.send_replace(settings.limits);
        self.logging.level(settings.log.level);
        let ways = self.doors.iter().zip(&settings.listeners);
        let ways = ways.zip(made.tls).zip(made.accounts.accounts);
        for (((door, listener), tls), accounts) in ways {
            door.upstream.encrypt(tls);
            door.believe(accounts);
            door.put_in_force(Arc::clone(listener));
        }
    }
}

/// Reads the allowlist and what it names. Blocks on files.
fn read(source: &Source, kept: Settings, believed: &Arc<ClientTrust>) -> Result<Read, No> {
    if !source.is_lasting() {
        return Err(No {
            why: Refused::Configuration,
            text: format!("{source} is not a regular file: a reload reads no pipes and no folders"),
        });
    }
    let loaded = source.load()?;
    let settings = live_part(&loaded.settings, kept);
    Ok(Read {
        made: Made::read(&settings, believed, SystemTime::now())?,
        needs_restart: differences(&settings, &loaded.settings),
        settings,
        loaded,
    })
}

/// The new settings, with what only a restart changes as it was.
fn live_part(new: &Settings, kept: Settings) -> Settings {
    let listener = |kept: Arc<Listener>| {
        let mut listeners = new.listeners.iter();
        // of another protocol its keys are others
        let new = listeners.find(|new| new.name == kept.name && new.protocol == kept.protocol);
        match new {
            Some(new) if new.upstream == kept.upstream => Arc::new(Listener {
                listen: kept.listen.clone(),
                ..(**new).clone()
            }),
            // what is said of the way to another server is not said of this one
            Some(new) => Arc::new(Listener {
                listen: kept.listen.clone(),
                upstream: kept.upstream.clone(),
                upstream_tls: kept.upstream_tls.clone(),
                scram: kept.scram,
                verifiers: kept.verifiers.clone(),
                upstream_proxy_protocol: kept.upstream_proxy_protocol,
                ..(**new).clone()
            }),
            None => kept,
        }
    };
    Settings {
        listeners: kept.listeners.into_iter().map(listener).collect(),
        admin: kept.admin,
        state_dir: kept.state_dir,
        log: Log {
            format: kept.log.format,
            ..new.log
        },
        ..new.clone()
    }
}

/// What is in the file and not in force, by its key.
fn differences(in_force: &Settings, file: &Settings) -> Vec<String> {
    let differs = [
        ("listeners", in_force.listeners != file.listeners),
        ("admin", in_force.admin != file.admin),
        ("state_dir", in_force.state_dir != file.state_dir),
        ("log.format", in_force.log.format != file.log.format),
    ];
    let differing = differs.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| key.to_owned()).collect()
}
