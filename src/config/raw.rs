//! YAML text to a tree of nodes that know their places. Floor 1.
//!
//! serde only, and lenient: every scalar is kept as it is written (`007`, `010.0.0.1`, `yes`), every key stays, twice
//! if it is there twice. What it means, and all that is wrong with it, is found by walking the tree.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    Error, Options, Spanned, budget,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};

use super::problems::{Fault, FileIndex, Span, Where};

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// One value of the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Where,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar as it is written; of a quoted one what the quotes hold.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file; a key may be there twice.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Parses a whole file, the one of this index.
    ///
    /// # Errors
    /// The text is no YAML, or beyond the bounds below.
    pub(super) fn parse(text: &str, file: FileIndex) -> Result<Self, (Where, Fault)> {
        let parsed: Result<Shape, _> = serde_saphyr::from_str_with_options(text, options());
        parsed
            .map(|shape| shape.settle(text, file))
            .map_err(|error| fault(&error, file))
    }

    /// A value that does not come from a file but from a flag.
    pub(super) fn given(flag: &str, kind: Kind) -> Self {
        Self {
            at: Where::Given(flag.into()),
            kind,
        }
    }

    /// The value of a mapping's key, where it has one.
    pub(super) fn entry(&self, name: &str) -> Option<&Self> {
        let Kind::Map(entries) = &self.kind else {
            return None;
        };
        let mut entries = entries.iter();
        let found =
            entries.find(|(key, _)| matches!(&key.kind, Kind::Scalar(text) if text == name));
        found.map(|(_, value)| value)
    }

    pub(super) const fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}

/// What serde hands over: a node whose plain scalars are still to be cut out of the text, because YAML has already
/// made numbers of them.
struct Shape {
    at: Span,
    bytes: Option<std::ops::Range<usize>>,
    form: Form,
}

enum Form {
    Null,
    Typed,
    Text(String),
    List(Vec<Shape>),
    Map(Vec<(Shape, Shape)>),
}

impl Shape {
    fn settle(self, text: &str, file: FileIndex) -> Node {
        let kind = match self.form {
            Form::Null => Kind::Null,
            Form::Typed => Kind::Scalar(
                self.bytes
                    .and_then(|range| text.get(range))
                    .unwrap_or_default()
                    .to_owned(),
            ),
            Form::Text(value) => Kind::Scalar(value),
            Form::List(items) => Kind::List(
                items
                    .into_iter()
                    .map(|item| item.settle(text, file))
                    .collect(),
            ),
            Form::Map(entries) => Kind::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.settle(text, file), value.settle(text, file)))
                    .collect(),
            ),
        };
        Node {
            at: Where::File(Span { file, ..self.at }),
            kind,
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Form>::deserialize(deserializer)?;
        let (at, bytes) = (span(spanned.defined), spanned.defined.span());
        let range = bytes.byte_offset().zip(bytes.byte_len());
        Ok(Self {
            at,
            bytes: range.and_then(|(start, len)| {
                let start = usize::try_from(start).ok()?;
                Some(start..start.checked_add(usize::try_from(len).ok()?)?)
            }),
            form: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm)
    }
}

struct AnyForm;

impl<'de> Visitor<'de> for AnyForm {
    type Value = Form;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Form, E> {
        Ok(Form::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Form, E> {
        Ok(Form::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Form, E> {
        Ok(Form::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Form, E> {
        Ok(Form::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Form, E> {
        Ok(Form::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Form, E> {
        Ok(Form::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Form, E> {
        Ok(Form::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<Form, E> {
        Ok(Form::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Form, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Form::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Form, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Form::Map(map))
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        budget: budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_anchors: 256,
            max_aliases: 1024,
            max_nodes: 250_000,
            max_total_scalar_bytes: 4 * MAX_FILE,
        },
    }
}

fn fault(error: &Error, file: FileIndex) -> (Where, Fault) {
    let error = error.without_snippet();
    let at = error.location().map_or(Span::START, span);
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    // an alias error comes wrapped, so that only its words tell
    let too_much = matches!(error, Error::Budget { .. }) || said.contains("limit exceeded");
    let fault = if too_much {
        Fault::new("the file is too deep or too large")
            .label(said)
            .hint("an allowlist nests a handful of levels, and anchors are not for multiplying")
    } else if matches!(error, Error::MultipleDocuments { .. }) {
        Fault::new("there is more than one document in the file").hint("remove the `---`")
    } else {
        Fault::new("this is not YAML").label(said)
    };
    (Where::File(Span { file, ..at }), fault)
}

fn span(location: serde_saphyr::Location) -> Span {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
    Span {
        file: 0,
        line: number(location.line()),
        column: number(location.column()),
        width: number(location.span().len()),
    }
}

const MAX_DEPTH: usize = 16;
