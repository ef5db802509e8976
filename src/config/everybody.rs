//! What holds for everybody, whatever an origin says. Floor 1: pure.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    keys::{BAN, OBSERVE, REQUIRE, SESSIONS, STRANGERS, TEMPORARY},
    networks,
    origins::{self, ON_REVOKE},
    problems::{Fault, Report, Where},
    reach, values,
    walk::{Fields, list, optional, scalar, word},
};
use crate::policy::{Answer, Ban, Ceiling, Observe, OnRevoke, Require, Strangers};

/// What the file says beside its origins, with its defaults.
pub(super) struct Everybody {
    pub(super) require: Require,
    pub(super) protected_users: BTreeSet<String>,
    pub(super) observe: Option<Observe>,
    /// Beside `until`.
    pub(super) observe_at: Where,
    pub(super) strangers: Strangers,
    pub(super) on_revoke: OnRevoke,
    pub(super) drain: Duration,
    pub(super) temporary: Ceiling,
}

/// Reads it. `drain` is how long sessions are given where the file does not say.
pub(super) fn read(top: &Fields<'_>, drain: Duration, report: &mut Report) -> Everybody {
    let (observe, observe_at) = observe(top, report);
    let (on_revoke, drain) = sessions(top, drain, report);
    Everybody {
        require: require(top, report).unwrap_or(FLOORS),
        protected_users: protected_users(top, report),
        observe,
        observe_at,
        strangers: strangers(top, report),
        on_revoke,
        drain,
        temporary: temporary(top, report).unwrap_or_default(),
    }
}

fn require(top: &Fields<'_>, report: &mut Report) -> Option<Require> {
    let fields = Fields::read(top.get("require")?, &REQUIRE, report)?;
    let mut floor =
        |key, otherwise: bool| optional(&fields, key, report, values::boolean).unwrap_or(otherwise);
    Some(Require {
        tls: floor("tls", FLOORS.tls),
        authentication: floor("authentication", FLOORS.authentication),
    })
}

fn protected_users(top: &Fields<'_>, report: &mut Report) -> BTreeSet<String> {
    let Some(node) = top.get("protected_users") else {
        return PROTECTED.map(str::to_owned).into();
    };
    let items = list(node, "users", report);
    items
        .iter()
        .filter_map(|item| {
            let text = scalar(item, "a user", report)?;
            let name = report.expect(&item.at, values::name(text, &[reach::MYSQL_USER]))?;
            Some(name.to_owned())
        })
        .collect()
}

/// A time of trial for addresses of one's own: never for everybody, and never without an end.
fn observe(top: &Fields<'_>, report: &mut Report) -> (Option<Observe>, Where) {
    let at = top.place("observe").clone();
    let fields = top
        .get("observe")
        .and_then(|node| Fields::read(node, &OBSERVE, report));
    let Some(fields) = fields else {
        return (None, at);
    };
    fields.demand("until", report);
    let until = optional(&fields, "until", report, values::time);
    let from = match fields.get("from") {
        None => PRIVATE.to_vec(),
        Some(node) => {
            let networks = networks::plain(node, report);
            let own = networks.into_iter().filter_map(|(network, at)| {
                let private = PRIVATE.iter().any(|private| private.contains(&network));
                let widest = networks::widest(&network);
                if private || network.prefix_len() >= widest {
                    return Some(network);
                }
                let fault = Fault::new(format!("{network} is too wide to be observed"))
                    .label(format!("/{widest} is the widest"))
                    .hint("whoever comes from there is let in: name networks of your own");
                report.error(&at, fault);
                None
            });
            own.collect()
        }
    };
    let at = fields.place("until").clone();
    (until.map(|until| Observe { until, from }), at)
}

fn strangers(top: &Fields<'_>, report: &mut Report) -> Strangers {
    let mut strangers = Strangers {
        answer: Answer::Quiet,
        ban: Ban::default(),
    };
    let fields = top
        .get("strangers")
        .and_then(|node| Fields::read(node, &STRANGERS, report));
    let Some(fields) = fields else {
        return strangers;
    };
    let answer = optional(&fields, "answer", report, |text| {
        word(text, "an answer", &ANSWERS)
    });
    strangers.answer = answer.unwrap_or(strangers.answer);
    let ban = fields
        .get("ban")
        .and_then(|node| Fields::read(node, &BAN, report));
    if let Some(ban) = ban {
        let time = |key, otherwise, report: &mut Report| {
            optional(&ban, key, report, values::some_time).unwrap_or(otherwise)
        };
        let default = strangers.ban;
        strangers.ban = Ban {
            after: optional(&ban, "after", report, |text| values::count(text, 1))
                .unwrap_or(default.after),
            within: time("within", default.within, report),
            length: time("for", default.length, report),
        };
    }
    strangers
}

fn sessions(top: &Fields<'_>, drain: Duration, report: &mut Report) -> (OnRevoke, Duration) {
    let fields = top
        .get("sessions")
        .and_then(|node| Fields::read(node, &SESSIONS, report));
    let Some(fields) = fields else {
        return (OnRevoke::Drain, drain);
    };
    let on_revoke = optional(&fields, "on_revoke", report, |text| {
        word(text, "what happens to a session", &ON_REVOKE)
    });
    let own = optional(&fields, "drain", report, values::duration);
    (on_revoke.unwrap_or(OnRevoke::Drain), own.unwrap_or(drain))
}

/// The most that `doorward allow` may give.
fn temporary(top: &Fields<'_>, report: &mut Report) -> Option<Ceiling> {
    let fields = Fields::read(top.get("temporary")?, &TEMPORARY, report)?;
    let max = optional(&fields, "max", report, values::long_time);
    let names =
        |key, longest, report: &mut Report| origins::names(&fields, key, &[longest], report);
    Some(Ceiling {
        max: max.unwrap_or_else(|| Ceiling::default().max),
        users: names("users", reach::MYSQL_USER, report)?,
        databases: names("databases", reach::MYSQL_DATABASE, report)?,
    })
}

pub(super) const ANSWERS: [(&str, Answer); 3] = [
    ("quiet", Answer::Quiet),
    ("explain", Answer::Explain),
    ("drop", Answer::Drop),
];

const FLOORS: Require = Require {
    tls: true,
    authentication: true,
};

/// The users that may do everything, by the names that servers give them.
const PROTECTED: [&str; 7] = [
    "postgres",
    "root",
    "mysql.sys",
    "mysql.session",
    "mysql.infoschema",
    "debian-sys-maint",
    "mariadb.sys",
];

/// Where applications and people of one's own usually are.
const PRIVATE: [IpNet; 6] = [
    v4(Ipv4Addr::new(10, 0, 0, 0), 8),
    v4(Ipv4Addr::new(172, 16, 0, 0), 12),
    v4(Ipv4Addr::new(192, 168, 0, 0), 16),
    v4(Ipv4Addr::new(127, 0, 0, 0), 8),
    v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    v6(Ipv6Addr::LOCALHOST, 128),
];

const fn v4(address: Ipv4Addr, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(address, prefix))
}

const fn v6(address: Ipv6Addr, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(address, prefix))
}
