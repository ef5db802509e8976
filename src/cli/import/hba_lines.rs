//! The lines of a `pg_hba.conf` as PostgreSQL takes them apart: fields of tokens, quotes, comments, continuations, and the
//! files that it includes. Floor 5.
//!
//! The rules are those of PostgreSQL's manual, chapter "The `pg_hba.conf` File", and were tried against the view
//! `pg_hba_file_rules`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::rule::Place;

/// One line that is not empty: its fields, each of one token or several with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) fields: Vec<Vec<Token>>,
    /// The folder that file names in it count from; none for the standard input.
    pub(super) folder: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    /// It began with a quote, so it is no keyword.
    pub(super) quoted: bool,
}

impl Token {
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

/// Why the lines cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) place: Place,
    pub(super) why: String,
}

/// Reads the text of a file, and the files that it includes.
pub(super) fn read(
    text: &str,
    name: &Arc<str>,
    folder: Option<&Path>,
) -> Result<Vec<Line>, Unreadable> {
    let mut reader = Reader {
        lines: Vec::new(),
        bytes: text.len(),
    };
    reader.file(text, name, folder, 0)?;
    Ok(reader.lines)
}

/// The names in a file that a list of users or databases names by `@`.
pub(super) fn names_of(path: &Path) -> Result<Vec<Token>, String> {
    let text = open(path)?;
    let lines = text.lines().flat_map(fields);
    Ok(lines.flatten().collect())
}

struct Reader {
    lines: Vec<Line>,
    /// Of all files so far.
    bytes: usize,
}

impl Reader {
    fn file(
        &mut self,
        text: &str,
        name: &Arc<str>,
        folder: Option<&Path>,
        depth: u32,
    ) -> Result<(), Unreadable> {
        let mut numbered = (1_u32..).zip(text.lines());
        while let Some((number, first)) = numbered.next() {
            let place = Place::line(name, number);
            let mut whole = first.to_owned();
            // a line that ends with a backslash goes on in the next
            while whole.ends_with('\\') {
                whole.pop();
                let Some((_, next)) = numbered.next() else {
                    break;
                };
                whole.push_str(next);
            }
            let fields = fields(&whole);
            let Some(keyword) = fields.first().and_then(|field| field.first()) else {
                continue;
            };
            let include = ["include", "include_if_exists", "include_dir"]
                .into_iter()
                .find(|word| keyword.is(word));
            let Some(include) = include else {
                if self.lines.len() >= MAX_LINES {
                    let why = format!("there are more than {MAX_LINES} lines");
                    return Err(Unreadable { place, why });
                }
                let folder = folder.map(Path::to_owned);
                self.lines.push(Line {
                    place,
                    fields,
                    folder,
                });
                continue;
            };
            let target = fields.get(1).and_then(|field| field.first());
            let files = included(include, target, folder, depth);
            let files = files.map_err(|why| Unreadable {
                place: place.clone(),
                why,
            })?;
            for path in files {
                let unreadable = |why| Unreadable {
                    place: place.clone(),
                    why,
                };
                let text = open(&path).map_err(unreadable)?;
                self.bytes = self.bytes.saturating_add(text.len());
                if self.bytes > MAX_BYTES {
                    return Err(unreadable(format!(
                        "the files together are larger than {MAX_BYTES} bytes"
                    )));
                }
                let name: Arc<str> = path.display().to_string().into();
                self.file(&text, &name, path.parent(), depth + 1)?;
            }
        }
        Ok(())
    }
}

/// The files that a line includes, in their order.
fn included(
    keyword: &str,
    target: Option<&Token>,
    folder: Option<&Path>,
    depth: u32,
) -> Result<Vec<PathBuf>, String> {
    let target = target.ok_or_else(|| format!("`{keyword}` names nothing"))?;
    let path = beside(folder, &target.text)?;
    if depth >= MAX_DEPTH {
        return Err(format!(
            "files include each other more than {MAX_DEPTH} deep"
        ));
    }
    match keyword {
        "include_if_exists" if !path.exists() => Ok(Vec::new()),
        "include_dir" => {
            let failed = |error| format!("cannot read {}: {error}", path.display());
            let mut files = Vec::new();
            for entry in std::fs::read_dir(&path).map_err(failed)? {
                let file = entry.map_err(failed)?.path();
                let name = file.file_name().map(std::ffi::OsStr::to_string_lossy);
                let is_wanted =
                    name.is_some_and(|name| name.ends_with(".conf") && !name.starts_with('.'));
                if is_wanted && !file.is_dir() {
                    files.push(file);
                }
            }
            files.sort();
            Ok(files)
        }
        _ => Ok(vec![path]),
    }
}

/// A file that a line names: one that is not absolute counts from the folder of the line's own file.
pub(super) fn beside(folder: Option<&Path>, name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    match folder {
        _ if path.is_absolute() => Ok(path.to_owned()),
        Some(folder) => Ok(folder.join(path)),
        None => Err(format!(
            "where `{name}` is cannot be known: import the file by its name, not from the standard input"
        )),
    }
}

