//! What is wrong with a file, and where: each problem with its line, a caret, and what to do. Floor 1.

use std::{fmt, path::Path, sync::Arc};

/// How much a problem weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used, and probably does not do what was meant.
    Warning,
    /// Nothing is wrong; it is good to know.
    Note,
}

impl Severity {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A stretch of one line, counted from 1 in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: u32,
    pub column: u32,
    /// How many characters the carets span; at least 1.
    pub width: u32,
    /// The line, or of a long one what is around the place; nothing in it moves a cursor.
    pub text: String,
    /// How many characters of `text` are before the place.
    pub indent: u32,
}

/// One thing that is wrong. `Display` shows it with its line and carets.
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

/// All that is wrong with a file, in its order; at least one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    /// With something to know beside them.
    #[must_use]
    pub fn and_note(mut self, file: &Path, message: String) -> Self {
        self.0.push(Problem {
            severity: Severity::Note,
            message,
            source: file.display().to_string(),
            place: None,
            label: None,
            hint: None,
            code: None,
        });
        self
    }
}

impl fmt::Display for Problems {
    /// Every problem, and a line that counts them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        f.write_str(&count(&self.0))
    }
}

/// How many of each there are, `1 error, 2 warnings`. Notes do not count.
pub fn count(problems: &[Problem]) -> String {
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let of = |severity| problems.iter().filter(|p| p.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    match (errors, warnings) {
        (errors, 0) => format!("{errors} error{}", plural(errors)),
        (0, warnings) => format!("{warnings} warning{}", plural(warnings)),
        (errors, warnings) => format!(
            "{errors} error{}, {warnings} warning{}",
            plural(errors),
            plural(warnings)
        ),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.render(false).fmt(f)
    }
}

impl Problem {
    /// The problem for a person, without a line end at its end; `color` for a terminal.
    pub const fn render(&self, color: bool) -> impl fmt::Display {
        Rendered {
            problem: self,
            color,
        }
    }
}

struct Rendered<'p> {
    problem: &'p Problem,
    color: bool,
}

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problem, color } = *self;
        let paint = |code: &'static str| if color { code } else { "" };
        let (blue, plain) = (paint("\x1b[1;34m"), paint("\x1b[0m"));
        let tone = paint(match problem.severity {
            Severity::Error => "\x1b[1;31m",
            Severity::Warning => "\x1b[1;33m",
            Severity::Note => "\x1b[1;36m",
        });
        let (severity, message) = (problem.severity.label(), &problem.message);
        write!(f, "{tone}{severity}{plain}: {message}")?;
        if let Some(code) = problem.code {
            write!(f, "  [{code}]")?;
        }
        let place = problem.place.as_ref();
        let gutter = place.map_or(1, |place| place.line.to_string().len());
        write!(f, "\n{:gutter$}{blue}-->{plain} {}", "", problem.source)?;
        let label = problem.label.as_deref().unwrap_or_default();
        if let Some(place) = place {
            let Place { line, text, .. } = place;
            let (indent, width) = (place.indent as usize, place.width as usize);
            let carets = format!("{:^<width$} {label}", "");
            let carets = carets.trim_end();
            write!(f, ":{line}:{}", place.column)?;
            write!(f, "\n{:gutter$} {blue}|{plain}", "")?;
            write!(f, "\n{blue}{line} |{plain} {text}")?;
            write!(
                f,
                "\n{:gutter$} {blue}|{plain} {:indent$}{tone}{carets}{plain}",
                "", ""
            )?;
        } else if !label.is_empty() {
            write!(f, "\n{:gutter$} = {label}", "")?;
        }
        if let Some(hint) = &problem.hint {
            write!(f, "\n{:gutter$} = hint: {hint}", "")?;
        }
        Ok(())
    }
}

impl Place {
    fn new(span: Span, line: &str) -> Self {
        let column = span.column.saturating_sub(1) as usize;
        let start = if column > MAX_SHOWN / 2 {
            column - MAX_SHOWN / 4
        } else {
            0
        };
        let shown = line.chars().skip(start).take(MAX_SHOWN);
        let text = printable(shown.map(|c| if c == '\t' { ' ' } else { c }));
        let text = text.trim_end();
        let indent = column - start;
        let room = text.chars().count().saturating_sub(indent).max(1);
        let whole = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            line: span.line,
            column: span.column,
            width: span.width.clamp(1, whole(room)),
            text: text.to_owned(),
            indent: whole(indent),
        }
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Where {
    File(Span),
    /// By a flag or an environment variable: its name.
    Given(Arc<str>),
}

impl Where {
    /// The line in the file, 0 outside it.
    pub(super) const fn line(&self) -> u32 {
        match self {
            Self::File(span) => span.line,
            Self::Given(_) => 0,
        }
    }
}

/// Which of the files that are read together: 0 is the allowlist itself.
pub(super) type FileIndex = u16;

/// Line and column from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) file: FileIndex,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) width: u32,
}

