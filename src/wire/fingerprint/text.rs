//! Reads the text of a statement byte by byte. Floor 0: pure.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

use super::{Language, Purpose, Statement};

/// The text of a statement as far as it has come.
#[derive(Clone, Debug)]
pub struct Text {
    language: Language,
    hash: DefaultHasher,
    /// For the tags of dollar quotes.
    key: RandomState,
    place: Place,
    purpose: Purpose,
    word: Word,
    /// The last thing was a literal; and after it came a comma, of which nobody knows whether it goes on with a list of them.
    literal: bool,
    comma: bool,
}

/// Inside of what the text stands.
#[derive(Clone, Debug)]
enum Place {
    Between,
    Word,
    /// `exponent`: a sign may follow.
    Number {
        exponent: bool,
    },
    Name {
        by: u8,
    },
    Dash,
    /// Two dashes, which begin a comment of MySQL's only where a space follows.
    Dashes,
    Slash,
    Dollar,
    Tag(DefaultHasher),
    Passed(Passed),
}

/// What makes no difference, up to its end.
#[derive(Clone, Debug)]
enum Passed {
    /// A comment.
    Line,
    /// A comment. PostgreSQL's stand inside each other. `last`: the byte before.
    Block { nests: bool, depth: u32, last: u8 },
    /// A string. `escaped`: after a backslash that takes the next byte along.
    Quoted {
        by: u8,
        escapes: bool,
        escaped: bool,
    },
    /// A string up to the tag with this hash. `found`: what has come of the next one.
    Dollars {
        tag: u64,
        found: Option<DefaultHasher>,
    },
}

/// The start of the word in hand, in lower case.
#[derive(Clone, Debug)]
struct Word {
    bytes: [u8; LONGEST_WORD],
    /// May be longer than what is kept.
    length: usize,
}

impl Text {
    /// Fingerprints are the same only for the same key.
    pub fn new(language: Language, key: &RandomState) -> Self {
        Self {
            language,
            hash: key.build_hasher(),
            key: key.clone(),
            place: Place::Between,
            purpose: Purpose::First,
            word: Word::EMPTY,
            literal: false,
            comma: false,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // what ends one thing may begin the next
            while !self.takes(*byte) {}
        }
    }

    pub fn end(mut self) -> Statement {
        match self.place {
            Place::Word => self.end_word(),
            Place::Dash => self.symbol(b'-'),
            Place::Slash => self.symbol(b'/'),
            Place::Dollar | Place::Tag(_) => self.symbol(b'$'),
            Place::Between
            | Place::Number { .. }
            | Place::Name { .. }
            | Place::Dashes
            | Place::Passed(_) => {}
        }
        Statement {
            fingerprint: self.hash.finish(),
            kind: self.purpose.kind(),
        }
    }

    /// `false`: the byte has ended something, and is to be looked at again.
    fn takes(&mut self, byte: u8) -> bool {
        match &mut self.place {
            Place::Between => self.begin(byte),
            Place::Word => return self.in_word(byte),
            Place::Number { exponent } => {
                let sign = *exponent && matches!(byte, b'+' | b'-');
                if !(sign || byte == b'.' || is_of_a_word(byte)) {
                    self.place = Place::Between;
                    return false;
                }
                *exponent = matches!(byte, b'e' | b'E');
            }
            Place::Name { by } => {
                if byte == *by {
                    self.place = Place::Between;
                }
                self.hash.write_u8(byte);
            }
            Place::Dash if byte == b'-' => {
                self.place = match self.language {
                    Language::Postgres => Place::Passed(Passed::Line),
                    Language::Mysql => Place::Dashes,
                };
            }
            Place::Dash => return self.was_only(b"-"),
            Place::Dashes if byte <= b' ' => {
                self.place = Place::Passed(Passed::Line);
                return false;
            }
            Place::Dashes => return self.was_only(b"--"),
            Place::Slash if byte == b'*' => {
                let nests = self.language == Language::Postgres;
                let (depth, last) = (1, 0);
                self.place = Place::Passed(Passed::Block { nests, depth, last });
            }
            Place::Slash => return self.was_only(b"/"),
            Place::Dollar if byte.is_ascii_digit() => {
                self.comes_literal();
                self.place = Place::Number { exponent: false };
            }
            Place::Dollar if byte == b'$' || is_of_a_word(byte) => {
                self.place = Place::Tag(self.key.build_hasher());
                return false;
            }
            Place::Tag(tag) if byte == b'$' => {
                let (tag, found) = (tag.finish(), None);
                self.comes_literal();
                self.place = Place::Passed(Passed::Dollars { tag, found });
            }
            Place::Tag(tag) if is_of_a_word(byte) => tag.write_u8(byte),
            Place::Dollar | Place::Tag(_) => return self.was_only(b"$"),
            Place::Passed(passed) => {
                if passed.ends(byte, &self.key) {
                    self.place = Place::Between;
                }
            }
        }
        true
    }

