//! `doorward run` without a file: the same tree, built from flags, so that the same rules read it. Floor 1.

use super::{
    FlagListener,
    raw::{Kind, Node},
};

/// The allowlist that the flags mean: one listener, and one origin for all that `--allow` names.
pub(super) fn document(run: &FlagListener) -> Node {
    let scalar = |flag: &str, text: &str| Node::given(flag, Kind::Scalar(text.to_owned()));
    let texts = |flag: &str, texts: &[String]| {
        Node::given(
            flag,
            Kind::List(texts.iter().map(|text| scalar(flag, text)).collect()),
        )
    };
    let map = |flag: &str, entries: Vec<(&str, Node)>| {
        let keyed = entries
            .into_iter()
            .map(|(key, value)| (scalar(flag, key), value));
        Node::given(flag, Kind::Map(keyed.collect()))
    };
    let listener = map(
        LISTEN,
        vec![
            ("name", scalar(PROTOCOL, &run.protocol)),
            ("protocol", scalar(PROTOCOL, &run.protocol)),
            ("listen", texts(LISTEN, &run.listen)),
            ("upstream", scalar(UPSTREAM, &run.upstream)),
        ],
    );
    let origin = map(
        ALLOW,
        vec![
            ("name", scalar(ALLOW, "allow")),
            ("from", texts(ALLOW, &run.allow)),
        ],
    );
    let origins = if run.allow.is_empty() {
        vec![]
    } else {
        vec![origin]
    };
    map(
        LISTEN,
        vec![
            ("version", scalar(LISTEN, "1")),
            ("listeners", Node::given(LISTEN, Kind::List(vec![listener]))),
            ("origins", Node::given(ALLOW, Kind::List(origins))),
        ],
    )
}

const PROTOCOL: &str = "--protocol";
const UPSTREAM: &str = "--upstream";
const LISTEN: &str = "--listen";
const ALLOW: &str = "--allow";
