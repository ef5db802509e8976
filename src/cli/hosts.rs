//! DNS for a command that runs beside no daemon. Floor 5.

use std::{collections::BTreeSet, sync::Arc};

use tokio::runtime;

use crate::{
    config,
    net::resolver::{self, Resolved, Wanted},
};

/// Asks for every host once. Takes as long as the slowest answer.
pub(super) fn look_up(hosts: BTreeSet<Arc<str>>, settings: &config::Resolver) -> Resolved {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let Some(runtime) = runtime.ok().filter(|_| !hosts.is_empty()) else {
        return Resolved::default();
    };
    let wanted = Wanted {
        hosts,
        servers: settings.servers.clone(),
        max_stale: settings.max_stale,
    };
    runtime.block_on(resolver::look_up(&wanted))
}
