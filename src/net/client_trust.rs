//! Whom we believe that they vouch for clients: the CAs of `tls.client_ca` and the revocation lists of `tls.crl`. Floor 1.
//!
//! Verifying is webpki's, as in rustls' own verifier of clients; it is asked directly because it tells the path that it has
//! verified. A certificate that is no good ends no handshake: its [`Validity`] says so, and the policy decides.

use std::{
    cmp::Reverse,
    fmt::{self, Display},
    path::Path,
    time::SystemTime,
};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use tokio_rustls::rustls::{DistinguishedName, crypto::WebPkiSupportedAlgorithms};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptionsBuilder, VerifiedPath, anchor_from_trusted_cert, spki_for_anchor,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::{
    Fingerprint,
    client_certificate::{self, Unreadable},
    tls::{self, TlsError},
};
use crate::policy::{Certificate, Validity};

/// The CAs whose certificates prove something, and what those have taken back. By default nobody is believed.
pub struct ClientTrust {
    /// Where a path may end.
    anchors: Vec<TrustAnchor<'static>>,
    /// When each of them is valid no longer: webpki does not ask.
    ends: Vec<SystemTime>,
    /// CAs of the file below another one of it: steps of a path, whether or not the client sends them.
    below: Vec<CertificateDer<'static>>,
    hints: Vec<DistinguishedName>,
    /// The newest first: the first list that speaks for a CA is the one that is asked.
    lists: Vec<CertRevocationList<'static>>,
    lists_end: Option<SystemTime>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Of all that was read.
    mark: Fingerprint,
}

/// Why a certificate proves nothing. `Display` ends a sentence that begins with "the certificate".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("is not from a CA that `tls.client_ca` names")]
    UnknownIssuer,
    #[error("is not made for clients: its extended key usage lacks clientAuth")]
    NotForClients,
    #[error("is not valid yet")]
    NotYet,
    #[error("has ended, or that of a CA above it has")]
    Ended,
    #[error("is revoked, or that of a CA above it is")]
    Revoked,
    #[error("may be revoked: `tls.crl` has no list of its CA, or of a CA above it")]
    NoList,
    #[error("may be revoked: the list of its CA in `tls.crl` has ended, a newer one is due")]
    ListEnded,
    #[error("ends before it begins: have it made anew")]
    Backwards,
    #[error("is a CA's own, which proves no client: show one that the CA has made")]
    Authority,
    #[error("is from one that is no CA's: have a CA make it")]
    ByNoAuthority,
    #[error("is of an old version of X.509, without extensions: have it made anew, as version 3")]
    OldVersion,
    #[error("cannot be used, and has to be made anew: {0}")]
    Unfit(webpki::Error),
}

/// What stands above a certificate that is valid.
struct Above {
    issuers: Vec<[u8; 32]>,
    ends: SystemTime,
}

impl ClientTrust {
    /// Reads PEM files: one CA at least, and if there is a file of revocation lists, one list at least.
    pub fn read(ca: &Path, lists: Option<&Path>) -> Result<Self, TlsError> {
        let mut trust = Self::default();
        let mut read = Vec::new();
        trust.take_authorities(ca, &mut read)?;
        if let Some(lists) = lists {
            trust.take_lists(lists, &mut read)?;
        }
        trust.mark = Fingerprint::of_bytes(&read);
        Ok(trust)
    }

    /// Whether clients are to be asked for a certificate.
    pub const fn asks(&self) -> bool {
        !self.anchors.is_empty()
    }

    /// The first end of a revocation list. From then on nothing that its CA has made is believed.
    pub const fn lists_end(&self) -> Option<SystemTime> {
        self.lists_end
    }

    /// The names of the CAs, by which a client that has several certificates chooses. None where they would not fit into
    /// a handshake: the choice is the client's then.
    pub(super) fn hints(&self) -> &[DistinguishedName] {
        let size: usize = self.hints.iter().map(|hint| hint.as_ref().len() + 2).sum();
        if size > MAX_HINTS { &[] } else { &self.hints }
    }

