//! What the files beside the allowlist are made into that the settings name: all of them, or none. Floor 4.

use std::{sync::Arc, time::SystemTime};

use super::{
    accounts::{self, AccountsError},
    certificate::{Certificates, client_trust, upstream_tls},
};
use crate::{
    config::Settings,
    net::{ClientTrust, UpstreamTls, certificate::AuthorityError},
};

/// Everything that is read for a start or a reload.
pub(super) struct Made {
    /// What clients see.
    pub(super) certificates: Certificates,
    /// Whom we believe of clients.
    pub(super) clients: Arc<ClientTrust>,
    /// What each server must prove.
    pub(super) tls: Vec<Option<UpstreamTls>>,
    /// Whose proofs are checked at each listener.
    pub(super) accounts: accounts::Read,
}

/// A file that the settings name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Certificate(#[from] AuthorityError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

impl Made {
    /// Blocks on files. Whom `believed` believes already, is believed by that very value.
    pub(super) fn read(
        settings: &Settings,
        believed: &Arc<ClientTrust>,
        now: SystemTime,
    ) -> Result<Self, Unusable> {
        let clients = client_trust(settings, believed)?;
        Ok(Self {
            certificates: Certificates::of(settings, &clients, now)?,
            tls: upstream_tls(settings)?,
            accounts: accounts::read(settings)?,
            clients,
        })
    }
}

impl Unusable {
    /// A matter of file permissions, not of contents.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Certificate(error) => error.is_permission(),
            Self::Accounts(error) => error.is_permission(),
        }
    }
}
