//! What `doorward check` finds out about a MySQL server. Floor 5.
//!
//! Every look ends as a login that fails, so that the server counts nothing against this host.

use std::time::Duration;

use tokio::time::timeout;

use super::said::{Said, unusable};
use crate::{
    config::{Listener, UpstreamProxyProtocol},
    net::{DialError, Fingerprint, OnBehalf, Stream, Upstream, UpstreamTls, announce},
    protocol::mysql::{self, EncryptError, HearError, Look, LookError, OnHeader},
    server,
    wire::mysql::{Flavor, errno},
};

/// Why a server could not be looked at.
#[derive(Debug, thiserror::Error)]
enum Unseen {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Look(#[from] LookError),
    #[error("it says nothing for {PATIENCE:?}")]
    Silent,
}

/// Looks at the server behind a listener. `ours` is the certificate that clients see, where it is not one of the gateway's own
/// making.
pub(super) async fn server(listener: &Listener, ours: Option<Fingerprint>) -> Vec<Said> {
    let upstream = server::upstream(listener);
    let tls = match server::way(listener) {
        Ok(tls) => tls,
        Err(error) => return vec![unusable(&error)],
    };
    if let Err(error) = upstream.refresh().await {
        return vec![unreached(&error.into())];
    }
    let look = match visit(&upstream, None, tls.as_ref()).await {
        Ok(look) => look,
        Err(error) => {
            let said = unreached(&error);
            return vec![offer_pin(said, &upstream, &error).await];
        }
    };
    let mut said = Vec::new();
    said.extend(slow(&look));
    if listener.upstream_proxy_protocol == UpstreamProxyProtocol::V2 {
        let headed = visit(&upstream, Some(OnBehalf::Gateway), tls.as_ref()).await;
        said.extend(header(headed));
    }
    if look.flavor == Flavor::MariaDb && look.release() >= Some(ZERO_CONFIGURATION) {
        let certificate = match look.certificate {
            Some(seen) => Some(seen),
            None => behind_unix(&upstream).await,
        };
        said.extend(certificate.map(|theirs| zero_configuration(&look.version, theirs, ours)));
    }
    said
}

async fn visit(
    upstream: &Upstream,
    header: Option<OnBehalf>,
    tls: Option<&UpstreamTls>,
) -> Result<Look, Unseen> {
    let mut stream = upstream.visit(PATIENCE).await?;
    if let Some(whom) = header {
        let announced = announce(&mut stream, whom).await;
        announced.map_err(|error| LookError::Unheard(HearError::Broke(error)))?;
    }
    let looking = mysql::look(stream, header.is_some(), tls);
    let looked = timeout(PATIENCE, looking).await;
    Ok(looked.map_err(|_elapsed| Unseen::Silent)??)
}

async fn behind_unix(upstream: &Upstream) -> Option<Fingerprint> {
    let stream = upstream.visit(PATIENCE).await.ok()?;
    if !matches!(stream, Stream::Unix(_)) {
        return None;
    }
    let shown = timeout(PATIENCE, mysql::certificate_behind(stream)).await;
    shown.ok()?.ok()?
}

fn unreached(error: &Unseen) -> Said {
    let message = format!("the database does not answer: {error}");
    match error {
        Unseen::Look(LookError::Unheard(HearError::Refused { errno: errno::HOST_BLOCKED, .. })) => {
            Said::warning(
                "W-BLOCKED",
                "the database refuses this machine for its connection errors (1129)".to_owned(),
            )
            .hint("on the server: FLUSH HOSTS, or TRUNCATE TABLE performance_schema.host_cache")
        }
        Unseen::Look(LookError::Unheard(HearError::Refused {
            errno: errno::HOST_NOT_PRIVILEGED,
            ..
        })) => Said::warning(
            "W-UPSTREAM",
            "the database has no account for this machine's address (1130)".to_owned(),
        )
        .hint("its accounts are of the address that it sees: the gateway's, unless `upstream_proxy_protocol` tells it the client's"),
        Unseen::Look(LookError::Unencrypted(error)) => {
            let message = format!("the connection to the database cannot be encrypted: {error}");
            let said = Said::warning("W-UPSTREAM-TLS", message);
            match error {
                EncryptError::NotOffered => said.hint("the server needs ssl_cert and ssl_key"),
                EncryptError::Handshake(_) | EncryptError::Broke(_) => said,
            }
        }
        Unseen::Dial(_) | Unseen::Look(_) | Unseen::Silent => Said::warning("W-UPSTREAM", message),
    }
}

/// Where a server does not prove what it must: what it shows, for who can tell that it is the right one.
async fn offer_pin(said: Said, upstream: &Upstream, error: &Unseen) -> Said {
    let Unseen::Look(LookError::Unencrypted(EncryptError::Handshake(_))) = error else {
        return said;
    };
    let look = visit(upstream, None, None).await.ok();
    match look.and_then(|look| look.certificate) {
        Some(seen) => said.hint(format!(
            "if this certificate is the server's own: upstream_tls: {{mode: pin, pin: \"{seen}\"}}"
        )),
        None => said,
    }
}

fn slow(look: &Look) -> Option<Said> {
    let message = format!(
        "the database took {:.1?} to greet: it looks up the name of who connects",
        look.greeted
    );
    (look.greeted >= SLOW).then(|| {
        Said::warning("W-SLOW-GREETING", message).hint("on the server: skip_name_resolve = ON")
    })
}

fn header(looked: Result<Look, Unseen>) -> Option<Said> {
    let warning = |message: &str| Said::warning("W-PROXY", message.to_owned());
    let look = match looked {
        Ok(look) => look,
        Err(error) => {
            let message = format!("with a PROXY header the database does not answer: {error}");
            return Some(warning(&message));
        }
    };
    match look.on_header() {
        OnHeader::Taken => None,
        OnHeader::NotFromHere => Some(
            warning("the database takes no PROXY header from the gateway").hint(format!(
                "on the server, and in its configuration: {}",
                look.allowing_headers()
            )),
        ),
        OnHeader::Unknown => Some(
            warning("the database knows no PROXY header: nobody would get in")
                .hint("Oracle's MySQL reads none: `upstream_proxy_protocol: off`"),
        ),
        OnHeader::Unclear => Some(warning(
            "with a PROXY header the database ends the login otherwise than without",
        )),
    }
}

/// What a client of MariaDB 11.4 or later sees that is given no CA: it trusts the certificate that the server vouches for by the
/// password's hash.
fn zero_configuration(version: &str, theirs: Fingerprint, ours: Option<Fingerprint>) -> Said {
    if ours == Some(theirs) {
        return Said::note(format!(
            "the gateway shows the certificate of its MariaDB {version}: clients since 11.4 verify it without a CA"
        ));
    }
    Said::note(format!(
        "the gateway shows another certificate than its MariaDB {version}: clients since 11.4 that have no CA for it may end with \"The certificate is NOT trusted\""
    ))
    .hint("give them the CA, or the gateway the server's ssl_cert and ssl_key as `tls.certificate` and `tls.key`")
}

/// The first release whose clients verify a server without a CA.
const ZERO_CONFIGURATION: (u32, u32) = (11, 4);
/// A greeting later than this waits for a name server.
const SLOW: Duration = Duration::from_secs(1);
/// For one connection. A server that looks a name up may take its time.
const PATIENCE: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Severity, net::SecureError};

    fn seen(verdict: u16, greeted: Duration) -> Look {
        Look {
            flavor: Flavor::MariaDb,
            version: "11.8.2-MariaDB".to_owned(),
            greeted,
            offers_tls: true,
            certificate: None,
            verdict: Some(verdict),
            from: None,
        }
    }

    fn refused(errno: u16) -> Unseen {
        let payload = Vec::new();
        Unseen::Look(LookError::Unheard(HearError::Refused { errno, payload }))
    }

    #[test]
    fn a_refusal_before_the_greeting_is_told_with_what_ends_it() {
        let blocked = unreached(&refused(1129));
        assert_eq!(blocked.code, Some("W-BLOCKED"));
        assert!(blocked.words().contains("FLUSH HOSTS"));
        assert!(
            unreached(&refused(1130))
                .words()
                .contains("upstream_proxy_protocol")
        );
        assert!(unreached(&refused(1040)).words().contains("error 1040"));
        let plain = Unseen::Look(EncryptError::NotOffered.into());
        assert!(unreached(&plain).words().contains("ssl_cert"));
        let broken = Unseen::Look(EncryptError::from(SecureError::NotTcp).into());
        assert_eq!(unreached(&broken).code, Some("W-UPSTREAM-TLS"));
    }

    #[test]
    fn a_header_that_is_not_taken_is_told_with_the_statement_that_allows_it() {
        let told = |errno| header(Ok(seen(errno, Duration::ZERO)));
        assert_eq!(told(1045), None);
        let allow = told(1130).unwrap().words();
        assert!(
            allow.contains("SET GLOBAL proxy_protocol_networks"),
            "{allow}"
        );
        assert!(
            told(1156)
                .unwrap()
                .words()
                .contains("`upstream_proxy_protocol: off`")
        );
        assert!(told(1040).is_some());
        assert!(header(Err(Unseen::Silent)).is_some());
    }

    #[test]
    fn who_verifies_by_the_password_is_told_what_the_gateway_shows() {
        let (theirs, other) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        let same = zero_configuration("11.8.2", theirs, Some(theirs));
        assert_eq!((same.severity, same.hint.is_none()), (Severity::Note, true));
        for ours in [None, Some(other)] {
            let differs = zero_configuration("11.8.2", theirs, ours);
            assert_eq!(differs.severity, Severity::Note);
            assert!(differs.words().contains("The certificate is NOT trusted"));
        }
    }

    #[test]
    fn a_greeting_that_waits_for_a_name_server_is_told() {
        assert_eq!(slow(&seen(1045, Duration::from_millis(900))), None);
        let late = slow(&seen(1045, Duration::from_millis(5100))).unwrap();
        assert!(late.words().contains("5.1s") && late.words().contains("skip_name_resolve"));
    }
}
