//! What `doorward check` says of logins by SCRAM: who checks the proofs, and with what. Floor 5.

use super::said::Said;
use crate::{
    config::{Listener, Scram, UpstreamTls, Verifiers},
    net::Fingerprint,
    protocol::postgres::Plan,
    server::bindings::{self, FIXES, MISBOUND},
};

/// What is wrong with the verifiers of a listener.
pub(super) fn verifiers(listener: &Listener) -> Vec<Said> {
    let Some(path) = &listener.verifiers else {
        return Vec::new();
    };
    match Verifiers::read(path) {
        Ok(verifiers) => {
            let warnings = verifiers.warnings().into_iter();
            let warn = |warning| Said::warning("W-VERIFIERS", warning);
            warnings.map(warn).collect()
        }
        Err(error) => {
            let message = format!("the verifiers cannot be used: {error}");
            // the daemon's user may read what this one may not
            vec![if error.is_permission() {
                Said::warning("W-UNREADABLE", message)
            } else {
                Said::error(message)
            }]
        }
    }
}

/// What becomes of SCRAM for a client behind TLS, where there is anything to tell.
pub(super) fn told(
    listener: &Listener,
    ours: Option<Fingerprint>,
    theirs: Option<Fingerprint>,
) -> Option<Said> {
    let name = &listener.name;
    match bindings::plan(listener, ours, theirs) {
        Plan::Misbound => {
            let message = format!("listener \"{name}\": {MISBOUND}");
            let said = match listener.scram {
                Scram::Auto => Said::error(message),
                Scram::Relay | Scram::Terminate => Said::warning("W-CHANNEL-BINDING", message),
            };
            Some(said.hint(FIXES))
        }
        plan @ (Plan::Relay | Plan::Strip | Plan::Terminate) => {
            let label = plan.label();
            // over a way in clear nobody has anything to bind to
            let settled = listener.upstream_tls == UpstreamTls::Off && plan == Plan::Relay;
            (!settled).then(|| Said::note(format!("listener \"{name}\": SCRAM: {label}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Severity;

    fn listener(keys: &str) -> Listener {
        let text = format!(
            "version: 1\nlisteners:\n  - {{name: pg, protocol: postgres, listen: '127.0.0.1:0', upstream: '127.0.0.1:1'{keys}}}\n"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let loaded = crate::config::load(file.path(), &crate::config::Overrides::default());
        Arc::unwrap_or_clone(loaded.unwrap().settings.listeners.remove(0))
    }

    #[test]
    fn clients_that_bind_their_login_are_thought_of_before_they_come() {
        let (one, other) = (Some(Fingerprint([1; 32])), Some(Fingerprint([2; 32])));
        let tls = UpstreamTls::Pin {
            sha256: [2; 32],
            identity: None,
            negotiation: crate::config::Negotiation::Request,
        };
        let over_tls = |keys: &str| Listener {
            upstream_tls: tls.clone(),
            ..listener(keys)
        };
        for (listener, ours, theirs, severity, words) in [
            (over_tls(""), other, other, Severity::Note, "SCRAM: relay"),
            (
                over_tls(""),
                one,
                other,
                Severity::Error,
                "pg_dumpall --roles-only",
            ),
            (over_tls(""), None, other, Severity::Error, "scram: relay"),
            (
                over_tls(", scram: relay"),
                one,
                other,
                Severity::Warning,
                "channel_binding=disable",
            ),
            (
                over_tls(", verifiers: /v"),
                one,
                other,
                Severity::Note,
                "SCRAM: terminate",
            ),
        ] {
            let said = told(&listener, ours, theirs).unwrap();
            assert_eq!(said.severity, severity, "{}", said.words());
            assert!(said.words().contains(words), "{}", said.words());
        }
    }

    #[test]
    fn a_way_in_clear_needs_no_word() {
        assert_eq!(told(&listener(""), None, None), None);
    }

    #[test]
    fn verifiers_that_cannot_be_used_are_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let keys = format!(", verifiers: {}", file.path().display());
        let said = verifiers(&listener(&keys));
        assert_eq!(said[0].severity, Severity::Error);
        assert!(said[0].words().contains("there is no password in it"));
        assert!(verifiers(&listener("")).is_empty());
    }
}
