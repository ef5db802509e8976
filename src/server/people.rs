//! Who is there, and who was: the session floor's memories as plain values, for the commands. Floor 4.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{status::rfc3339, why_answer::WhyAnswer};
use crate::{
    net::Fingerprint,
    policy::{Certificate, Claim, Replication, TlsVersion},
    session::{BanLine, KeptRefusal, Login, SessionLine, Split},
};

/// One live session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionAnswer {
    /// Counted from the gateway's start: what `--end` takes.
    pub id: u64,
    /// The origin that admits it, or `_none`.
    pub origin: String,
    #[serde(flatten)]
    pub who: Who,
    /// RFC 3339, in UTC.
    pub since: String,
    pub seconds: u64,
    #[serde(default)]
    pub split: SplitAnswer,
}

/// Where the time of a session went after its opening. Seconds, but for the round trip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitAnswer {
    /// The kernel's least; `None` where it has none.
    pub rtt_ms: Option<f64>,
    pub flights: u32,
    pub database_seconds: f32,
    pub network_seconds: f32,
    pub transfer_seconds: f32,
    /// Uploads.
    #[serde(default)]
    pub request_seconds: f32,
    /// In a transaction, between an answer and the next request.
    #[serde(default)]
    pub idle_in_transaction_seconds: f32,
}

/// A kind of session that the database has let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginAnswer {
    /// The origin that admitted the last of them, or `_none`.
    pub origin: String,
    #[serde(flatten)]
    pub who: Who,
    /// The reason of the refusal that an observation spared it.
    pub would_deny: Option<String>,
    pub times: u64,
    /// RFC 3339, in UTC.
    pub first: String,
    pub last: String,
}

/// A refusal that is remembered under its reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalAnswer {
    pub reference: String,
    pub listener: String,
    pub address: String,
    /// `None` where the connection ended before anybody said who it was.
    pub who: Option<Who>,
    /// The label of a [`Reason`](crate::policy::Reason).
    pub reason: String,
    /// The deny rule that hit, or the origin that came nearest.
    pub rule: Option<String>,
    /// The log's own sentence.
    pub cause: String,
    pub times: u64,
    /// RFC 3339, in UTC.
    pub first: String,
    pub last: String,
    /// What would become of the same connection now.
    pub now: Option<WhyAnswer>,
}

/// Strangers of one source that are not heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanAnswer {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    pub source: String,
    /// For which it was banned.
    pub failures: u32,
    /// RFC 3339, in UTC.
    pub until: String,
}

/// A claim, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    pub listener: String,
    pub address: String,
    pub user: String,
    pub database: Option<String>,
    /// `physical`, `logical` or `true`, as the file has it.
    pub replication: Option<String>,
    /// The version of the client's TLS.
    pub tls: Option<String>,
    pub application: Option<String>,
    pub certificate: Option<Shown>,
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub dns: Vec<String>,
    pub uri: Vec<String>,
    pub cn: Option<String>,
    /// In hexadecimal digits.
    pub sha256: String,
    pub issuers: Vec<String>,
    /// RFC 3339, in UTC.
    pub ends: String,
}

impl SessionAnswer {
    pub(super) fn of(line: &SessionLine, now: SystemTime) -> Self {
        let lasted = now.duration_since(line.since).unwrap_or(Duration::ZERO);
        Self {
            id: line.id,
            origin: line.origin.to_string(),
            who: Who::of(&line.claim),
            since: rfc3339(line.since),
            seconds: lasted.as_secs(),
            split: SplitAnswer::of(&line.split),
        }
    }
}

impl SplitAnswer {
    fn of(split: &Split) -> Self {
        let measured = split.client_rtt > 0;
        Self {
            rtt_ms: measured.then(|| f64::from(split.client_rtt) / 1000.0),
            flights: split.flights,
            database_seconds: split.database,
            network_seconds: split.network,
            transfer_seconds: split.transfer,
            request_seconds: split.request,
            idle_in_transaction_seconds: split.idle_in_transaction,
        }
    }
}

impl LoginAnswer {
    pub(super) fn of(login: &Login) -> Self {
        Self {
            origin: login.origin.clone(),
            who: Who::of(&login.claim),
            would_deny: login.spared.map(|reason| reason.label().to_owned()),
            times: login.times,
            first: rfc3339(login.first),
            last: rfc3339(login.last),
        }
    }
}

impl BanAnswer {
    pub(super) fn of(ban: &BanLine) -> Self {
        Self {
            source: ban.source.clone(),
            failures: ban.failures,
            until: rfc3339(ban.until),
        }
    }
}

impl RefusalAnswer {
    pub(super) fn of(kept: &KeptRefusal, now: Option<WhyAnswer>) -> Self {
        Self {
            reference: kept.reference.clone(),
            listener: kept.listener.to_string(),
            address: kept.address.to_string(),
            who: kept.claim.as_deref().map(Who::of),
            reason: kept.reason.label().to_owned(),
            rule: kept.rule.as_deref().map(str::to_owned),
            cause: kept.cause.clone(),
            times: kept.times,
            first: rfc3339(kept.first),
            last: rfc3339(kept.last),
            now,
        }
    }
}

impl Who {
    pub fn of(claim: &Claim) -> Self {
        let replication = claim.replication.map(|kind| match kind {
            Replication::Physical => "physical",
            Replication::Logical => "logical",
            Replication::Commands => "true",
        });
        Self {
            listener: claim.listener.to_string(),
            address: claim.address.to_string(),
            user: claim.user.to_string(),
            database: claim.database.as_deref().map(str::to_owned),
            replication: replication.map(str::to_owned),
            tls: claim
                .tls
                .map(|version| TlsVersion::label(version).to_owned()),
            application: claim.application.as_deref().map(str::to_owned),
            certificate: claim.certificate.as_deref().map(Shown::of),
        }
    }
}

impl Shown {
    fn of(certificate: &Certificate) -> Self {
        let issuers = certificate.issuers.iter();
        Self {
            dns: certificate.dns.clone(),
            uri: certificate.uri.clone(),
            cn: certificate.cn.clone(),
            sha256: Fingerprint(certificate.sha256).to_string(),
            issuers: issuers.map(|hash| Fingerprint(*hash).to_string()).collect(),
            ends: rfc3339(certificate.ends),
        }
    }
}
