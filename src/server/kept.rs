//! What the gateway keeps in its state directory, and whether somebody else could have written it. Floor 4.

use std::path::Path;

use super::{source::LAST_GOOD, temporary};
use crate::net::{NotOurs, Owners};

/// What is wrong with the state directory and the files in it.
pub fn not_ours(state_dir: &Path, owners: &Owners) -> Vec<NotOurs> {
    let mut faults: Vec<_> = owners.fault(state_dir).into_iter().collect();
    let kept = [
        temporary::FILE,
        LAST_GOOD,
        "tls",
        "tls/ca.crt",
        "tls/ca.key",
        "tls/server.crt",
        "tls/server.key",
    ];
    faults.extend(
        kept.into_iter()
            .filter_map(|name| owners.fault(&state_dir.join(name))),
    );
    faults
}

/// Says it, loudly, at the start.
pub(super) fn tell_not_ours(state_dir: &Path) {
    for fault in not_ours(state_dir, &Owners::of_process()) {
        tracing::error!(
            event = "state_not_ours",
            cause = %fault,
            "somebody else may have written what this gateway goes by"
        );
    }
}
