//! Which statements a client runs. Floor 0: pure.
//!
//! For a closer look at a session, which may begin between any two commands. A statement that was prepared before is not known
//! then, and counts as one of which nothing is known. What is no command is told by its sequence id, which is good enough for
//! figures; they never decide which user a session has. (MySQL internals, *Command Phase*.)

use std::{collections::HashMap, hash::RandomState};

use super::{HEADER, MAX_PAYLOAD, commands};
use crate::wire::{Language, Statement, Text};

/// Follows the client's commands, and tells each statement that it runs.
#[derive(Debug)]
pub struct Statements {
    key: RandomState,
    /// Queries begin with their attributes (`CLIENT_QUERY_ATTRIBUTES`).
    attributes: bool,
    header: [u8; HEADER],
    seen: usize,
    /// Payload bytes of the current packet that are still to come.
    remaining: u32,
    /// The packet is full, so the next one goes on with its payload.
    continues: bool,
    part: Part,
    /// By the server's numbers.
    prepared: HashMap<u32, Statement>,
    /// Of what is being prepared the server has not told the number.
    unnumbered: Option<Unnumbered>,
    last_prepared: Statement,
    /// The server owes no answer but to the command that comes next.
    alone: bool,
}

/// What of a payload comes next.
#[derive(Debug)]
enum Part {
    Command,
    /// The number of attributes, and of their sets.
    Attributes {
        sets: bool,
    },
    Query(Text),
    Prepared(Text),
    Number {
        bytes: [u8; 4],
        seen: usize,
    },
    /// The rest of something without an answer.
    Aside,
    Rest,
}

/// The server's answer to `COM_STMT_PREPARE`, as far as it has come.
#[derive(Debug)]
struct Unnumbered {
    statement: Statement,
    answer: [u8; ANSWER],
    seen: usize,
}

impl Statements {
    /// Begins between two commands.
    pub fn new(attributes: bool, key: &RandomState) -> Self {
        Self {
            key: key.clone(),
            attributes,
            header: [0; HEADER],
            seen: 0,
            remaining: 0,
            continues: false,
            part: Part::Rest,
            prepared: HashMap::new(),
            unnumbered: None,
            last_prepared: Statement::UNKNOWN,
            alone: true,
        }
    }

    /// Nothing is outstanding, and the client begins anew.
    pub fn turn(&mut self) {
        self.alone = true;
        self.unnumbered = None;
    }

