//! `pg_hba.conf`: what each line admits or refuses, and what of it cannot be known outside the server. Floor 5.

use std::{net::IpAddr, path::Path, sync::Arc};

use ipnet::IpNet;

use super::{
    Found,
    hba_lines::{self, Line, Token},
    hba_names::{Listed, What},
    region::{Addresses, Kind, NameSet, Region, Ways},
    rule::{Place, Remark, Rule, Unsure, Verdict},
};

/// Reads a file's text. `folder` is where file names in it count from; `clear` tells whether connections in clear are to be
/// admitted at all.
pub(super) fn read(text: &str, name: &Arc<str>, folder: Option<&Path>, clear: bool) -> Found {
    let mut hba = Found::default();
    let lines = match hba_lines::read(text, name, folder) {
        Ok(lines) => lines,
        Err(unreadable) => {
            let remark = Remark::stopped(&[&unreadable.place], unreadable.why);
            hba.remarks.push(remark);
            return hba;
        }
    };
    for line in &lines {
        match rule(line, clear, &mut hba.remarks) {
            Ok(rule) => hba.rules.extend(rule),
            // a file with such a line is not in force, so what it admits nobody knows
            Err(why) => hba.remarks.push(Remark::stopped(&[&line.place], why)),
        }
    }
    general(&hba.rules, clear, &mut hba.remarks);
    hba
}

/// What is true of the file as a whole.
fn general(rules: &[Rule], clear: bool, remarks: &mut Vec<Remark>) {
    let admitting = || rules.iter().filter(|rule| rule.verdict.admits());
    if admitting().next().is_none() {
        return;
    }
    let any_user = admitting().filter(|rule| {
        rule.sure
            .iter()
            .any(|region| matches!(region.users, NameSet::AllBut(_)))
    });
    let lines = places(any_user.map(|rule| &rule.place));
    if !lines.is_empty() {
        remarks.push(Remark::general(format!(
            "`all` users is every user but the protected ones (postgres, ...): a superuser comes in only where an origin names it ({lines})"
        )));
    }
    if !clear {
        remarks.push(Remark::general(
            "connections in clear are refused from now on, also where `host` admitted them: `--clear` keeps them",
        ));
    }
    remarks.push(Remark::general(
        "logical replication is a right of its own here: whoever needs it gets an origin with `replication: logical`",
    ));
    let proved = rules
        .iter()
        .filter(|rule| rule.verdict == Verdict::AdmitProved);
    let lines = places(proved.map(|rule| &rule.place));
    if !lines.is_empty() {
        remarks.push(Remark::general(format!(
            "certificates are asked for by the gateway and no longer by the database ({lines}): give `tls.client_ca` the file of the server's `ssl_ca_file`, and the users another proof at the database"
        )));
    }
    remarks.push(Remark::general(
        "the database will see the gateway's address instead of its clients': its own pg_hba.conf needs `host all all GATEWAY/32 scram-sha-256` and nothing wider",
    ));
}

