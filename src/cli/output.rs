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
