//! Files that change beside the allowlist: certificates and keys, CAs, revocation lists, lists of addresses. Floor 4.
//!
//! They are taken in with the settings and texts in force. The allowlist itself is not read again: it may be half edited, and
//! a reload puts it in force when somebody says so. What cannot be used leaves the last good one where it is.

use std::{fmt::Display, path::PathBuf, sync::Arc, time::SystemTime};

use tokio::task::spawn_blocking;

use super::{
    accounts::{self, AccountsError},
    certificate::{Certificates, client_trust, files, upstream_tls},
    house::House,
    status::rfc3339,
    temporary::join,
};
use crate::{
    config::{self, Lists, Loaded, Overrides, Problems, Settings, Texts},
    meter::Meters,
    net::{ClientTrust, UpstreamTls, Watch, certificate::AuthorityError},
    policy::Policy,
    session::AUDIT,
};

/// Takes in files whenever they change.
pub(super) async fn follow_files(house: Arc<House>) {
    let mut standing = house.standing.subscribe();
    let mut watch = Watch::new(files_of(&house));
    loop {
        tokio::select! {
            changed = watch.changed() => {
                let files: Vec<_> = changed.iter().map(|file| file.display().to_string()).collect();
                tracing::info!(event = "files_changed", files = files.join(", "));
                house.refresh().await;
            }
            // a reload may have named others
            changed = standing.changed() => {
                if changed.is_err() {
                    return;
                }
                // which announces its policy before it is done
                drop(house.one_at_a_time.lock().await);
                watch.follow(files_of(&house));
            }
        }
    }
}

/// Included files are a part of the allowlist: they wait for a reload.
fn files_of(house: &House) -> Vec<PathBuf> {
    let in_force = house.lock();
    let lists = in_force.texts.lists.values();
    let lists = lists.map(|list| list.path.clone());
    let files = files(&in_force.settings).into_iter();
    let verifiers = accounts::files(&in_force.settings);
    files.chain(verifiers).chain(lists).collect()
}

/// Tells when certificates and lists end.
pub(super) fn tell_ends(meters: &Meters, certificates: &Certificates, clients: &ClientTrust) {
    meters.certificate_expiry("listener", certificates.ends());
    if let Some(ends) = clients.lists_end() {
        meters.certificate_expiry("revocation_list", ends);
    }
}

/// What the files say now, each by itself: one that is no good does not keep the others out.
struct Read {
    clients: Result<Arc<ClientTrust>, AuthorityError>,
    certificates: Result<Certificates, AuthorityError>,
    upstream: Result<Vec<Option<UpstreamTls>>, AuthorityError>,
    accounts: Result<accounts::Read, AccountsError>,
    /// The same rules with other addresses; `None` where no list has changed.
    loaded: Result<Option<Loaded>, Problems>,
}

/// What is in force when the files are read.
struct Known {
    settings: Settings,
    texts: Arc<Texts>,
    clients: Arc<ClientTrust>,
    overrides: Overrides,
}

impl Read {
    fn of(known: &Known, now: SystemTime) -> Self {
        let clients = client_trust(&known.settings, &known.clients);
        let asking = clients.as_ref().unwrap_or(&known.clients);
        Self {
            certificates: Certificates::of(&known.settings, asking, now),
            upstream: upstream_tls(&known.settings),
            accounts: accounts::read(&known.settings),
            clients,
            loaded: known.lists(),
        }
    }

    /// Nothing of it is to be refused for itself.
    const fn is_whole(&self) -> bool {
        self.clients.is_ok()
            && self.certificates.is_ok()
            && self.upstream.is_ok()
            && self.accounts.is_ok()
            && self.loaded.is_ok()
    }
}

impl Known {
    fn lists(&self) -> Result<Option<Loaded>, Problems> {
        if self.texts.lists.is_empty() {
            return Ok(None);
        }
        let loaded = config::load_again(&self.texts, Lists::Fresh, &self.overrides)?;
        Ok(Some(loaded).filter(|loaded| loaded.texts.lists != self.texts.lists))
    }
}

