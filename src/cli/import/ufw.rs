//! The rules of Ubuntu's firewall, as `ufw show added` prints them. Floor 5: pure.
//!
//! Like in `pg_hba.conf`, the first that matches decides.

use std::sync::Arc;

use ipnet::IpNet;

use super::{
    Found,
    firewall::{Scope, network},
    region::Addresses,
    rule::{Label, Place, Remark, Unsure, Verdict},
};

/// `name` is what places call the list.
pub(super) fn read(text: &str, name: &Arc<str>, scope: &Scope) -> Found {
    let mut found = Found::default();
    let mut others = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let place = Place::line(name, number);
        let line = line.trim();
        let Some(rest) = line.strip_prefix("ufw ") else {
            continue;
        };
        let (rest, comment) = rest
            .split_once(" comment ")
            .map_or((rest, None), |(rest, comment)| {
                (rest, Some(comment.trim_matches('\'').trim_matches('"')))
            });
        let words: Vec<_> = rest.split_whitespace().collect();
        match Spoken::of(&words) {
            Ok(None) => others += 1,
            Ok(Some(spoken)) if !spoken.is_for(scope.port) => others += 1,
            Ok(Some(spoken)) => rule(spoken, place, comment, scope, &mut found),
            Err(why) => found.remarks.push(Remark::stopped(&[&place], why)),
        }
    }
    scope.general(others, &mut found);
    found
}

fn rule(spoken: Spoken, place: Place, comment: Option<&str>, scope: &Scope, found: &mut Found) {
    let networks = spoken.from.map_or_else(everywhere, |network| vec![network]);
    if spoken.limited {
        let text =
            "`limit` is carried as an admission; `limits: {new_per_minute: ...}` is the like of it";
        found.remarks.push(Remark::note(&place, text));
    }
    if spoken.to_address {
        let text = "which of the machine's addresses it is for is the listener's matter here";
        found.remarks.push(Remark::note(&place, text));
    }
    let named = spoken.verdict.admits() || comment.is_some();
    let label = named.then(|| Label::of(comment.unwrap_or_default(), "ufw"));
    let mut rule = scope.rule(place, spoken.verdict, networks, label);
    if let Some(why) = spoken.only {
        if spoken.verdict.admits() {
            found
                .remarks
                .push(Remark::left_out(&rule.place, why.as_str()));
        }
        let most = std::mem::take(&mut rule.sure);
        rule.unsure = Some(Unsure { most, why });
    }
    found.rules.push(rule);
}

fn everywhere() -> Vec<IpNet> {
    match Addresses::everywhere() {
        Addresses::Networks(all) => all,
        Addresses::Host { .. } => Vec::new(),
    }
}

/// What a rule says.
struct Spoken {
    verdict: Verdict,
    limited: bool,
    /// `None`: anywhere.
    from: Option<IpNet>,
    to_address: bool,
    /// Nothing: every port.
    ports: Option<String>,
    protocol: Option<String>,
    /// A condition that an origin does not know.
    only: Option<String>,
}

impl Spoken {
    /// `None` for a rule of another direction.
    fn of(words: &[&str]) -> Result<Option<Self>, String> {
        let mut words = words.iter().copied();
        let verdict = words.next().unwrap_or_default();
        let limited = verdict == "limit";
        let verdict = match verdict {
            "allow" | "limit" => Verdict::Admit,
            "deny" | "reject" => Verdict::Refuse,
            // traffic that goes through the machine, and switches of the firewall itself
            "route" | "default" | "logging" | "enable" => return Ok(None),
            other => return Err(format!("`{other}` is no rule")),
        };
        let mut spoken = Self {
            verdict,
            limited,
            from: None,
            to_address: false,
            ports: None,
            protocol: None,
            only: None,
        };
        let mut side = Side::To;
        while let Some(word) = words.next() {
            let mut next = || {
                words
                    .next()
                    .ok_or_else(|| format!("nothing follows `{word}`"))
            };
            match word {
                "in" | "log" | "log-all" => {}
                "out" => return Ok(None),
                "on" => {
                    let only = format!("it is for the network interface `{}` alone", next()?);
                    spoken.only = Some(only);
                }
                "from" => {
                    side = Side::From;
                    spoken.from = address(next()?)?;
                }
                "to" => {
                    side = Side::To;
                    spoken.to_address = address(next()?)?.is_some();
                }
                "proto" => spoken.protocol = Some(next()?.to_owned()),
                "port" if side == Side::To => spoken.ports = Some(next()?.to_owned()),
                "port" => {
                    let only = format!("it is for clients that come from port {} alone", next()?);
                    spoken.only = Some(only);
                }
                "app" => {
                    let only = format!("what ports `{}` has is ufw's to say", next()?);
                    spoken.only = Some(only);
                }
                short if short.starts_with(|c: char| c.is_ascii_digit()) => {
                    let (ports, protocol) = short.split_once('/').unwrap_or((short, ""));
                    spoken.ports = Some(ports.to_owned());
                    spoken.protocol = (!protocol.is_empty()).then(|| protocol.to_owned());
                }
                app => spoken.only = Some(format!("what ports `{app}` has is ufw's to say")),
            }
        }
        Ok(Some(spoken))
    }

    /// Whether TCP to the port is meant.
    fn is_for(&self, port: u16) -> bool {
        let tcp = self
            .protocol
            .as_ref()
            .is_none_or(|name| name == "tcp" || name == "any");
        let fits = |ports: &str| {
            let number = |text: &str| text.parse::<u16>().ok();
            match ports.split_once(':') {
                Some((first, last)) => number(first)
                    .zip(number(last))
                    .is_some_and(|(first, last)| (first..=last).contains(&port)),
                None => number(ports) == Some(port),
            }
        };
        tcp && self
            .ports
            .as_ref()
            .is_none_or(|ports| ports.split(',').any(fits))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

fn address(text: &str) -> Result<Option<IpNet>, String> {
    if text == "any" {
        return Ok(None);
    }
    let network = network(text).ok_or_else(|| format!("`{text}` is no address"))?;
    Ok(Some(network))
}
