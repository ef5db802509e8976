//! Pieces of a flattened list become the origins and deny rules of a file: merged, named, noted. Floor 5: pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{
    flatten::{Denied, Flat, Piece},
    region::{Addresses, Kind, NameSet, Ways},
    rule::{Label, Place},
};
use crate::{
    config::Drafted,
    policy::{Deny, From, Names, Origin, Proof, Replication, TlsVersion},
};

/// How the file is to be written.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// What is imported, for notes.
    pub(super) source: String,
    /// The listener that origins name, where they must.
    pub(super) listener: Option<String>,
    /// Connections in clear are admitted, so that origins say where they must be encrypted.
    pub(super) clear: bool,
}

/// The origins, those that differ in nothing but the address in one.
pub(super) fn origins(flat: &Flat, manner: &Manner) -> Vec<Drafted<Origin>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for piece in &flat.admitted {
        let users = match &piece.region.users {
            // each has a certificate of its own
            NameSet::Only(users) if piece.proved => users
                .iter()
                .map(|user| NameSet::only([user.as_str()]))
                .collect(),
            NameSet::Only(_) | NameSet::AllBut(_) => vec![piece.region.users.clone()],
        };
        for users in users {
            let twin = groups.iter_mut().find(|group| group.fits(piece, &users));
            match twin {
                Some(group) => group.pieces.push(piece),
                None => groups.push(Group {
                    users,
                    pieces: vec![piece],
                }),
            }
        }
    }
    let mut taken = BTreeSet::new();
    groups
        .iter()
        .filter_map(|group| group.origin(manner, &mut taken))
        .collect()
}

pub(super) fn deny(flat: &Flat, manner: &Manner) -> Vec<Drafted<Deny>> {
    let mut taken = BTreeSet::new();
    let entries = flat.denied.iter().filter_map(|denied| {
        let Addresses::Networks(networks) = &denied.addresses else {
            return None;
        };
        let everybody = denied.addresses.covers(&Addresses::everywhere());
        let rule = Deny {
            name: unique(&deny_name(denied), &mut taken).into(),
            line: 0,
            file: None,
            from: if everybody {
                vec![From::Any]
            } else {
                networks.iter().copied().map(From::Network).collect()
            },
            users: match &denied.users {
                NameSet::Only(users) => users.iter().cloned().collect(),
                NameSet::AllBut(_) => Vec::new(),
            },
            certificates: Vec::new(),
        };
        let note = note(manner, [&denied.place], denied.label.as_ref());
        Some(Drafted::noted(rule, note))
    });
    entries.collect()
}

/// Pieces of one origin.
struct Group<'p> {
    users: NameSet,
    pieces: Vec<&'p Piece>,
}

