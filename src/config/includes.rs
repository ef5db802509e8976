//! `include`: further files with rules. Floor 1.
//!
//! They hold `origins` and `deny` and nothing else: what is behind the gateway and what holds for everybody stands in one file.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    problems::{Fault, Report},
    raw::{Kind, Node},
    texts::Files,
    walk::{list, scalar, shorten},
};

/// A file that is included.
pub(super) struct Included {
    /// Its name, for people.
    pub(super) name: Arc<str>,
    pub(super) document: Node,
}

/// Reads the files that an allowlist names. `beside` is the allowlist's own path: what is not absolute lies in its folder. Gives the
/// texts, too.
pub(super) fn read(
    document: &Node,
    beside: &Path,
    files: Files<'_>,
    report: &mut Report,
) -> (Vec<Included>, BTreeMap<PathBuf, String>) {
    let (mut included, mut texts) = (Vec::new(), BTreeMap::new());
    let Some(node) = document.entry("include") else {
        return (included, texts);
    };
    let items = list(node, "files", report);
    if items.len() > MAX_INCLUDED {
        let fault = Fault::new(format!("more than {MAX_INCLUDED} files"));
        report.error(&node.at, fault);
    }
    let mut seen = HashSet::new();
    for item in items.iter().take(MAX_INCLUDED) {
        let Some(text) = scalar(item, "a path", report) else {
            continue;
        };
        let Some(path) = report.expect(&item.at, path(text, beside)) else {
            continue;
        };
        if !seen.insert(path.clone()) {
            let fault = Fault::new(format!("`{}` is there twice", shorten(text)));
            report.error(&item.at, fault);
            continue;
        }
        let text = files.include(&path).map_err(|unread| {
            Fault::new(format!("cannot include {}", path.display())).label(unread.to_string())
        });
        let Some(text) = report.expect(&item.at, text) else {
            continue;
        };
        if let Some(file) = parse(&path, &text, report) {
            included.push(file);
        }
        texts.insert(path, text);
    }
    (included, texts)
}

fn parse(path: &Path, text: &str, report: &mut Report) -> Option<Included> {
    let name = path.display().to_string();
    let content = text.strip_prefix('\u{feff}').unwrap_or(text);
    let index = report.add_source(&name, content);
    match Node::parse(content, index) {
        Ok(document) if matches!(document.kind, Kind::Null) => {
            // one that was cut off must not take its deny rules away
            let fault = Fault::new("the file is empty").hint("`origins: []` if that is meant");
            report.error(&document.at, fault);
            None
        }
        Ok(document) => Some(Included {
            name: name.into(),
            document,
        }),
        Err((at, fault)) => {
            report.error(&at, fault);
            None
        }
    }
}

fn path(text: &str, beside: &Path) -> Result<PathBuf, Fault> {
    let fault = || Fault::new(format!("`{}` is not the path of a file", shorten(text)));
    if text.is_empty() || text.contains('\0') {
        return Err(fault());
    }
    if text.contains(['*', '?']) {
        return Err(fault()
            .label("a pattern is none")
            .hint("name the files: which rules hold must not depend on what lies in a folder"));
    }
    let path = beside.parent().unwrap_or_else(|| Path::new("")).join(text);
    if path == beside {
        return Err(fault().label("it is this file"));
    }
    Ok(path)
}

const MAX_INCLUDED: usize = 64;
