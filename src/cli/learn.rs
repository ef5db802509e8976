//! `doorward learn`: an allowlist from who really logged in. Floor 5.
//!
//! Nothing is made wider than what was seen, but for addresses of which there are many: neighbours become one network where at least
//! half of it was seen, and the file says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Exit, Format, Global, LearnArgs, Output, daemon};
use crate::{
    config::{
        Draft, DraftListener, DraftSettings, Drafted, Protocol, is_sayable_dns, is_sayable_uri,
        sayable_database, sayable_user,
    },
    net::ranges,
    policy::{From, Names, Origin, Proof, Replication},
    server::{
        control::{Listing, Request},
        people::{LoginAnswer, Who},
        status::Status,
    },
};

pub(super) fn run(arguments: &LearnArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    let asked = daemon::ask_for::<Listing<LoginAnswer>>(global, &Request::Logins, output);
    let mut logins = match asked {
        Ok(logins) => logins.items,
        Err(exit) => return exit,
    };
    logins.sort_by(|a, b| (&a.who.listener, &a.first).cmp(&(&b.who.listener, &b.first)));
    if arguments.observed {
        logins.retain(|login| login.would_deny.is_some());
    }
    if output.format == Format::Json {
        output.say_json(&logins);
        return Exit::Fine;
    }
    if logins.is_empty() {
        output.complain(
            "note: nobody has logged in yet; `observe` lets those in who are to be learned from",
        );
    }
    let status = match daemon::ask_for::<Box<Status>>(global, &Request::Status, output) {
        Ok(status) => status,
        Err(exit) => return exit,
    };
    let left_out = leave_out(&mut logins, |listener| protocol(&status, listener));
    for line in &left_out {
        output.complain(format_args!("note: {line}"));
    }
    let mut draft = draft(&logins, &status);
    draft.head.extend(left_out);
    output.say(draft.to_string().trim_end());
    Exit::Fine
}

/// Takes out those whose names the file cannot say, and names them: one that is called `any` would let everybody in.
fn leave_out(logins: &mut Vec<LoginAnswer>, speaks: impl Fn(&str) -> Protocol) -> Vec<String> {
    let mut left_out = Vec::new();
    logins.retain(|login| {
        let Who {
            user,
            database,
            address,
            ..
        } = &login.who;
        let protocol = speaks(&login.who.listener);
        let unsaid = sayable_user(user, protocol).err();
        let unsaid = unsaid.or_else(|| sayable_database(database.as_ref()?, protocol).err());
        if let Some(why) = &unsaid {
            let database = database.as_ref().map_or_else(String::new, |name| {
                format!(", database `{}`", name.escape_debug())
            });
            left_out.push(format!(
                "left out: user `{}`{database} from {address}: {why}",
                user.escape_debug()
            ));
        }
        unsaid.is_none()
    });
    left_out
}

/// What a listener speaks.
fn protocol(status: &Status, listener: &str) -> Protocol {
    let mut all = status.listeners.iter();
    let found = all.find(|one| one.name == listener);
    if found.is_some_and(|one| one.protocol == Protocol::Mysql.label()) {
        Protocol::Mysql
    } else {
        Protocol::Postgres
    }
}

/// With one listener a whole file; with several, rules to be included or copied.
fn draft(logins: &[LoginAnswer], status: &Status) -> Draft {
    let settings = match status.listeners.as_slice() {
        [only] => Some(DraftSettings {
            listener: DraftListener {
                name: only.name.clone(),
                protocol: protocol(status, &only.name),
                listen: only.listen.clone(),
                upstream: only.upstream.clone(),
            },
            client_ca: None,
            clear: logins.iter().any(|login| login.who.tls.is_none()),
        }),
        _ => None,
    };
    Draft {
        head: vec![
            "Learned by `doorward learn` from who logged in. Look it over: it knows what was there, not what should be.".to_owned(),
        ],
        origins: origins(logins, settings.is_none()),
        settings,
        deny: Vec::new(),
    }
}

