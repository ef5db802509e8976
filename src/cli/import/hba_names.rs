//! A list of users or databases in `pg_hba.conf`: names, keywords, groups, patterns, files of names. Floor 5.

use std::path::Path;

use super::{
    hba_lines::{self, Token},
    region::NameSet,
};

/// What a list says.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    pub(super) names: Vec<String>,
    pub(super) all: bool,
    /// The database that bears the user's name.
    pub(super) same_user: bool,
    pub(super) replication: bool,
    /// Why more than that may be meant.
    pub(super) unknown: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Users,
    Databases,
}

impl Listed {
    /// `folder` is where files of names count from.
    pub(super) fn read(field: &[Token], what: What, folder: Option<&Path>) -> Result<Self, String> {
        let mut listed = Self::default();
        listed.take(field, what, folder, 0)?;
        listed.same_user &= !listed.all;
        Ok(listed)
    }

    pub(super) fn sure(&self) -> NameSet {
        if self.all {
            NameSet::all()
        } else {
            NameSet::only(self.names.iter().map(String::as_str))
        }
    }

    pub(super) fn most(&self) -> NameSet {
        if self.unknown.is_empty() {
            self.sure()
        } else {
            NameSet::all()
        }
    }

    fn take(
        &mut self,
        tokens: &[Token],
        what: What,
        folder: Option<&Path>,
        depth: u32,
    ) -> Result<(), String> {
        for token in tokens {
            let text = &token.text;
            if token.is("all") {
                self.all = true;
            } else if what == What::Databases && self.take_database(token) {
                // a word that stands for databases
            } else if let (What::Users, Some(role)) = (what, after('+', token)) {
                let why = format!("who is a member of `{role}` only the database knows");
                self.unknown.push(why);
            } else if let Some(file) = after('@', token) {
                if depth >= hba_lines::MAX_DEPTH {
                    return Err(format!(
                        "`@{file}`: files of names name each other too deep"
                    ));
                }
                let path = hba_lines::beside(folder, file)?;
                let inner = hba_lines::names_of(&path)?;
                self.take(&inner, what, path.parent(), depth + 1)?;
            } else if text.starts_with('/') {
                self.unknown
                    .push(format!("`{text}` is a regular expression"));
            } else if is_name(text) {
                self.names.push(text.clone());
            }
            if self.names.len() > MAX_NAMES || self.unknown.len() > MAX_NAMES {
                return Err(format!("more than {MAX_NAMES} names"));
            }
        }
        Ok(())
    }

    /// Whether it was one of the words for databases.
    fn take_database(&mut self, token: &Token) -> bool {
        if token.is("sameuser") {
            self.same_user = true;
        } else if token.is("replication") {
            self.replication = true;
        } else if token.is("samerole") || token.is("samegroup") {
            let why = format!("`{}` depends on who is a member of which role", token.text);
            self.unknown.push(why);
        } else {
            return false;
        }
        true
    }
}

/// What follows a sign that stands at the beginning, unquoted.
fn after(sign: char, token: &Token) -> Option<&str> {
    let rest = token.text.strip_prefix(sign).filter(|_| !token.quoted);
    rest.filter(|rest| !rest.is_empty())
}

/// Whether a server can have something of that name: a line with another fits nobody by it.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME && !text.contains(char::is_control)
}

/// `NAMEDATALEN` - 1, in bytes.
const MAX_NAME: usize = 63;

/// Names of one list.
const MAX_NAMES: usize = 10_000;
