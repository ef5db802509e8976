//! From the client's answer to the server's yes: the database's own authentication, relayed packet by packet. Floor 2.
//!
//! Only whole packets go on, and a client's only when the server has asked: nothing sent ahead is read, so nothing is lost. Each leg
//! counts its packets by itself.

use std::{
    io,
    net::IpAddr,
    pin::{Pin, pin},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

use super::{
    exchange::{Exchange, Fault, Offer, Step},
    greet::Opening,
    leg::{Leg, LegError},
    legs::{Legs, Way},
    rsa::{OwnKey, SealError},
    unfinished::{EncryptError, Unfinished},
};
use crate::{
    net::{self, Stream, UpstreamTls},
    policy::Denial,
    wire::mysql::{Capabilities, ChangeUser, Edit, Extended, Flavor, NameRule, Status},
};

/// Under which terms a client may be logged in.
#[derive(Debug)]
pub struct Terms<'a, I> {
    /// The authentication floor: who is let in without having answered a challenge is put out.
    pub authentication: bool,
    /// The client's own address; its connection may be a balancer's.
    pub from: IpAddr,
    /// What is changed in the client's packet; whether a switch is forced is decided here.
    pub edit: Edit<'a>,
    /// For clients without TLS before a server that hides its leg.
    pub own_key: Option<&'a OwnKey>,
    /// Resolves when the policy no longer admits the session.
    pub interrupted: I,
    /// When whoever dawdles is given up.
    pub by: Instant,
}

/// A session that the database has said yes to. No byte is lost: none behind the server's OK has been read.
#[derive(Clone, Copy, Debug)]
pub struct LoggedIn {
    /// What both sides can.
    pub capabilities: Capabilities,
    /// What both sides can of MariaDB's own.
    pub extended: Extended,
    pub flavor: Flavor,
    /// What the server makes of names.
    pub names: NameRule,
    pub status: Status,
    /// The id of the client's character set and collation.
    pub charset: u16,
    /// Round trips of the client: the response's, and one for each answer.
    pub turns: u32,
}

