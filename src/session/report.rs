//! What is said, counted and written down of a connection that was refused. Floor 3.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use tokio::{net::TcpStream, time::Instant};

use super::{
    AUDIT,
    gate::{Pass, Source},
    references::{Happened, Reference, Told},
    refusal::{self, Names, Refusal},
    stages::Visit,
    tenure::Tenure,
};
use crate::{
    config::Protocol,
    net::Stream,
    policy::{Answer, Claim, Denial, Reason, Shortlist, TlsVersion, Validity, is_unseen},
    protocol::{Opening, Words, mysql, postgres},
    wire::postgres::{ErrorResponse, WireError},
};

/// A connection that ended before the relay, on its way to be reported.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) visit: Visit,
    pub(super) refusal: Refusal,
    shortlist: Option<Shortlist>,
    claim: Option<Claim>,
    /// The origin that had admitted it, where the no came later.
    origin: Option<Arc<str>>,
    /// What is wrong with a certificate that proves nothing, whatever it says.
    fault: Option<String>,
    /// The log's own sentence.
    cause: String,
    reference: Reference,
    /// Whether it is only the second half of one, see [`Echoes`](super::budget::Echoes); `None` until it is remembered.
    echo: Option<bool>,
    /// Its place among the openings, until it has been told.
    pass: Option<Pass>,
}

impl Refused {
    pub(super) fn new(
        visit: Visit,
        shortlist: Option<Shortlist>,
        refusal: Refusal,
        claim: Option<Claim>,
    ) -> Self {
        let claimed = claim.as_ref();
        let fault = claimed.and_then(|claim| fault(&visit, &refusal, claim));
        let cause = fault.clone().unwrap_or_else(|| refusal.to_string());
        let (listener, no) = (&visit.door.settings.name, (refusal.reason(), &*cause));
        let told = Told::of(listener, visit.address, claimed, no);
        let reference = visit.gateway.references.of(told);
        Self {
            visit,
            refusal,
            shortlist,
            claim,
            origin: None,
            fault,
            cause,
            reference,
            echo: None,
            pass: None,
        }
    }

    /// It keeps its place until all is said.
    pub(super) fn in_place(mut self, pass: Pass) -> Self {
        self.pass = Some(pass);
        self
    }

    /// A no that came after the policy's yes.
    pub(super) fn of_origin(mut self, origin: Arc<str>) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Tells the client, in its own protocol and as much as it may know, and closes in order.
    pub(super) async fn tell(mut self, client: Stream, opening: Opening) -> Self {
        self.remember(true);
        let words = self.words();
        opening.refuse(client, self.refusal.reason(), &words).await;
        self
    }

    /// Tells a PostgreSQL client what is wrong with its opening, in the parser's own words, which repeat nothing of what it sent;
    /// nothing where the server, too, closes without a word.
    pub(super) async fn tell_malformed(mut self, client: Stream, error: WireError) -> Self {
        if let Some(sqlstate) = error.sqlstate() {
            self.remember(true);
            let message = format!("{error}, ref {}", self.reference);
            let response = ErrorResponse {
                sqlstate,
                message: &message,
                detail: None,
                hint: None,
            };
            postgres::refuse(client, &response.encode(error.form())).await;
        }
        self
    }

    /// Tells a MySQL client that has not been greeted, in place of the greeting; any other has to speak first, and hears nothing.
    /// Costs no wait: the client has nothing to say yet, so that no close of ours can overtake the words.
    pub(super) fn tell_unheard(mut self, socket: &TcpStream) -> Self {
        let packet = match (self.visit.door.settings.protocol, &self.refusal) {
            (Protocol::Postgres, _) => None,
            (Protocol::Mysql, Refusal::InsteadOfGreeting { payload, .. }) => {
                Some(mysql::passed_on(payload))
            }
            (Protocol::Mysql, refusal) => {
                mysql::instead_of_greeting(refusal.reason(), &self.words())
            }
        };
        if let Some(packet) = packet {
            self.remember(true);
            // a fresh socket takes so much at once; one that does not is no loss
            let _written = socket.try_write(&packet);
        }
        self
    }

    /// Whether the client is no stranger: some origin mentions its address, or a CA of ours vouches for it.
    fn is_known(&self) -> bool {
        let vouched = || {
            let shown = self.claim.as_ref().and_then(|c| c.certificate.as_ref());
            shown.is_some_and(|shown| shown.validity_at(SystemTime::now()) == Validity::Valid)
        };
        self.shortlist.is_some_and(Shortlist::is_mentioned) || vouched()
    }

