//! What `doorward why` asks: a connection that nobody has made. Floor 4.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{people::Who, why_words::brief};
use crate::{
    config::{Listener, Protocol},
    net::ClientTrust,
    policy::{
        Certificate, Claim, HostAnswer, Hosts, Policy, Replication, TlsVersion, Validity, canonical,
    },
};

/// A connection to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyRequest {
    pub address: String,
    pub user: String,
    /// When absent the user's name, as PostgreSQL does; on MySQL none.
    #[serde(default)]
    pub database: Option<String>,
    /// May be left out when there is one.
    #[serde(default)]
    pub listener: Option<String>,
    /// The version of the client's TLS, `1.2` or `1.3`.
    #[serde(default)]
    pub tls: Option<String>,
    /// `physical`, `logical`, or `true`: the one that the protocol has, or physical.
    #[serde(default)]
    pub replication: Option<String>,
    #[serde(default)]
    pub certificate: Option<Shows>,
    /// RFC 3339; now when absent.
    #[serde(default)]
    pub at: Option<String>,
    /// What stands in for DNS: addresses by host.
    #[serde(default)]
    pub resolve: BTreeMap<String, Vec<String>>,
}

/// What the client shows in the handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// Certificates as base64 has their DER, the client's own first. They are judged as in a handshake.
    Chain(Vec<String>),
    /// A certificate that counts as valid, whoever has made it.
    Names {
        #[serde(default)]
        dns: Vec<String>,
        #[serde(default)]
        uri: Vec<String>,
        #[serde(default)]
        cn: Option<String>,
        /// 64 hexadecimal digits.
        #[serde(default)]
        sha256: Option<String>,
        /// Of the keys of the CAs above it, likewise.
        #[serde(default)]
        issuers: Vec<String>,
    },
}

/// The question cannot be answered: it names a listener there is not, or is malformed. `Display` says which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuestion(pub String);

impl WhyRequest {
    /// About somebody who was there. What proved him counts as valid still.
    pub fn of(who: &Who) -> Self {
        Self {
            address: who.address.clone(),
            user: who.user.clone(),
            database: who.database.clone(),
            listener: Some(who.listener.clone()),
            tls: who.tls.clone(),
            replication: who.replication.clone(),
            certificate: who.certificate.as_ref().map(|shown| Shows::Names {
                dns: shown.dns.clone(),
                uri: shown.uri.clone(),
                cn: shown.cn.clone(),
                sha256: Some(shown.sha256.clone()),
                issuers: shown.issuers.clone(),
            }),
            at: None,
            resolve: BTreeMap::new(),
        }
    }

    /// The moment that is asked about.
    pub(super) fn moment(&self, now: SystemTime) -> Result<SystemTime, BadQuestion> {
        self.at.as_deref().map_or(Ok(now), time)
    }

    pub(super) fn claim(
        &self,
        door: &Listener,
        trust: &ClientTrust,
        at: SystemTime,
    ) -> Result<Claim, BadQuestion> {
        let replication = self.replication(door.protocol)?;
        let database = match (door.protocol, replication) {
            (Protocol::Postgres, Some(Replication::Physical)) => None,
            (Protocol::Postgres, _) => Some(self.database.as_deref().unwrap_or(&self.user)),
            (Protocol::Mysql, _) => self.database.as_deref(),
        };
        let certificate = match &self.certificate {
            Some(shows) => Some(Arc::new(shows.certificate(trust, at)?)),
            None => None,
        };
        let tls = self.tls.as_deref().map(version).transpose()?;
        Ok(Claim {
            listener: door.name.clone(),
            address: address(&self.address)?,
            user: self.user.as_str().into(),
            database: database.map(Box::from),
            replication,
            // a certificate is shown inside of TLS
            tls: tls.or_else(|| certificate.as_ref().map(|_| TlsVersion::V1_3)),
            certificate,
            application: None,
        })
    }

    fn replication(&self, protocol: Protocol) -> Result<Option<Replication>, BadQuestion> {
        let Some(kind) = self.replication.as_deref() else {
            return Ok(None);
        };
        Ok(Some(match (protocol, kind) {
            (Protocol::Postgres, "true" | "physical") => Replication::Physical,
            (Protocol::Postgres, "logical") => Replication::Logical,
            (Protocol::Mysql, "true") => Replication::Commands,
            (_, other) => {
                let kinds = match protocol {
                    Protocol::Postgres => "physical or logical",
                    Protocol::Mysql => "MySQL knows one, --replication alone",
                };
                let other = brief(other);
                let text = format!("`{other}` is not a kind of replication: {kinds}");
                return Err(BadQuestion(text));
            }
        }))
    }