    /// What the policy may look at of a chain that a client has shown, and whose key it has proved to have; `None` if it
    /// has shown none.
    pub fn certificate(
        &self,
        shown: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Option<Certificate> {
        let leaf = shown.first()?;
        Some(match client_certificate::read(shown) {
            Ok(certificate) => self.judged(certificate, shown, now),
            Err(_unreadable) => client_certificate::unread(leaf),
        })
    }

    /// The same certificate as these CAs and lists see it at this moment.
    pub fn again(&self, kept: &Certificate, now: SystemTime) -> Certificate {
        let shown: Vec<_> = kept.chain.iter().map(|der| der.as_slice().into()).collect();
        self.certificate(&shown, now)
            .unwrap_or_else(|| Certificate {
                validity: Validity::Untrusted,
                issuers: Vec::new(),
                ..kept.clone()
            })
    }

    /// Why a chain proves nothing; `None` if it is valid.
    pub fn fault(&self, shown: &[CertificateDer<'_>], now: SystemTime) -> Option<Fault> {
        let read = client_certificate::read(shown).map_err(Fault::from);
        read.and_then(|_| self.verify(shown, now)).err()
    }

    fn judged(
        &self,
        certificate: Certificate,
        shown: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Certificate {
        match self.verify(shown, now) {
            Ok(above) => Certificate {
                validity: Validity::Valid,
                issuers: above.issuers,
                ends: certificate.ends.min(above.ends),
                ..certificate
            },
            Err(fault) => Certificate {
                validity: fault.validity(),
                ..certificate
            },
        }
    }

    fn verify(&self, shown: &[CertificateDer<'_>], now: SystemTime) -> Result<Above, Fault> {
        let (leaf, sent) = shown.split_first().ok_or(Fault::UnknownIssuer)?;
        let steps: Vec<_> = sent.iter().chain(&self.below).cloned().collect();
        let lists: Vec<_> = self.lists.iter().collect();
        // unknown is refused, all of the path is asked about, and a list that has ended tells nothing any more
        let revocation = RevocationOptionsBuilder::new(&lists)
            .ok()
            .map(|options| options.with_expiration_policy(ExpirationPolicy::Enforce));
        let leaf = EndEntityCert::try_from(leaf).map_err(Fault::from_webpki)?;
        let path = leaf
            .verify_for_usage(
                self.algorithms.all,
                &self.anchors,
                &steps,
                unix(now),
                KeyUsage::client_auth(),
                revocation.map(RevocationOptionsBuilder::build),
                None,
            )
            .map_err(Fault::from_webpki)?;
        let above = self.above(&path);
        if above.ends <= now {
            return Err(Fault::Ended);
        }
        Ok(above)
    }

    fn above(&self, path: &VerifiedPath<'_>) -> Above {
        let steps = path.intermediate_certificates();
        let keys = steps.map(webpki::Cert::subject_public_key_info);
        let keys = keys.chain([spki_for_anchor(path.anchor())]);
        let steps = path.intermediate_certificates();
        let step_ends = steps.filter_map(|step| tls::not_after(&step.der()));
        // a CA may have been renewed with its name and key: its last end counts
        let anchor_ends = self
            .anchors
            .iter()
            .zip(&self.ends)
            .filter(|(anchor, _)| is_same_authority(anchor, path.anchor()))
            .map(|(_, ends)| *ends)
            .max();
        Above {
            issuers: keys.map(|key| Fingerprint::of_bytes(&key).0).collect(),
            ends: step_ends
                .chain(anchor_ends)
                .min()
                .unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    fn take_authorities(&mut self, path: &Path, read: &mut Vec<u8>) -> Result<(), TlsError> {
        let bad = |error: &dyn Display| TlsError::BadAuthority {
            path: path.to_owned(),
            error: error.to_string(),
        };
        let certificates = tls::certificates(path)?;
        let parsed: Vec<_> = certificates
            .iter()
            .map(|der| of_authority(der).map_err(|error| bad(&error)))
            .collect::<Result<_, _>>()?;
        for (der, x509) in certificates.iter().zip(&parsed) {
            read.extend_from_slice(der);
            self.hints
                .push(DistinguishedName::from(x509.subject().as_raw().to_vec()));
            let issuer = x509.issuer().as_raw();
            let self_issued = x509.subject().as_raw() == issuer;
            let mut subjects = parsed.iter().map(|other| other.subject().as_raw());
            if !self_issued && subjects.any(|subject| subject == issuer) {
                self.below.push(der.clone());
                continue;
            }
            let anchor = anchor_from_trusted_cert(der).map_err(|error| bad(&error))?;
            self.anchors.push(anchor.to_owned());
            self.ends
                .push(tls::not_after(der).ok_or_else(|| TlsError::NotX509(path.to_owned()))?);
        }
        if self.anchors.is_empty() {
            return Err(bad(&"each is below another one, and none on top"));
        }
        Ok(())
    }

    fn take_lists(&mut self, path: &Path, read: &mut Vec<u8>) -> Result<(), TlsError> {
        let bad = |error: &dyn Display| TlsError::BadRevocationList {
            path: path.to_owned(),
            error: error.to_string(),
        };
        let mut dated = Vec::new();
        for der in tls::revocation_lists(path)? {
            read.extend_from_slice(&der);
            let list = OwnedCertRevocationList::from_der(&der).map_err(|error| bad(&error))?;
            let (_, parsed) =
                CertificateRevocationList::from_der(&der).map_err(|error| bad(&error))?;
            let ends = parsed.next_update().map(|end| end.timestamp());
            let ends = ends.and_then(tls::at_second);
            self.lists_end = [self.lists_end, ends].into_iter().flatten().min();
            let made = parsed.last_update().timestamp();
            dated.push((Reverse(made), CertRevocationList::from(list)));
        }
        dated.sort_by_key(|(made, _)| *made);
        self.lists = dated.into_iter().map(|(_, list)| list).collect();
        Ok(())
    }
}

impl Default for ClientTrust {
    fn default() -> Self {
        Self {
            anchors: Vec::new(),
            ends: Vec::new(),
            below: Vec::new(),
            hints: Vec::new(),
            lists: Vec::new(),
            lists_end: None,
            algorithms: tls::provider().signature_verification_algorithms,
            mark: Fingerprint([0; 32]),
        }
    }
}

/// The same CAs and lists, so that what one has judged need not be judged again.
impl PartialEq for ClientTrust {
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark
    }
}

impl fmt::Debug for ClientTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTrust")
            .field("authorities", &self.hints.len())
            .field("lists", &self.lists.len())
            .finish_non_exhaustive()
    }
}

impl Fault {
    /// What the policy is told.
    pub const fn validity(&self) -> Validity {
        match self {
            Self::Revoked => Validity::Revoked,
            Self::NotYet | Self::Ended => Validity::Expired,
            Self::Unreadable(_)
            | Self::UnknownIssuer
            | Self::NotForClients
            | Self::NoList
            | Self::ListEnded
            | Self::Backwards
            | Self::Authority
            | Self::ByNoAuthority
            | Self::OldVersion
            | Self::Unfit(_) => Validity::Untrusted,
        }
    }

    fn from_webpki(error: webpki::Error) -> Self {
        use webpki::Error;
        let known = [
            (matches!(error, Error::CertRevoked), Self::Revoked),
            (matches!(error, Error::CertExpired { .. }), Self::Ended),
            (matches!(error, Error::CertNotValidYet { .. }), Self::NotYet),
            // with a CA of the same name and another key it is the signature that fails
            (
                matches!(
                    error,
                    Error::UnknownIssuer | Error::InvalidSignatureForPublicKey
                ),
                Self::UnknownIssuer,
            ),
            (
                matches!(error, Error::RequiredEkuNotFoundContext(_)),
                Self::NotForClients,
            ),
            (
                matches!(error, Error::UnknownRevocationStatus),
                Self::NoList,
            ),
            (matches!(error, Error::CrlExpired { .. }), Self::ListEnded),
            (matches!(error, Error::InvalidCertValidity), Self::Backwards),
            (matches!(error, Error::CaUsedAsEndEntity), Self::Authority),
            (
                matches!(error, Error::EndEntityUsedAsCa),
                Self::ByNoAuthority,
            ),
            (
                matches!(error, Error::UnsupportedCertVersion),
                Self::OldVersion,
            ),
        ];
        let fault = known.into_iter().find(|(is, _)| *is);
        fault.map_or_else(|| Self::Unfit(error), |(_, fault)| fault)
    }
}

/// Parses a certificate that has the right to issue others. Any other would let its holder vouch for whom it likes:
/// webpki does not look at an anchor's rights.
fn of_authority<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    let (_, x509) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let is_ca = x509.is_ca();
    let signs = match x509.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_twice) => false,
    };
    if is_ca && signs {
        return Ok(x509);
    }
    let subject = x509.subject();
    Err(format!(
        "that of `{subject}` may not issue any; name the CA that made it"
    ))
}

fn is_same_authority(one: &TrustAnchor<'_>, other: &TrustAnchor<'_>) -> bool {
    one.subject == other.subject && one.subject_public_key_info == other.subject_public_key_info
}

fn unix(now: SystemTime) -> UnixTime {
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::since_unix_epoch(since.unwrap_or_default())
}

/// Of a `CertificateRequest`, whose list of names has a length of two bytes and whose message is bounded.
const MAX_HINTS: usize = 16 * 1024;

#[cfg(test)]
#[path = "client_trust_tests.rs"]
mod tests;
