//! Single-valued settings from three places: the file, the environment over it, the command line over both. Floor 1.
//!
//! Only single values go through here: the policy, lists and maps come from the file alone.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::{
    Environment, Overrides,
    keys::{ADMIN, AUDIT, LIMITS, LOG, METRICS, RESOLVER, TOP},
    problems::{Fault, Report, Where},
    raw::Node,
    walk::{Fields, Key, Schema, nearest, scalar},
};

/// The settings that can be layered, as `section.key`.
fn layered() -> impl Iterator<Item = String> {
    let single = |keys: &'static [Key]| keys.iter().filter(|key| key.shape.is_single());
    let own = single(TOP.keys).filter(|key| key.name == STATE_DIR);
    let own = own.map(|key| key.name.to_owned());
    let sections = SECTIONS.iter().flat_map(move |(section, schema)| {
        single(schema.keys).map(move |key| format!("{section}.{}", key.name))
    });
    own.chain(sections)
}

/// The merged settings, each still text, each with the place it came from.
pub(super) struct Layers {
    merged: config::Config,
    origins: BTreeMap<String, Where>,
}

impl Layers {
    /// Merges. `top` is the file's outermost mapping.
    pub(super) fn new(
        top: &Fields<'_>,
        environment: &Environment,
        flags: &Overrides,
        report: &mut Report,
    ) -> Self {
        let mut origins = BTreeMap::new();
        let file = of_file(top, &mut origins, report);
        let variables = of_environment(environment, &mut origins, report);
        let given = of_flags(flags, &mut origins);
        let merged = merge(&file, variables, given).unwrap_or_else(|error| {
            let fault = Fault::new("the settings cannot be layered").label(error.to_string());
            report.error(top.at(), fault);
            config::Config::default()
        });
        Self { merged, origins }
    }

    /// Reads one setting by `parse`. `None` when nobody gives it, and when its fault is reported.
    pub(super) fn read<T>(
        &self,
        key: &str,
        report: &mut Report,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let at = self.origins.get(key)?;
        let text = self.merged.get_string(key).ok()?;
        report.expect(at, parse(&text))
    }

    /// Whoever gave the setting.
    pub(super) fn place(&self, key: &str) -> Option<&Where> {
        self.origins.get(key)
    }
}

fn merge(
    file: &Value,
    variables: HashMap<String, String>,
    given: Vec<(&'static str, String)>,
) -> Result<config::Config, config::ConfigError> {
    let environment = config::Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(variables));
    let mut builder = config::Config::builder()
        .add_source(config::Config::try_from(file)?)
        .add_source(environment);
    for (key, text) in given {
        builder = builder.set_override(key, text)?;
    }
    builder.build()
}

fn of_file(top: &Fields<'_>, origins: &mut BTreeMap<String, Where>, report: &mut Report) -> Value {
    let sections: BTreeMap<_, _> = SECTIONS
        .iter()
        .filter_map(|(section, schema)| {
            let fields = Fields::read(top.get(section)?, schema, report)?;
            Some((*section, fields))
        })
        .collect();
    let mut tree = Map::new();
    for path in layered() {
        let node: Option<&Node> = match path.split_once('.') {
            None => top.get(&path),
            Some((section, key)) => sections.get(section).and_then(|fields| fields.get(key)),
        };
        let Some(node) = node else { continue };
        let Some(text) = scalar(node, "a single value", report) else {
            continue;
        };
        let text = Value::String(text.to_owned());
        match path.split_once('.') {
            None => {
                tree.insert(path.clone(), text);
            }
            Some((section, key)) => {
                let section = tree
                    .entry(section)
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(section) = section {
                    section.insert(key.to_owned(), text);
                }
            }
        }
        origins.insert(path, node.at.clone());
    }
    Value::Object(tree)
}

/// Our variables of the environment. One that means nothing is an error: it was written to have an effect.
fn of_environment(
    environment: &Environment,
    origins: &mut BTreeMap<String, Where>,
    report: &mut Report,
) -> HashMap<String, String> {
    let known: Vec<_> = layered().collect();
    let mut ours = HashMap::new();
    for (name, text) in environment.variables() {
        let Some(key) = name
            .strip_prefix(PREFIX)
            .and_then(|n| n.strip_prefix(SEPARATOR))
        else {
            continue;
        };
        let path = key.to_lowercase().replace(SEPARATOR, ".");
        let at = Where::Given(name.as_str().into());
        match known.contains(&path) {
            // set to nothing is how a service file takes a variable back
            true if text.is_empty() => {}
            true => {
                origins.insert(path, at);
                ours.insert(name.clone(), text.clone());
            }
            false => {
                let fault = Fault::new(format!("there is no setting `{path}` for the environment"));
                report.error(
                    &at,
                    match nearest(&path, known.iter().map(String::as_str)) {
                        Some(meant) => fault.hint(format!("did you mean {}?", variable(meant))),
                        None => fault.hint(
                            "single values of admin, audit, limits, log, metrics, resolver and state_dir; the policy comes only from the file",
                        ),
                    },
                );
            }
        }
    }
    ours
}

fn of_flags(
    flags: &Overrides,
    origins: &mut BTreeMap<String, Where>,
) -> Vec<(&'static str, String)> {
    let path = |path: &Option<std::path::PathBuf>| {
        let path = path.as_ref()?;
        // a path that was typed means the folder it was typed in
        let path = std::path::absolute(path).unwrap_or_else(|_no_folder| path.clone());
        Some(path.to_string_lossy().into_owned())
    };
    [
        ("admin.http", "--admin-http", flags.admin_http.clone()),
        ("admin.socket", "--admin-socket", path(&flags.admin_socket)),
        ("state_dir", "--state-dir", path(&flags.state_dir)),
        ("log.format", "--log-format", flags.log_format.clone()),
        ("log.level", "--log-level", flags.log_level.clone()),
    ]
    .into_iter()
    .filter_map(|(key, flag, text)| {
        let text = text?;
        origins.insert(key.to_owned(), Where::Given(flag.into()));
        Some((key, text))
    })
    .collect()
}

fn variable(key: &str) -> String {
    format!(
        "{PREFIX}{SEPARATOR}{}",
        key.to_uppercase().replace('.', SEPARATOR)
    )
}

const SECTIONS: [(&str, &Schema); 6] = [
    ("admin", &ADMIN),
    ("limits", &LIMITS),
    ("log", &LOG),
    ("metrics", &METRICS),
    ("resolver", &RESOLVER),
    ("audit", &AUDIT),
];

const STATE_DIR: &str = "state_dir";
const PREFIX: &str = "DOORWARD";
const SEPARATOR: &str = "__";
