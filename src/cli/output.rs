//! Where a command writes. Floor 5.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
    io::{IsTerminal as _, Write},
};

use serde::Serialize;

use super::{Color, Exit, Format, Global};
use crate::{
    config::{Environment, LoadError},
    policy::is_unseen,
};

/// The two streams of a command and how to write on them. A closed stream is no error: nobody is left to tell.
pub struct Output<'a> {
    pub format: Format,
    pub color: bool,
    pub quiet: bool,
    terminal: bool,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl<'a> Output<'a> {
    pub fn new(global: &Global, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self {
            format: global.format,
            color: match global.color {
                Color::Auto => {
                    let refused = Environment::of_process()
                        .get("NO_COLOR")
                        .is_some_and(|no| !no.is_empty());
                    !refused && std::io::stdout().is_terminal()
                }
                Color::Always => true,
                Color::Never => false,
            },
            quiet: global.quiet,
            terminal: std::io::stdout().is_terminal(),
            out,
            err,
        }
    }

    /// The answer, with a line end.
    pub fn say(&mut self, text: impl Display) {
        let _closed = writeln!(self.out, "{text}");
        let _closed = self.out.flush();
    }

    /// The answer for a program: one object, indented.
    pub fn say_json(&mut self, answer: &impl Serialize) {
        match serde_json::to_string_pretty(answer) {
            Ok(text) => self.say(visible(&text)),
            Err(error) => self.complain(error),
        }
    }

    /// One of many answers for a program, each in a line of its own. `false`: nobody listens any more.
    pub fn say_json_line(&mut self, answer: &impl Serialize) -> bool {
        let text = serde_json::to_string(answer).unwrap_or_default();
        writeln!(self.out, "{}", visible(&text)).is_ok() && self.out.flush().is_ok()
    }

    /// One of many answers for a person: on a terminal in the place of the one before, elsewhere behind it. `false`: nobody
    /// listens any more.
    pub fn say_in_place(&mut self, text: impl Display) -> bool {
        // home, the text, and away with what was there before, so that nothing flickers
        let written = if self.terminal {
            let text = text.to_string().replace('\n', "\x1b[K\n");
            write!(self.out, "\x1b[H{text}\x1b[K\n\x1b[J")
        } else {
            writeln!(self.out, "{text}\n")
        };
        written.is_ok() && self.out.flush().is_ok()
    }

    /// The answer in the form that was asked for; to people it says nothing when they want to hear only what is wrong.
    pub fn answer(&mut self, answer: &impl Serialize, text: impl FnOnce() -> String) {
        match self.format {
            Format::Json => self.say_json(answer),
            Format::Human | Format::Github if self.quiet => {}
            Format::Human | Format::Github => self.say(text()),
        }
    }

    /// Whether somebody reads it who wants to hear more than what is wrong.
    pub fn is_for_a_person(&self) -> bool {
        self.format == Format::Human && !self.quiet
    }

    /// What is wrong, with a line end.
    pub fn complain(&mut self, text: impl Display) {
        let _closed = writeln!(self.err, "{text}");
    }
    /// Why a configuration cannot be used, and how the process ends of it.
    pub fn load_failed(&mut self, error: &LoadError) -> Exit {
        match error {
            LoadError::Unreadable { .. } => self.complain(format_args!("error: {error}")),
            LoadError::Problems(problems) => self.complain(problems),
        }
        Exit::from(error)
    }
}

/// JSON with what moves a cursor, turns a line around or cannot be seen as `\uXXXX`. Names come from the wire, and beyond ASCII's
/// own control characters JSON lets them stand; outside of strings it has nothing of the kind.
fn visible(json: &str) -> Cow<'_, str> {
    // the ends of our own lines are no part of a string
    let is_hidden = |c: char| c != '\n' && is_unseen(c);
    if !json.contains(is_hidden) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _infallible = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn json_shows_what_cannot_be_seen_and_means_the_same() {
        let cli = Cli::try_parse_from(["doorward", "status", "--format", "json"]).unwrap();
        let name =
            "a\u{202e}b\u{2028}c\u{7f}d\u{9b}e\u{feff}f\u{e0041}g\n caf\u{e9} \u{6771}\u{4eac}";
        for in_a_line in [false, true] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&cli.global, &mut out, &mut err);
            if in_a_line {
                output.say_json_line(&[name]);
            } else {
                output.say_json(&[name]);
            }
            let text = String::from_utf8(out).unwrap();
            assert!(
                text.contains("a\\u202eb\\u2028c\\u007fd\\u009be\\ufefff\\udb40\\udc41g"),
                "{text}"
            );
            assert!(text.contains("caf\u{e9} \u{6771}\u{4eac}"), "{text}");
            let read: [String; 1] = serde_json::from_str(&text).unwrap();
            assert_eq!(read, [name]);
        }
    }
}
