//! What a client's certificate must say for an origin to take it as proof. Floor 0.

use super::{Case, Certificate, Reason, Validity};

/// All given keys must hold; `config` lets none pass that gives no key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// A DNS name of the certificate; `*.` stands for exactly one label.
    pub dns: Option<String>,
    /// A URI of the certificate, exact; with a trailing `/` the path may go on.
    pub uri: Option<String>,
    /// The common name, as old certificates have it.
    pub cn: Option<String>,
    /// SHA-256 of the certificate (DER).
    pub sha256: Option<[u8; 32]>,
    /// SHA-256 of the key (its `SubjectPublicKeyInfo`) of a CA above it.
    pub issuer: Option<[u8; 32]>,
}

impl Proof {
    /// Whether the names and hashes are those that are asked for. Says nothing about validity.
    pub fn names(&self, certificate: &Certificate) -> bool {
        let dns = |pattern: &String| certificate.dns.iter().any(|name| dns_fits(pattern, name));
        let uri = |pattern: &String| certificate.uri.iter().any(|uri| uri_fits(pattern, uri));
        self.dns.as_ref().is_none_or(dns)
            && self.uri.as_ref().is_none_or(uri)
            && (self.cn.is_none() || self.cn == certificate.cn)
            && self.sha256.is_none_or(|hash| hash == certificate.sha256)
            && self
                .issuer
                .is_none_or(|hash| certificate.issuers.contains(&hash))
    }

    /// Why the claim proves nothing; `None` if it does.
    pub(super) fn failure(&self, case: Case<'_>) -> Option<Reason> {
        let Some(certificate) = &case.claim.certificate else {
            return Some(Reason::CertificateMissing);
        };
        match certificate.validity_at(case.now) {
            Validity::Revoked => Some(Reason::CertificateRevoked),
            Validity::Untrusted | Validity::Expired => Some(Reason::CertificateMismatch),
            Validity::Valid => (!self.names(certificate)).then_some(Reason::CertificateMismatch),
        }
    }
}

/// Names without their final dot, in any case of letters. A wildcard that is *presented* never fits: it is not a name.
fn dns_fits(pattern: &str, name: &str) -> bool {
    let plain = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (pattern, name) = (plain(pattern), plain(name));
    if name.is_empty() || name.contains('*') {
        return false;
    }
    match pattern.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => pattern == name,
    }
}

/// SPIFFE compares trust domain and path byte by byte; its paths have no empty or dotted segments.
fn uri_fits(pattern: &str, uri: &str) -> bool {
    let whole_domain = || {
        let rest = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
        rest.split('/')
            .next()
            .is_some_and(|domain| !domain.is_empty())
    };
    match uri.strip_prefix(pattern) {
        Some("") => !pattern.ends_with('/'),
        Some(rest) => {
            pattern.ends_with('/')
                && whole_domain()
                && rest
                    .split('/')
                    .all(|segment| !["", ".", ".."].contains(&segment))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label_of_the_rule_and_never_of_the_certificate() {
        assert!(dns_fits("*.admin.example.com", "eva.admin.example.com"));
        assert!(dns_fits("Blog.Example.org", "blog.example.ORG."));
        for name in [
            "admin.example.com",
            "a.b.admin.example.com",
            "*.admin.example.com",
            ".admin.example.com",
            "evaadmin.example.com",
        ] {
            assert!(!dns_fits("*.admin.example.com", name), "{name}");
        }
        assert!(!dns_fits("blog.example.org", "*.example.org"));
    }

    #[test]
    fn a_uri_goes_on_only_below_a_slash() {
        let etl = "spiffe://example.com/ns/reports/sa/etl";
        assert!(uri_fits(etl, etl));
        assert!(uri_fits("spiffe://example.com/ns/", etl));
        for pattern in [
            "spiffe://example.com/ns",
            "spiffe://example.co",
            "spiffe://",
            "/",
            "spiffe:///",
        ] {
            assert!(!uri_fits(pattern, etl), "{pattern}");
        }
        assert!(!uri_fits(
            "spiffe://example.com/ns/",
            "spiffe://example.com/ns/"
        ));
        assert!(!uri_fits(
            "spiffe://example.com/ns/",
            "spiffe://example.com/ns/../root"
        ));
        assert!(!uri_fits(
            "spiffe://example.com/",
            "spiffe://example.com.evil/ns"
        ));
    }
}