    /// Reason and mend go to those who are known; everybody else gets one constant text.
    fn words(&self) -> Words {
        let protocol = self.visit.door.settings.protocol;
        let names = match protocol {
            Protocol::Postgres => self.claim.as_ref().map(Names::of).unwrap_or_default(),
            // MySQL's own texts begin with the user, and drivers know them by it
            Protocol::Mysql => Names::default(),
        };
        let answer = self
            .visit
            .gateway
            .standing
            .borrow()
            .policy
            .rules()
            .strangers
            .answer;
        if answer == Answer::Explain || self.is_known() {
            let explained = |sentence: &str| {
                refusal::explained(
                    (&self.refusal, sentence),
                    names,
                    self.visit.address,
                    protocol,
                    self.reference,
                )
            };
            self.fault
                .as_deref()
                .map_or_else(|| explained(self.refusal.sentence()), explained)
        } else {
            refusal::constant(names, self.reference)
        }
    }

    /// The origin to name: the one that admitted, or came nearest. A deny rule is none.
    fn origin(&self) -> Option<&str> {
        let rule = self.refusal.rule().or(self.origin.as_ref());
        rule.filter(|_| self.refusal.reason() != Reason::DenyRule)
            .map(Arc::as_ref)
    }

    /// Keeps what the reference stands for: before the client is told, who may ask the operator at once. Tells whether the refusal
    /// is an echo, of which nothing more is kept.
    fn remember(&mut self, told: bool) -> bool {
        if let Some(echo) = self.echo {
            return echo;
        }
        let visit = &self.visit;
        let tls = self.claim.as_ref().and_then(|claim| claim.tls);
        let echo = self.claim.is_some() && visit.gateway.is_echo(self.reference, tls, visit.rtt);
        let known = self.is_known();
        // who was closed without a word has no reference to report, and who left by itself was not turned away
        let reports = known || told || self.claim.is_some();
        if !echo && reports && self.refusal.reason() != Reason::Allowed {
            let happened = Happened {
                listener: &visit.door.settings.name,
                address: visit.address,
                claim: self.claim.as_ref(),
                reason: self.refusal.reason(),
                rule: self.refusal.rule().or(self.origin.as_ref()),
                cause: self.cause.clone(),
                mentioned: known,
            };
            let references = &visit.gateway.references;
            references.keep(self.reference, happened, SystemTime::now());
        }
        self.echo = Some(echo);
        echo
    }

    /// Counts the decision and writes the one line. All is said: the next may have its place.
    pub(super) fn report(mut self) {
        drop(self.pass.take());
        if self.remember(false) {
            return;
        }
        let visit = &self.visit;
        let tls = self.claim.as_ref().and_then(|claim| claim.tls);
        let reason = self.refusal.reason();
        let allowed = reason == Reason::Allowed;
        let origin = self.origin();
        let known = self.is_known();
        // a stranger's nearest miss is no doing of that origin's
        let counted = origin.filter(|_| known || allowed);
        let meters = &visit.gateway.meters;
        meters.decision(&visit.door.settings.name, counted, allowed, reason.label());
        let source = Source::of(visit.address);
        if !known && self.refusal.is_the_clients_doing() {
            visit.gateway.count_failure(source);
        }
        if !visit
            .gateway
            .may_log(source, known.then_some(self.reference))
        {
            return;
        }
        let claim = self.claim.as_ref();
        let user = claim.map(|c| capped(&c.user));
        let database = claim.and_then(|c| c.database.as_deref()).map(capped);
        let application = claim.and_then(|c| c.application.as_deref()).map(capped);
        let certificate = claim.and_then(shown);
        tracing::info!(
            target: AUDIT,
            event = if allowed { "left" } else { "refused" },
            listener = &*visit.door.settings.name,
            origin,
            reason = reason.label(),
            client = %visit.address,
            user = user.as_deref(),
            database = database.as_deref(),
            application = application.as_deref(),
            certificate = certificate.as_deref(),
            tls = tls.map(TlsVersion::label),
            rtt_us = visit.rtt.map(micros),
            r#ref = (!allowed).then(|| self.reference.to_string()),
            generation = visit.gateway.standing.borrow().policy.generation(),
            ms = millis(visit.since),
            rule = self.refusal.rule().map(Arc::as_ref),
            cause = self.cause,
        );
    }
}

