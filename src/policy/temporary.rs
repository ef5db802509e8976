//! The ceiling of what may be given for a while without a line in the file. Floor 0.
//!
//! Whoever reaches the admin socket can give a temporary origin; the file says how much. What is above the ceiling needs an
//! origin in the file, which somebody reads before it holds.

use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use super::{Deny, From, Names, Origin, Rules};

/// Why an origin may not be given for a while.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AboveCeiling {
    #[error("a temporary origin names addresses, not everybody, a host or a named network")]
    From,
    #[error("{0} is too wide for a temporary origin: at most a /24, or a /56 of IPv6")]
    Wide(IpNet),
    #[error("a temporary origin names its users")]
    AnyUser,
    #[error("\"{}\" is one of protected_users, whom only an origin of the file lets in", .0.escape_debug())]
    Protected(String),
    #[error("\"{}\" is reserved by the exclusive origin \"{origin}\"", .user.escape_debug())]
    Reserved { user: String, origin: String },
    /// The one thing here that more rights would not mend: `deny` beats what is given, too.
    #[error("{}", deny_in_words(.rule, .file.as_deref(), *.line))]
    Denied {
        rule: String,
        /// The included file that it stands in.
        file: Option<String>,
        line: u32,
    },
    #[error("`temporary.users` of the file does not have \"{}\"", .0.escape_debug())]
    User(String),
    #[error("`temporary.databases` of the file does not have \"{}\"", .0.escape_debug())]
    Database(String),
    #[error("a temporary origin names its databases, for `temporary.databases` of the file does")]
    AnyDatabase,
    #[error("a temporary origin gives no replication, no local files and reserves no users")]
    Rights,
    #[error("a temporary origin must expire")]
    Endless,
    #[error("it would have expired already")]
    Over,
    #[error("it may hold for at most {}: `temporary.max` of the file", in_words(*.0))]
    Long(Duration),
}

impl Rules {
    /// Whether an origin stays under the ceiling, so that it may hold until it expires.
    ///
    /// # Errors
    /// What is above it first.
    pub fn bears(&self, asked: &Origin, now: SystemTime) -> Result<(), AboveCeiling> {
        for from in &asked.from {
            match from {
                From::Network(network) if is_wide(network) => {
                    return Err(AboveCeiling::Wide(*network));
                }
                From::Network(_) => {}
                From::Any | From::Host { .. } | From::Set(_) => return Err(AboveCeiling::From),
            }
        }
        self.bears_users(asked)?;
        match (&asked.databases, &self.temporary.databases) {
            (_, Names::Any) => {}
            (Names::Any, Names::Listed(_)) => return Err(AboveCeiling::AnyDatabase),
            (Names::Listed(databases), ceiling @ Names::Listed(_)) => {
                let mut databases = databases.iter();
                if let Some(database) = databases.find(|database| !ceiling.contains(database)) {
                    return Err(AboveCeiling::Database(database.clone()));
                }
            }
        }
        if asked.replication.is_some() || asked.local_infile || asked.exclusive || asked.observe {
            return Err(AboveCeiling::Rights);
        }
        let expires = asked.expires.ok_or(AboveCeiling::Endless)?;
        match expires.duration_since(now) {
            Err(_) | Ok(Duration::ZERO) => Err(AboveCeiling::Over),
            Ok(left) if left > self.temporary.max => Err(AboveCeiling::Long(self.temporary.max)),
            Ok(_) => Ok(()),
        }
    }

    /// Whether no deny rule takes back all that the origin would give, whoever comes. A rule that names certificates may not hit.
    ///
    /// # Errors
    /// The deny rule that does.
    pub fn leaves(&self, asked: &Origin) -> Result<(), AboveCeiling> {
        let Names::Listed(users) = &asked.users else {
            return Ok(());
        };
        let hits = |deny: &&Deny| {
            !deny.asks()
                && users.iter().all(|user| deny.names_user(user))
                && asked.from.iter().all(|from| self.covers(deny, from))
        };
        self.deny.iter().find(hits).map_or(Ok(()), |deny| {
            Err(AboveCeiling::Denied {
                rule: deny.name.to_string(),
                file: deny.file.as_deref().map(str::to_owned),
                line: deny.line,
            })
        })
    }

