//! Which statements are the same, and what they are for.

use std::hash::RandomState;

use proptest::prelude::*;

use super::{Language::*, *};

fn read(language: Language, key: &RandomState, pieces: &[&[u8]]) -> Statement {
    let mut text = Text::new(language, key);
    for piece in pieces {
        text.push(piece);
    }
    text.end()
}

#[track_caller]
fn assert_same(language: Language, same: &[&str]) {
    let key = RandomState::new();
    let of = |text: &str| read(language, &key, &[text.as_bytes()]).fingerprint;
    for text in same {
        assert_eq!(of(text), of(same[0]), "{text}");
    }
}

#[track_caller]
fn assert_different(language: Language, different: &[&str]) {
    let key = RandomState::new();
    let of = |text: &&str| read(language, &key, &[text.as_bytes()]).fingerprint;
    let all: std::collections::HashSet<_> = different.iter().map(of).collect();
    assert_eq!(all.len(), different.len(), "{different:?}");
}

fn kind(language: Language, text: &str) -> StatementKind {
    read(language, &RandomState::new(), &[text.as_bytes()]).kind
}

#[test]
fn literals_spaces_comments_and_letters_make_no_difference() {
    let same = [
        "select * from t where a = 1 and b = 'x'",
        "SELECT *\n FROM t\tWHERE a=200 AND b='it''s; -- no comment'",
        "select /* page 7 */ * from t -- a comment\n where a = 1.5e-3 and b = ''",
        "select * from t where a = 0x1F and b = '/*'",
    ];
    assert_same(Postgres, &same);
    assert_same(Mysql, &same);
}

#[test]
fn a_list_counts_as_one_however_long_it_is() {
    let same = [
        "select a, b from t where id in (1)",
        "select a, b from t where id in (1, 2, 3)",
        "select a, b from t where id in ('a','b')",
    ];
    assert_same(Postgres, &same);
    assert_same(Mysql, &same);
}

#[test]
fn parameters_are_literals() {
    let same = [
        "select a from t where id = 7 limit 3",
        "select a from t where id = $1 limit $2",
    ];
    assert_same(Postgres, &same);
    assert_same(Mysql, &["select ? from t", "select ? from t"]);
}

#[test]
fn names_operators_and_order_make_a_difference() {
    let different = [
        "select a from t where id = 1",
        "select b from t where id = 1",
        "select a from u where id = 1",
        "select a from t where id < 1",
        "select a, 1 from t where id = 1",
        "select 1, a from t where id = 1",
        "select \"a\" from t where id = 1",
        "selecta from t where id = 1",
        "select - a from t where id = 1",
        "select a / a from t where id = 1",
    ];
    assert_different(Postgres, &different);
    let rest = ["select `a`", "select a", "select `b`", "select - -a"];
    assert_different(Mysql, &rest);
}

#[test]
fn each_server_has_quotes_and_comments_of_its_own() {
    let postgres = [
        "select f('a') from t",
        r"select f(E'it\'s') from t",
        r"select f('\') from t",
        "select f($$it's$$) from t",
        "select f($a$ $$ $b$ $a$) from t",
        "select f(/* one /* in */ the other */ 'a') from t--",
    ];
    // the prefix of a string is a word
    let (with_prefix, without) = (&postgres[1..2], &postgres[2..]);
    assert_same(Postgres, without);
    assert_same(Postgres, &[with_prefix[0], r"select f(e'\\') from t"]);
    let mysql = [
        "select f('a') from t",
        r"select f('it\'s') from t",
        r#"select f("it's") from t"#,
        "select f('a') # it's\n from t",
        "select f('a') -- it's\n from t",
        "select f(/* /* */ 'a') from t",
    ];
    assert_same(Mysql, &mysql);
    assert_different(Mysql, &["select a--1", "select a -- 1", "select a-1"]);
    assert_different(Postgres, &["select a#b", "select a", "select a$b"]);
}

#[test]
fn the_first_words_tell_what_a_statement_is_for() {
    for read in [
        "select a from t",
        " ( SELECT a from t)",
        "/* x */ select 1;",
        "with a as (select 1) select * from a",
        "select @a",
        "select",
    ] {
        assert_eq!(kind(Mysql, read), StatementKind::Read, "{read}");
    }
    for set_up in [
        "SET search_path = a",
        "show transaction isolation level",
        "SELECT set_config('TimeZone', 'UTC', false)",
        "select pg_catalog.version()",
        "SELECT @@version",
        "select VERSION(), @@sql_mode",
    ] {
        assert_eq!(kind(Mysql, set_up), StatementKind::SetUp, "{set_up}");
    }
    for other in [
        "",
        ";",
        "insert into t select 1",
        "begin",
        "select 1; delete from t",
        "with a as (delete from t returning *) select * from a",
        "with a as (select 1); select 1",
        "'select'",
        "selectselectselectselect 1",
        "explain select 1",
    ] {
        assert_eq!(kind(Postgres, other), StatementKind::Other, "{other}");
    }
}

#[test]
fn another_key_gives_other_fingerprints() {
    let of = |key: &RandomState| read(Postgres, key, &[b"select 1"]).fingerprint;
    assert_ne!(of(&RandomState::new()), of(&RandomState::new()));
}

proptest! {
    #[test]
    fn a_text_reads_the_same_however_it_is_cut(
        text in r#"([a-zE0-9$ '"`,;@#*/\\(\n-]|select |--|/\*|\*/|\$\$|\$a\$){0,60}"#,
        cuts in proptest::collection::vec(0_usize..80, 0..6),
        mysql: bool,
    ) {
        let key = RandomState::new();
        let language = if mysql { Mysql } else { Postgres };
        let bytes = text.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(read(language, &key, &pieces), read(language, &key, &[bytes]));
    }

    #[test]
    fn any_bytes_are_read_to_their_end(bytes: Vec<u8>, mysql: bool) {
        let language = if mysql { Mysql } else { Postgres };
        read(language, &RandomState::new(), &[&bytes]);
    }
}
