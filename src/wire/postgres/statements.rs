//! Which statements a client runs. Floor 0: pure.
//!
//! For a closer look at a session, which may begin between any two messages. A statement that was prepared before is not known
//! then, and counts as one of which nothing is known. (PostgreSQL 18 manual, *Message Formats*.)

use std::{
    collections::HashMap,
    hash::{BuildHasher, DefaultHasher, Hasher, RandomState},
};

use crate::wire::{Language, Statement, Text};

/// Follows the client's messages, and tells each statement that it runs.
#[derive(Debug)]
pub struct Statements {
    key: RandomState,
    header: [u8; HEADER],
    seen: usize,
    /// Payload bytes of the current message that are still to come.
    remaining: u32,
    part: Part,
    /// By their names, of which only the hash is kept.
    prepared: HashMap<u64, Statement>,
    /// A `Bind` has told of what the next `Execute` runs.
    bound: bool,
    lost: bool,
}

/// What of a payload comes next. Names and texts end in a zero byte.
#[derive(Debug)]
enum Part {
    Rest,
    /// The text of a `Query`.
    Query(Text),
    /// The name in a `Parse`, and its text.
    Parsed(DefaultHasher),
    Text {
        name: u64,
        text: Text,
    },
    /// The portal in a `Bind`, and the name of the statement.
    Portal,
    Bound(DefaultHasher),
}

impl Statements {
    /// Begins between two messages.
    pub fn new(key: &RandomState) -> Self {
        Self {
            key: key.clone(),
            header: [0; HEADER],
            seen: 0,
            remaining: 0,
            part: Part::Rest,
            prepared: HashMap::new(),
            bound: false,
            lost: false,
        }
    }

    /// Calls `on` for each statement that the client runs in `bytes`.
    pub fn advance(&mut self, bytes: &[u8], mut on: impl FnMut(Statement)) {
        let mut rest = bytes;
        while !self.lost {
            if self.seen < HEADER {
                let Some((byte, after)) = rest.split_first() else {
                    return;
                };
                rest = after;
                self.header(*byte, &mut on);
                continue;
            }
            let length = rest.len().min(self.remaining as usize);
            let Some((payload, after)) = rest.split_at_checked(length) else {
                return;
            };
            rest = after;
            self.remaining = self.remaining.saturating_sub(clamp(length));
            self.payload(payload, &mut on);
            if self.remaining > 0 {
                return;
            }
            self.seen = 0;
        }
    }

    fn header(&mut self, byte: u8, on: &mut impl FnMut(Statement)) {
        if let Some(place) = self.header.get_mut(self.seen) {
            *place = byte;
        }
        self.seen += 1;
        if self.seen < HEADER {
            return;
        }
        let [kind, length @ ..] = self.header;
        match u32::from_be_bytes(length).checked_sub(LENGTH) {
            Some(remaining) => self.remaining = remaining,
            None => self.lost = true,
        }
        self.part = match kind {
            b'Q' => Part::Query(self.text()),
            b'P' => Part::Parsed(self.key.build_hasher()),
            b'B' => Part::Portal,
            b'E' => {
                // more rows of what was run before
                if !std::mem::replace(&mut self.bound, false) {
                    on(Statement::UNKNOWN);
                }
                Part::Rest
            }
            b'F' => {
                on(Statement::UNKNOWN);
                Part::Rest
            }
            _ => Part::Rest,
        };
    }

    fn payload(&mut self, payload: &[u8], on: &mut impl FnMut(Statement)) {
        let mut rest = payload;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == 0);
            let (now, after) = rest.split_at(end.unwrap_or(rest.len()));
            match &mut self.part {
                Part::Rest => return,
                Part::Query(text) | Part::Text { text, .. } => text.push(now),
                Part::Parsed(name) | Part::Bound(name) => name.write(now),
                Part::Portal => {}
            }
            // the zero byte
            rest = after.get(1..).unwrap_or_default();
            if end.is_some() {
                self.part_is_over(on);
            }
        }
    }

    fn part_is_over(&mut self, on: &mut impl FnMut(Statement)) {
        self.part = match std::mem::replace(&mut self.part, Part::Rest) {
            Part::Rest => Part::Rest,
            Part::Query(text) => {
                on(text.end());
                Part::Rest
            }
            Part::Parsed(name) => Part::Text {
                name: name.finish(),
                text: self.text(),
            },
            Part::Text { name, text } => {
                self.prepare(name, text.end());
                Part::Rest
            }
            Part::Portal => Part::Bound(self.key.build_hasher()),
            Part::Bound(name) => {
                self.bound = true;
                let statement = self.prepared.get(&name.finish());
                on(statement.copied().unwrap_or(Statement::UNKNOWN));
                Part::Rest
            }
        };
    }

    /// Who prepares more than anybody needs is forgotten from time to time.
    fn prepare(&mut self, name: u64, statement: Statement) {
        if self.prepared.len() >= MOST_PREPARED {
            self.prepared.clear();
        }
        self.prepared.insert(name, statement);
    }

    fn text(&self) -> Text {
        Text::new(Language::Postgres, &self.key)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only called with at most a payload length, which is a u32"
)]
const fn clamp(length: usize) -> u32 {
    length as u32
}

