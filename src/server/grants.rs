//! Origins are given for a while, and taken back, by whoever may use the admin socket. Floor 4.
//!
//! The state file is written first: what is in force survives a restart, and what was taken back does not come again.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{
    control::Refused,
    house::House,
    no::No,
    temporary::{Given, Joined, join},
};
use crate::{
    config::spoken_network,
    policy::{AboveCeiling, Cidr, Rules},
    session::AUDIT,
};

/// What an operator wants to give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowRequest {
    /// An address or a network.
    pub address: String,
    pub user: String,
    /// Any where there is none.
    #[serde(default)]
    pub database: Option<String>,
    /// May be left out when there is one.
    #[serde(default)]
    pub listener: Option<String>,
    pub seconds: u64,
    #[serde(default)]
    pub note: Option<String>,
    /// Only say what it would be.
    #[serde(default)]
    pub rehearse: bool,
}

/// What became of an origin that was to be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RevokeAnswer {
    Revoked {
        name: String,
        generation: u64,
        /// Sessions that are admitted no longer: drained or cut.
        sessions: u64,
    },
    /// It stands in a file, where a person has to take it out.
    InFile {
        name: String,
        file: String,
        line: u32,
    },
}

impl House {
    /// Gives an origin. What admits the same already holds as long as the new one, and keeps its name.
    pub(super) async fn allow(&self, request: AllowRequest, by: String) -> Result<Given, No> {
        let _one = self.one_at_a_time.lock().await;
        let now = whole_seconds(SystemTime::now());
        let mut given = self.asked(&request, by, now)?;
        let rules = self.rules();
        let mut all = self.temporary.all();
        if let Some(place) = all.iter().position(|old| old.admits_as(&given)) {
            given.name = all.remove(place).name;
        }
        let origin = given.origin().map_err(bad)?;
        rules.bears(&origin, now).map_err(|error| above(&error))?;
        rules.leaves(&origin).map_err(|error| above(&error))?;
        if request.rehearse {
            return Ok(given);
        }
        if all.len() >= MOST {
            return Err(bad(format!(
                "there are {MOST} temporary origins already: take some back, or write an origin into the file"
            )));
        }
        all.push(given.clone());
        let generation = self.give(join(rules, all, now)).await?;
        tracing::info!(
            target: AUDIT,
            event = "origin_allowed",
            origin = given.name,
            address = given.address,
            user = given.user,
            database = given.database,
            listener = given.listener,
            expires = super::status::rfc3339(given.expires),
            note = given.note,
            by = given.by,
            generation,
        );
        Ok(given)
    }

    /// Takes a temporary origin back, or says where the one of this name stands. The answer waits a moment to count the
    /// sessions that it ends.
    pub(super) async fn revoke(&self, name: &str, by: &str) -> Result<RevokeAnswer, No> {
        let _one = self.one_at_a_time.lock().await;
        let mut all = self.temporary.all();
        let Some(place) = all.iter().position(|given| given.name == name) else {
            return self.not_given(name);
        };
        all.remove(place);
        let (decided, revoked) = self.gateway.decisions_again();
        let live = self.sessions();
        let joined = join(self.rules(), all, SystemTime::now());
        let generation = self.give(joined).await?;
        let (_, sessions) = self.count_since(decided, revoked, live).await;
        tracing::info!(target: AUDIT, event = "origin_revoked", origin = name, sessions, by, generation);
        Ok(RevokeAnswer::Revoked {
            name: name.to_owned(),
            generation,
            sessions,
        })
    }

    /// Takes those that have expired out of the state file. The policy refuses by them as it stands, and says why.
    pub(super) async fn forget_expired(&self) {
        // whoever changes the rules just now drops them, too
        let Ok(_one) = self.one_at_a_time.try_lock() else {
            return;
        };
        let now = SystemTime::now();
        let mut held = self.temporary.all();
        held.retain(|given| now < given.expires);
        let book = Arc::clone(&self.temporary);
        // a panic there is told by the runtime, and the next start drops them all the same
        let _told = spawn_blocking(move || book.keep_or_tell(held)).await;
    }

    fn asked(&self, request: &AllowRequest, by: String, now: SystemTime) -> Result<Given, No> {
        let names = [&request.user].into_iter().chain(&request.database);
        for name in names {
            if name.is_empty() || name.len() > LONGEST_NAME || name.contains('\0') {
                return Err(bad("a user or database has 1 to 255 bytes".to_owned()));
            }
        }
        if request
            .note
            .as_ref()
            .is_some_and(|note| note.len() > LONGEST_NOTE)
        {
            return Err(bad(format!("a note has at most {LONGEST_NOTE} bytes")));
        }
        let network = spoken_network(&request.address).map_err(bad)?;
        let listener = self.listener(request.listener.as_deref())?;
        let length = Duration::from_secs(request.seconds);
        let expires = now
            .checked_add(length)
            .filter(|_| length < A_YEAR)
            .ok_or_else(|| bad("that is too long".to_owned()))?;
        Ok(Given {
            name: self.free_name(&request.user),
            address: Cidr(&network).to_string(),
            user: request.user.clone(),
            database: request.database.clone(),
            listener,
            expires,
            given: now,
            by,
            note: request.note.clone(),
        })
    }

