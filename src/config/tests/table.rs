//! The table of keys tells the truth.

use serde_json::{Value, json};

use super::*;
use crate::config::{
    json_schema,
    keys::{LISTENER, ORIGIN, ORIGIN_LIMITS},
    walk::Absent,
};

/// `a: 1, b: {c: 2}` of all keys that have a default.
fn defaults(schema: &Schema) -> String {
    let keys = schema
        .keys
        .iter()
        .filter_map(|key| match (key.absent, key.shape) {
            (Absent::Value(text), _) => Some(format!("{}: {text}", key.name)),
            (Absent::Means(_), Shape::Map(schema)) => {
                let whole = schema
                    .keys
                    .iter()
                    .all(|key| !matches!(key.absent, Absent::Never));
                let within = defaults(schema);
                (whole && !within.is_empty()).then(|| format!("{}: {{{within}}}", key.name))
            }
            _ => None,
        });
    keys.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_default_of_the_table_is_what_an_absent_key_means() {
    let top = defaults(&TOP).replace("127.0.0.1:9432", "'127.0.0.1:9432'");
    for protocol in ["postgres", "mysql"] {
        let other: &[&str] = match protocol {
            "postgres" => &["MySQL", "MariaDB"],
            _ => &["PostgreSQL"],
        };
        let own = |schema: &Schema| {
            let keys = schema.keys.iter();
            let keys = keys.filter(|key| !other.iter().any(|other| key.doc.starts_with(other)));
            let keys = keys.filter_map(|key| match key.absent {
                Absent::Value(text) => Some(format!(", {}: {text}", key.name)),
                Absent::Never | Absent::Means(_) => None,
            });
            keys.collect::<String>()
        };
        let file = |top: &str, listener: &str, origin: &str| {
            good(&format!(
                "{{version: 1, listeners: [{{name: door, protocol: {protocol}, listen: '127.0.0.1:6432', upstream: /run/db{listener}}}], origins: [{{name: a, from: [10.0.0.1]{origin}}}]{top}}}"
            ))
        };
        let origin = format!("{}, limits: {{{}}}", own(&ORIGIN), defaults(&ORIGIN_LIMITS));
        let bare = file("", "", "");
        let told = file(&format!(", {top}"), &own(&LISTENER), &origin);
        assert_eq!(told.settings, bare.settings);
        assert_eq!(format!("{:#?}", told.rules), format!("{:#?}", bare.rules));
    }
}

#[test]
fn the_schema_knows_every_key_and_asks_for_the_obligatory_ones() {
    let schema = json_schema();
    assert_eq!(schema["required"], json!(["version", "listeners"]));
    let origin = &schema["properties"]["origins"]["items"];
    assert_eq!(origin["required"], json!(["name", "from"]));
    assert_eq!(origin["additionalProperties"], false);
    assert_eq!(
        origin["properties"]["replication"]["enum"],
        json!(["physical", "logical", true])
    );
    assert_eq!(
        schema["properties"]["tls"]["properties"]["min"]["enum"],
        json!([1.2, "1.2", 1.3, "1.3"])
    );
    assert_eq!(
        schema["properties"]["limits"]["properties"]["openings"]["default"],
        4096
    );
    assert_eq!(origin["properties"]["users"]["default"], json!(["any"]));
}

/// Holds a value against what we use of JSON Schema.
fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    let no = || Err(format!("{value} against {schema}"));
    if let Some(shapes) = schema["anyOf"].as_array() {
        return if shapes.iter().any(|shape| fits(shape, value).is_ok()) {
            Ok(())
        } else {
            no()
        };
    }
    if let Some(words) = schema["enum"].as_array() {
        return if words.contains(value) { Ok(()) } else { no() };
    }
    let types = &schema["type"];
    let named = |name: &str| {
        types == name
            || types
                .as_array()
                .is_some_and(|all| all.contains(&name.into()))
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() || named("number") => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !named(is) {
        return no();
    }
    if let Some(items) = value.as_array() {
        return items
            .iter()
            .try_for_each(|item| fits(&schema["items"], item));
    }
    let Some(entries) = value.as_object() else {
        return Ok(());
    };
    for key in schema["required"].as_array().into_iter().flatten() {
        if !entries.contains_key(key.as_str().unwrap()) {
            return Err(format!("{key} is missing in {value}"));
        }
    }
    entries.iter().try_for_each(|(key, value)| {
        let own = schema["properties"].get(key);
        let schema = own.unwrap_or_else(|| &schema["additionalProperties"]);
        if schema == &Value::Bool(false) {
            return Err(format!("{key} is unknown"));
        }
        fits(schema, value)
    })
}

#[test]
fn the_example_fits_the_schema_and_a_mistyped_key_does_not() {
    let text = include_str!("../../../allowlist.example.yaml");
    let options = serde_saphyr::options! { strict_booleans: true };
    let example: Value = serde_saphyr::from_str_with_options(text, options).unwrap();
    fits(&json_schema(), &example).unwrap();
    let mut mistyped = example;
    mistyped["origins"][0]["form"] = json!([]);
    assert!(fits(&json_schema(), &mistyped).is_err());
}

#[test]
fn the_example_leads_editors_to_the_schema() {
    let text = include_str!("../../../allowlist.example.yaml");
    let first = text.lines().next();
    assert_eq!(
        first,
        Some("# yaml-language-server: $schema=deploy/allowlist.schema.json")
    );
}