    /// Whether a deny rule names every address of a place.
    fn covers(&self, deny: &Deny, place: &From) -> bool {
        let From::Network(network) = place else {
            return deny.is_everywhere();
        };
        let in_set = |name: &str| {
            let set = self.networks.iter().find(|set| *set.name == *name);
            set.is_some_and(|set| set.addresses.iter().any(|other| other.contains(network)))
        };
        deny.is_everywhere()
            || deny.from.iter().any(|from| match from {
                From::Network(other) => other.contains(network),
                From::Set(name) => in_set(name),
                From::Any | From::Host { .. } => false,
            })
    }

    fn bears_users(&self, asked: &Origin) -> Result<(), AboveCeiling> {
        let Names::Listed(users) = &asked.users else {
            return Err(AboveCeiling::AnyUser);
        };
        for user in users {
            if self.protected_users.contains(user) {
                return Err(AboveCeiling::Protected(user.clone()));
            }
            let mut origins = self.origins.iter();
            let reserves = |origin: &&std::sync::Arc<Origin>| {
                origin.exclusive
                    && !origin.users.is_any()
                    && origin.users.contains(user)
                    && origin.listeners.meets(&asked.listeners)
            };
            if let Some(origin) = origins.find(reserves) {
                return Err(AboveCeiling::Reserved {
                    user: user.clone(),
                    origin: origin.name.to_string(),
                });
            }
            if !self.temporary.users.contains(user) {
                return Err(AboveCeiling::User(user.clone()));
            }
        }
        Ok(())
    }
}

fn is_wide(network: &IpNet) -> bool {
    let least = match network {
        IpNet::V4(_) => 24,
        IpNet::V6(_) => 56,
    };
    network.prefix_len() < least
}

fn deny_in_words(rule: &str, file: Option<&str>, line: u32) -> String {
    let file = file.map_or_else(String::new, |file| format!("{file} "));
    format!("the deny rule \"{rule}\" ({file}line {line}) refuses it, and beats every origin")
}