impl Span {
    pub(super) const START: Self = Self {
        file: 0,
        line: 1,
        column: 1,
        width: 1,
    };
}

/// What is wrong with a value, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    message: String,
    label: Option<String>,
    hint: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: None,
            hint: None,
        }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    /// In one line, for a value that stands in no line of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for part in self.label.iter().chain(&self.hint) {
            write!(f, "; {part}")?;
        }
        Ok(())
    }
}

/// Collects what is wrong while a file is read.
pub(super) struct Report {
    sources: Vec<Source>,
    /// Each with its file, line and column, by which they are told.
    problems: Vec<((FileIndex, u32, u32), Problem)>,
    /// Beyond [`MAX_PROBLEMS`] they are only counted.
    unsaid: usize,
    failed: bool,
}

/// A file that problems are about.
struct Source {
    /// For people.
    name: String,
    lines: Vec<String>,
}

impl Report {
    /// `source` is the name of the allowlist.
    pub(super) fn new(source: &str, text: &str) -> Self {
        let mut report = Self {
            sources: Vec::new(),
            problems: Vec::new(),
            unsaid: 0,
            failed: false,
        };
        report.add_source(source, text);
        report
    }

    /// A further file, which the [`Span`]s of its nodes have to bear.
    pub(super) fn add_source(&mut self, name: &str, text: &str) -> FileIndex {
        let index = FileIndex::try_from(self.sources.len()).unwrap_or(FileIndex::MAX);
        self.sources.push(Source {
            name: name.to_owned(),
            lines: lines(text).into_iter().map(str::to_owned).collect(),
        });
        index
    }

    /// Where another place is, for a problem at this one: `line 5`, or `line 5 of FILE`.
    pub(super) fn line_of(&self, other: &Where, at: &Where) -> String {
        let line = other.line();
        match (other, at) {
            (Where::File(other), Where::File(at)) if other.file != at.file => {
                let source = self.sources.get(usize::from(other.file));
                let name = source.map_or("another file", |source| &source.name);
                format!("line {line} of {name}")
            }
            _ => format!("line {line}"),
        }
    }

    pub(super) fn error(&mut self, at: &Where, fault: Fault) {
        self.failed = true;
        self.add(Severity::Error, at, fault, None);
    }

    pub(super) fn warn(&mut self, code: &'static str, at: &Where, fault: Fault) {
        self.add(Severity::Warning, at, fault, Some(code));
    }

    /// The value, or `None` with its fault reported.
    pub(super) fn expect<T>(&mut self, at: &Where, result: Result<T, Fault>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(fault) => {
                self.error(at, fault);
                None
            }
        }
    }

    pub(super) const fn failed(&self) -> bool {
        self.failed
    }

    /// Everything that was found, in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|(place, _)| *place);
        let problems = self.problems.into_iter().map(|(_, problem)| problem);
        let mut problems: Vec<_> = problems.collect();
        if self.unsaid > 0 {
            problems.push(Problem {
                severity: if self.failed {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                message: format!("and {} more problems", self.unsaid),
                source: self
                    .sources
                    .into_iter()
                    .next()
                    .map_or_else(String::new, |main| main.name),
                place: None,
                label: None,
                hint: None,
                code: None,
            });
        }
        problems
    }

    /// For a report that [failed](Report::failed).
    pub(super) fn into_problems(self) -> Problems {
        Problems(self.finish())
    }

    fn add(&mut self, severity: Severity, at: &Where, fault: Fault, code: Option<&'static str>) {
        let said = self.problems.iter().filter(|(_, p)| p.severity == severity);
        if said.count() >= MAX_PROBLEMS {
            self.unsaid += 1;
            return;
        }
        let (order, source, place) = match at {
            Where::Given(name) => ((0, 0, 0), name.to_string(), None),
            Where::File(span) => {
                let file = self.sources.get(usize::from(span.file));
                let line = (span.line as usize).checked_sub(1);
                let text = line.and_then(|line| file?.lines.get(line));
                let place = Place::new(*span, text.map_or("", String::as_str));
                let name = file.map_or_else(String::new, |file| file.name.clone());
                ((span.file, span.line, span.column), name, Some(place))
            }
        };
        let problem = Problem {
            severity,
            message: printable(fault.message.chars()),
            source,
            place,
            label: fault.label.map(|label| printable(label.chars())),
            hint: fault.hint.map(|hint| printable(hint.chars())),
            code,
        };
        self.problems.push((order, problem));
    }
}

/// Lines as YAML counts them: a lone carriage return ends one, too.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        lines.extend(line.strip_suffix('\r').unwrap_or(line).split('\r'));
    }
    lines
}

/// A file's own words for a terminal: nothing that moves the cursor.
fn printable(text: impl Iterator<Item = char>) -> String {
    text.map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Problems of each severity that are shown.
const MAX_PROBLEMS: usize = 100;

/// Characters of a line that are shown.
const MAX_SHOWN: usize = 120;
