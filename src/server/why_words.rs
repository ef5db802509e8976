//! The words of an explanation: why an origin does not admit, and what would mend it. Floor 4.

use std::{net::IpAddr, time::SystemTime};

use super::status::rfc3339;
use crate::{
    config::Protocol,
    net::{ClientTrust, Fingerprint},
    policy::{
        Certificate, Cidr, Claim, Condition, Deny, Explanation, Freshness, From, Names, Origin,
        Policy, Proof, Reason, Replication, TlsVersion, Unspared, Validity, Verdict, canonical,
    },
};

/// What is spoken of.
#[derive(Clone, Copy)]
pub(super) struct Subject<'s> {
    pub(super) policy: &'s Policy,
    pub(super) trust: &'s ClientTrust,
    pub(super) claim: &'s Claim,
    pub(super) at: SystemTime,
    pub(super) protocol: Protocol,
}

impl<'s> Subject<'s> {
    /// Why an origin fails by this condition.
    pub(super) fn because(self, failed: Condition, reason: Reason, origin: &Origin) -> String {
        let claim = self.claim;
        match failed {
            Condition::From => self.elsewhere(origin),
            Condition::Listener => format!(
                "listener `{}` is not among {}",
                claim.listener,
                names(&origin.listeners)
            ),
            Condition::User if origin.users.is_any() => {
                format!(
                    "`{}` is protected: \"any user\" never covers it",
                    brief(&claim.user)
                )
            }
            Condition::User => format!(
                "user `{}` is not among {}",
                brief(&claim.user),
                names(&origin.users)
            ),
            Condition::Database => format!(
                "database `{}` is not among {}",
                brief(claim.database.as_deref().unwrap_or_default()),
                names(&origin.databases)
            ),
            Condition::Replication => match origin.replication {
                Some(Replication::Physical) => "it is for physical replication and nothing else",
                Some(Replication::Logical) => "it is for logical replication and nothing else",
                Some(Replication::Commands) => "it is for MySQL's replication commands",
                None => "it has no right to replicate",
            }
            .to_owned(),
            Condition::Active => "it is switched off".to_owned(),
            Condition::Expires => match origin.expires.map(jiff::Timestamp::try_from) {
                Some(Ok(at)) => format!("it expired at {at}"),
                Some(Err(_)) | None => "it has expired".to_owned(),
            },
            Condition::Tls => match (reason, origin.tls_min, claim.tls) {
                (Reason::TlsVersion, Some(least), Some(spoken)) => {
                    format!("TLS {} is older than {}", spoken.label(), least.label())
                }
                _ => reason.sentence().to_owned(),
            },
            Condition::Proof => match &origin.proof {
                Some(wanted) => self.unproved(wanted),
                None => reason.sentence().to_owned(),
            },
        }
    }

    fn elsewhere(self, origin: &Origin) -> String {
        let address = canonical(self.claim.address);
        let (hosts, others): (Vec<_>, Vec<_>) = origin
            .from
            .iter()
            .partition(|from| matches!(from, From::Host { .. }));
        let mut parts = Vec::new();
        if !others.is_empty() {
            let others = some(others.into_iter().map(place));
            parts.push(format!("{address} is not in {others}"));
        }
        let hosts = hosts.iter().take(SHOWN).filter_map(|from| match from {
            From::Host { name, inward } => Some(self.host(name, *inward)),
            From::Network(_) | From::Any | From::Set(_) => None,
        });
        parts.extend(hosts);
        parts.join("; ")
    }

    /// What DNS says of a host, and how much that is worth.
    fn host(self, name: &str, inward: bool) -> String {
        let Some(answer) = self.policy.hosts().get(name) else {
            return format!("{name} is unknown: DNS has not answered");
        };
        let shut_out: &[IpAddr] = if inward { &[] } else { &answer.inward };
        let counted = if inward { &*answer.inward } else { &[] };
        let addresses = answer.addresses.iter().chain(counted);
        let addresses = some(addresses.map(ToString::to_string));
        let inside = some(shut_out.iter().map(ToString::to_string));
        let text = match (addresses.as_str(), inside.as_str()) {
            ("", "") => format!("{name} has no address"),
            ("", inside) => {
                format!("{name} is {inside}, which leads inside and does not count")
            }
            (addresses, "") => format!("{name} is {addresses}"),
            (addresses, inside) => {
                format!("{name} is {addresses}; {inside} leads inside and does not count")
            }
        };
        match answer.freshness {
            Freshness::Given => format!("{text} (as given)"),
            Freshness::Fresh { until, .. } => until.duration_since(self.at).map_or_else(
                |_over| text.clone(),
                |left| format!("{text} (fresh for {} s)", left.as_secs()),
            ),
            Freshness::Stale { since } => format!(
                "{text} (of {}, too old for a new session: DNS does not answer)",
                rfc3339(since)
            ),
        }
    }

