//! Where a command writes. Floor 5.

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write},
};

use serde::Serialize;

use super::{Color, Format, Global};
use crate::config::Environment;

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
            Ok(text) => self.say(text),
            Err(error) => self.complain(error),
        }
    }

    /// One of many answers for a program, each in a line of its own. `false`: nobody listens any more.
    pub fn say_json_line(&mut self, answer: &impl Serialize) -> bool {
        let text = serde_json::to_string(answer).unwrap_or_default();
        writeln!(self.out, "{text}").is_ok() && self.out.flush().is_ok()
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
}