/// What is wrong with a certificate that proves nothing, whatever it says.
fn fault(visit: &Visit, refusal: &Refusal, claim: &Claim) -> Option<String> {
    if refusal.reason() != Reason::CertificateMismatch {
        return None;
    }
    let shown = claim.certificate.as_ref()?;
    // of what could not be read nothing is kept
    shown.chain.first()?;
    let chain: Vec<_> = shown.chain.iter().map(|der| der[..].into()).collect();
    let trust = Arc::clone(&visit.gateway.standing.borrow().trust);
    let fault = trust.fault(&chain, SystemTime::now())?;
    Some(format!("the client's certificate {fault}"))
}

/// Counts and logs a command that was refused to a session that goes on, or ends by it. Gives what the client is told: that it
/// was admitted says that it may know why.
pub(super) fn refused_command(tenure: &Tenure, claim: &Claim, refusal: &Refusal) -> Words {
    let (gateway, door) = (&tenure.held.gateway, &tenure.held.door);
    let reason = refusal.reason();
    let origin = tenure.held.permit.name();
    let listener = &*door.settings.name;
    let cause = refusal.to_string();
    let told = Told::of(listener, claim.address, Some(claim), (reason, &cause));
    let reference = gateway.references.of(told);
    let happened = Happened {
        listener: &door.settings.name,
        address: claim.address,
        claim: Some(claim),
        reason,
        rule: refusal.rule(),
        cause,
        mentioned: true,
    };
    let references = &gateway.references;
    references.keep(reference, happened, SystemTime::now());
    gateway
        .meters
        .decision(listener, Some(origin), false, reason.label());
    if gateway.may_log(Source::of(claim.address), Some(reference)) {
        tracing::info!(
            target: AUDIT,
            event = "refused_command",
            listener,
            origin,
            reason = reason.label(),
            client = %claim.address,
            was = &*capped(&tenure.held.claim.user),
            user = &*capped(&claim.user),
            database = claim.database.as_deref().map(capped).as_deref(),
            r#ref = %reference,
            generation = tenure.held.permit.generation(),
            cause = %refusal,
        );
    }
    let protocol = door.settings.protocol;
    refusal::explained(
        (refusal, refusal.sentence()),
        Names::default(),
        claim.address,
        protocol,
        reference,
    )
}

/// A session is let in that would be refused but for an observation.
pub(super) fn would_deny(tenure: &Tenure, denial: &Denial) {
    let (gateway, claim) = (&tenure.held.gateway, &tenure.held.claim);
    let cause = denial.to_string();
    let no = (denial.reason, cause.as_str());
    let told = Told::of(&claim.listener, claim.address, Some(claim), no);
    let like = gateway.references.of(told);
    if gateway.may_log(Source::of(claim.address), Some(like)) {
        tracing::info!(
            target: AUDIT,
            event = "would_deny",
            listener = &*claim.listener,
            origin = tenure.held.permit.name(),
            reason = denial.reason.label(),
            client = %claim.address,
            user = &*capped(&claim.user),
            database = claim.database.as_deref().map(capped).as_deref(),
            certificate = shown(claim),
            tls = claim.tls.map(TlsVersion::label),
            rule = denial.rule.as_deref(),
            generation = tenure.held.permit.generation(),
            cause,
        );
    }
}

/// The certificate of a claim, as it may stand in a log.
pub(super) fn shown(claim: &Claim) -> Option<String> {
    let shown = claim.certificate.as_ref()?;
    let name = shown.name();
    let name = capped(&name);
    let validity = shown.validity_at(SystemTime::now());
    Some(if validity == Validity::Valid {
        name.into_owned()
    } else {
        format!("{name} ({})", validity.label())
    })
}

/// A text from the wire as it may stand in a log: escaped, at most [`LONGEST_FIELD`] bytes.
pub(super) fn capped(text: &str) -> Cow<'_, str> {
    let fits = text.len() <= LONGEST_FIELD && !text.chars().any(is_unseen);
    if fits {
        return Cow::Borrowed(text);
    }
    let mut whole = String::new();
    for c in text.chars().flat_map(char::escape_debug) {
        if whole.len() + c.len_utf8() > LONGEST_FIELD {
            break;
        }
        whole.push(c);
    }
    Cow::Owned(whole)
}

pub(super) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

const LONGEST_FIELD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_in_the_log_is_short_and_has_no_control_characters() {
        assert_eq!(capped("shop"), "shop");
        assert_eq!(capped("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(capped("a\u{202e}b"), "a\\u{202e}b", "turns the line around");
        assert_eq!(capped("a\u{ad}b"), "a\\u{ad}b", "cannot be seen");
        assert_eq!(capped("caf\u{e9}"), "caf\u{e9}");
        assert!(capped(&"x".repeat(10_000)).len() <= LONGEST_FIELD);
    }
}
