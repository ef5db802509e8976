//! The two ways in which roles and what is kept of their passwords are written. Floor 1.
//!
//! Of SQL no more is read than `pg_dumpall` writes: what could be read in two ways is a fault and not a guess.

use std::{borrow::Cow, str::CharIndices};

use zeroize::Zeroizing;

use super::Wrong;

/// A role and what is kept of its password.
pub(super) struct Entry<'t> {
    pub(super) line: usize,
    pub(super) role: Cow<'t, str>,
    pub(super) password: Zeroizing<String>,
}

/// Hands each entry of the text to `take`, in its order.
pub(super) fn entries<'t>(
    text: &'t str,
    take: impl FnMut(Entry<'t>) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim_start);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with([';', '#']));
    match first {
        Some(line) if line.starts_with('"') => userlist(text, take),
        Some(_) | None => dump(text, take),
    }
}

/// `"role" "password"` in each line; what stands behind it is ignored, as PgBouncer does.
fn userlist<'t>(
    text: &'t str,
    mut take: impl FnMut(Entry<'t>) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    for (number, line) in (1..).zip(text.lines()) {
        let rest = line.trim();
        if rest.is_empty() || rest.starts_with([';', '#']) {
            continue;
        }
        let fields = quoted(rest).and_then(|(role, rest)| {
            let (password, _rest) = quoted(rest.trim_start())?;
            Some((role, password))
        });
        let Some((role, password)) = fields else {
            return Err(Wrong {
                line: number,
                cause: "it is not \"role\" \"verifier\"".to_owned(),
            });
        };
        take(Entry {
            line: number,
            role,
            password: Zeroizing::new(password.into_owned()),
        })?;
    }
    Ok(())
}

/// Cuts a text in double quotes off, in which two of them stand for one.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut from = 0;
    loop {
        let end = from + inner.get(from..)?.find('"')?;
        let rest = inner.get(end + 1..)?;
        if !rest.starts_with('"') {
            return Some((undoubled(inner.get(..end)?, '"'), rest));
        }
        from = end + 2;
    }
}

fn undoubled(text: &str, quote: char) -> Cow<'_, str> {
    if !text.contains(quote) {
        return Cow::Borrowed(text);
    }
    let one = quote.to_string();
    Cow::Owned(text.replace(&one.repeat(2), &one))
}

/// What a statement is made of.
enum Token<'t> {
    /// Not quoted: a key word, or a name in lower case whatever it is written in.
    Word(&'t str),
    Name(Cow<'t, str>),
    Text(Zeroizing<String>),
    Sign,
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own.eq_ignore_ascii_case(word))
    }

    fn is_one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }
}

/// `ALTER ROLE app WITH LOGIN PASSWORD 'SCRAM-SHA-256$...';` among other statements.
fn dump<'t>(
    text: &'t str,
    mut take: impl FnMut(Entry<'t>) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let mut script = Script::new(text);
    while let Some((line, statement)) = script.statement()? {
        let wrong = |cause: &str| Wrong {
            line,
            cause: cause.to_owned(),
        };
        if let [set, encoding, .., Token::Text(name)] = statement.as_slice()
            && set.is("set")
            && encoding.is("client_encoding")
            && !["UTF8", "SQL_ASCII"].contains(&name.as_str())
        {
            return Err(wrong(
                "it is not UTF-8: pg_dumpall --encoding=UTF8 --roles-only",
            ));
        }
        if let Some(entry) = entry(line, statement).map_err(wrong)? {
            take(entry)?;
        }
    }
    Ok(())
}

/// The password that a statement gives to a role.
fn entry(line: usize, statement: Vec<Token<'_>>) -> Result<Option<Entry<'_>>, &'static str> {
    let mut tokens = statement.into_iter();
    let mut begins_with =
        |words: &[&str]| tokens.next().is_some_and(|token| token.is_one_of(words));
    if !begins_with(&["alter", "create"]) || !begins_with(&["role", "user"]) {
        return Ok(None);
    }
    let role = match tokens.next() {
        Some(Token::Name(name)) => name,
        // as the server folds it
        Some(Token::Word(word)) => Cow::Owned(word.to_ascii_lowercase()),
        Some(Token::Text(_) | Token::Sign) | None => return Err("a role without a name"),
    };
    let mut tokens = tokens.peekable();
    let of_settings = ["set", "reset", "in", "rename"];
    if tokens
        .peek()
        .is_some_and(|token| token.is_one_of(&of_settings))
    {
        return Ok(None);
    }
    let mut found = None;
    while let Some(token) = tokens.next() {
        if !token.is("password") {
            continue;
        }
        if found.is_some() {
            return Err("two passwords in one statement");
        }
        found = match tokens.next() {
            Some(Token::Text(password)) => Some(Some(password)),
            Some(token) if token.is("null") => Some(None),
            _ => return Err("a password that is no text"),
        };
    }
    Ok(found.flatten().map(|password| Entry {
        line,
        role,
        password,
    }))
}

