//! A list in which the first match decides becomes origins, of which any may decide. Floor 5: pure.
//!
//! What an earlier rule refuses is taken away from what later ones admit, or denied where that means the same. What can be
//! said in neither way stops the import: an origin that admits more than the list did would be worse than none.

use std::collections::BTreeSet;

use super::{
    region::{Addresses, Kind, NameSet, Region, Ways},
    rule::{Label, Place, Remark, Rule, Verdict},
};

/// What is left of a list.
#[derive(Debug, Default)]
pub(super) struct Flat {
    pub(super) admitted: Vec<Piece>,
    pub(super) denied: Vec<Denied>,
    pub(super) remarks: Vec<Remark>,
}

/// A part of a rule that admits.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) region: Region,
    /// Only with a certificate whose common name is the user.
    pub(super) proved: bool,
    pub(super) place: Place,
    pub(super) label: Option<Label>,
}

/// A refusal that is carried as such: of addresses and users, whatever else they ask for.
#[derive(Clone, Debug)]
pub(super) struct Denied {
    pub(super) addresses: Addresses,
    pub(super) users: NameSet,
    pub(super) place: Place,
    pub(super) label: Option<Label>,
}

/// `protected` are the users that "any user" never covers.
pub(super) fn flatten(rules: &[Rule], protected: &BTreeSet<String>) -> Flat {
    let mut flat = Flat::default();
    let welcome: Vec<_> = rules
        .iter()
        .map(|rule| welcome(rule, protected, &mut flat.remarks))
        .collect();
    let mut work = Work {
        rules,
        welcome,
        protected,
        blockers: Vec::new(),
        flat,
    };
    for index in 0..rules.len() {
        work.next(index);
    }
    work.flat
}

/// The regions of a rule that an origin may admit at all.
fn welcome(rule: &Rule, protected: &BTreeSet<String>, remarks: &mut Vec<Remark>) -> Vec<Region> {
    if !rule.verdict.admits() {
        return Vec::new();
    }
    let proved = rule.verdict == Verdict::AdmitProved;
    let mut said = None;
    let mut regions = Vec::new();
    for region in &rule.sure {
        match unwelcome(region, proved, protected) {
            None => regions.push(region.clone()),
            Some(why) => said = Some(why),
        }
    }
    remarks.extend(said.map(|why| Remark::left_out(&rule.place, why)));
    regions
}

fn unwelcome(region: &Region, proved: bool, protected: &BTreeSet<String>) -> Option<String> {
    let wide = |network: &&ipnet::IpNet| {
        let widest = if network.addr().is_ipv4() { 8 } else { 24 };
        network.prefix_len() < widest
    };
    match &region.addresses {
        Addresses::Networks(networks) if !proved => {
            let wide = networks.iter().find(wide)?;
            Some(format!(
                "{wide} is too wide for an origin without a proof of identity: name the networks that clients come from, or give them certificates (`doorward cert`)"
            ))
        }
        Addresses::Host { name, .. } if !proved => {
            let user = match &region.users {
                NameSet::Only(users) => users.intersection(protected).next()?,
                NameSet::AllBut(_) => return None,
            };
            Some(format!(
                "`{user}` is a protected user, and what addresses {name} has is for DNS to say: that takes a proof of identity"
            ))
        }
        Addresses::Networks(_) | Addresses::Host { .. } => None,
    }
}

struct Work<'r> {
    rules: &'r [Rule],
    /// Beside the rules.
    welcome: Vec<Vec<Region>>,
    protected: &'r BTreeSet<String>,
    /// The rules so far whose connections no later rule may admit.
    blockers: Vec<&'r Rule>,
    flat: Flat,
}