    fn unproved(self, wanted: &Proof) -> String {
        let Some(shown) = &self.claim.certificate else {
            return format!("no certificate was shown; it asks for {}", asked(wanted));
        };
        match shown.validity_at(self.at) {
            Validity::Valid => format!(
                "the certificate is for {}; it asks for {}",
                written(shown),
                asked(wanted)
            ),
            Validity::Untrusted | Validity::Expired | Validity::Revoked => {
                format!("the certificate {}", self.fault(shown))
            }
        }
    }

    /// Why a certificate that is not valid is not. Ends a sentence.
    fn fault(self, shown: &Certificate) -> String {
        let chain: Vec<_> = shown.chain.iter().map(|der| der[..].into()).collect();
        let fault = self.trust.fault(&chain, self.at);
        fault.filter(|_| !chain.is_empty()).map_or_else(
            || match shown.validity_at(self.at) {
                Validity::Expired => format!("ended at {}", rfc3339(shown.ends)),
                Validity::Revoked => "is revoked".to_owned(),
                Validity::Untrusted | Validity::Valid => "cannot be read".to_owned(),
            },
            |fault| fault.to_string(),
        )
    }

    /// The deny rule that hit.
    pub(super) fn denying(self, explanation: &Explanation) -> Option<&'s Deny> {
        let named = explanation.rule.as_deref()?;
        let mut all = self.policy.rules().deny.iter();
        all.find(|deny| explanation.reason == Reason::DenyRule && *deny.name == *named)
    }

    /// What would let the client in, and why an observation does not.
    pub(super) fn mend(self, explanation: &Explanation) -> Option<String> {
        let mend = self.mend_of_reason(explanation);
        let unspared = explanation.unspared.map(|unspared| match unspared {
            Unspared::Clear => "`observe` spares nobody without TLS, for `require.tls` asks for it",
            Unspared::Reserved => "`observe` spares nobody whom an exclusive origin has for itself",
            Unspared::Protected => "`observe` spares none of `protected_users`",
            Unspared::Replication => "`observe` admits no replication",
            Unspared::Revoked => "`observe` spares no revoked certificate",
        });
        match (mend, unspared) {
            (Some(mend), Some(unspared)) => Some(format!("{mend}; {unspared}")),
            (mend, unspared) => mend.or_else(|| unspared.map(str::to_owned)),
        }
    }

    fn mend_of_reason(self, explanation: &Explanation) -> Option<String> {
        let claim = self.claim;
        let rule = explanation.rule.as_deref().unwrap_or_default();
        let nearest = self.policy.origin(rule);
        let origin = nearest.map_or_else(String::new, |origin| {
            if origin.temporary {
                return format!("\"{rule}\" (temporary)");
            }
            placed(rule, origin.file.as_deref(), origin.line)
        });
        let user = brief(&claim.user);
        let database = brief(claim.database.as_deref().unwrap_or_default());
        let address = canonical(claim.address);
        Some(match explanation.reason {
            Reason::DenyRule => {
                let deny = self.denying(explanation)?;
                let deny = placed(rule, deny.file.as_deref(), deny.line);
                format!("the deny rule {deny} must go, or mean fewer")
            }
            Reason::ExclusiveUser => format!(
                "{origin} has `{user}` for itself: add {address} to its `from`, or use another user"
            ),
            Reason::NoOrigin => format!("an origin must name {address}, in its `from`"),
            Reason::ListenerNotAllowed => {
                format!("{origin} needs `{}` in its `listeners`", claim.listener)
            }
            Reason::UserNotAllowed => format!("{origin} needs `{user}` in its `users`"),
            Reason::DatabaseNotAllowed => format!("{origin} needs `{database}` in its `databases`"),
            Reason::ReplicationNotAllowed => match claim.replication {
                Some(Replication::Physical) => {
                    "replication needs an origin of its own, with `replication: physical`"
                        .to_owned()
                }
                Some(Replication::Logical) => {
                    "replication needs an origin of its own, with `replication: logical`".to_owned()
                }
                Some(Replication::Commands) => format!("{origin} needs `replication: true`"),
                None => {
                    format!("{origin} is for replication; ordinary sessions need another origin")
                }
            },
            Reason::Expired => format!("{origin} needs a later `expires`, or none"),
            Reason::Inactive => format!("{origin} needs `active: true`"),
            Reason::TlsRequired => match self.protocol {
                Protocol::Postgres => "the client needs sslmode=verify-full",
                Protocol::Mysql => "the client needs ssl-mode=VERIFY_IDENTITY",
            }
            .to_owned(),
            Reason::TlsVersion => {
                let least = nearest.and_then(|origin| origin.tls_min);
                let least = least.unwrap_or(TlsVersion::V1_3).label();
                format!("the client needs TLS {least}")
            }
            Reason::CertificateMissing | Reason::CertificateMismatch => {
                self.certificate_for(nearest?.proof.as_ref()?)
            }
            Reason::CertificateRevoked => "the client needs a new certificate".to_owned(),
            Reason::Allowed
            | Reason::LimitConnections
            | Reason::LimitRate
            | Reason::LimitGlobal
            | Reason::Banned
            | Reason::AuthenticationMissing
            | Reason::TlsFailed
            | Reason::MalformedOpening
            | Reason::OpeningTimeout
            | Reason::UpstreamUnreachable
            | Reason::UpstreamRefused
            | Reason::ShuttingDown => return None,
        })
    }

    fn certificate_for(self, wanted: &Proof) -> String {
        if !self.trust.asks() {
            return "clients are asked for a certificate only with `tls.client_ca`: add it"
                .to_owned();
        }
        let issue = wanted.dns.as_deref().filter(|name| !name.contains('*'));
        let issue = issue.map_or_else(String::new, |name| {
            format!("  ->  doorward cert issue {name}")
        });
        let asked = asked(wanted);
        let shown = self.claim.certificate.as_deref();
        let bad = shown.filter(|shown| shown.validity_at(self.at) != Validity::Valid);
        match bad {
            None => format!("the client needs a certificate with {asked}{issue}"),
            Some(shown) => format!(
                "the client needs another certificate with {asked}, for the one that it has shown {}{issue}",
                self.fault(shown)
            ),
        }
    }
}

