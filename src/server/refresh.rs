//! Files that change beside the allowlist: certificates and keys, CAs, revocation lists. Floor 4.
//!
//! They are taken in with the settings and rules in force. The allowlist itself is not read again: it may be half edited, and
//! a reload puts it in force when somebody says so. What cannot be used leaves the last good one where it is.

use std::{fmt::Display, path::PathBuf, sync::Arc, time::SystemTime};

use tokio::task::spawn_blocking;

use super::{
    certificate::{Certificate, client_trust, files, upstream_tls},
    house::House,
    status::rfc3339,
};
use crate::{
    config::Settings,
    meter::Meters,
    net::{ClientTrust, UpstreamTls, Watch, certificate::AuthorityError},
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

fn files_of(house: &House) -> Vec<PathBuf> {
    files(&house.lock().settings)
}

/// Tells when certificates and lists end.
pub(super) fn tell_ends(meters: &Meters, certificate: &Certificate, clients: &ClientTrust) {
    meters.certificate_expiry("listener", certificate.ends);
    if let Some(ends) = clients.lists_end() {
        meters.certificate_expiry("revocation_list", ends);
    }
}

/// What the files say now, each by itself: one that is no good does not keep the others out.
struct Read {
    clients: Result<Arc<ClientTrust>, AuthorityError>,
    certificate: Result<Certificate, AuthorityError>,
    upstream: Result<Vec<Option<UpstreamTls>>, AuthorityError>,
}

impl Read {
    fn of(settings: &Settings, believed: &Arc<ClientTrust>, now: SystemTime) -> Self {
        let clients = client_trust(settings, believed);
        let asking = clients.as_ref().unwrap_or(believed);
        Self {
            certificate: Certificate::of(settings, asking, now),
            upstream: upstream_tls(settings),
            clients,
        }
    }
}

impl House {
    /// Reads the files beside the allowlist again. The certificate of the own authority is renewed when its end is near.
    pub(super) async fn refresh(&self) {
        let _one = self.one_at_a_time.lock().await;
        let settings = self.lock().settings.clone();
        let believed = Arc::clone(&self.standing.borrow().trust);
        let (asked, known) = (settings.clone(), Arc::clone(&believed));
        let read = spawn_blocking(move || Read::of(&asked, &known, SystemTime::now())).await;
        let Ok(read) = read else { return };
        let upstream = self.good(read.upstream);
        let ways = self.doors.iter().zip(upstream.into_iter().flatten());
        for (door, tls) in ways {
            door.upstream.encrypt(tls);
        }
        let clients = self
            .good(read.clients)
            .unwrap_or_else(|| Arc::clone(&believed));
        if let Some(certificate) = self.good(read.certificate) {
            tell_ends(&self.gateway.meters, &certificate, &clients);
            if certificate.ends != self.lock().certificate.ends {
                let ends = rfc3339(certificate.ends);
                tracing::info!(event = "certificate_renewed", ends);
            }
            self.tls.send_replace(Arc::clone(&certificate.config));
            self.lock().certificate = certificate;
        }
        if !Arc::ptr_eq(&clients, &believed) {
            let policy = self.next_policy(Arc::clone(self.standing.borrow().policy.rules()));
            let generation = policy.generation();
            self.gateway
                .meters
                .configured(generation, SystemTime::now());
            tracing::info!(
                target: AUDIT,
                event = "client_trust_changed",
                generation,
                "sessions with a certificate are judged again"
            );
            self.standing.send_modify(|standing| {
                standing.policy = policy;
                standing.trust = clients;
            });
        }
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