impl Group<'_> {
    fn fits(&self, piece: &Piece, users: &NameSet) -> bool {
        let first = self.pieces.first();
        self.users == *users
            && first.is_some_and(|first| {
                first.label == piece.label
                    && first.proved == piece.proved
                    && first.region.databases == piece.region.databases
                    && first.region.kind == piece.region.kind
                    && first.region.ways == piece.region.ways
            })
    }

    fn origin(&self, manner: &Manner, taken: &mut BTreeSet<String>) -> Option<Drafted<Origin>> {
        let first = self.pieces.first()?;
        let region = &first.region;
        let mut origin = Origin::new(unique(&self.name(first), taken), self.from());
        origin.users = names(&self.users);
        origin.databases = names(&region.databases);
        if let Some(listener) = &manner.listener {
            origin.listeners = Names::Listed(vec![listener.clone()]);
        }
        if let (true, NameSet::Only(users)) = (first.proved, &self.users) {
            origin.proof = Some(Proof {
                cn: users.first().cloned(),
                ..Proof::default()
            });
        }
        if region.kind == Kind::Replication {
            origin.replication = Some(Replication::Physical);
        }
        if manner.clear && region.ways == Ways::TLS {
            origin.tls_min = Some(TlsVersion::V1_2);
        }
        let places = self.pieces.iter().map(|piece| &piece.place);
        let note = note(manner, places, first.label.as_ref());
        Some(Drafted::noted(origin, note))
    }

    /// What the list called it, else who it is for, else where it stands.
    fn name(&self, first: &Piece) -> String {
        if let Some(label) = &first.label {
            return label.text().to_owned();
        }
        let some = |names: &NameSet| match names {
            NameSet::Only(names) => match names.len() {
                0 => None,
                1 | 2 => Some(names.iter().cloned().collect::<Vec<_>>().join("-")),
                more => names
                    .first()
                    .map(|name| format!("{name}-and-{}-more", more - 1)),
            },
            NameSet::AllBut(_) => None,
        };
        let purpose = match first.region.kind {
            Kind::Ordinary => some(&first.region.databases),
            Kind::Replication => Some("replication".to_owned()),
        };
        match (some(&self.users), purpose) {
            (Some(users), Some(purpose)) if users != purpose => format!("{users}-{purpose}"),
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => format!("line-{}", first.place.line.unwrap_or_default()),
        }
    }

    /// The addresses of all pieces, none of which another holds as well.
    fn from(&self) -> Vec<From> {
        let mut networks: Vec<IpNet> = Vec::new();
        let mut hosts: Vec<&str> = Vec::new();
        for piece in &self.pieces {
            match &piece.region.addresses {
                Addresses::Networks(more) => networks.extend(more),
                Addresses::Host { name, .. } if hosts.contains(&name.as_str()) => {}
                Addresses::Host { name, .. } => hosts.push(name),
            }
        }
        let everywhere = Addresses::Networks(networks.clone()).covers(&Addresses::everywhere());
        if everywhere {
            return vec![From::Any];
        }
        let mut sorted = networks.clone();
        // what holds others comes before them
        sorted.sort();
        sorted.dedup();
        let mut last: Option<IpNet> = None;
        sorted.retain(|network| {
            let held = last.is_some_and(|wide| wide.contains(network));
            if !held {
                last = Some(*network);
            }
            !held
        });
        let hosts = hosts.into_iter().map(|name| From::Host {
            name: name.into(),
            inward: false,
        });
        sorted.into_iter().map(From::Network).chain(hosts).collect()
    }
}

fn deny_name(denied: &Denied) -> String {
    match (&denied.label, denied.place.line) {
        (Some(label), _) => format!("not-{}", label.text()),
        (None, Some(line)) => format!("rejected-by-line-{line}"),
        (None, None) => format!("rejected-by-{}", denied.place.source),
    }
}

fn names(names: &NameSet) -> Names {
    match names {
        NameSet::Only(names) => Names::Listed(names.iter().cloned().collect()),
        NameSet::AllBut(_) => Names::Any,
    }
}

/// `imported from pg_hba.conf, lines 3, 7: Amsterdam`.
fn note<'p>(
    manner: &Manner,
    places: impl IntoIterator<Item = &'p Place>,
    label: Option<&Label>,
) -> String {
    let mut lines: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for place in places {
        let lines = lines.entry(&place.source).or_default();
        lines.extend(place.line);
    }
    let mut parts = vec![format!("imported from {}", manner.source)];
    for (source, lines) in lines.iter().take(MAX_NOTED) {
        if *source != manner.source {
            parts.push((*source).to_owned());
        }
        let plural = if lines.len() == 1 { "" } else { "s" };
        let mut numbers: Vec<_> = lines.iter().take(MAX_NOTED).map(u32::to_string).collect();
        let more = lines.len() - numbers.len();
        if more > 0 {
            numbers.push(format!("and {more} more"));
        }
        if !numbers.is_empty() {
            parts.push(format!("line{plural} {}", numbers.join(", ")));
        }
    }
    let mut text = parts.join(", ");
    if let Some(Label::Words(words)) = label {
        text.push_str(": ");
        text.extend(words.chars().take(MAX_LABEL));
    }
    text
}

/// A name as the file takes it that nothing else has.
fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut slug = String::new();
    for c in name.chars().take(MAX_NAME) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    let slug = if slug.is_empty() { "origin" } else { slug };
    let numbered = (2..).map(|number: u32| format!("{slug}-{number}"));
    let mut names = std::iter::once(slug.to_owned()).chain(numbered);
    let free = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(free.clone());
    free
}

/// Lines, and files, that a note names.
const MAX_NOTED: usize = 8;

/// Characters of a list's own words in a note.
const MAX_LABEL: usize = 120;

/// Leaves room for a number within the 63 that a name may have.
const MAX_NAME: usize = 52;
