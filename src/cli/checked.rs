//! What `doorward check` found, for people, programs and GitHub. Floor 5.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use super::{Exit, Output, check_diff::Differences};
use crate::{
    config::{self, Problem, Severity},
    server::rehearsed::Rehearsed,
};

/// What was found.
#[derive(Default)]
pub(super) struct Checked {
    /// What a good file holds, in words.
    pub(super) summary: Option<String>,
    pub(super) problems: Vec<Problem>,
    pub(super) tests: Option<Rehearsed>,
    /// Of a file that cannot be read, or a gateway that was to be asked and does not answer.
    pub(super) broken_off: Option<Exit>,
    pub(super) differences: Option<Differences>,
    /// Of the gateway that runs with this file's socket.
    pub(super) generation: Option<u64>,
}

impl Checked {
    pub(super) fn exit(&self, deny_warnings: bool) -> Exit {
        let (errors, warnings) = (
            self.number(Severity::Error) > 0,
            self.number(Severity::Warning) > 0,
        );
        let differs = self.differences.as_ref().is_some_and(Differences::any);
        match self.broken_off {
            Some(exit) => exit,
            None if errors || self.failed() > 0 || (deny_warnings && warnings) => {
                Exit::Configuration
            }
            None if differs => Exit::No,
            None => Exit::Fine,
        }
    }

    pub(super) fn number(&self, severity: Severity) -> usize {
        let problems = self.problems.iter();
        problems
            .filter(|problem| problem.severity == severity)
            .count()
    }

    fn failed(&self) -> usize {
        self.tests.as_ref().map_or(0, |tests| tests.failed.len())
    }

    pub(super) fn show(&self, file: &Path, exit: Exit, output: &mut Output<'_>) {
        for problem in &self.problems {
            output.say(problem.render(output.color));
        }
        let tests = self.tests.as_ref();
        if let Some(tests) = tests.filter(|tests| tests.passed > 0 || !tests.is_good())
            && (!output.quiet || !tests.is_good())
        {
            output.say(tests);
        }
        if let Some(differences) = &self.differences
            && (!output.quiet || differences.any())
        {
            output.say(differences);
        }
        let count = config::count(&self.problems);
        match &self.summary {
            Some(summary) if matches!(exit, Exit::Fine | Exit::No) => {
                let warnings = match self.number(Severity::Warning) {
                    0 => String::new(),
                    _ => format!(", {count}"),
                };
                if !output.quiet {
                    output.say(format_args!("{}: {summary}: ok{warnings}", file.display()));
                }
            }
            Some(_) | None => {
                let failed = match self.failed() {
                    0 => String::new(),
                    1 => ", 1 failed test".to_owned(),
                    many => format!(", {many} failed tests"),
                };
                let goes_on = self.generation.map_or_else(String::new, |generation| {
                    format!(". Nothing was loaded; generation {generation} goes on.")
                });
                output.say(format_args!("{count}{failed}{goes_on}"));
            }
        }
    }

    pub(super) fn json(&self, file: &Path, exit: Exit) -> Value {
        let problems: Vec<_> = self.problems.iter().map(as_json).collect();
        json!({
            "file": file.display().to_string(),
            "ok": matches!(exit, Exit::Fine | Exit::No),
            "errors": self.number(Severity::Error),
            "warnings": self.number(Severity::Warning),
            "problems": problems,
            "tests": self.tests,
            "differences": self.differences,
            "generation": self.generation,
        })
    }

    /// Workflow commands, which GitHub shows beside the lines of a change.
    pub(super) fn github(&self, file: &Path) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            let command = match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "notice",
            };
            let mut place = format!("file={}", property(&problem.source));
            if let Some(at) = &problem.place {
                let (line, column) = (at.line, at.column);
                let end = column + at.width;
                let _whole = write!(place, ",line={line},col={column},endColumn={end}");
            }
            if let Some(code) = problem.code {
                let _whole = write!(place, ",title={code}");
            }
            let parts = [&problem.label, &problem.hint];
            let parts = parts.into_iter().flatten().map(|part| format!("; {part}"));
            let message = problem.message.clone() + &parts.collect::<String>();
            let _whole = writeln!(text, "::{command} {place}::{}", data(&message));
        }
        for test in self.tests.iter().flat_map(|tests| &tests.failed) {
            let main = file.display().to_string();
            let place = property(test.file.as_ref().unwrap_or(&main));
            let (line, message) = (test.line, data(&test.text));
            let _whole = writeln!(
                text,
                "::error file={place},line={line},title=failed test::{message}"
            );
        }
        let place = property(&file.display().to_string());
        for change in self.differences.iter().flat_map(Differences::lines) {
            let message = data(&change);
            let _whole = writeln!(text, "::notice file={place},title=changes::{message}");
        }
        text.trim_end().to_owned()
    }
}

fn as_json(problem: &Problem) -> Value {
    let place = problem.place.as_ref();
    json!({
        "severity": problem.severity.label(),
        "code": problem.code,
        "message": problem.message,
        "source": problem.source,
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "width": place.map(|place| place.width),
        "text": place.map(|place| &place.text),
        "label": problem.label,
        "hint": problem.hint,
    })
}

/// What a workflow command says.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The value of one of its properties.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
