//! What becomes of SCRAM between two legs. Floor 2, pure.
//!
//! A client that can bind its login to TLS proves its password for the certificate that it sees, and says so in a word that the
//! proof covers. A server with another certificate, or none, does not believe the proof; nor does one that offered what the
//! client says it was not offered (manual, *SASL Authentication*; RFC 5802, 6).

use super::{LoginError, accounts::Accounts};
use crate::{
    config,
    net::EndPoint,
    wire::postgres::{
        bearer::OAUTHBEARER,
        sasl::{self, SCRAM, SCRAM_PLUS},
    },
};

/// What is known of both legs before the server offers anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four facts, independent of each other"
)]
pub struct Pairing {
    pub client_tls: bool,
    pub upstream_tls: bool,
    /// The client has seen the very certificate that the server shows us.
    pub same_certificate: bool,
    /// There are verifiers to check a proof with.
    pub verifiers: bool,
}

/// What that comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The server checks the proof.
    Relay,
    /// The same, though it is bound to a certificate that is not the server's: who can bind is not believed.
    Misbound,
    /// The server checks a proof that is bound to nothing; the offer to bind it does not reach the client, whose leg is in clear.
    Strip,
    /// The gateway checks the proof, and proves the same to the server.
    Terminate,
}

impl Pairing {
    pub fn plan(self, wanted: config::Scram) -> Plan {
        let wanted_here = self.verifiers && wanted == config::Scram::Terminate;
        let better_here = self.verifiers && wanted == config::Scram::Auto;
        if wanted_here {
            Plan::Terminate
        } else if !self.upstream_tls {
            // nothing is offered to bind to
            Plan::Relay
        } else if !self.client_tls {
            Plan::Strip
        } else if self.same_certificate {
            Plan::Relay
        } else if better_here {
            Plan::Terminate
        } else {
            Plan::Misbound
        }
    }
}

impl Plan {
    /// In a word, for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Misbound => "relay between two certificates",
            Self::Strip => "relay without channel binding",
            Self::Terminate => "terminate",
        }
    }
}

/// A plan with what it takes.
#[derive(Clone, Copy, Debug)]
pub enum Scram<'a> {
    Relay,
    Misbound,
    Strip,
    Terminate(Proofs<'a>),
}

/// What a proof is checked with, and what it may be bound to.
#[derive(Clone, Copy, Debug)]
pub struct Proofs<'a> {
    pub accounts: &'a Accounts,
    /// What the client has seen of us.
    pub ours: Option<EndPoint>,
    /// What we have seen of the server.
    pub theirs: Option<EndPoint>,
}

/// What the client is offered.
pub(super) enum Offer<'a> {
    /// What the server offers.
    Same,
    /// Less of it, as a whole message.
    Less(Vec<u8>),
    /// Our own, in the server's place.
    Ours(Proofs<'a>),
}

impl<'a> Scram<'a> {
    /// What can be done about a login that the server did not believe by its binding.
    pub(super) const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Misbound => Some(MISBOUND),
            Self::Strip => Some(IN_CLEAR),
            Self::Relay | Self::Terminate(_) => None,
        }
    }

    /// Decides on the server's offer, the payload of its `R`. `cleartext`: nobody can
    /// listen on either leg, so that a token may pass.
    pub(super) fn offer(self, payload: &[u8], cleartext: bool) -> Result<Offer<'a>, LoginError> {
        let offered =
            sasl::mechanisms(payload).map_err(|_garbled| LoginError::UpstreamMalformed)?;
        let is_scram = |name: &&str| [SCRAM, SCRAM_PLUS].contains(name);
        if let Self::Terminate(proofs) = self
            && offered.iter().any(is_scram)
        {
            return Ok(Offer::Ours(proofs));
        }
        let strip = matches!(self, Self::Strip);
        let kept: Vec<_> = offered
            .iter()
            .copied()
            .filter(|name| match *name {
                SCRAM_PLUS => !strip,
                OAUTHBEARER => cleartext,
                _ => true,
            })
            .collect();
        if kept.len() == offered.len() {
            return Ok(Offer::Same);
        }
        if kept.is_empty() {
            return Err(if offered.contains(&OAUTHBEARER) {
                LoginError::Cleartext
            } else {
                LoginError::UpstreamMalformed
            });
        }
        Ok(Offer::Less(sasl::offer(&kept)))
    }
}