/// What several logins may have in common beside their addresses and databases.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    listener: String,
    user: String,
    replication: Option<String>,
    proof: Option<(Option<String>, Option<String>)>,
}

/// One origin for each user, certificate and set of addresses; the databases are those that all of its addresses opened.
fn origins(logins: &[LoginAnswer], names_listener: bool) -> Vec<Drafted<Origin>> {
    let mut by_database: BTreeMap<(Kind, Option<String>), BTreeSet<IpAddr>> = BTreeMap::new();
    for login in logins {
        let Ok(address) = login.who.address.parse() else {
            continue;
        };
        let key = (Kind::of(&login.who), login.who.database.clone());
        by_database.entry(key).or_default().insert(address);
    }
    let mut by_addresses: BTreeMap<(Kind, BTreeSet<IpAddr>), Vec<String>> = BTreeMap::new();
    for ((kind, database), addresses) in by_database {
        let databases = by_addresses.entry((kind, addresses)).or_default();
        databases.extend(database);
    }
    let mut taken = BTreeSet::new();
    let drafted = by_addresses
        .into_iter()
        .map(|((kind, addresses), databases)| {
            let name = name(&kind, &mut taken);
            origin(name, kind, &addresses, databases, names_listener)
        });
    drafted.collect()
}

fn origin(
    name: String,
    kind: Kind,
    addresses: &BTreeSet<IpAddr>,
    databases: Vec<String>,
    names_listener: bool,
) -> Drafted<Origin> {
    let networks = cover(addresses);
    let comments = networks.iter().filter_map(mark).collect();
    let remarks = networks
        .iter()
        .filter_map(|network| Some((*network, widened(network, addresses)?)))
        .collect();
    let mut origin = Origin::new(name, networks.into_iter().map(From::Network).collect());
    if names_listener {
        origin.listeners = Names::Listed(vec![kind.listener]);
    }
    origin.users = Names::Listed(vec![kind.user]);
    if !databases.is_empty() {
        origin.databases = Names::Listed(databases);
    }
    origin.replication = match kind.replication.as_deref() {
        Some("physical") => Some(Replication::Physical),
        Some("logical") => Some(Replication::Logical),
        Some(_) => Some(Replication::Commands),
        None => None,
    };
    origin.proof = kind.proof.map(|(dns, uri)| Proof {
        dns,
        uri,
        ..Proof::default()
    });
    Drafted {
        rule: origin,
        note: None,
        comments,
        remarks,
    }
}

impl Kind {
    fn of(who: &Who) -> Self {
        let names = who.certificate.as_ref().map(|shown| {
            let dns = shown.dns.iter().find(|name| is_sayable_dns(name));
            let uri = if dns.is_none() {
                shown.uri.iter().find(|uri| is_sayable_uri(uri))
            } else {
                None
            };
            (dns.cloned(), uri.cloned())
        });
        Self {
            listener: who.listener.clone(),
            user: who.user.clone(),
            replication: who.replication.clone(),
            proof: names.filter(|(dns, uri)| dns.is_some() || uri.is_some()),
        }
    }
}

/// A name that no other origin of the draft has.
fn name(kind: &Kind, taken: &mut BTreeSet<String>) -> String {
    let user = kind.user.to_lowercase();
    let letters = user.chars().map(|c| {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            c
        } else {
            '-'
        }
    });
    let slug: String = letters.take(40).collect();
    let slug = match slug.trim_matches('-') {
        "" => "origin",
        slug => slug,
    };
    let all = std::iter::once(slug.to_owned()).chain((2..).map(|n| format!("{slug}-{n}")));
    let free = all.into_iter().find(|name| !taken.contains(name));
    let name = free.unwrap_or_default();
    taken.insert(name.clone());
    name
}

