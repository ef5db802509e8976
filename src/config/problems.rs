//! What is wrong with a file, and where: each problem with its line, a caret, and what to do. Floor 1.

use std::fmt;

/// How much a problem weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used, and probably does not do what was meant.
    Warning,
}

/// A stretch of one line, counted from 1 in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: u32,
    pub column: u32,
    /// How many characters the carets span; at least 1.
    pub width: u32,
    /// The line's own text.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// The file, or the flag or variable that the value came from.
    pub source: String,
    pub place: Option<Place>,
    /// Beside the carets: the cause.
    pub label: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// The name of a warning, `W-SHADOWED`.
    pub code: Option<&'static str>,
}

/// All that is wrong with a file; at least one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|problem| writeln!(f, "{problem}"))
    }
}