    pub(super) fn door<'l>(
        &self,
        listeners: &'l [Arc<Listener>],
    ) -> Result<&'l Listener, BadQuestion> {
        let names: Vec<&str> = listeners.iter().map(|door| &*door.name).collect();
        let names = names.join(", ");
        match (&self.listener, listeners) {
            (None, [only]) => Ok(only),
            (None, _) => Err(BadQuestion(format!(
                "there are several listeners, say which: {names}"
            ))),
            (Some(name), _) => listeners
                .iter()
                .find(|door| *door.name == **name)
                .map(|door| &**door)
                .ok_or_else(|| {
                    BadQuestion(format!(
                        "there is no listener `{}`; there are {names}",
                        brief(name)
                    ))
                }),
        }
    }

    /// The policy as it would be with these answers of DNS; `None` where none stand in.
    pub(super) fn resolved(&self, policy: &Policy) -> Result<Option<Policy>, BadQuestion> {
        if self.resolve.is_empty() {
            return Ok(None);
        }
        let named = policy.rules().hosts();
        let mut hosts: Hosts = policy.hosts().clone();
        for (host, addresses) in &self.resolve {
            let plain = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            let Some(name) = named.get(plain.as_str()) else {
                let text = format!("no rule names the host `{}`", brief(host));
                return Err(BadQuestion(text));
            };
            let addresses: Result<_, _> = addresses.iter().map(|text| address(text)).collect();
            hosts.insert(Arc::clone(name), HostAnswer::given(addresses?));
        }
        let rules = Arc::clone(policy.rules());
        Ok(Some(Policy::new(rules, &hosts, policy.generation())))
    }
}

impl Shows {
    /// What is in a PEM file, to be judged by whom it is asked.
    pub fn chain(chain: &[CertificateDer<'_>]) -> Self {
        Self::Chain(chain.iter().map(|der| STANDARD.encode(der)).collect())
    }

    fn certificate(&self, trust: &ClientTrust, at: SystemTime) -> Result<Certificate, BadQuestion> {
        match self {
            Self::Chain(chain) => {
                let chain: Result<Vec<CertificateDer<'_>>, _> = chain
                    .iter()
                    .map(|text| STANDARD.decode(text).map(CertificateDer::from))
                    .collect();
                let read = chain.ok().and_then(|chain| trust.certificate(&chain, at));
                read.ok_or_else(|| BadQuestion("the certificate is not base64 of DER".to_owned()))
            }
            Self::Names {
                dns,
                uri,
                cn,
                sha256,
                issuers,
            } => Ok(Certificate {
                dns: dns.iter().map(|name| name.to_ascii_lowercase()).collect(),
                uri: uri.clone(),
                cn: cn.clone(),
                sha256: sha256.as_deref().map_or(Ok([0; 32]), digest)?,
                issuers: issuers
                    .iter()
                    .map(|text| digest(text))
                    .collect::<Result<_, _>>()?,
                ends: at + A_YEAR,
                validity: Validity::Valid,
                chain: Vec::new(),
            }),
        }
    }
}

fn address(text: &str) -> Result<IpAddr, BadQuestion> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let bare = bare
        .split_once('%')
        .map_or(bare, |(address, _zone)| address);
    let address = bare.parse().map_err(|_not_an_address| {
        BadQuestion(format!("`{}` is not an address: give the one that the client connects from, such as 203.0.113.7", brief(text)))
    })?;
    Ok(canonical(address))
}

fn time(text: &str) -> Result<SystemTime, BadQuestion> {
    let time: jiff::Timestamp = text.parse().map_err(|_not_a_time| {
        BadQuestion(format!(
            "`{}` is not a time with its zone: write 2026-12-31T18:00:00Z",
            brief(text)
        ))
    })?;
    Ok(time.into())
}

fn version(text: &str) -> Result<TlsVersion, BadQuestion> {
    let all = [TlsVersion::V1_2, TlsVersion::V1_3];
    let found = all.into_iter().find(|version| version.label() == text);
    found.ok_or_else(|| {
        let text = brief(text);
        BadQuestion(format!(
            "`{text}` is not a version of TLS that is spoken here: 1.2 or 1.3"
        ))
    })
}

fn digest(text: &str) -> Result<[u8; 32], BadQuestion> {
    let bad = || {
        let text = brief(text);
        BadQuestion(format!("`{text}` is not a SHA-256: 64 hexadecimal digits"))
    };
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let digits: Option<Vec<u32>> = digits
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16))
        .collect();
    let digits = digits.filter(|digits| digits.len() == 64).ok_or_else(bad)?;
    let bytes = digits.as_chunks::<2>().0.iter();
    let bytes: Vec<u8> = bytes
        .filter_map(|[high, low]| u8::try_from(high << 4 | low).ok())
        .collect();
    bytes.try_into().map_err(|_never| bad())
}

/// How long a certificate holds of which only names are given.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