impl House {
    /// Reads the files beside the allowlist again. The certificate of the own authority is renewed when its end is near.
    pub(super) async fn refresh(&self) {
        let _one = self.one_at_a_time.lock().await;
        let known = self.known();
        let (settings, believed) = (known.settings.clone(), Arc::clone(&known.clients));
        let read = spawn_blocking(move || Read::of(&known, SystemTime::now())).await;
        let Ok(read) = read else { return };
        let whole = read.is_whole();
        let upstream = self.good(read.upstream);
        let ways = self.doors.iter().zip(upstream.into_iter().flatten());
        for (door, tls) in ways {
            door.upstream.encrypt(tls);
        }
        if let Some(accounts) = self.good(read.accounts) {
            self.believe(accounts);
        }
        let clients = self.good(read.clients);
        let clients = clients.unwrap_or_else(|| Arc::clone(&believed));
        if let Some(certificates) = self.good(read.certificates) {
            self.show(certificates, &clients);
        }
        let loaded = self.good(read.loaded).flatten();
        let rehearsed = loaded.map(|loaded| self.rehearsed(loaded)).transpose();
        if whole && rehearsed.is_ok() && self.lock().problem.is_none() {
            self.gateway.meters.configuration_mended();
        }
        let renewed = self.good(rehearsed).flatten();
        let (policy, texts) = match renewed {
            Some((policy, texts)) => (policy, Some(texts)),
            None if Arc::ptr_eq(&clients, &believed) => return,
            None => {
                let rules = Arc::clone(self.standing.borrow().policy.rules());
                (self.next_policy(rules), None)
            }
        };
        if let Some(texts) = &texts {
            self.lock().texts = Arc::clone(texts);
        }
        tracing::info!(
            target: AUDIT,
            event = "files_in_force",
            generation = policy.generation(),
            "live sessions are decided again"
        );
        self.put_in_force(&policy, Some(clients));
        if let Some(texts) = texts {
            self.keep(settings.state_dir, texts).await;
        }
    }

    /// The policy with other addresses, if the allowlist's own tests agree to it.
    fn rehearsed(&self, loaded: Loaded) -> Result<(Arc<Policy>, Arc<Texts>), String> {
        let now = SystemTime::now();
        let joined = join(loaded.rules, self.temporary.all(), now);
        joined.tell_lapses();
        let policy = self.next_policy(joined.rules);
        let failed = policy.rehearse(now).len();
        if failed > 0 {
            return Err(format!(
                "with the changed lists {failed} tests of the allowlist fail: doorward check"
            ));
        }
        Ok((policy, Arc::new(loaded.texts)))
    }

    fn known(&self) -> Known {
        let in_force = self.lock();
        Known {
            settings: in_force.settings.clone(),
            texts: Arc::clone(&in_force.texts),
            clients: Arc::clone(&self.standing.borrow().trust),
            overrides: self.source.overrides().clone(),
        }
    }

    fn believe(&self, read: accounts::Read) {
        for warning in &read.warnings {
            tracing::warn!(event = "config_warning", cause = warning);
        }
        for (door, accounts) in self.doors.iter().zip(read.accounts) {
            door.believe(accounts);
        }
    }

    fn show(&self, certificates: Certificates, clients: &ClientTrust) {
        tell_ends(&self.gateway.meters, &certificates, clients);
        if certificates.differ(&self.lock().certificates) {
            let ends = rfc3339(certificates.ends());
            tracing::info!(event = "certificate_renewed", ends);
        }
        self.tls.send_replace(Arc::clone(&certificates.tls));
        self.lock().certificates = certificates;
    }

    fn good<T>(&self, read: Result<T, impl Display>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                self.gateway.meters.configuration_refused();
                tracing::error!(
                    target: AUDIT,
                    event = "file_refused",
                    cause = %error,
                    "what was good before goes on"
                );
                None
            }
        }
    }
}
