//! The table of keys as a JSON Schema (2020-12), by which editors complete an allowlist. Floor 1.
//!
//! It knows names, shapes and words. What must hold between values is the loader's: `doorward check` has the last word.

use serde_json::{Map, Value, json};

use super::{
    keys::TOP,
    raw::{Kind, Node},
    walk::{Absent, Key, Schema, Shape},
};

/// The schema of the file.
pub fn json_schema() -> Value {
    let mut schema = object(&TOP);
    for (key, text) in [
        ("$schema", "https://json-schema.org/draft/2020-12/schema"),
        ("title", "The allowlist of doorward"),
    ] {
        schema.insert(key.to_owned(), text.into());
    }
    Value::Object(schema)
}

fn object(schema: &Schema) -> Map<String, Value> {
    let properties = schema.keys.iter();
    let properties = properties.map(|key| (key.name.to_owned(), property(key)));
    let obligatory = schema
        .keys
        .iter()
        .filter(|key| matches!(key.absent, Absent::Never));
    let obligatory: Vec<_> = obligatory.map(|key| key.name).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), "object".into());
    object.insert("additionalProperties".to_owned(), false.into());
    object.insert("properties".to_owned(), Value::Object(properties.collect()));
    if !obligatory.is_empty() {
        object.insert("required".to_owned(), obligatory.into());
    }
    object
}

fn property(key: &Key) -> Value {
    let mut property = value(key.shape);
    let doc = match key.absent {
        Absent::Never | Absent::Value(_) => key.doc.to_owned(),
        Absent::Means(what) => format!("{}. Absent: {what}", key.doc),
    };
    property.insert("description".to_owned(), doc.into());
    if let Absent::Value(text) = key.absent {
        property.insert("default".to_owned(), default(key.shape, text));
    }
    Value::Object(property)
}

fn value(shape: Shape) -> Map<String, Value> {
    let value = match shape {
        // a scalar means what is written, whatever YAML takes it for
        Shape::Text | Shape::Name | Shape::Host => json!({"type": ["string", "number", "boolean"]}),
        Shape::Label => json!({"type": ["string", "integer"], "pattern": "^[a-z0-9-]{1,63}$"}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Count => json!({"type": "integer", "minimum": 1, "maximum": u32::MAX}),
        Shape::Duration => text("^[0-9]+(us|ms|s|m|h)$"),
        Shape::Rate => text("^[0-9]+/s$"),
        Shape::Time => json!({"type": "string", "format": "date-time"}),
        Shape::Path => text("^/"),
        Shape::Address => text("^[0-9A-Fa-f:.]+$"),
        Shape::Network => text("^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"),
        Shape::Socket => text("^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$"),
        Shape::Sha256 => text("^(sha256:)?([0-9A-Fa-f]{2}:?){32}$"),
        Shape::Words(words) => {
            let words: Vec<_> = words.iter().flat_map(|word| spellings(word)).collect();
            json!({"enum": words})
        }
        Shape::List(item) => json!({"type": "array", "items": value(*item)}),
        Shape::Map(schema) => Value::Object(object(schema)),
        Shape::Named(schema) => json!({
            "type": "object",
            "propertyNames": {"pattern": "^[a-z0-9-]{1,63}$"},
            "additionalProperties": object(schema),
        }),
        Shape::Either(shapes) => {
            let shapes: Vec<_> = shapes.iter().map(|shape| value(*shape)).collect();
            json!({"anyOf": shapes})
        }
    };
    value.as_object().cloned().unwrap_or_default()
}

fn text(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// A word as YAML hands it over: without quotes `true` is no text, nor is `1.2`.
fn spellings(word: &str) -> Vec<Value> {
    match word {
        "true" => vec![true.into()],
        "false" => vec![false.into()],
        _ => {
            let number = word.parse::<serde_json::Number>().ok().map(Value::Number);
            number.into_iter().chain([word.into()]).collect()
        }
    }
}

fn default(shape: Shape, text: &str) -> Value {
    match (shape, Node::parse(text, 0).map(|node| node.kind)) {
        (Shape::List(_), Ok(Kind::List(items))) => {
            let texts = items.into_iter().filter_map(|item| match item.kind {
                Kind::Scalar(text) => Some(Value::String(text)),
                Kind::Null | Kind::List(_) | Kind::Map(_) => None,
            });
            texts.collect()
        }
        (Shape::Flag | Shape::Count, _) => {
            serde_json::from_str(text).unwrap_or_else(|_never| text.into())
        }
        _ => text.into(),
    }
}