/// The addresses, while they are few; of more the fewest networks of which at least half was seen: never wider than a /24, or a
/// /64.
fn cover(addresses: &BTreeSet<IpAddr>) -> Vec<IpNet> {
    if addresses.len() <= FEW {
        return addresses.iter().map(|one| IpNet::from(*one)).collect();
    }
    let mut networks: Vec<IpNet> = Vec::new();
    for address in addresses {
        if networks.iter().any(|network| network.contains(address)) {
            continue;
        }
        let alone = IpNet::from(*address);
        let widest = if address.is_ipv4() { 24 } else { 64 };
        let wider = (widest..alone.max_prefix_len())
            .filter_map(|prefix| IpNet::new(*address, prefix).ok())
            .map(|network| network.trunc())
            .find(|network| {
                let seen = seen(network, addresses);
                seen > 1 && seen * 2 >= size(network)
            });
        networks.push(wider.unwrap_or(alone));
    }
    IpNet::aggregate(&networks)
}

/// That a network lets in who was not seen.
fn widened(network: &IpNet, addresses: &BTreeSet<IpAddr>) -> Option<String> {
    let (seen, all) = (seen(network, addresses), size(network));
    (seen < all).then(|| format!("wider: {seen} of its {all} addresses were seen"))
}

fn seen(network: &IpNet, addresses: &BTreeSet<IpAddr>) -> u128 {
    let seen = addresses.iter().filter(|one| network.contains(*one));
    seen.count() as u128
}

fn size(network: &IpNet) -> u128 {
    let host = network.max_prefix_len() - network.prefix_len();
    1_u128.checked_shl(host.into()).unwrap_or(u128::MAX)
}

/// Addresses of an origin that are written one by one.
const FEW: usize = 8;