    /// Between two things.
    fn begin(&mut self, byte: u8) {
        let mysql = self.language == Language::Mysql;
        match byte {
            0..=b' ' => {}
            b'\'' => self.literal(b'\'', mysql),
            b'"' if mysql => self.literal(b'"', true),
            b'"' | b'`' => {
                self.comes(byte);
                self.hash.write_u8(b' ');
                self.hash.write_u8(byte);
                self.place = Place::Name { by: byte };
            }
            b'0'..=b'9' => {
                self.comes_literal();
                self.place = Place::Number { exponent: false };
            }
            b'-' => self.place = Place::Dash,
            b'/' => self.place = Place::Slash,
            b'#' if mysql => self.place = Place::Passed(Passed::Line),
            b'$' if !mysql => self.place = Place::Dollar,
            // what stands for a value
            b'?' if mysql => self.comes_literal(),
            b',' if self.literal => self.comma = true,
            _ if is_of_a_word(byte) => {
                self.flush();
                self.hash.write_u8(b' ');
                self.word = Word::EMPTY;
                self.place = Place::Word;
                self.in_word(byte);
            }
            _ => self.symbol(byte),
        }
    }

    fn in_word(&mut self, byte: u8) -> bool {
        if is_of_a_word(byte) {
            let byte = byte.to_ascii_lowercase();
            self.word.push(byte);
            self.hash.write_u8(byte);
            return true;
        }
        self.end_word();
        // a string with escapes, of which PostgreSQL has two kinds
        if byte == b'\'' && self.word.is(b"e") {
            self.literal(byte, true);
            return true;
        }
        self.place = Place::Between;
        false
    }

    fn literal(&mut self, by: u8, escapes: bool) {
        self.comes_literal();
        self.place = Place::Passed(Passed::Quoted {
            by,
            escapes,
            escaped: false,
        });
    }

    /// A list of literals is as one, and so are two that stand side by side: of `'it''s'` the second half is such a one.
    fn comes_literal(&mut self) {
        if !self.literal {
            self.hash.write_u8(b'?');
            self.purpose.other(b'?');
        }
        (self.literal, self.comma) = (true, false);
    }

    fn symbol(&mut self, byte: u8) {
        self.comes(byte);
        self.hash.write_u8(byte);
    }

    /// What looked like the start of something was not.
    fn was_only(&mut self, symbols: &[u8]) -> bool {
        for symbol in symbols {
            self.symbol(*symbol);
        }
        self.place = Place::Between;
        false
    }

    fn comes(&mut self, byte: u8) {
        self.flush();
        self.purpose.other(byte);
    }

    /// No literal comes after the comma.
    fn flush(&mut self) {
        if self.comma {
            self.hash.write_u8(b',');
        }
        (self.literal, self.comma) = (false, false);
    }

    fn end_word(&mut self) {
        self.purpose.word(self.word.as_slice());
    }
}

impl Passed {
    /// Whether it ends with this byte.
    fn ends(&mut self, byte: u8, key: &RandomState) -> bool {
        match self {
            Self::Line => byte == b'\n' || byte == b'\r',
            Self::Block { nests, depth, last } => {
                match (*last, byte) {
                    (b'*', b'/') => (*depth, *last) = (depth.saturating_sub(1), 0),
                    (b'/', b'*') if *nests => (*depth, *last) = (depth.saturating_add(1), 0),
                    _ => *last = byte,
                }
                *depth == 0
            }
            Self::Quoted {
                by,
                escapes,
                escaped,
            } => {
                let taken_along = std::mem::replace(escaped, false);
                *escaped = *escapes && byte == b'\\' && !taken_along;
                byte == *by && !taken_along
            }
            Self::Dollars { tag, found } => {
                let ended = byte == b'$' && found.as_ref().is_some_and(|it| it.finish() == *tag);
                match found {
                    Some(tag) if is_of_a_word(byte) && byte != b'$' => tag.write_u8(byte),
                    _ => *found = (byte == b'$').then(|| key.build_hasher()),
                }
                ended
            }
        }
    }
}

impl Word {
    const EMPTY: Self = Self {
        bytes: [0; LONGEST_WORD],
        length: 0,
    };

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    fn is(&self, word: &[u8]) -> bool {
        self.as_slice() == word
    }

    /// Empty for a word that is longer than any that tells something.
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

const fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

const LONGEST_WORD: usize = 16;