/// Why an origin that matches completely does not admit.
pub(super) fn overruled(explanation: &Explanation) -> Option<String> {
    let rule = explanation.rule.as_deref().unwrap_or_default();
    if explanation.reason == Reason::DenyRule {
        return Some(format!("it matches, and the deny rule \"{rule}\" beats it"));
    }
    (explanation.verdict == Verdict::Deny)
        .then(|| format!("it matches, and \"{rule}\" has this user for itself"))
}

/// A rule, and where it stands.
fn placed(rule: &str, file: Option<&str>, line: u32) -> String {
    let file = file.map_or_else(String::new, |file| format!("{file} "));
    format!("\"{rule}\" ({file}line {line})")
}

fn place(from: &From) -> String {
    match from {
        From::Network(network) => Cidr(network).to_string(),
        From::Any => "any".to_owned(),
        From::Host { name, .. } => format!("host {name}"),
        From::Set(name) => format!("network {name}"),
    }
}

/// What a proof asks for, as the file has its keys.
fn asked(wanted: &Proof) -> String {
    let texts = [
        ("dns", &wanted.dns),
        ("uri", &wanted.uri),
        ("cn", &wanted.cn),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(key, text)| Some(format!("{key} {}", brief(text.as_deref()?))));
    let hashes = [("sha256", wanted.sha256), ("issuer", wanted.issuer)];
    let hashes = hashes
        .into_iter()
        .filter_map(|(key, hash)| Some(format!("{key} {}", Fingerprint(hash?))));
    texts.chain(hashes).collect::<Vec<_>>().join(", ")
}

/// What stands in a certificate.
fn written(shown: &Certificate) -> String {
    let dns = shown.dns.iter().map(|name| format!("dns {}", brief(name)));
    let uri = shown.uri.iter().map(|uri| format!("uri {}", brief(uri)));
    let cn = shown.cn.iter().map(|cn| format!("cn {}", brief(cn)));
    let names = some(dns.chain(uri).chain(cn));
    if names.is_empty() {
        format!("sha256 {}", Fingerprint(shown.sha256))
    } else {
        names
    }
}

fn names(names: &Names) -> String {
    match names {
        Names::Any => "any".to_owned(),
        Names::Listed(names) => some(names.iter().map(|name| brief(name))),
    }
}

/// The first few of a list.
fn some(mut items: impl Iterator<Item = String>) -> String {
    let first: Vec<_> = items.by_ref().take(SHOWN).collect();
    let rest = items.count();
    let first = first.join(", ");
    if rest == 0 {
        first
    } else {
        format!("{first} and {rest} more")
    }
}

/// Somebody else's words, for one line of text.
pub(super) fn brief(text: &str) -> String {
    let short: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if short.len() < text.len() && text.chars().nth(LONGEST).is_some() {
        format!("{short}...")
    } else {
        short
    }
}

/// Items of a list.
const SHOWN: usize = 3;
/// Characters of a text.
const LONGEST: usize = 80;