fn open(path: &Path) -> Result<String, String> {
    super::read_text(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Takes a line apart.
fn fields(line: &str) -> Vec<Vec<Token>> {
    let mut rest = line.chars().peekable();
    let mut fields: Vec<Vec<Token>> = Vec::new();
    let mut goes_on = false;
    loop {
        while rest.next_if(|c| is_blank(*c) || *c == ',').is_some() {}
        match rest.peek() {
            None | Some('#') => return fields,
            Some(_) => {}
        }
        let (token, comma) = token(&mut rest);
        match fields.last_mut() {
            Some(field) if goes_on => field.push(token),
            Some(_) | None => fields.push(vec![token]),
        }
        // a comma at its end continues the list, whatever blanks follow
        goes_on = comma;
    }
}

/// One token, and whether a comma ended it.
fn token(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> (Token, bool) {
    let mut token = Token {
        text: String::new(),
        quoted: false,
    };
    let mut inside = false;
    while let Some(c) = rest.peek().copied() {
        match c {
            '#' if !inside => break,
            c if is_blank(c) && !inside => break,
            ',' if !inside => {
                rest.next();
                return (token, true);
            }
            '"' => {
                rest.next();
                // within quotes, two are one
                if inside && rest.next_if_eq(&'"').is_some() {
                    token.text.push('"');
                    continue;
                }
                inside = !inside;
                token.quoted |= inside && token.text.is_empty();
                continue;
            }
            c => token.text.push(c),
        }
        rest.next();
    }
    (token, false)
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

const MAX_LINES: usize = 10_000;

/// PostgreSQL's own bound.
pub(super) const MAX_DEPTH: u32 = 10;

/// Of a file and all that it includes.
pub(super) const MAX_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_apart(line: &str) -> Vec<Vec<String>> {
        let show = |token: Token| {
            if token.quoted {
                format!("'{}'", token.text)
            } else {
                token.text
            }
        };
        let fields = fields(line).into_iter();
        fields
            .map(|field| field.into_iter().map(show).collect())
            .collect()
    }

    #[test]
    fn a_line_falls_apart_as_postgresql_takes_it() {
        for (line, expected) in [
            ("", vec![]),
            ("  # local all all trust", vec![]),
            (
                "host\tall all  10.0.0.0/8 md5#x",
                vec![
                    vec!["host"],
                    vec!["all"],
                    vec!["all"],
                    vec!["10.0.0.0/8"],
                    vec!["md5"],
                ],
            ),
            (
                "host a,b, c d",
                vec![vec!["host"], vec!["a", "b", "c"], vec!["d"]],
            ),
            ("host a ,b", vec![vec!["host"], vec!["a"], vec!["b"]]),
            (
                "host \"all\" \"two words\",x",
                vec![vec!["host"], vec!["'all'"], vec!["'two words'", "x"]],
            ),
            (
                "host a\"b c\" \"say \"\"hi\"\"\"",
                vec![vec!["host"], vec!["ab c"], vec!["'say \"hi\"'"]],
            ),
            (
                "host \"a#b\" \"open to the end",
                vec![vec!["host"], vec!["'a#b'"], vec!["'open to the end'"]],
            ),
        ] {
            assert_eq!(taken_apart(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_go_on_after_a_backslash_and_count_from_their_first() {
        let lines = read("\nhost all \\\n  all\n# c\nlocal x\n", &"f".into(), None).unwrap();
        let found: Vec<_> = lines
            .iter()
            .map(|line| (line.place.line.unwrap(), line.fields.len()))
            .collect();
        assert_eq!(found, [(2, 3), (5, 2)]);
    }

    #[test]
    fn included_files_stand_where_they_are_included() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("d")).unwrap();
        for (name, text) in [
            ("a", "two\ninclude_dir d\n"),
            ("d/2.conf", "four"),
            ("d/1.conf", "three"),
            ("d/.x.conf", "never"),
            ("d/x", "never"),
        ] {
            std::fs::write(at(name), text).unwrap();
        }
        let text = "one\ninclude a\ninclude_if_exists gone\nfive";
        let lines = read(text, &"main".into(), Some(folder.path())).unwrap();
        let words: Vec<_> = lines
            .iter()
            .map(|line| line.fields[0][0].text.as_str())
            .collect();
        assert_eq!(words, ["one", "two", "three", "four", "five"]);
        assert!(lines[2].place.to_string().ends_with("d/1.conf:1"));

        std::fs::write(at("a"), "include a").unwrap();
        let loops = read(text, &"main".into(), Some(folder.path())).unwrap_err();
        assert!(loops.why.contains("more than 10 deep"), "{}", loops.why);
        let nowhere = read(text, &"main".into(), None).unwrap_err();
        assert!(
            nowhere.why.contains("not from the standard input"),
            "{}",
            nowhere.why
        );
    }
}