    fn listener(&self, named: Option<&str>) -> Result<String, No> {
        let in_force = self.lock();
        let mut doors = in_force.settings.listeners.iter();
        let known: Vec<_> = doors.clone().map(|door| &*door.name).collect();
        let all = known.join(", ");
        match (named, &*known) {
            (None, [only]) => Ok((*only).to_owned()),
            (None, _) => Err(bad(format!(
                "there are several listeners: say which with --listener ({all})"
            ))),
            (Some(named), _) if doors.any(|door| *door.name == *named) => Ok(named.to_owned()),
            (Some(named), _) => Err(bad(format!(
                "there is no listener \"{}\"; there are {all}",
                named.escape_debug()
            ))),
        }
    }

    /// A name that no origin has.
    fn free_name(&self, user: &str) -> String {
        let policy = Arc::clone(&self.standing.borrow().policy);
        let given = self.temporary.all();
        let hasher = RandomState::new();
        let free = |name: &String| {
            policy.origin(name).is_none() && given.iter().all(|given| given.name != *name)
        };
        let made = |salt: u64| name(user, hasher.hash_one(salt));
        // far fewer are given than there are numbers
        (0..u64::MAX)
            .map(made)
            .find(free)
            .unwrap_or_else(|| made(0))
    }

    fn not_given(&self, name: &str) -> Result<RevokeAnswer, No> {
        let policy = Arc::clone(&self.standing.borrow().policy);
        let in_file = policy.origin(name).filter(|origin| !origin.temporary);
        if let Some(origin) = in_file {
            let file = origin.file.as_deref().map(str::to_owned);
            return Ok(RevokeAnswer::InFile {
                name: name.to_owned(),
                file: file.unwrap_or_else(|| self.source.to_string()),
                line: origin.line,
            });
        }
        let known = policy.origins().iter().map(|origin| &*origin.name);
        let meant = known
            .map(|known| (strsim::damerau_levenshtein(name, known), known))
            .filter(|(distance, known)| *distance <= (known.len() / 3).clamp(1, 3))
            .min()
            .map_or_else(String::new, |(_, known)| format!("; did you mean {known}?"));
        Err(bad(format!(
            "there is no origin \"{}\"{meant}",
            name.escape_debug()
        )))
    }

    fn rules(&self) -> Rules {
        Rules::clone(self.standing.borrow().policy.rules())
    }

    /// Writes down what was given, and puts it in force: its generation.
    async fn give(&self, joined: Joined) -> Result<u64, No> {
        let Joined { rules, given, .. } = &joined;
        let (book, given) = (Arc::clone(&self.temporary), given.clone());
        let written = spawn_blocking(move || book.keep(given)).await;
        written
            .unwrap_or_else(|panic| Err(io::Error::other(panic)))
            .map_err(|error| self.not_written(&error))?;
        joined.tell_lapses();
        let policy = self.next_policy(rules.clone());
        let generation = policy.generation();
        self.put_in_force(&policy, None);
        Ok(generation)
    }

    fn not_written(&self, error: &io::Error) -> No {
        No {
            why: Refused::NotPermitted,
            text: format!(
                "cannot write {}: {error}; nothing was changed",
                self.temporary.path().display()
            ),
        }
    }
}

/// `tmp-<user>-<4 digits>`, of letters that an origin's name may have.
fn name(user: &str, number: u64) -> String {
    let letter = |c: char| {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() { c } else { '-' }
    };
    let user: String = user.chars().take(LONGEST_PART).map(letter).collect();
    let user = user.trim_matches('-');
    let number = number & 0xffff;
    if user.is_empty() {
        format!("tmp-{number:04x}")
    } else {
        format!("tmp-{user}-{number:04x}")
    }
}

fn whole_seconds(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.unwrap_or_default().as_secs())
}

fn bad(text: String) -> No {
    No {
        why: Refused::Request,
        text,
    }
}

fn above(ceiling: &AboveCeiling) -> No {
    No {
        why: Refused::AboveCeiling,
        text: ceiling.to_string(),
    }
}

/// Temporary origins at a time: each is a label of metrics, and more are a list that belongs into the file.
const MOST: usize = 256;
const LONGEST_NAME: usize = 255;
const LONGEST_NOTE: usize = 500;
/// Of a user in an origin's name.
const LONGEST_PART: usize = 24;
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_only_letters_that_an_origin_may_have() {
        assert_eq!(name("anna", 0x7f3a), "tmp-anna-7f3a");
        assert_eq!(name("Anna.B@x", 0x1_0001), "tmp-anna-b-x-0001");
        assert_eq!(name("ÄÖ", 1), "tmp-0001");
        assert_eq!(name(&"x".repeat(300), 1).len(), 4 + 24 + 5);
    }
}