impl<'r> Work<'r> {
    fn next(&mut self, index: usize) {
        let Some(rule) = self.rules.get(index) else {
            return;
        };
        if let Some(first) = self.hidden_by(index) {
            let place = &first.place;
            let remark = if first.in_clear || !rule.in_clear {
                Remark::note(
                    &rule.place,
                    format!("is never reached: {place} matches first"),
                )
            } else {
                let text = format!(
                    "{place} matches encrypted connections first; what is left of it is in clear, and origins ask for TLS"
                );
                if rule.verdict.admits() {
                    Remark::left_out(&rule.place, text)
                } else {
                    Remark::note(&rule.place, text)
                }
            };
            self.flat.remarks.push(remark);
            return;
        }
        match rule.verdict {
            Verdict::Refuse => self.refuse(rule, index),
            Verdict::Unknown => self.blockers.push(rule),
            Verdict::Admit | Verdict::AdmitProved => {
                self.admit(rule, index);
                if rule.verdict == Verdict::AdmitProved {
                    self.blockers.push(rule);
                }
            }
        }
    }

    /// An earlier rule that leaves this one nothing of what is carried: where there is one, also nothing in clear.
    fn hidden_by(&self, index: usize) -> Option<&'r Rule> {
        let rule = self.rules.get(index)?;
        if rule.most().is_empty() {
            return None;
        }
        let covered = |(earlier, welcome): &(&Rule, &Vec<Region>)| {
            // of what admits everybody and cannot be carried, the narrower rules below it are worth having
            let carried = earlier.verdict != Verdict::Admit || !welcome.is_empty();
            let mut regions = rule.most().iter();
            carried && regions.all(|region| earlier.sure.iter().any(|wide| wide.covers(region)))
        };
        let earlier = self.rules.get(..index)?.iter().zip(&self.welcome);
        let hiding = earlier.filter(covered).map(|(earlier, _)| earlier);
        let mut hiding: Vec<_> = hiding.collect();
        hiding.sort_by_key(|earlier| rule.in_clear && !earlier.in_clear);
        hiding.first().copied()
    }

    fn later(&self, index: usize) -> impl Iterator<Item = &Region> {
        self.welcome.iter().skip(index + 1).flatten()
    }

    fn refuse(&mut self, rule: &'r Rule, index: usize) {
        if !self.later(index).any(|region| rule.may_meet(region)) {
            let text = "needs no entry: no later rule admits what it refuses";
            self.flat.remarks.push(Remark::note(&rule.place, text));
        } else if self.can_be_denied(rule, index) {
            for region in &rule.sure {
                let twin = self.flat.denied.last().is_some_and(|last| {
                    last.place == rule.place
                        && last.addresses == region.addresses
                        && last.users == region.users
                });
                if !twin {
                    self.flat.denied.push(Denied {
                        addresses: region.addresses.clone(),
                        users: region.users.clone(),
                        place: rule.place.clone(),
                        label: rule.label.clone(),
                    });
                }
            }
        } else {
            self.blockers.push(rule);
        }
    }

    /// Whether denying its addresses and users refuses nobody whom the list admits: a denial knows no database, comes before
    /// every origin, and beats those of earlier rules, too.
    fn can_be_denied(&self, rule: &Rule, index: usize) -> bool {
        rule.unsure.is_none()
            && rule.sure.iter().all(|region| {
                let speaks = match &region.users {
                    NameSet::Only(users) => !users.contains("any"),
                    NameSet::AllBut(but) => but.is_empty(),
                };
                let wide = |kind| Region {
                    databases: NameSet::all(),
                    ways: Ways::ALL,
                    kind,
                    ..region.clone()
                };
                let wide = [wide(Kind::Ordinary), wide(Kind::Replication)];
                let hits = |other: &Region| wide.iter().any(|wide| wide.meets(other));
                let meant = |other: &Region| {
                    rule.sure.iter().any(|own| {
                        let whole = Region {
                            databases: other.databases.clone(),
                            ways: other.ways,
                            kind: other.kind,
                            ..region.clone()
                        };
                        own.covers(&whole)
                    })
                };
                speaks
                    && !self.flat.admitted.iter().any(|piece| hits(&piece.region))
                    && self.later(index).all(|later| !hits(later) || meant(later))
            })
    }

    fn admit(&mut self, rule: &'r Rule, index: usize) {
        let blockers: Vec<_> = self
            .blockers
            .iter()
            .copied()
            // who proves the same is let in by either
            .filter(|blocker| !blocker.verdict.admits() || blocker.verdict != rule.verdict)
            .collect();
        let regions = self.welcome.get(index).cloned().unwrap_or_default();
        let mut stops: BTreeSet<(Place, String)> = BTreeSet::new();
        let mut left = Vec::new();
        for region in regions {
            let mut pieces = vec![Shard { region, by: None }];
            for blocker in &blockers {
                pieces = pieces
                    .into_iter()
                    .flat_map(|piece| piece.without(blocker, self.protected))
                    .collect();
                prune(&mut pieces);
                if pieces.len() > MAX_PIECES {
                    let text = "together they leave too many pieces".to_owned();
                    stops.insert((blocker.place.clone(), text));
                    break;
                }
                let unsure = blocker.unsure.as_ref().filter(|unsure| {
                    let mut most = unsure.most.iter();
                    most.any(|most| pieces.iter().any(|piece| piece.region.meets(most)))
                });
                stops.extend(unsure.map(|unsure| (blocker.place.clone(), unsure.why.clone())));
            }
            for piece in pieces {
                match (unspeakable(&piece.region, self.protected), piece.by) {
                    (Some(why), Some(by)) => {
                        stops.insert((by.clone(), why));
                    }
                    (Some(why), None) => {
                        let remark = Remark::left_out(&rule.place, why);
                        self.flat.remarks.push(remark);
                    }
                    (None, _) => left.push(piece.region),
                }
            }
        }
        for (place, why) in stops {
            let text = format!(
                "the first decides over a part of what the second admits, and the rest of it cannot be said in origins: {why}"
            );
            let remark = Remark::stopped(&[&place, &rule.place], text);
            self.flat.remarks.push(remark);
        }
        self.flat
            .admitted
            .extend(left.into_iter().map(|region| Piece {
                region,
                proved: rule.verdict == Verdict::AdmitProved,
                place: rule.place.clone(),
                label: rule.label.clone(),
            }));
    }
}