/// A type byte and the length.
const HEADER: usize = 5;
/// The bytes of the length field, which it counts itself.
const LENGTH: u32 = 4;
const MOST_PREPARED: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::StatementKind;

    fn message(kind: u8, parts: &[&str]) -> Vec<u8> {
        let payload: Vec<u8> = parts
            .iter()
            .flat_map(|part| part.bytes().chain([0]))
            .collect();
        let length = u32::try_from(payload.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), &payload].concat()
    }

    fn told(statements: &mut Statements, bytes: &[u8]) -> Vec<Statement> {
        let mut all = Vec::new();
        statements.advance(bytes, |statement| all.push(statement));
        all
    }

    fn parse(name: &str, text: &str) -> Vec<u8> {
        message(b'P', &[name, text, ""])
    }

    fn run(name: &str) -> Vec<u8> {
        [
            message(b'B', &["", name, "a value", "select 2"]),
            message(b'E', &["", "\0\0\0"]),
            message(b'S', &[]),
        ]
        .concat()
    }

    #[test]
    fn a_statement_is_the_same_whichever_way_it_is_run() {
        let mut statements = Statements::new(&RandomState::new());
        let bytes = [
            message(b'Q', &["select a from t where b = 7"]),
            parse("", "select a from t where b = $1"),
            run(""),
            parse("s1", "SELECT a FROM t WHERE b = $1"),
            message(b'H', &[]),
            run("s1"),
            run("s1"),
        ]
        .concat();
        let told = told(&mut statements, &bytes);
        assert_eq!(told.len(), 4);
        assert_eq!(told[0].kind, StatementKind::Read);
        assert!(told.iter().all(|statement| *statement == told[0]));
    }

    #[test]
    fn a_name_stands_for_what_was_parsed_last_under_it() {
        let mut statements = Statements::new(&RandomState::new());
        let bytes = [parse("", "select 1"), run(""), parse("", "begin"), run("")].concat();
        let told = told(&mut statements, &bytes);
        let kinds: Vec<_> = told.iter().map(|statement| statement.kind).collect();
        assert_eq!(kinds, [StatementKind::Read, StatementKind::Other]);
    }

    #[test]
    fn of_what_was_prepared_before_nothing_is_known() {
        let mut statements = Statements::new(&RandomState::new());
        assert_eq!(told(&mut statements, &run("old")), [Statement::UNKNOWN]);
    }

    #[test]
    fn more_rows_of_a_cursor_are_no_repeated_query() {
        let mut statements = Statements::new(&RandomState::new());
        let more = [message(b'E', &["portal"]), message(b'S', &[])].concat();
        let bytes = [parse("", "select 1"), run(""), more.clone(), more].concat();
        let told = told(&mut statements, &bytes);
        assert_eq!(told.len(), 3);
        assert_eq!(told[1..], [Statement::UNKNOWN; 2]);
    }

    #[test]
    fn copy_data_and_a_call_of_a_function_are_no_statements_that_are_known() {
        let mut statements = Statements::new(&RandomState::new());
        let bytes = [
            message(b'd', &["Q\0\0\0\x0dselect 1"]),
            message(b'F', &["x"]),
            message(b'X', &[]),
        ]
        .concat();
        assert_eq!(told(&mut statements, &bytes), [Statement::UNKNOWN]);
    }

    #[test]
    fn however_many_names_are_prepared_few_are_kept() {
        let mut statements = Statements::new(&RandomState::new());
        for n in 0..10_000 {
            told(&mut statements, &parse(&n.to_string(), "select 1"));
            assert!(statements.prepared.len() <= MOST_PREPARED);
        }
        let last = told(&mut statements, &run("9999"));
        assert_eq!(last[0].kind, StatementKind::Read);
    }

    proptest! {
        #[test]
        fn messages_tell_the_same_however_they_are_cut(
            messages in proptest::collection::vec((0_u8..7, "[a-c]{0,2}", "[ a-c1'$-]{0,9}"), 0..8),
            cuts in proptest::collection::vec(0_usize..200, 0..8),
        ) {
            let bytes: Vec<u8> = messages
                .iter()
                .flat_map(|(kind, name, text)| match kind {
                    0 => message(b'Q', &[text]),
                    1 | 2 => parse(name, text),
                    3 | 4 => run(name),
                    5 => message(b'E', &[name]),
                    _ => message(b'd', &[name, text]),
                })
                .collect();
            let key = RandomState::new();
            let whole = told(&mut Statements::new(&key), &bytes);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut statements = Statements::new(&key);
            let cut: Vec<_> = cuts
                .windows(2)
                .flat_map(|cut| told(&mut statements, &bytes[cut[0]..cut[1]]))
                .collect();
            prop_assert_eq!(cut, whole);
        }

        #[test]
        fn any_bytes_are_followed(bytes: Vec<u8>) {
            told(&mut Statements::new(&RandomState::new()), &bytes);
        }
    }
}