const MISBOUND: &str = "The gateway shows another certificate than the server: connect with channel_binding=disable, or have its operator set `verifiers`.";
const IN_CLEAR: &str = "The way to the gateway is in clear, and nothing can be bound to it: connect by TLS, or with channel_binding=disable.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scram::{Auto, Relay, Terminate};

    #[test]
    fn a_login_goes_the_way_on_which_most_clients_are_believed() {
        let (yes, no) = (true, false);
        for (wanted, client, upstream, same, verifiers, plan) in [
            // the server in clear offers no binding: only `require` fails, and that at the client
            (Auto, yes, no, no, no, Plan::Relay),
            (Auto, yes, no, no, yes, Plan::Relay),
            (Auto, no, no, no, yes, Plan::Relay),
            (Auto, no, yes, no, no, Plan::Strip),
            (Auto, no, yes, no, yes, Plan::Strip),
            (Auto, yes, yes, yes, no, Plan::Relay),
            (Auto, yes, yes, yes, yes, Plan::Relay),
            (Auto, yes, yes, no, yes, Plan::Terminate),
            (Auto, yes, yes, no, no, Plan::Misbound),
            (Relay, yes, yes, no, no, Plan::Misbound),
            (Relay, yes, yes, yes, no, Plan::Relay),
            (Relay, yes, no, no, no, Plan::Relay),
            (Relay, no, yes, no, no, Plan::Strip),
            (Terminate, yes, yes, no, yes, Plan::Terminate),
            (Terminate, yes, yes, yes, yes, Plan::Terminate),
            (Terminate, yes, no, no, yes, Plan::Terminate),
            (Terminate, no, yes, no, yes, Plan::Terminate),
            (Terminate, no, no, no, yes, Plan::Terminate),
        ] {
            let legs = Pairing {
                client_tls: client,
                upstream_tls: upstream,
                same_certificate: same,
                verifiers,
            };
            assert_eq!(legs.plan(wanted), plan, "{wanted:?} {legs:?}");
        }
    }

    fn offered(
        scram: Scram<'_>,
        cleartext: bool,
        names: &[&str],
    ) -> Result<Vec<String>, LoginError> {
        let message = sasl::offer(names);
        let payload = &message[5..];
        Ok(match scram.offer(payload, cleartext)? {
            Offer::Same => names.iter().map(ToString::to_string).collect(),
            Offer::Less(message) => {
                let names = sasl::mechanisms(&message[5..]).unwrap();
                names.iter().map(ToString::to_string).collect()
            }
            Offer::Ours(_) => vec!["ours".to_owned()],
        })
    }

    #[test]
    fn the_offer_to_bind_is_taken_away_where_there_is_nothing_to_bind_to() {
        for names in [[SCRAM_PLUS, SCRAM], [SCRAM, SCRAM_PLUS]] {
            assert_eq!(offered(Scram::Strip, false, &names).unwrap(), [SCRAM]);
            for relayed in [Scram::Relay, Scram::Misbound] {
                assert_eq!(offered(relayed, false, &names).unwrap(), names);
            }
        }
        assert_eq!(offered(Scram::Strip, false, &[SCRAM]).unwrap(), [SCRAM]);
        let nothing = offered(Scram::Strip, false, &[SCRAM_PLUS]);
        assert!(matches!(nothing, Err(LoginError::UpstreamMalformed)));
    }

    #[test]
    fn a_token_needs_private_legs_and_is_never_ours_to_judge() {
        let accounts = Accounts::samples();
        let terminate = Scram::Terminate(Proofs {
            accounts: &accounts,
            ours: None,
            theirs: None,
        });
        for scram in [Scram::Relay, Scram::Strip, terminate] {
            assert_eq!(offered(scram, true, &[OAUTHBEARER]).unwrap(), [OAUTHBEARER]);
            let clear = offered(scram, false, &[OAUTHBEARER]);
            assert!(matches!(clear, Err(LoginError::Cleartext)));
        }
        assert_eq!(
            offered(Scram::Relay, false, &[OAUTHBEARER, SCRAM]).unwrap(),
            [SCRAM]
        );
        assert_eq!(
            offered(terminate, true, &[OAUTHBEARER, SCRAM]).unwrap(),
            ["ours"]
        );
    }
}
