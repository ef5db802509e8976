//! The rules of another list as every format gives them, and what is to be said about carrying them over. Floor 5: pure.

use std::{fmt, sync::Arc};

use serde_json::{Value, json};

use super::region::Region;
use crate::policy::is_unseen;

/// One rule of a list in which the first that matches decides.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) place: Place,
    pub(super) verdict: Verdict,
    /// What it surely speaks of.
    pub(super) sure: Vec<Region>,
    /// It speaks of connections in clear, too, which are refused from now on: its regions are without them.
    pub(super) in_clear: bool,
    /// Where that cannot be known here: all that it may speak of, and why.
    pub(super) unsure: Option<Unsure>,
    pub(super) label: Option<Label>,
}

/// What a rule is called, where the list knows a name; becomes that of its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Somebody's own words for it: worth a note.
    Words(String),
    /// By what it belongs to.
    Kind(String),
}

impl Label {
    /// The words, where there are some.
    pub(super) fn of(words: &str, kind: &str) -> Self {
        if words.is_empty() {
            Self::Kind(kind.to_owned())
        } else {
            Self::Words(words.to_owned())
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Words(text) | Self::Kind(text) => text,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Unsure {
    pub(super) most: Vec<Region>,
    pub(super) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admit,
    /// With a certificate whose common name is the user.
    AdmitProved,
    Refuse,
    /// By something that the gateway cannot ask for. Nothing is admitted for it.
    Unknown,
}

impl Verdict {
    pub(super) const fn admits(self) -> bool {
        matches!(self, Self::Admit | Self::AdmitProved)
    }
}

impl Rule {
    pub(super) fn most(&self) -> &[Region] {
        self.unsure
            .as_ref()
            .map_or(self.sure.as_slice(), |unsure| unsure.most.as_slice())
    }

    /// Whether some connection may be meant by it.
    pub(super) fn may_meet(&self, region: &Region) -> bool {
        self.most().iter().any(|most| most.meets(region))
    }
}

/// Where a rule stands: a line of a file, or a thing with a name of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) source: Arc<str>,
    pub(super) line: Option<u32>,
}

impl Place {
    pub(super) fn line(source: &Arc<str>, line: u32) -> Self {
        Self {
            source: Arc::clone(source),
            line: Some(line),
        }
    }

    pub(super) fn named(name: impl Into<Arc<str>>) -> Self {
        Self {
            source: name.into(),
            line: None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // a group's name is somebody's own words, too
        f.write_str(&shown(&self.source))?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// What a person should know about the import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) weight: Weight,
    /// At most two: the rule, and the one that is in its way.
    pub(super) places: Vec<Place>,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Nothing is imported.
    Stopped,
    /// Nobody is admitted for this.
    LeftOut,
    /// Carried, and not quite what it was.
    Note,
}

impl Weight {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::LeftOut => "left out",
            Self::Note => "note",
        }
    }
}

impl Remark {
    pub(super) fn stopped(places: &[&Place], text: impl Into<String>) -> Self {
        Self::new(Weight::Stopped, places, text)
    }

    pub(super) fn left_out(place: &Place, text: impl Into<String>) -> Self {
        Self::new(Weight::LeftOut, &[place], text)
    }

    pub(super) fn note(place: &Place, text: impl Into<String>) -> Self {
        Self::new(Weight::Note, &[place], text)
    }

    /// About the list as a whole.
    pub(super) fn general(text: impl Into<String>) -> Self {
        Self::new(Weight::Note, &[], text)
    }

    fn new(weight: Weight, places: &[&Place], text: impl Into<String>) -> Self {
        Self {
            weight,
            places: places.iter().map(|place| (*place).clone()).collect(),
            text: text.into(),
        }
    }

    pub(super) fn json(&self) -> Value {
        let places = self
            .places
            .iter()
            .map(|place| json!({"source": &*place.source, "line": place.line}));
        json!({
            "weight": self.weight.label(),
            "places": places.collect::<Vec<_>>(),
            "text": self.text,
        })
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.weight.label())?;
        let places: Vec<_> = self.places.iter().map(ToString::to_string).collect();
        if !places.is_empty() {
            write!(f, "{}: ", places.join(" and "))?;
        }
        f.write_str(&shown(&self.text))
    }
}

/// A list's own words for a terminal: nothing that ends a line or moves the cursor.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if is_unseen(c) { '\u{fffd}' } else { c })
        .collect()
}