fn places<'p>(places: impl Iterator<Item = &'p Place>) -> String {
    let mut shown: Vec<_> = places.map(ToString::to_string).collect();
    let more = shown.len().saturating_sub(MAX_SHOWN);
    shown.truncate(MAX_SHOWN);
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

/// `None` for a line that has nothing to do with connections over the network.
fn rule(line: &Line, clear: bool, remarks: &mut Vec<Remark>) -> Result<Option<Rule>, String> {
    let mut fields = line.fields.iter();
    let kind = one(fields.next(), "the type")?.text.as_str();
    let ways = match kind {
        "local" => {
            let text = "unix sockets do not pass through the gateway: it stays as it is";
            remarks.push(Remark::note(&line.place, text));
            return Ok(None);
        }
        "host" | "hostnogssenc" => Ways::ALL,
        "hostssl" => Ways::TLS,
        "hostnossl" => Ways::CLEAR,
        "hostgssenc" => Ways::NONE,
        other => return Err(format!("`{other}` is no type of a line")),
    };
    let databases = fields.next().ok_or("the databases are missing")?;
    let users = fields.next().ok_or("the users are missing")?;
    let address = one(fields.next(), "the address")?;
    let address = Address::of(address, || one(fields.next(), "the mask"))?;
    let method = one(fields.next(), "the method")?;
    let options: Vec<&Token> = fields.flatten().collect();
    let method = Method::of(&method.text, kind, &options)?;
    let in_clear = !clear && ways.both(Ways::CLEAR) != Ways::NONE;
    let ways = ways.both(if clear { Ways::ALL } else { Ways::TLS });
    if ways == Ways::NONE {
        if method.verdict() != Verdict::Refuse {
            let why = if kind == "hostgssenc" {
                "connections encrypted by GSSAPI do not pass through the gateway"
            } else {
                "it admits connections in clear alone, and those are refused"
            };
            remarks.push(Remark::left_out(&line.place, why));
        }
        return Ok(None);
    }
    let folder = line.folder.as_deref();
    let parts = Parts {
        users: Listed::read(users, What::Users, folder)?,
        databases: Listed::read(databases, What::Databases, folder)?,
        address,
        ways,
        in_clear,
    };
    Ok(Some(parts.rule(line, &method, remarks)))
}

/// The parts of a line that say which connections are meant.
struct Parts {
    users: Listed,
    databases: Listed,
    address: Address,
    ways: Ways,
    /// Connections in clear were meant, too, and are not to be kept.
    in_clear: bool,
}

impl Parts {
    fn rule(self, line: &Line, method: &Method, remarks: &mut Vec<Remark>) -> Rule {
        let Self {
            users,
            databases,
            address,
            ways,
            in_clear,
        } = self;
        let mut unknown = [users.unknown.as_slice(), &databases.unknown].concat();
        let mut host = None;
        let (sure, most) = match address {
            Address::Known(networks) => {
                let networks = Addresses::Networks(networks);
                (Some(networks.clone()), networks)
            }
            Address::Host(name) => {
                let addresses = Addresses::host(&name);
                host = Some(name);
                (Some(addresses), Addresses::everywhere())
            }
            Address::Unknown(why) => {
                unknown.push(why);
                (None, Addresses::everywhere())
            }
        };
        let most = regions(&most, &users.most(), &databases, ways, Extent::Most);
        let mut sure = sure.map_or_else(Vec::new, |addresses| {
            regions(&addresses, &users.sure(), &databases, ways, Extent::Sure)
        });
        if databases.same_user && users.all {
            unknown.push("`sameuser` of `all` users is a list that cannot be written".to_owned());
        }
        if matches!(method, Method::Certificate) && users.all {
            let why = "a certificate must bear the user's name, and `all` users cannot be listed";
            unknown.push(why.to_owned());
            sure.clear();
        }
        let place = &line.place;
        let verdict = method.verdict();
        match method {
            Method::Elsewhere(why) => remarks.push(Remark::left_out(place, *why)),
            Method::Trust => remarks.push(Remark::note(place, TRUST)),
            Method::Reject | Method::Certificate | Method::Database => {}
        }
        if verdict.admits() {
            let left_out = unknown
                .iter()
                .map(|why| Remark::left_out(place, why.as_str()));
            remarks.extend(left_out);
        }
        if most.is_empty() {
            remarks.push(Remark::note(place, "matches nobody"));
        }
        unknown.extend(host.map(|name| format!("what addresses `{name}` has is for DNS to say")));
        Rule {
            place: place.clone(),
            verdict,
            sure,
            in_clear,
            unsure: unknown.into_iter().next().map(|why| Unsure { most, why }),
            label: None,
        }
    }
}

/// How much of a line's lists is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What it speaks of for certain.
    Sure,
    /// All that it may speak of.
    Most,
}

/// The regions of a line: one for ordinary sessions, or one for each user where the database follows the user, and one for
/// replication.
fn regions(
    addresses: &Addresses,
    users: &NameSet,
    databases: &Listed,
    ways: Ways,
    extent: Extent,
) -> Vec<Region> {
    let mut regions = Vec::new();
    let mut add = |users: NameSet, databases: NameSet, kind| {
        let region = Region {
            addresses: addresses.clone(),
            users,
            databases,
            kind,
            ways,
        };
        if !region.is_empty() {
            regions.push(region);
        }
    };
    let most = extent == Extent::Most && !databases.unknown.is_empty();
    match users {
        _ if databases.all || most => add(users.clone(), NameSet::all(), Kind::Ordinary),
        NameSet::Only(names) if databases.same_user => {
            for name in names {
                let own = databases.names.iter().chain([name]);
                let own = NameSet::only(own.map(String::as_str));
                add(NameSet::only([name.as_str()]), own, Kind::Ordinary);
            }
        }
        NameSet::AllBut(_) if databases.same_user && extent == Extent::Most => {
            add(users.clone(), NameSet::all(), Kind::Ordinary);
        }
        NameSet::Only(_) | NameSet::AllBut(_) => {
            add(users.clone(), databases.sure(), Kind::Ordinary);
        }
    }
    if databases.replication {
        add(users.clone(), NameSet::all(), Kind::Replication);
    }
    regions
}

/// What the method of a line means for who comes in.
enum Method {
    Reject,
    /// The database lets in without asking.
    Trust,
    /// The database asks for something that passes through the gateway.
    Database,
    /// A certificate whose common name is the user.
    Certificate,
    /// Something that does not pass through it.
    Elsewhere(&'static str),
}

impl Method {
    const fn verdict(&self) -> Verdict {
        match self {
            Self::Reject => Verdict::Refuse,
            Self::Trust | Self::Database => Verdict::Admit,
            Self::Certificate => Verdict::AdmitProved,
            Self::Elsewhere(_) => Verdict::Unknown,
        }
    }