/// As the file would write it.
fn in_words(length: Duration) -> String {
    let seconds = length.as_secs();
    for (unit, name) in [(60 * 60, "h"), (60, "m")] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Ceiling, Replication,
        samples::{origin, rules},
    };

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn names(names: &[&str]) -> Names {
        Names::Listed(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn asked(from: &str) -> Origin {
        Origin {
            temporary: true,
            users: names(&["anna"]),
            databases: names(&["shop"]),
            listeners: names(&["pg"]),
            expires: Some(NOW + Duration::from_secs(60 * 60)),
            ..origin("tmp-anna-7f3a", &[from])
        }
    }

    #[track_caller]
    fn refused(rules: &Rules, asked: &Origin, words: &str) {
        let error = rules.bears(asked, NOW).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn one_user_from_a_small_network_for_a_while_is_under_the_ceiling() {
        let rules = rules(Vec::new(), Vec::new());
        for from in [
            "203.0.113.9",
            "203.0.113.0/24",
            "2001:db8::1",
            "2001:db8::/56",
        ] {
            assert_eq!(rules.bears(&asked(from), NOW), Ok(()), "{from}");
        }
        let longest = Origin {
            expires: Some(NOW + rules.temporary.max),
            databases: Names::Any,
            ..asked("203.0.113.9")
        };
        assert_eq!(rules.bears(&longest, NOW), Ok(()));
    }

    #[test]
    fn wide_networks_and_everybody_are_above_it() {
        let rules = rules(Vec::new(), Vec::new());
        refused(&rules, &asked("203.0.112.0/23"), "203.0.112.0/23");
        refused(&rules, &asked("2001:db8::/55"), "/56");
        refused(&rules, &asked("any"), "names addresses");
        let set = Origin {
            from: vec![From::Set("office".into())],
            ..asked("203.0.113.9")
        };
        refused(&rules, &set, "names addresses");
    }

    #[test]
    fn protected_and_reserved_users_are_above_it() {
        let reserving = Origin {
            exclusive: true,
            users: names(&["payroll"]),
            listeners: names(&["pg"]),
            ..origin("hr", &["192.0.2.1"])
        };
        let rules = rules(vec![reserving], Vec::new());
        let with = |users: Names| Origin {
            users,
            ..asked("203.0.113.9")
        };
        refused(&rules, &with(Names::Any), "names its users");
        refused(
            &rules,
            &with(names(&["anna", "postgres"])),
            "protected_users",
        );
        refused(&rules, &with(names(&["payroll"])), "\"hr\"");
        let elsewhere = Origin {
            listeners: names(&["other"]),
            ..with(names(&["payroll"]))
        };
        assert_eq!(rules.bears(&elsewhere, NOW), Ok(()));
    }

    #[test]
    fn what_a_deny_rule_forbids_is_not_given() {
        let deny = |from: &[&str], users: &[&str]| Deny {
            name: "bad".into(),
            line: 7,
            file: None,
            from: crate::policy::samples::from(from),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            certificates: Vec::new(),
        };
        let given = |deny: Deny, from: &str| {
            let mut rules = rules(Vec::new(), vec![deny]);
            rules.networks = vec![crate::policy::NamedNetwork {
                name: "lab".into(),
                shared: false,
                addresses: vec!["203.0.113.0/25".parse().unwrap()],
            }];
            rules.leaves(&asked(from))
        };
        let by_set = Deny {
            from: vec![From::Set("lab".into())],
            ..deny(&[], &["anna"])
        };
        for hit in [
            deny(&["203.0.113.9"], &[]),
            deny(&["203.0.113.0/24"], &["bob", "anna"]),
            deny(&["any"], &["anna"]),
            deny(&[], &["anna"]),
            by_set,
        ] {
            let error = given(hit, "203.0.113.9").unwrap_err();
            assert_eq!(
                error.to_string(),
                "the deny rule \"bad\" (line 7) refuses it, and beats every origin"
            );
        }
        let by_certificate = Deny {
            certificates: vec![[7; 32]],
            ..deny(&["203.0.113.9"], &[])
        };
        for (miss, from) in [
            (deny(&["203.0.113.8"], &[]), "203.0.113.9"),
            (deny(&["203.0.113.9"], &["bob"]), "203.0.113.9"),
            (deny(&["203.0.113.9"], &[]), "203.0.113.0/24"),
            (by_certificate, "203.0.113.9"),
        ] {
            assert_eq!(given(miss, from), Ok(()));
        }
    }

    #[test]
    fn the_file_narrows_users_databases_and_the_time() {
        let mut rules = rules(Vec::new(), Vec::new());
        rules.temporary = Ceiling {
            max: Duration::from_secs(60 * 60),
            users: names(&["anna"]),
            databases: names(&["shop"]),
        };
        let fits = asked("203.0.113.9");
        assert_eq!(rules.bears(&fits, NOW), Ok(()));
        let origin = |change: fn(&mut Origin)| {
            let mut origin = fits.clone();
            change(&mut origin);
            origin
        };
        let cases = [
            (
                origin(|asked| asked.users = names(&["bob"])),
                "temporary.users",
            ),
            (
                origin(|asked| asked.databases = names(&["hr"])),
                "temporary.databases",
            ),
            (
                origin(|asked| asked.databases = Names::Any),
                "names its databases",
            ),
            (
                origin(|asked| asked.expires = Some(NOW + Duration::from_secs(3601))),
                "at most 1h",
            ),
            (origin(|asked| asked.expires = Some(NOW)), "already"),
            (origin(|asked| asked.expires = None), "must expire"),
            (
                origin(|asked| asked.replication = Some(Replication::Physical)),
                "no replication",
            ),
            (
                origin(|asked| asked.exclusive = true),
                "no replication, no local files and reserves no users",
            ),
        ];
        for (asked, words) in cases {
            refused(&rules, &asked, words);
        }
    }
}
