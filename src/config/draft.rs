//! An allowlist that a program draws up for a person to look over: rules back to text. Floor 1.
//!
//! The other way round than the rest of `config`: what stands here is read again by [`parse`](super::parse), and means the
//! same.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use ipnet::IpNet;

use super::Protocol;
use crate::policy::{
    Cidr, Deny, From, Names, OnRevoke, Origin, OriginLimits, Proof, Replication, is_unseen,
};

/// Rules and what little of settings they need. `Display` writes the file.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Comment lines at its head.
    pub head: Vec<String>,
    /// Without them it is a file to be included by another.
    pub settings: Option<DraftSettings>,
    pub origins: Vec<Drafted<Origin>>,
    pub deny: Vec<Drafted<Deny>>,
}

#[derive(Clone, Debug)]
pub struct DraftSettings {
    pub listener: DraftListener,
    /// The CA of the client certificates that origins ask for.
    pub client_ca: Option<PathBuf>,
    /// Connections need not be encrypted.
    pub clear: bool,
}

/// The one listener, in the words of the file.
#[derive(Clone, Debug)]
pub struct DraftListener {
    pub name: String,
    pub protocol: Protocol,
    pub listen: Vec<String>,
    pub upstream: String,
}

/// A rule with what its reader should know.
#[derive(Clone, Debug)]
pub struct Drafted<T> {
    pub rule: T,
    /// Becomes its `note`.
    pub note: Option<String>,
    /// Comment lines before it.
    pub comments: Vec<String>,
    /// Comments behind networks of its `from`.
    pub remarks: BTreeMap<IpNet, String>,
}

impl<T> Drafted<T> {
    pub fn noted(rule: T, note: impl Into<String>) -> Self {
        Self {
            rule,
            note: Some(note.into()),
            comments: Vec::new(),
            remarks: BTreeMap::new(),
        }
    }
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        comments(f, "", &self.head)?;
        if let Some(settings) = &self.settings {
            settings.fmt(f)?;
        }
        if self.origins.is_empty() {
            f.write_str("origins: []\n")?;
        } else {
            f.write_str("origins:\n")?;
        }
        for drafted in &self.origins {
            comments(f, "  ", &drafted.comments)?;
            origin(f, drafted)?;
        }
        if !self.deny.is_empty() {
            f.write_str("deny:\n")?;
        }
        for drafted in &self.deny {
            comments(f, "  ", &drafted.comments)?;
            deny(f, &drafted.rule, drafted.note.as_deref())?;
        }
        Ok(())
    }
}

impl fmt::Display for DraftSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DraftListener {
            name,
            protocol,
            listen,
            upstream,
        } = &self.listener;
        f.write_str("version: 1\nlisteners:\n")?;
        writeln!(f, "  - name: {}", scalar(name))?;
        writeln!(f, "    protocol: {}", protocol.label())?;
        list(f, "listen", listen.iter().map(|text| scalar(text)))?;
        writeln!(f, "    upstream: {}", scalar(upstream))?;
        if let Some(file) = &self.client_ca {
            let file = file.display().to_string();
            writeln!(f, "tls: {{client_ca: {}}}", scalar(&file))?;
        }
        if self.clear {
            f.write_str("require: {tls: false}\n")?;
        }
        Ok(())
    }
}

fn origin(f: &mut fmt::Formatter<'_>, drafted: &Drafted<Origin>) -> fmt::Result {
    let Drafted {
        rule: origin,
        note,
        remarks,
        ..
    } = drafted;
    writeln!(f, "  - name: {}", scalar(&origin.name))?;
    if let Some(note) = note.as_deref().or(origin.note.as_deref()) {
        writeln!(f, "    note: {}", scalar(note))?;
    }
    names(f, "listeners", &origin.listeners)?;
    addresses(f, &origin.from, remarks)?;
    if let Some(wanted) = &origin.proof {
        writeln!(f, "    proof: {{certificate: {{{}}}}}", proof(wanted))?;
    }
    names(f, "users", &origin.users)?;
    names(f, "databases", &origin.databases)?;
    if let Some(kind) = origin.replication {
        let kind = match kind {
            Replication::Physical => "physical",
            Replication::Logical => "logical",
            Replication::Commands => "true",
        };
        writeln!(f, "    replication: {kind}")?;
    }
    for (key, said) in [
        ("local_infile", origin.local_infile),
        ("exclusive", origin.exclusive),
        ("observe", origin.observe),
    ] {
        if said {
            writeln!(f, "    {key}: true")?;
        }
    }
    if !origin.active {
        f.write_str("    active: false\n")?;
    }
    if let Some(least) = origin.tls_min {
        writeln!(f, "    tls: {{min: \"{}\"}}", least.label())?;
    }
    limits(f, &origin.limits)?;
    if let Some(longest) = origin.expected_rtt {
        writeln!(f, "    expect: {{rtt: {}}}", duration(longest))?;
    }
    if let Some(does) = origin.on_revoke {
        let does = match does {
            OnRevoke::Keep => "keep",
            OnRevoke::Drain => "drain",
            OnRevoke::Close => "close",
        };
        writeln!(f, "    on_revoke: {does}")?;
    }
    if let Some(end) = origin.expires.and_then(time) {
        writeln!(f, "    expires: {end}")?;
    }
    Ok(())
}