    fn of(method: &str, kind: &str, options: &[&Token]) -> Result<Self, String> {
        let option = |name: &str| {
            let mut found = options
                .iter()
                .filter_map(|token| token.text.split_once('='));
            found.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        if let Some(strange) = options.iter().find(|token| !token.text.contains('=')) {
            return Err(format!("`{}` is no option: NAME=VALUE", strange.text));
        }
        let asked = match method {
            "cert" if kind != "hostssl" => {
                return Err("`cert` is for `hostssl` lines".to_owned());
            }
            "cert" => Some("verify-full"),
            _ => option("clientcert"),
        };
        let plain = match method {
            "reject" => return Ok(Self::Reject),
            "trust" => Self::Trust,
            "password" | "md5" | "scram-sha-256" | "gss" | "sspi" | "pam" | "bsd" | "ldap"
            | "radius" | "oauth" | "cert" => Self::Database,
            "ident" => Self::Elsewhere(
                "`ident` asks the client's machine who is there, and behind the gateway the database would ask the gateway",
            ),
            "peer" => return Err("`peer` is for `local` lines".to_owned()),
            other => return Err(format!("`{other}` is no method")),
        };
        Ok(match asked {
            Some("verify-full") if method == "cert" && option("map").is_some() => Self::Elsewhere(
                "`map=` leads to pg_ident.conf, and an origin's proof names one certificate for one user",
            ),
            Some("verify-full") if option("clientname").is_some_and(|name| name != "CN") => {
                Self::Elsewhere(
                    "a proof by the whole subject of a certificate is not to be had here",
                )
            }
            Some("verify-full") => Self::Certificate,
            Some("verify-ca" | "1") => Self::Elsewhere(
                "any certificate of a CA is enough for it, and an origin's proof names one",
            ),
            Some(_) | None => plain,
        })
    }
}

/// The address field of a line.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Known(Vec<IpNet>),
    Host(String),
    /// With the reason.
    Unknown(String),
}

impl Address {
    /// `mask` takes the next field, where the address needs one.
    fn of<'t>(
        token: &Token,
        mask: impl FnOnce() -> Result<&'t Token, String>,
    ) -> Result<Self, String> {
        let text = &token.text;
        if token.is("all") {
            let Addresses::Networks(all) = Addresses::everywhere() else {
                return Ok(Self::Known(Vec::new()));
            };
            return Ok(Self::Known(all));
        }
        if token.is("samehost") || token.is("samenet") {
            let whose = if text == "samehost" {
                "addresses"
            } else {
                "networks"
            };
            return Ok(Self::Unknown(format!(
                "`{text}` are the server's own {whose}: write them down"
            )));
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address = ip(address).ok_or_else(|| format!("`{text}` is no address range"))?;
            let prefix = prefix
                .parse()
                .map_err(|_none| format!("`/{prefix}` is no prefix length"))?;
            let network =
                IpNet::new(address, prefix).map_err(|error| format!("`{text}`: {error}"))?;
            return Ok(Self::network(network));
        }
        if let Some(address) = ip(text) {
            let mask = mask()?;
            let mask = ip(&mask.text).ok_or_else(|| format!("`{}` is no mask", mask.text))?;
            if mask.is_ipv4() != address.is_ipv4() {
                return Err(format!("the mask of {address} is of another family"));
            }
            return Ok(IpNet::with_netmask(address, mask).map_or_else(
                |_holes| Self::Unknown(format!("the mask {mask} has holes")),
                Self::network,
            ));
        }
        if text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            return Err(format!(
                "`{text}` is no address: four decimal numbers without leading zeros"
            ));
        }
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        Ok(
            if text.starts_with('.') || !text.chars().all(letters) || text.len() > 253 {
                Self::Unknown(format!(
                    "`{text}` is matched with the names that clients' addresses have, and those prove nothing"
                ))
            } else {
                Self::Host(text.clone())
            },
        )
    }

    /// Bits beyond the prefix do not count. No client comes as an IPv4 address in IPv6's clothes.
    fn network(network: IpNet) -> Self {
        let mapped = match network {
            IpNet::V4(_) => false,
            IpNet::V6(v6) => v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some(),
        };
        Self::Known(
            if mapped
                || network.addr().is_unspecified()
                    && network.prefix_len() == network.max_prefix_len()
            {
                Vec::new()
            } else {
                vec![network.trunc()]
            },
        )
    }
}

/// An address; a zone behind it says nothing about clients.
fn ip(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse().ok()
}

fn one<'t>(field: Option<&'t Vec<Token>>, what: &str) -> Result<&'t Token, String> {
    match field.map(Vec::as_slice) {
        Some([token]) => Ok(token),
        Some(_) => Err(format!("{what} is one word, not a list")),
        None => Err(format!("{what} is missing")),
    }
}

const TRUST: &str = "DANGER: `trust` lets everybody in who comes from there, whoever they say they are; the gateway ends such sessions (`require.authentication`): ask for scram-sha-256";

/// Lines that a remark names.
const MAX_SHOWN: usize = 8;