/// A script for psql as far as it has been read.
struct Script<'t> {
    text: &'t str,
    rest: CharIndices<'t>,
    line: usize,
}

impl<'t> Script<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            rest: text.char_indices(),
            line: 1,
        }
    }

    /// The next statement with the line that it begins in; `None` at the end.
    fn statement(&mut self) -> Result<Option<(usize, Vec<Token<'t>>)>, Wrong> {
        let mut tokens = Vec::new();
        let mut begins = self.line;
        while let Some((at, c)) = self.next() {
            let token = match c {
                c if c.is_whitespace() => continue,
                '-' if self.peek() == Some('-') => {
                    self.skip_line();
                    continue;
                }
                // a command for psql itself
                '\\' if tokens.is_empty() => {
                    self.skip_line();
                    continue;
                }
                ';' if tokens.is_empty() => continue,
                ';' => return Ok(Some((begins, tokens))),
                '"' => Token::Name(self.name(at)?),
                '\'' => Token::Text(self.string(false)?),
                '\\' | '$' => return Err(self.strange("a sign")),
                '/' if self.peek() == Some('*') => return Err(self.strange("a comment")),
                c if begins_word(c) => match (self.word(at), self.peek()) {
                    ("e" | "E", Some('\'')) => {
                        self.next();
                        Token::Text(self.string(true)?)
                    }
                    // U&'..', B'..' and such
                    (_, Some('\'' | '&')) => return Err(self.strange("a text")),
                    (word, _) => Token::Word(word),
                },
                _ => Token::Sign,
            };
            if tokens.is_empty() {
                begins = self.line;
            }
            if tokens.len() >= MAX_TOKENS {
                return Err(self.strange("a statement"));
            }
            tokens.push(token);
        }
        if tokens.is_empty() {
            return Ok(None);
        }
        Err(Wrong {
            line: begins,
            cause: "the statement has no end: the file is cut off".to_owned(),
        })
    }

    fn next(&mut self) -> Option<(usize, char)> {
        let next = self.rest.next();
        if let Some((_, '\n')) = next {
            self.line += 1;
        }
        next
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next().map(|(_, c)| c)
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|(_, c)| c != '\n') {}
    }

    /// The rest of a word that begins there.
    fn word(&mut self, from: usize) -> &'t str {
        while self.peek().is_some_and(continues_word) {
            self.next();
        }
        self.text.get(from..self.rest.offset()).unwrap_or_default()
    }

    /// The rest of a name in double quotes, the first of which stands there.
    fn name(&mut self, from: usize) -> Result<Cow<'t, str>, Wrong> {
        let end = self.line;
        while let Some((at, c)) = self.next() {
            if c != '"' {
                continue;
            }
            if self.peek() == Some('"') {
                self.next();
                continue;
            }
            let name = self.text.get(from + 1..at).unwrap_or_default();
            return Ok(undoubled(name, '"'));
        }
        Err(unclosed(end))
    }

    /// The rest of a text in single quotes, the first of which has been read.
    fn string(&mut self, escapes: bool) -> Result<Zeroizing<String>, Wrong> {
        let begins = self.line;
        // never longer than what is left, and room for it all at once leaves no copy behind
        let most = self.text.len() - self.rest.offset();
        let mut text = Zeroizing::new(String::with_capacity(most.min(MAX_TEXT)));
        while let Some((_, c)) = self.next() {
            let c = match (c, self.peek()) {
                ('\'', Some('\'')) => {
                    self.next();
                    '\''
                }
                ('\'', _) => return Ok(text),
                ('\\', Some(literal @ ('\\' | '\''))) if escapes => {
                    self.next();
                    literal
                }
                ('\\', _) if escapes => return Err(self.strange("an escape")),
                (c, _) => c,
            };
            // no password is so long; of a comment the beginning is enough
            if text.len() + c.len_utf8() <= MAX_TEXT {
                text.push(c);
            }
        }
        Err(unclosed(begins))
    }

    fn strange(&self, what: &str) -> Wrong {
        Wrong {
            line: self.line,
            cause: format!("{what} that pg_dumpall --roles-only does not write"),
        }
    }
}

fn unclosed(line: usize) -> Wrong {
    Wrong {
        line,
        cause: "a quote that is never closed".to_owned(),
    }
}

fn begins_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn continues_word(c: char) -> bool {
    begins_word(c) || c.is_ascii_digit() || c == '$'
}

/// Of one statement; the longest is a role with a long list in a setting.
const MAX_TOKENS: usize = 10_000;
/// Of a text, in bytes: longer than any verifier.
const MAX_TEXT: usize = 1024;
