//! The login at a MySQL server, from the permit to the server's OK. Floor 3.

use tokio::time::Instant;

use super::{
    admitted::LoginOutcome,
    login::No,
    mysql_server::hear,
    refusal::Refusal,
    stages::{MYSQL_PATIENCE, Visit},
    tenure::{Prospect, Tenure},
    upstream::dial,
};
use crate::{
    meter::Phase,
    net::Stream,
    policy::{Claim, Permit},
    protocol::{
        Conversation,
        mysql::{self, Answered, LoginError, Reading, Rights, Unfinished},
    },
    wire::mysql::{Capabilities, Edit, Flavor, NameRule},
};

/// What a MySQL session keeps for the commands that it decides on: what the two sides agreed on, by which they are read.
pub(super) struct Agreed {
    pub(super) capabilities: Capabilities,
    pub(super) flavor: Flavor,
    pub(super) names: NameRule,
    /// The client's character set, as it was at the last login.
    pub(super) charset: u16,
    /// Whether the server heard of the client by a PROXY header.
    pub(super) proxied: bool,
    /// What the session becomes if the server agrees to the command that was let pass.
    pub(super) prospect: Option<Prospect>,
}

pub(super) async fn login_mysql(
    client: &mut Stream,
    answered: &mut Answered,
    tenure: &mut Tenure,
    visit: &Visit,
) -> Result<LoginOutcome, No> {
    let limits = *visit.gateway.limits.borrow();
    // the server's own patience ends soon after, and it holds that against the gateway
    let deadline = Instant::now() + limits.login.min(MYSQL_PATIENCE);
    let mut upstream = match answered.upstream.take() {
        Some(upstream) => upstream,
        None => reach(client, &tenure.held.permit, visit, deadline)
            .await
            .map_err(No::told)?,
    };
    let began = Instant::now();
    let proxied = upstream.proxied();
    let told = Told::of(&tenure.held.claim, tenure.held.permit.name());
    let attributes = told.attributes();
    let greeted = upstream
        .greeting()
        .map(|greeting| (greeting.flavor(), greeting.names()));
    let (flavor, names) = greeted.ok_or_else(|| {
        No::silent(Refusal::Unreachable(
            "the server has not greeted".to_owned(),
        ))
    })?;
    let edit = Edit {
        local_files: tenure.held.permit.local_infile(),
        compression: true,
        attributes: needed(flavor, proxied, &attributes),
        forced_switch: false,
    };
    let rights = rights(tenure);
    let authentication = tenure.has_to_answer(&tenure.held.permit);
    let tls = visit.door.upstream.tls();
    let terms = mysql::Terms {
        authentication,
        from: visit.address,
        edit,
        own_key: Some(&visit.door.mysql.own_key),
        interrupted: async { tenure.ended().await.denial },
        by: deadline,
    };
    let opening = &mut answered.opening;
    let login = mysql::login(client, &mut upstream, opening, tls.as_deref(), terms);
    let no = match login.await {
        Ok(login) => {
            visit.door.meters.phase(Phase::Login, began.elapsed());
            let gone = || No::silent(Refusal::Unreachable("the server is gone".to_owned()));
            let turns = upstream.turns();
            let upstream = upstream.into_stream().ok_or_else(gone)?;
            return Ok(LoginOutcome {
                upstream_turns: upstream.round_trips() + turns,
                upstream,
                conversation: conversation(&login, rights),
                cancel_key: None,
                agreed: Some(Box::new(Agreed {
                    capabilities: login.capabilities,
                    flavor,
                    names,
                    charset: login.charset,
                    proxied,
                    prospect: None,
                })),
                turns: login.turns,
                first_answer: None,
            });
        }
        Err(error) => No::of_mysql(error, tenure),
    };
    answered.upstream = Some(upstream);
    Err(no)
}

/// The server has heard of nothing yet: it is dialled with the permit.
async fn reach(
    client: &Stream,
    permit: &Permit,
    visit: &Visit,
    by: Instant,
) -> Result<Unfinished, Refusal> {
    let within = visit.gateway.limits.borrow().dial;
    let dialling = visit.door.upstream.connect(permit, within);
    let stream = dial(visit, dialling).await?;
    hear(visit, stream, client.tcp(), by).await
}

/// What the session may do now.
pub(super) fn rights(tenure: &Tenure) -> Rights {
    Rights {
        init_db: true,
        replication: true,
        local_infile: tenure.held.permit.local_infile(),
        kill_only: tenure.held.is_reserve(),
    }
}

fn conversation(login: &mysql::LoggedIn, rights: Rights) -> Conversation {
    if login.capabilities.and(Capabilities::COMPRESSION) != Capabilities::default() {
        return Conversation::Unread;
    }
    let facts = mysql::Facts {
        capabilities: login.capabilities,
        extended: login.extended,
        status: login.status,
        mariadb: login.flavor == Flavor::MariaDb,
    };
    Conversation::Mysql(Box::new(mysql::Conversation::new(facts, rights)))
}

/// What the server is told of the client, to be read in `performance_schema.session_connect_attrs`.
pub(super) struct Told {
    address: String,
    origin: String,
}

impl Told {
    pub(super) fn of(claim: &Claim, origin: &str) -> Self {
        Self {
            address: claim.address.to_string(),
            origin: origin.to_owned(),
        }
    }

    pub(super) fn attributes(&self) -> [(&str, &str); 2] {
        [
            ("_doorward_client", &self.address),
            ("_doorward_origin", &self.origin),
        ]
    }
}

/// Oracle's server has no other way to hear of the client.
pub(super) const fn needed<'a>(
    flavor: Flavor,
    proxied: bool,
    attributes: &'a [(&'a str, &'a str)],
) -> &'a [(&'a str, &'a str)] {
    match flavor {
        Flavor::MySql if !proxied => attributes,
        Flavor::MySql | Flavor::MariaDb => &[],
    }
}

impl Agreed {
    /// How the session's commands are read.
    pub(super) const fn reading(&self) -> Reading {
        Reading {
            capabilities: self.capabilities,
            names: self.names,
            charset: self.charset,
        }
    }
}

impl No {
    pub(super) fn of_mysql(error: LoginError, tenure: &Tenure) -> Self {
        let text = error.to_string();
        match error {
            // the server has said it itself
            LoginError::Refused { errno } => {
                tenure.refused_by_server(&tenure.held.claim, errno);
                Self::silent(Refusal::UpstreamRefused(text))
            }
            LoginError::NoChallenge => Self::told(Refusal::NoChallenge),
            LoginError::Late => Self::silent(Refusal::Late),
            LoginError::Cleartext => Self::told(Refusal::Cleartext),
            LoginError::ClientLeft | LoginError::ClientBroke(_) => {
                Self::silent(Refusal::LeftAtChallenge)
            }
            LoginError::ClientMalformed => Self::told(Refusal::Malformed(text)),
            LoginError::OldPassword
            | LoginError::Unsealed(_)
            | LoginError::Unencrypted(_)
            | LoginError::UpstreamClosed
            | LoginError::UpstreamMalformed
            | LoginError::UpstreamBroke(_) => Self::told(Refusal::Unreachable(text)),
            LoginError::Interrupted(denial) => Self::told(Refusal::Denied(denial)),
        }
    }
}