/// A session that has become somebody else's.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    pub status: Status,
    pub charset: u16,
    /// Round trips of the client, and to the server.
    pub turns: u32,
    pub upstream_turns: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The client has been told by the server itself.
    #[error("the server refused: error {errno}")]
    Refused { errno: u16 },
    /// Nothing of it has reached the client.
    #[error("the server asked for no proof of identity")]
    NoChallenge,
    #[error("the server asked for the password in clear, over a connection that is not private")]
    Cleartext,
    #[error("the server asked for a password in the way of MySQL 4.0, which anybody could undo")]
    OldPassword,
    #[error("the password was not passed on: {0}")]
    Unsealed(SealError),
    #[error("the login took too long")]
    Late,
    #[error("the client left during the login")]
    ClientLeft,
    #[error("the client sent something else than an answer to the challenge")]
    ClientMalformed,
    #[error("the connection to the server could not be encrypted: {0}")]
    Unencrypted(#[from] EncryptError),
    #[error("the server closed the connection during the login")]
    UpstreamClosed,
    #[error("the server sent something that is no part of a login")]
    UpstreamMalformed,
    #[error("no longer admitted: {0}")]
    Interrupted(Denial),
    #[error("the client's socket broke: {0}")]
    ClientBroke(#[source] io::Error),
    #[error("the server's socket broke: {0}")]
    UpstreamBroke(#[source] io::Error),
}

/// Logs the client in at the server that has been [heard](Unfinished::hear), behind TLS if that is to be. After any error but a
/// broken client the client stands between two packets and may be told; `opening` says with which number. Whatever the end, unless
/// it is a yes: `upstream` is to be abandoned. A call that is dropped leaves `upstream` fit for that, and the client not fit to be
/// told.
///
/// # Errors
/// Every way in which a login can end before the session begins.
pub async fn login<I: Future<Output = Denial>>(
    client: &mut Stream,
    upstream: &mut Unfinished,
    opening: &mut Opening,
    tls: Option<&UpstreamTls>,
    terms: Terms<'_, I>,
) -> Result<LoggedIn, LoginError> {
    if let Some(tls) = tls {
        let encrypting = upstream.encrypt(&opening.response, &terms.edit, tls);
        let encrypted = timeout_at(terms.by, encrypting).await;
        encrypted.map_err(|_late| LoginError::Late)??;
    }
    let way = Way::of(client).seen_from(terms.from);
    log_in(client, way, upstream, opening, terms).await
}

/// Asks the server to make the session of `client` and `upstream` somebody else's, by the client's own command, and relays what
/// follows as in a login. `agreed` is what both sides can. After the server's [refusal](LoginError::Refused) the session is whose it
/// was; after any other error nobody knows whose it is, and it ends: the server has been told so in order.
///
/// # Errors
/// As for [`login`], with the id of the next packet to the client.
pub async fn change_user<I: Future<Output = Denial>>(
    client: &mut Stream,
    upstream: &mut Stream,
    command: &ChangeUser,
    agreed: Capabilities,
    terms: Terms<'_, I>,
) -> Result<Changed, (LoginError, u8)> {
    let legs = Legs {
        client: Way::of(client).seen_from(terms.from),
        upstream: Way::of(upstream),
    };
    change(client, upstream, legs, (command, agreed), terms).await
}

pub(super) async fn log_in<C, U, I>(
    client: &mut C,
    way: Way,
    upstream: &mut Unfinished<U>,
    opening: &mut Opening,
    terms: Terms<'_, I>,
) -> Result<LoggedIn, LoginError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    I: Future<Output = Denial>,
{
    let legs = Legs {
        client: way,
        upstream: upstream.way(),
    };
    let (response, mut edit) = (&opening.response, terms.edit);
    if terms.authentication && is_known_by_name(legs, response.user()) {
        return Err(LoginError::NoChallenge);
    }
    let greeting = upstream.greeting().ok_or(LoginError::UpstreamMalformed)?;
    if !response.suits(greeting) {
        return Err(LoginError::UpstreamMalformed);
    }
    let (flavor, names, nonce) = (greeting.flavor(), greeting.names(), *greeting.nonce());
    // a greeting of ours may be older than the server
    let capabilities = response.agreed(&edit).and(greeting.capabilities());
    let extended = response.agreed_extended().and(greeting.extended());
    let mut exchange = Exchange::new(terms.authentication, capabilities, legs, Some(nonce));
    edit.forced_switch = exchange.must_ask(Offer {
        plugin: response.plugin(),
        auth: response.auth_response(),
        nonce: Some(opening.nonce),
    });
    let first = response.edited(&edit);
    let charset = response.charset();
    let mut leg = Leg::new(client, opening.sequence);
    let interrupted = pin!(terms.interrupted);
    let mut pump = Pump {
        client: &mut leg,
        upstream,
        exchange: &mut exchange,
        own_key: terms.own_key,
    };
    let end = timeout_at(terms.by, pump.run(&first, interrupted)).await;
    let end = end.unwrap_or(Err(LoginError::Late));
    opening.sequence = leg.sequence();
    Ok(LoggedIn {
        capabilities,
        extended,
        flavor,
        names,
        status: end?,
        charset,
        turns: 1 + exchange.answers(),
    })
}

pub(super) async fn change<C, U, I>(
    client: &mut C,
    upstream: &mut U,
    legs: Legs,
    (command, agreed): (&ChangeUser, Capabilities),
    terms: Terms<'_, I>,
) -> Result<Changed, (LoginError, u8)>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    I: Future<Output = Denial>,
{
    let mut edit = terms.edit;
    if terms.authentication && is_known_by_name(legs, command.user()) {
        return Err((LoginError::NoChallenge, 1));
    }
    let mut exchange = Exchange::new(terms.authentication, agreed, legs, None);
    edit.forced_switch = exchange.must_ask(Offer {
        plugin: command.plugin(),
        auth: command.auth_response(),
        nonce: None,
    });
    let first = command.edited(&edit);
    // the command has taken the number 0
    let mut leg = Leg::new(client, 1);
    let interrupted = pin!(terms.interrupted);
    let mut upstream = Unfinished::again(upstream, legs.upstream);
    let mut pump = Pump {
        client: &mut leg,
        upstream: &mut upstream,
        exchange: &mut exchange,
        own_key: terms.own_key,
    };
    let end = timeout_at(terms.by, pump.run(&first, interrupted)).await;
    let end = end.unwrap_or(Err(LoginError::Late));
    let sequence = leg.sequence();
    let status = match end {
        Ok(status) => status,
        // the session goes on
        Err(error @ LoginError::Refused { .. }) => return Err((error, sequence)),
        Err(error) => {
            upstream.forsake().await;
            return Err((error, sequence));
        }
    };
    Ok(Changed {
        status,
        charset: command.charset(),
        turns: 1 + exchange.answers(),
        upstream_turns: upstream.said(),
    })
}

/// Whether the server may take the gateway itself for this user, behind a unix socket. Such an account may have a password beside
/// that (MariaDB's own `root`: `mysql_native_password OR unix_socket`), so that a wrong one looks like a proof.
fn is_known_by_name(legs: Legs, user: &str) -> bool {
    legs.upstream == Way::Unix && net::user_name() == Some(user)
}

/// Both legs, and who may say what on them.
struct Pump<'a, C, U> {
    client: &'a mut Leg<C>,
    upstream: &'a mut Unfinished<U>,
    exchange: &'a mut Exchange,
    own_key: Option<&'a OwnKey>,
}

impl<C, U> Pump<'_, C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// From the client's `first` packet, as the server gets it, to the server's last.
    async fn run<I: Future<Output = Denial>>(
        &mut self,
        first: &[u8],
        mut interrupted: Pin<&mut I>,
    ) -> Result<Status, LoginError> {
        self.tell_server(first).await?;
        loop {
            tokio::select! {
                biased;
                denial = &mut interrupted => return Err(LoginError::Interrupted(denial)),
                packet = self.upstream.receive() => {
                    let packet = packet.map_err(LoginError::of_upstream)?;
                    match self.exchange.server_says(&packet)? {
                        Step::Pass => self.tell_client(&packet).await?,
                        Step::ToClient(packet) => self.tell_client(&packet).await?,
                        Step::ToServer(packet) => self.tell_server(&packet).await?,
                        Step::LoggedIn { status } => {
                            // half an answer to a server that no longer asks: it would be read as a command
                            if self.client.is_inside() {
                                return Err(LoginError::ClientMalformed);
                            }
                            self.tell_client(&packet).await?;
                            return Ok(status);
                        }
                        Step::Refused { errno } => {
                            self.tell_client(&packet).await?;
                            return Err(LoginError::Refused { errno });
                        }
                    }
                }
                packet = self.client.receive(MAX_ANSWER), if self.exchange.awaits_answer() => {
                    let packet = packet.map_err(LoginError::of_client)?;
                    if !self.upstream.reads(&packet) {
                        return Err(LoginError::ClientMalformed);
                    }
                    let key = match self.own_key {
                        Some(own) if self.exchange.wants_key() => own.pair().await,
                        Some(_) | None => None,
                    };
                    match self.exchange.client_says(&packet, key.as_deref()) {
                        Step::Pass => self.tell_server(&packet).await?,
                        Step::ToServer(packet) => self.tell_server(&packet).await?,
                        Step::ToClient(packet) => self.tell_client(&packet).await?,
                        // only the server ends a login
                        Step::LoggedIn { .. } | Step::Refused { .. } => {}
                    }
                }
            }
        }
    }

    async fn tell_client(&mut self, payload: &[u8]) -> Result<(), LoginError> {
        let told = self.client.send(payload).await;
        told.map_err(LoginError::ClientBroke)
    }

    async fn tell_server(&mut self, payload: &[u8]) -> Result<(), LoginError> {
        let told = self.upstream.send(payload).await;
        told.map_err(LoginError::UpstreamBroke)
    }
}

impl LoginError {
    fn of_client(error: LegError) -> Self {
        match error {
            LegError::Closed => Self::ClientLeft,
            LegError::OutOfOrder | LegError::TooLong => Self::ClientMalformed,
            LegError::Io(error) => Self::ClientBroke(error),
        }
    }

    fn of_upstream(error: LegError) -> Self {
        match error {
            LegError::Closed => Self::UpstreamClosed,
            LegError::OutOfOrder | LegError::TooLong => Self::UpstreamMalformed,
            LegError::Io(error) => Self::UpstreamBroke(error),
        }
    }
}

impl From<Fault> for LoginError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoChallenge => Self::NoChallenge,
            Fault::Cleartext => Self::Cleartext,
            Fault::OldPassword => Self::OldPassword,
            Fault::Key(error) => Self::Unsealed(error),
            Fault::Garbled => Self::UpstreamMalformed,
        }
    }
}

/// Longest answer of a client, in bytes: tickets and signatures go up to 64 KiB.
const MAX_ANSWER: usize = 0x1_0000;

#[cfg(test)]
#[path = "encrypt_tests.rs"]
mod encrypted;
#[cfg(test)]
#[path = "matrix_tests.rs"]
mod matrix;
#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