/// With remarks each in a line of its own, as YAML wants comments.
fn addresses(
    f: &mut fmt::Formatter<'_>,
    all: &[From],
    remarks: &BTreeMap<IpNet, String>,
) -> fmt::Result {
    if remarks.is_empty() {
        return list(f, "from", all.iter().map(from));
    }
    f.write_str("    from:\n")?;
    for one in all {
        write!(f, "      - {}", from(one))?;
        if let From::Network(network) = one
            && let Some(remark) = remarks.get(network)
        {
            write!(f, "  # {}", one_line(remark))?;
        }
        f.write_str("\n")?;
    }
    Ok(())
}

fn limits(f: &mut fmt::Formatter<'_>, limits: &OriginLimits) -> fmt::Result {
    let number = |key: &str, most: Option<u32>| Some(format!("{key}: {}", most?));
    let failures = limits.failed_auth_per_minute;
    let own = (failures != OriginLimits::default().failed_auth_per_minute).then_some(failures);
    let session = limits.session;
    let said = [
        number("connections", limits.connections),
        number("new_per_minute", limits.new_per_minute),
        session.map(|longest| format!("session: {}", duration(longest))),
        number("failed_auth_per_minute", own),
    ];
    let said: Vec<_> = said.into_iter().flatten().collect();
    if said.is_empty() {
        return Ok(());
    }
    writeln!(f, "    limits: {{{}}}", said.join(", "))
}

/// In the largest unit that says it exactly.
fn duration(time: Duration) -> String {
    let micros = time.as_micros();
    let units = [
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    let exact = units
        .into_iter()
        .find(|(unit, _)| micros.is_multiple_of(*unit));
    let (unit, name) = exact.unwrap_or((1, "us"));
    format!("{}{name}", micros / unit)
}

fn deny(f: &mut fmt::Formatter<'_>, deny: &Deny, note: Option<&str>) -> fmt::Result {
    writeln!(f, "  - name: {}", scalar(&deny.name))?;
    if let Some(note) = note {
        writeln!(f, "    note: {}", scalar(note))?;
    }
    if !deny.from.is_empty() {
        list(f, "from", deny.from.iter().map(from))?;
    }
    if !deny.users.is_empty() {
        list(f, "users", deny.users.iter().map(|user| scalar(user)))?;
    }
    if !deny.certificates.is_empty() {
        list(f, "certificates", deny.certificates.iter().map(hash))?;
    }
    Ok(())
}

fn names(f: &mut fmt::Formatter<'_>, key: &str, names: &Names) -> fmt::Result {
    match names {
        Names::Any => Ok(()),
        Names::Listed(names) => list(f, key, names.iter().map(|name| scalar(name))),
    }
}

fn proof(proof: &Proof) -> String {
    let texts = [("dns", &proof.dns), ("uri", &proof.uri), ("cn", &proof.cn)];
    let texts = texts
        .into_iter()
        .filter_map(|(key, text)| Some(format!("{key}: {}", scalar(text.as_ref()?))));
    let hashes = [("sha256", &proof.sha256), ("issuer", &proof.issuer)];
    let hashes = hashes
        .into_iter()
        .filter_map(|(key, digest)| Some(format!("{key}: {}", hash(digest.as_ref()?))));
    texts.chain(hashes).collect::<Vec<_>>().join(", ")
}

fn from(from: &From) -> String {
    match from {
        From::Any => "any".to_owned(),
        From::Network(network) => address(network),
        From::Host { name, inward } => {
            let private = if *inward { ", private: true" } else { "" };
            format!("{{host: {}{private}}}", scalar(name))
        }
        From::Set(name) => format!("{{network: {}}}", scalar(name)),
    }
}

/// Quoted where its colons would make it a map.
fn address(network: &IpNet) -> String {
    let text = Cidr(network).to_string();
    if network.addr().is_ipv4() {
        text
    } else {
        quoted(&text)
    }
}

fn hash(digest: &[u8; 32]) -> String {
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    quoted(&format!("sha256:{}", digits.collect::<String>()))
}

fn time(time: SystemTime) -> Option<String> {
    let time = jiff::Timestamp::try_from(time).ok()?;
    // to the second, upwards: never shorter than what was meant
    let up = jiff::TimestampRound::new()
        .smallest(jiff::Unit::Second)
        .mode(jiff::RoundMode::Ceil);
    Some(time.round(up).unwrap_or(time).to_string())
}

/// A key of a rule and its items: in one line, or in one for each where that would be long.
fn list(f: &mut fmt::Formatter<'_>, key: &str, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<_> = items.collect();
    let line = format!("    {key}: [{}]", items.join(", "));
    if line.chars().count() <= LINE {
        return writeln!(f, "{line}");
    }
    writeln!(f, "    {key}:")?;
    for item in items {
        writeln!(f, "      - {item}")?;
    }
    Ok(())
}

fn comments(f: &mut fmt::Formatter<'_>, indent: &str, lines: &[String]) -> fmt::Result {
    for line in lines {
        writeln!(f, "{indent}# {}", one_line(line))?;
    }
    Ok(())
}

/// What stays in one comment, whatever is in it.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !is_unseen(*c)).collect()
}

/// Plain where every reader of YAML takes it for a text, quoted otherwise.
fn scalar(text: &str) -> String {
    let mut letters = text.chars();
    let plain = letters
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { quoted(text) }
}

/// In double quotes, with nothing in it that is not shown.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if is_unseen(c) => quoted.extend(format!("\\U{:08X}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// What is not a text to some reader of YAML, or a word of ours.
const WORDS: [&str; 10] = [
    "true", "false", "yes", "no", "on", "off", "y", "n", "null", "any",
];

/// The longest line of a list.
const LINE: usize = 100;

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