/// What the reader should know of an address that stands for many.
fn mark(network: &IpNet) -> Option<String> {
    let address = network.addr();
    let docker = address == IpAddr::from([172, 17, 0, 1]);
    let carrier = "100.64.0.0/10"
        .parse()
        .is_ok_and(|range: IpNet| range.contains(network));
    if docker {
        Some(format!(
            "{address} is Docker's bridge: it hides everybody who comes through it"
        ))
    } else if carrier {
        Some(format!("{network} is a carrier's: its customers share it"))
    } else {
        ranges::cdn(address).map(|owner| {
            format!("{network} is {owner}'s content delivery network: others come from there, too")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(address: &str, user: &str, database: &str) -> LoginAnswer {
        LoginAnswer {
            origin: "_none".to_owned(),
            who: Who {
                listener: "pg".to_owned(),
                address: address.to_owned(),
                user: user.to_owned(),
                database: Some(database.to_owned()),
                replication: None,
                tls: Some("1.3".to_owned()),
                application: None,
                certificate: None,
            },
            would_deny: Some("no_origin".to_owned()),
            times: 1,
            first: "2026-11-22T12:00:00Z".to_owned(),
            last: "2026-11-22T12:00:00Z".to_owned(),
        }
    }

    fn covered(addresses: &[&str]) -> Vec<String> {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        cover(&addresses).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn few_addresses_are_themselves() {
        let [two, eight] = [[1_u8, 3].as_slice(), &[1, 2, 3, 4, 5, 6, 7, 8]].map(|last| {
            let texts: Vec<_> = last.iter().map(|n| format!("127.0.0.{n}")).collect();
            let covered = covered(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let alone: Vec<_> = texts.iter().map(|text| format!("{text}/32")).collect();
            (covered, alone)
        });
        assert_eq!(two.0, two.1);
        assert_eq!(eight.0, eight.1);
    }

    #[test]
    fn a_network_that_is_wider_than_what_was_seen_says_so_on_its_line() {
        let logins: Vec<_> = (1..10)
            .chain([77])
            .map(|n| login(&format!("10.0.0.{n}"), "app", "shop"))
            .collect();
        let draft = Draft {
            origins: origins(&logins, false),
            ..Draft::default()
        };
        let from = "    from:
      - 10.0.0.0/28  # wider: 9 of its 16 addresses were seen
      - 10.0.0.77
";
        let text = draft.to_string();
        assert!(text.contains(from), "{text}");
    }

    #[test]
    fn neighbours_of_many_become_a_network_only_where_half_of_it_was_seen() {
        let far: Vec<_> = (0..9).map(|n| format!("10.0.0.{}", 4 * n)).collect();
        let far: Vec<_> = far.iter().map(String::as_str).collect();
        assert_eq!(covered(&far).len(), 9);
        let many: Vec<_> = (0..200).map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(covered(&many), ["10.0.0.0/24"]);
        assert_eq!(
            covered(&["2001:db8::1", "10.0.0.1"]),
            ["10.0.0.1/32", "2001:db8::1/128"]
        );
    }

    #[test]
    fn a_draft_grants_no_pair_that_was_not_seen() {
        let logins = [
            login("10.0.0.4", "app", "shop"),
            login("10.0.0.4", "app", "stock"),
            login("10.0.0.9", "app", "stock"),
            login("10.0.0.4", "Eva Müller", "shop"),
        ];
        let drafted = origins(&logins, false);
        let told: Vec<_> = drafted
            .iter()
            .map(|drafted| {
                let Names::Listed(databases) = &drafted.rule.databases else {
                    panic!("databases are named");
                };
                (
                    &*drafted.rule.name,
                    databases.join(" "),
                    drafted.rule.from.len(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("eva-m-ller", "shop".to_owned(), 1),
                ("app", "shop".to_owned(), 1),
                ("app-2", "stock".to_owned(), 2),
            ]
        );
    }

    #[test]
    fn a_name_that_the_file_cannot_say_is_left_out_and_named() {
        let mut logins = vec![
            login("10.0.0.4", "any", "shop"),
            login("10.0.0.4", "app", "any"),
            login("10.0.0.4", "a\nb", "shop"),
            login("10.0.0.4", "app", &"x".repeat(64)),
            login("10.0.0.4", "app", "shop"),
        ];
        let left_out = leave_out(&mut logins, |_listener| Protocol::Postgres);
        assert_eq!(
            left_out[..2],
            [
                "left out: user `any`, database `shop` from 10.0.0.4: `any` is a word for everybody in the file",
                "left out: user `app`, database `any` from 10.0.0.4: `any` is a word for everybody in the file",
            ]
        );
        assert!(left_out[2].contains("user `a\\nb`"), "{left_out:?}");
        assert!(
            left_out[3].contains("the server's limit is 63"),
            "{left_out:?}"
        );
        assert_eq!(logins, [login("10.0.0.4", "app", "shop")]);
    }

    #[test]
    fn a_certificate_that_names_a_pattern_is_no_proof_of_it() {
        let mut shown = login("10.0.0.4", "app", "shop");
        shown.who.certificate = Some(crate::server::people::Shown {
            dns: vec!["*.shop.example".to_owned()],
            uri: vec!["spiffe://shop.example/".to_owned()],
            cn: None,
            sha256: String::new(),
            issuers: Vec::new(),
            ends: String::new(),
        });
        assert_eq!(origins(&[shown], false)[0].rule.proof, None);
    }

    #[test]
    fn what_is_learned_is_a_file_that_is_read() {
        let logins = [
            login("172.17.0.1", "app", "shop"),
            login("100.64.3.4", "007", "on"),
        ];
        let draft = Draft {
            settings: Some(DraftSettings {
                listener: DraftListener {
                    name: "pg".to_owned(),
                    protocol: Protocol::Postgres,
                    listen: vec!["127.0.0.1:6432".to_owned()],
                    upstream: "127.0.0.1:5432".to_owned(),
                },
                client_ca: None,
                clear: false,
            }),
            origins: origins(&logins, false),
            ..Draft::default()
        };
        let text = draft.to_string();
        assert!(text.contains("# 172.17.0.1 is Docker's bridge"), "{text}");
        assert!(text.contains("is a carrier's"), "{text}");
        let read = crate::config::parse(
            "learned",
            &text,
            &crate::config::Environment::of([]),
            &crate::config::Overrides::default(),
            std::time::SystemTime::UNIX_EPOCH,
        );
        let origins = read.unwrap().rules.origins;
        assert_eq!(origins.len(), 2);
    }
}