    /// Calls `on` for each statement that the client runs in `bytes`.
    pub fn advance(&mut self, bytes: &[u8], mut on: impl FnMut(Statement)) {
        let mut rest = bytes;
        loop {
            if self.seen < HEADER {
                let Some((byte, after)) = rest.split_first() else {
                    return;
                };
                rest = after;
                self.header(*byte);
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
            if !self.continues {
                self.is_over(&mut on);
            }
        }
    }

    /// Follows what the server says, for the numbers of what is prepared.
    pub fn hear(&mut self, bytes: &[u8]) {
        let Some(unnumbered) = &mut self.unnumbered else {
            return;
        };
        for byte in bytes {
            if let Some(place) = unnumbered.answer.get_mut(unnumbered.seen) {
                *place = *byte;
                unnumbered.seen += 1;
            }
        }
        if unnumbered.seen < ANSWER {
            return;
        }
        let Unnumbered {
            statement, answer, ..
        } = *unnumbered;
        self.unnumbered = None;
        if let [_, _, _, _, 0, number @ ..] = answer {
            self.prepare(u32::from_le_bytes(number), statement);
        }
    }

    fn header(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(self.seen) {
            *place = byte;
        }
        self.seen += 1;
        if self.seen < HEADER {
            return;
        }
        let [low, middle, high, sequence] = self.header;
        self.remaining = u32::from_le_bytes([low, middle, high, 0]);
        if !self.continues {
            self.part = if sequence == 0 {
                Part::Command
            } else {
                Part::Rest
            };
        }
        self.continues = self.remaining as usize == MAX_PAYLOAD;
    }

    fn payload(&mut self, payload: &[u8], on: &mut impl FnMut(Statement)) {
        let mut rest = payload;
        while let Some((first, after)) = rest.split_first() {
            match &mut self.part {
                Part::Aside | Part::Rest => return,
                Part::Query(text) | Part::Prepared(text) => return text.push(rest),
                Part::Number { bytes, seen } => {
                    let Some(place) = bytes.get_mut(*seen) else {
                        return;
                    };
                    *place = *first;
                    *seen += 1;
                }
                Part::Command => self.command(*first, on),
                Part::Attributes { sets: false } if *first == 0 => {
                    self.part = Part::Attributes { sets: true };
                }
                Part::Attributes { sets: true } => self.part = Part::Query(self.text()),
                Part::Attributes { sets: false } => {
                    // their values come before the text, and nobody needs them
                    self.part = Part::Rest;
                    on(Statement::UNKNOWN);
                }
            }
            rest = after;
        }
    }

    fn command(&mut self, command: u8, on: &mut impl FnMut(Statement)) {
        self.part = match command {
            commands::QUERY if self.attributes => Part::Attributes { sets: false },
            commands::QUERY => Part::Query(self.text()),
            commands::STMT_PREPARE => Part::Prepared(self.text()),
            commands::STMT_EXECUTE => Part::Number {
                bytes: [0; 4],
                seen: 0,
            },
            commands::QUIT | commands::STMT_SEND_LONG_DATA | commands::STMT_CLOSE => Part::Aside,
            // it runs nothing
            commands::STMT_RESET => Part::Rest,
            _ => {
                on(Statement::UNKNOWN);
                Part::Rest
            }
        };
    }

    /// The payload in progress has ended.
    fn is_over(&mut self, on: &mut impl FnMut(Statement)) {
        match std::mem::replace(&mut self.part, Part::Rest) {
            Part::Query(text) => on(text.end()),
            Part::Prepared(text) => {
                let statement = text.end();
                self.last_prepared = statement;
                // who is not asked alone is not answered first
                self.unnumbered = self.alone.then_some(Unnumbered {
                    statement,
                    answer: [0; ANSWER],
                    seen: 0,
                });
            }
            Part::Number { bytes, .. } => {
                let statement = match u32::from_le_bytes(bytes) {
                    LAST => Some(self.last_prepared),
                    number => self.prepared.get(&number).copied(),
                };
                on(statement.unwrap_or(Statement::UNKNOWN));
            }
            Part::Aside => return,
            Part::Command | Part::Attributes { .. } | Part::Rest => {}
        }
        self.alone = false;
    }

    /// Who prepares more than anybody needs is forgotten from time to time.
    fn prepare(&mut self, number: u32, statement: Statement) {
        if self.prepared.len() >= MOST_PREPARED {
            self.prepared.clear();
        }
        self.prepared.insert(number, statement);
    }

    fn text(&self) -> Text {
        Text::new(Language::Mysql, &self.key)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only called with at most a payload length, which is a u32"
)]
const fn clamp(length: usize) -> u32 {
    length as u32
}

/// A header, the OK, and the number.
const ANSWER: usize = HEADER + 1 + 4;
/// MariaDB: the statement that was prepared last, in the same breath.
const LAST: u32 = u32::MAX;
const MOST_PREPARED: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::StatementKind;

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let [low, middle, high, ..] = u32::try_from(payload.len()).unwrap().to_le_bytes();
        [&[low, middle, high, sequence][..], payload].concat()
    }

    fn command(command: u8, rest: &[u8]) -> Vec<u8> {
        packet(0, &[&[command][..], rest].concat())
    }

    fn query(text: &str) -> Vec<u8> {
        command(0x03, text.as_bytes())
    }

    fn prepare(text: &str) -> Vec<u8> {
        command(0x16, text.as_bytes())
    }

    fn execute(number: u32) -> Vec<u8> {
        command(0x17, &[&number.to_le_bytes()[..], b"\0\x01\0\0\0"].concat())
    }

    fn numbered(number: u32) -> Vec<u8> {
        packet(1, &[&[0][..], &number.to_le_bytes(), b"\0\0\0\0"].concat())
    }

    fn statements() -> Statements {
        Statements::new(false, &RandomState::new())
    }

    fn told(statements: &mut Statements, bytes: &[u8]) -> Vec<Statement> {
        let mut all = Vec::new();
        statements.advance(bytes, |statement| all.push(statement));
        all
    }

    #[test]
    fn a_statement_is_the_same_as_text_and_prepared() {
        let mut statements = statements();
        let text = told(&mut statements, &query("select a from t where b = \"x\""));
        assert_eq!(text[0].kind, StatementKind::Read);
        for number in [3, 4] {
            statements.turn();
            let bytes = prepare("select a from t where b = ?");
            assert_eq!(told(&mut statements, &bytes), []);
            for byte in numbered(number) {
                statements.hear(&[byte]);
            }
        }
        for number in [4, 3, 3] {
            assert_eq!(told(&mut statements, &execute(number)), text);
        }
        assert_eq!(told(&mut statements, &execute(5)), [Statement::UNKNOWN]);
    }

    #[test]
    fn what_is_prepared_and_run_in_one_breath_is_known() {
        let bytes = [prepare("select 1"), execute(u32::MAX)].concat();
        let told = told(&mut statements(), &bytes);
        assert_eq!(told[0].kind, StatementKind::Read);
    }

    #[test]
    fn a_number_that_was_told_to_somebody_else_is_not_believed() {
        let mut statements = statements();
        told(
            &mut statements,
            &[query("insert"), prepare("select 1")].concat(),
        );
        statements.hear(&numbered(1));
        assert_eq!(told(&mut statements, &execute(1)), [Statement::UNKNOWN]);
        statements.turn();
        told(&mut statements, &prepare("select 1"));
        statements.hear(&packet(1, b"\xFF\x01\0\0\0bad"));
        assert_eq!(told(&mut statements, &execute(0)), [Statement::UNKNOWN]);
    }

    #[test]
    fn what_is_prepared_behind_something_without_an_answer_is_known_by_its_number() {
        let mut statements = statements();
        let close = command(0x19, &[1, 0, 0, 0]);
        told(&mut statements, &[close, prepare("select 1")].concat());
        statements.hear(&numbered(2));
        let told = told(&mut statements, &execute(2));
        assert_eq!(told[0].kind, StatementKind::Read);
    }

    #[test]
    fn attributes_of_a_query_are_stepped_over() {
        let key = RandomState::new();
        let plain = told(&mut Statements::new(false, &key), &query("select 1"));
        let mut statements = Statements::new(true, &key);
        assert_eq!(told(&mut statements, &query("\0\x01select 1")), plain);
        let with = told(&mut statements, &query("\x01\x01\0\x01select 1"));
        assert_eq!(with, [Statement::UNKNOWN]);
    }

    #[test]
    fn a_file_is_no_statement_and_what_has_no_answer_neither() {
        let bytes = [
            packet(2, b"\x03select 1"),
            command(0x19, &[1, 0, 0, 0]),
            command(0x18, b"\x01\0\0\0\0\0long"),
        ]
        .concat();
        assert_eq!(told(&mut statements(), &bytes), []);
        assert_eq!(
            told(&mut statements(), &command(0x0E, b"")),
            [Statement::UNKNOWN]
        );
    }

    #[test]
    fn a_text_of_several_packets_is_one() {
        let long = [b"\x03select ".to_vec(), vec![b' '; MAX_PAYLOAD]].concat();
        let (first, second) = long.split_at(MAX_PAYLOAD);
        let bytes = [packet(0, first), packet(1, second), query("select")].concat();
        let told = told(&mut statements(), &bytes);
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], told[1]);
    }

    proptest! {
        #[test]
        fn commands_tell_the_same_however_they_are_cut(
            commands in proptest::collection::vec((0_u8..6, "[ a-c1'?-]{0,9}"), 0..8),
            cuts in proptest::collection::vec(0_usize..120, 0..8),
        ) {
            let bytes: Vec<u8> = commands
                .iter()
                .flat_map(|(kind, text)| match kind {
                    0 | 1 => query(text),
                    2 => prepare(text),
                    3 => execute(u32::MAX),
                    4 => packet(3, text.as_bytes()),
                    _ => packet(0, text.as_bytes()),
                })
                .collect();
            let key = RandomState::new();
            let whole = told(&mut Statements::new(false, &key), &bytes);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut statements = Statements::new(false, &key);
            let cut: Vec<_> = cuts
                .windows(2)
                .flat_map(|cut| told(&mut statements, &bytes[cut[0]..cut[1]]))
                .collect();
            prop_assert_eq!(cut, whole);
        }

        #[test]
        fn any_bytes_are_followed(bytes: Vec<u8>, answer: Vec<u8>, attributes: bool) {
            let mut statements = Statements::new(attributes, &RandomState::new());
            told(&mut statements, &bytes);
            statements.hear(&answer);
            told(&mut statements, &bytes);
        }
    }
}
