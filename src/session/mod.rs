//! The life of one connection, a straight line of stages. Floor 3.
//!
//! ```text
//! Accepted --introduce()--> Introduced --screen(address)--> Screened --greet()--> Greeted --identify()--> Identified
//!          --allow(policy)--> Allowed --login(upstream)--> LoggedIn --relay()--> Closed
//! ```
//!
//! Every arrow consumes its stage and gives the next, or a `Refused` that is to be reported; `identify` cannot fail, and what `relay`
//! comes to, it logs itself. One deadline spans the opening. Nothing dials PostgreSQL
//! before `stages::Allowed`, whose permit only the policy mints. MySQL's server speaks first: `greet` may dial it, for an address
//! that some origin mentions. `command` decides on what changes a MySQL session once it is relayed.

mod admitted;
mod bans;
mod budget;
mod cancel;
mod command;
mod door;
mod failures;
mod gate;
mod gateway;
mod greet_mysql;
mod greet_postgres;
mod held;
mod login;
mod login_mysql;
mod login_postgres;
mod logins;
mod mysql_server;
mod postgres_server;
mod record;
mod references;
mod refusal;
pub mod relay;
mod report;
mod roll;
mod seats;
mod stages;
mod standing;
mod table;
mod tenure;
mod term;
mod upstream;

use std::pin::Pin;

pub use bans::BanLine;
pub use door::Door;
pub use gateway::Gateway;
pub use logins::Login;
pub use postgres_server::Unreached;
pub use record::{AUDIT, AUDIT_ONLY, Record};
pub use references::KeptRefusal;
pub use roll::{SessionLine, Split};
pub use stages::Accepted;
pub use standing::Standing;

use stages::Purpose;

/// The whole life of a connection. Never fails: what goes wrong is told, counted and logged.
///
/// Opening and relay are boxed each on its own, so that an idle session holds no more than its relay.
pub fn serve(accepted: Accepted) -> impl Future<Output = ()> + Send {
    let opening = Box::pin(async {
        match open(accepted).await {
            Ok(relay) => relay,
            Err(refused) => {
                refused.report();
                None
            }
        }
    });
    async {
        if let Some(relay) = opening.await {
            relay.await;
        }
    }
}

type Relaying = Pin<Box<dyn Future<Output = ()> + Send>>;

/// From the accepted socket to the database's own yes. `None` is a cancel request or a probe, which never become sessions.
async fn open(accepted: Accepted) -> Result<Option<Relaying>, report::Refused> {
    let Some(introduced) = accepted.introduce().await? else {
        return Ok(None);
    };
    let screened = introduced.screen().await?;
    let greeted = match screened.greet().await? {
        Purpose::Session(greeted) => greeted,
        Purpose::Cancel(cancelling) => {
            cancelling.forward().await;
            return Ok(None);
        }
        Purpose::Probe => return Ok(None),
    };
    let identified = greeted.identify();
    let allowed = identified.allow().await?;
    let logged_in = allowed.login().await?;
    Ok(Some(Box::pin(logged_in.relay())))
}