/// A part of a region, and the rule that first made something of it that no origin can say.
struct Shard<'r> {
    region: Region,
    by: Option<&'r Place>,
}

impl<'r> Shard<'r> {
    fn without(self, blocker: &'r Rule, protected: &BTreeSet<String>) -> Vec<Self> {
        let mut left = vec![self];
        for taken in &blocker.sure {
            left = left
                .into_iter()
                .flat_map(|shard| {
                    let rest = shard.region.without(taken);
                    rest.into_iter().map(move |region| {
                        let own = || unspeakable(&region, protected).map(|_why| &blocker.place);
                        Self {
                            by: shard.by.or_else(own),
                            region,
                        }
                    })
                })
                .collect();
        }
        left
    }
}

/// Leaves out what another piece holds as well.
fn prune(pieces: &mut Vec<Shard<'_>>) {
    let mut kept: Vec<Shard<'_>> = Vec::with_capacity(pieces.len());
    for piece in pieces.drain(..) {
        if kept.iter().any(|other| other.region.covers(&piece.region)) {
            continue;
        }
        kept.retain(|other| !piece.region.covers(&other.region));
        kept.push(piece);
    }
    *pieces = kept;
}

/// Why no origin can speak of exactly this.
fn unspeakable(region: &Region, protected: &BTreeSet<String>) -> Option<String> {
    let listed = |names: &BTreeSet<String>| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let word = |names: &NameSet| matches!(names, NameSet::Only(names) if names.contains("any"));
    if word(&region.users) || word(&region.databases) {
        return Some(
            "a user or database that is called `any`, a word for everybody here".to_owned(),
        );
    }
    if let NameSet::AllBut(but) = &region.users
        && !but.is_subset(protected)
    {
        return Some(format!("every user but {}", listed(but)));
    }
    if let NameSet::AllBut(but) = &region.databases
        && !but.is_empty()
    {
        return Some(format!("every database but {}", listed(but)));
    }
    if !region.ways.tls {
        return Some("connections in clear only".to_owned());
    }
    match &region.addresses {
        Addresses::Host { name, but } if !but.is_empty() => Some(format!(
            "the addresses of {name}, but none in certain networks"
        )),
        Addresses::Networks(_) | Addresses::Host { .. } => None,
    }
}

/// Parts of one rule.
const MAX_PIECES: usize = 1_000;
