//! A listener with what stands behind it. Floor 3.

use std::sync::{Arc, PoisonError, RwLock};

use super::{mysql_server::MysqlServer, table::SessionTable};
use crate::{config::Listener, meter::ListenerMeters, net::Upstream, protocol::postgres::Accounts};

/// A listener with what stands behind it.
#[derive(Debug)]
pub struct Door {
    /// Those of the start: name, protocol and addresses are read here.
    pub settings: Arc<Listener>,
    /// Those that a reload has put in force.
    in_force: RwLock<Arc<Listener>>,
    pub upstream: Upstream,
    pub meters: Arc<ListenerMeters>,
    pub(super) sessions: Arc<SessionTable>,
    pub(super) mysql: MysqlServer,
    /// Whose proofs are checked here.
    accounts: RwLock<Option<Arc<Accounts>>>,
}

impl Door {
    pub fn new(settings: Arc<Listener>, upstream: Upstream, meters: Arc<ListenerMeters>) -> Self {
        Self {
            in_force: RwLock::new(Arc::clone(&settings)),
            settings,
            upstream,
            meters,
            sessions: Arc::default(),
            mysql: MysqlServer::default(),
            accounts: RwLock::default(),
        }
    }

    /// The settings as the last reload left them, of which it may change all but name, protocol and addresses.
    pub fn in_force(&self) -> Arc<Listener> {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&in_force)
    }

    pub fn put_in_force(&self, settings: Arc<Listener>) {
        let mut in_force = self
            .in_force
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *in_force = settings;
    }

    /// Whose proofs are checked here, if any are.
    pub fn accounts(&self) -> Option<Arc<Accounts>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.clone()
    }

    pub fn believe(&self, known: Option<Arc<Accounts>>) {
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *accounts = known;
    }
}
