//! The tree becomes settings and rules. Floor 1: pure, no clock, no file.

use std::sync::Arc;

use super::{
    Environment, Overrides, daemon,
    everybody::{self, Everybody},
    includes::Included,
    keys::{INCLUDED, TOP},
    layering::Layers,
    listeners::{self, Door},
    named_networks::{self, Network},
    origins::{self, Known, Placed},
    problems::{Fault, Report, Where},
    raw::{Kind, Node},
    rehearsals,
    settings::Settings,
    values,
    walk::{Fields, scalar},
};
use crate::policy::{Deny, Origin, Rehearsal};

/// Everything the file says, with the places that later questions ask for.
pub(super) struct Meaning {
    pub(super) settings: Settings,
    /// Somebody has said where the state directory is.
    pub(super) state_dir_given: bool,
    pub(super) everybody: Everybody,
    pub(super) networks: Vec<Network>,
    pub(super) origins: Vec<Placed<Origin>>,
    /// Where they are, or could be.
    pub(super) origins_at: Where,
    pub(super) deny: Vec<Placed<Deny>>,
    pub(super) tests: Vec<Rehearsal>,
}

/// Reads the whole tree, and the rules of the included files. What it returns is of use only if the report has not failed.
pub(super) fn read(
    document: &Node,
    included: &[Included],
    environment: &Environment,
    flags: &Overrides,
    report: &mut Report,
) -> Option<Meaning> {
    if matches!(document.kind, Kind::Null) {
        report.error(
            &document.at,
            Fault::new("the file is empty").hint("it needs `version: 1` and listeners"),
        );
        return None;
    }
    let top = Fields::read(document, &TOP, report)?;
    if let Some(node) = top.demand("version", report)
        && let Some(text) = scalar(node, "a version", report)
        && text != "1"
    {
        report.error(
            &node.at,
            Fault::new("this version of doorward reads `version: 1` only"),
        );
    }
    let (doors, complete) = top
        .demand("listeners", report)
        .map_or_else(|| (Vec::new(), false), |node| listeners::read(node, report));
    let layers = Layers::new(&top, environment, flags, report);
    let settings = settings((&top, &layers), &doors, environment, report);
    let everybody = everybody::read(&top, settings.limits.drain, report);
    let networks = top
        .get("networks")
        .map_or_else(Vec::new, |node| named_networks::read(node, report));
    let known = Known {
        listeners: complete.then_some(&settings.listeners),
        networks: Some(&networks),
        protected_users: &everybody.protected_users,
    };
    let (origins, deny) = rules(&top, included, known, report);
    let tests = top.get("tests").map_or_else(Vec::new, |node| {
        rehearsals::read(node, known.listeners, report)
    });
    Some(Meaning {
        everybody,
        networks,
        origins,
        origins_at: top.place("origins").clone(),
        deny,
        tests,
        settings,
        state_dir_given: layers.place("state_dir").is_some(),
    })
}

fn settings(
    (top, layers): (&Fields<'_>, &Layers),
    doors: &[Door],
    environment: &Environment,
    report: &mut Report,
) -> Settings {
    let state_dir = layers
        .read("state_dir", report, values::path)
        .unwrap_or_else(|| environment.state_dir());
    Settings {
        listeners: doors
            .iter()
            .map(|door| Arc::clone(&door.listener))
            .collect(),
        tls: daemon::tls(top, report),
        admin: daemon::admin(layers, environment, doors, report),
        state_dir,
        limits: daemon::limits(layers, report),
        log: daemon::log(layers, report),
        audit: daemon::audit(layers, report),
        metrics: daemon::metrics(layers, report),
        distances: daemon::distances(top, report),
        resolver: daemon::resolver(top, layers, report),
    }
}

type Rules = (Vec<Placed<Origin>>, Vec<Placed<Deny>>);

/// The rules of the file, and after them those of the included ones.
fn rules(top: &Fields<'_>, included: &[Included], known: Known<'_>, report: &mut Report) -> Rules {
    let (mut origins, mut deny) = (Vec::new(), Vec::new());
    let mut of = |fields: &Fields<'_>, file: Option<&Arc<str>>, report: &mut Report| {
        if let Some(node) = fields.get("origins") {
            origins.extend(origins::origins(node, file, known, report));
        }
        if let Some(node) = fields.get("deny") {
            deny.extend(origins::deny(node, file, known, report));
        }
    };
    of(top, None, report);
    for file in included {
        if let Some(fields) = Fields::read(&file.document, &INCLUDED, report) {
            of(&fields, Some(&file.name), report);
        }
    }
    origins::unlike(&origins, &deny, report);
    (origins, deny)
}
