//! Walking the tree: which keys a mapping may have, and which value is which. Floor 1.
//!
//! Everything that is wrong is reported and walked past, so that one reading finds it all.

use super::{
    problems::{Fault, Report, Where},
    raw::{Kind, Node},
};

/// The keys of one kind of mapping.
pub(super) struct Schema {
    /// With its article: `an origin`.
    pub(super) what: &'static str,
    pub(super) keys: &'static [Key],
}

pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) absent: Absent,
    pub(super) doc: &'static str,
}

/// What an absent key means.
#[derive(Clone, Copy)]
pub(super) enum Absent {
    /// It may not be absent.
    Never,
    /// The same as this value.
    Value(&'static str),
    Means(&'static str),
}

/// What is written as the value of a key.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Text,
    /// Of a user or a database: whatever is written is its text.
    Name,
    /// Of a thing of the file.
    Label,
    Flag,
    /// From 1.
    Count,
    Duration,
    Rate,
    Time,
    Path,
    Host,
    Address,
    /// Or an address.
    Network,
    /// An address and a port.
    Socket,
    Sha256,
    Words(&'static [&'static str]),
    List(&'static Self),
    Map(&'static Schema),
    /// Mappings by names of the file's own.
    Named(&'static Schema),
    Either(&'static [Self]),
}

impl Shape {
    /// One value, which flags and the environment can give, too.
    pub(super) const fn is_single(self) -> bool {
        !matches!(
            self,
            Self::List(_) | Self::Map(_) | Self::Named(_) | Self::Either(_)
        )
    }
}

/// A mapping whose keys have been held against its schema. Each key is there at most once, with a value.
pub(super) struct Fields<'n> {
    at: &'n Where,
    what: &'static str,
    entries: Vec<(&'n str, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// `None` for what is no mapping.
    pub(super) fn read(node: &'n Node, schema: &Schema, report: &mut Report) -> Option<Self> {
        let Kind::Map(map) = &node.kind else {
            let fault = Fault::new(format!("{} is a mapping", schema.what))
                .label(format!("this is {}", node.what()));
            report.error(&node.at, fault);
            return None;
        };
        let mut fields = Self {
            at: map.first().map_or(&node.at, |(key, _)| &key.at),
            what: schema.what,
            entries: Vec::with_capacity(map.len().min(schema.keys.len())),
        };
        for (key, value) in map {
            let Kind::Scalar(name) = &key.kind else {
                report.error(
                    &key.at,
                    Fault::new(format!("a key is a name, not {}", key.what())),
                );
                continue;
            };
            if !schema.names().any(|known| known == name) {
                report.error(&key.at, schema.stranger(name));
            } else if fields.get(name).is_some() {
                let fault = Fault::new(format!("`{name}` is there twice")).label("the second one");
                report.error(&key.at, fault);
            } else if matches!(value.kind, Kind::Null) && !MAY_BE_EMPTY.contains(&name.as_str()) {
                let fault = Fault::new(format!("`{name}` has no value"))
                    .hint("write one, or remove the key");
                report.error(&key.at, fault);
            } else {
                fields.entries.push((name, value));
            }
        }
        Some(fields)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        let mut entries = self.entries.iter();
        entries
            .find(|(name, _)| *name == key)
            .map(|(_, node)| *node)
    }

    /// The value of an obligatory key, or `None` with the lack of it reported.
    pub(super) fn demand(&self, key: &str, report: &mut Report) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            let fault = Fault::new(format!("{} needs `{key}`", self.what));
            report.error(self.at, fault);
        }
        found
    }

    /// Where the value of a key stands, or the mapping begins.
    pub(super) fn place(&self, key: &str) -> &'n Where {
        self.get(key).map_or(self.at, |node| &node.at)
    }

    /// Where the mapping begins.
    pub(super) const fn at(&self) -> &'n Where {
        self.at
    }
}

impl Schema {
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }

    fn stranger(&self, name: &str) -> Fault {
        let fault = Fault::new(format!("{} has no key `{}`", self.what, shorten(name)));
        match nearest(name, self.names()) {
            Some(meant) => fault.label(format!("did you mean `{meant}`?")),
            None => fault.hint(format!(
                "there are {}",
                self.names().collect::<Vec<_>>().join(", ")
            )),
        }
    }
}

/// Reports a certificate without its key, or a key without its certificate.
pub(super) fn both(fields: &Fields<'_>, hint: &str, report: &mut Report) {
    let given = (fields.get("certificate"), fields.get("key"));
    if let (Some(alone), None) | (None, Some(alone)) = given {
        let fault = Fault::new("a certificate and its key go together")
            .label("the other one is missing")
            .hint(hint);
        report.error(&alone.at, fault);
    }
}

/// The scalar's text, or `None` with the fault reported. `what` is what was expected, `a duration`.
pub(super) fn scalar<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n str> {
    if let Kind::Scalar(text) = &node.kind {
        return Some(text);
    }
    report.error(
        &node.at,
        Fault::new(format!("this is {}; {what} was expected", node.what())),
    );
    None
}

/// `None` for an absent key, and for one whose fault is reported.
pub(super) fn optional<T>(
    fields: &Fields<'_>,
    key: &str,
    report: &mut Report,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> Option<T> {
    let node = fields.get(key)?;
    let text = scalar(node, "a single value", report)?;
    report.expect(&node.at, parse(text))
}

/// The items of a list, or nothing with the fault reported.
pub(super) fn list<'n>(node: &'n Node, what: &str, report: &mut Report) -> &'n [Node] {
    match &node.kind {
        Kind::List(items) => items,
        Kind::Null => &[],
        kind @ (Kind::Scalar(_) | Kind::Map(_)) => {
            let fault = Fault::new(format!(
                "this is {}; a list of {what} was expected",
                node.what()
            ));
            report.error(
                &node.at,
                match kind {
                    Kind::Scalar(text) => fault.hint(format!("write [{}]", shorten(text))),
                    Kind::Map(_) | Kind::Null | Kind::List(_) => fault,
                },
            );
            &[]
        }
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, what: &str, words: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let fault = Fault::new(format!("`{}` is not {what}", shorten(text)));
    Err(match nearest(text, all.iter().copied()) {
        Some(meant) => fault.label(format!("did you mean `{meant}`?")),
        None => fault.hint(format!("it is one of {}", all.join(", "))),
    })
}

/// The known word that was probably meant.
pub(super) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    known
        .map(|candidate| {
            let plain = candidate.to_lowercase().replace('-', "_");
            let extended = plain.len() > 2 && word.starts_with(&plain);
            let distance = strsim::damerau_levenshtein(&word, &plain);
            (if extended { 1 } else { distance }, candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A value as a message quotes it.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_QUOTED).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

/// Lists that may be commented out whole; they refuse by being empty, or deny nothing.
const MAY_BE_EMPTY: [&str; 2] = ["origins", "deny"];

const MAX_QUOTED: usize = 80;
