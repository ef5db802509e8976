//! From the permit to the database's own yes: dial, and the login in the listener's protocol. Floor 3.

use std::sync::Arc;

use super::{
    admitted::LoggedIn, login_mysql::login_mysql, login_postgres::login_postgres, refusal::Refusal,
    report::Refused, stages::Allowed,
};
use crate::protocol::Opening;

impl Allowed {
    /// Logs in under the watch of the policy: a rule that goes during a slow login ends it.
    pub(super) async fn login(self) -> Result<LoggedIn, Refused> {
        let Self {
            mut client,
            shown,
            mut opening,
            mut tenure,
            turns,
            mut guest,
        } = self;
        let logged_in = match &mut opening {
            Opening::Postgres(startup) => {
                let legs = (&mut client, shown.as_deref());
                login_postgres(legs, startup, &mut tenure, &guest.visit).await
            }
            Opening::Mysql(answered) => {
                login_mysql(&mut client, answered, &mut tenure, &guest.visit).await
            }
        };
        match logged_in {
            Ok(session) => {
                let turns = turns + session.turns;
                guest.visit.opening.take();
                Ok(LoggedIn::new(client, session, tenure, guest.visit, turns))
            }
            Err(no) => {
                let origin = tenure.held.permit.shared_name();
                let refused =
                    guest.refused(no.refusal, Some(Arc::unwrap_or_clone(tenure.held.claim)));
                let refused = refused.of_origin(origin);
                if no.tells {
                    return Err(refused.tell(client, opening).await);
                }
                drop(client);
                opening.dismiss().await;
                Err(refused)
            }
        }
    }
}

/// A refusal after the permit, and whether the client is still to be told.
pub(super) struct No {
    pub(super) refusal: Refusal,
    pub(super) tells: bool,
}

impl No {
    pub(super) const fn told(refusal: Refusal) -> Self {
        Self {
            refusal,
            tells: true,
        }
    }

    pub(super) const fn silent(refusal: Refusal) -> Self {
        Self {
            refusal,
            tells: false,
        }
    }
}
