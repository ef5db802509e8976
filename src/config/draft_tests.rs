//! What a drafted allowlist looks like.

use proptest::prelude::*;

use super::*;
use crate::{
    config::{Environment, Overrides, parse},
    policy::Rules,
};

fn settings() -> DraftSettings {
    DraftSettings {
        listener: DraftListener {
            name: "pg".to_owned(),
            protocol: Protocol::Postgres,
            listen: vec!["127.0.0.1:6432".to_owned()],
            upstream: "127.0.0.1:5432".to_owned(),
        },
        client_ca: None,
        clear: false,
    }
}

fn read(draft: &Draft) -> Rules {
    let text = draft.to_string();
    let nobody = (Environment::default(), Overrides::default());
    parse("draft", &text, &nobody.0, &nobody.1, SystemTime::UNIX_EPOCH)
        .unwrap_or_else(|problems| panic!("{text}\n{problems}"))
        .rules
}

#[test]
fn what_turns_the_text_around_or_cannot_be_seen_is_written_out() {
    assert_eq!(quoted("a\u{61c}b\u{ad}"), "\"a\\U0000061Cb\\U000000AD\"");
}

#[test]
fn a_draft_reads_like_a_file_that_a_person_wrote() {
    let mut shop = Origin::new("shop", vec![From::Network("10.0.0.7/32".parse().unwrap())]);
    shop.users = Names::Listed(vec!["shop_app".to_owned(), "yes".to_owned()]);
    shop.databases = Names::Listed(vec!["007".to_owned()]);
    let mut wide = Origin::new("wide", vec![From::Network("10.1.0.0/16".parse().unwrap())]);
    wide.from
        .extend((0..9).map(|n| From::Network(format!("2001:db8:{n}::/48").parse().unwrap())));
    let draft = Draft {
        head: vec!["Look it over.".to_owned()],
        settings: Some(settings()),
        origins: vec![
            Drafted::noted(shop, "line 3: \"old\""),
            Drafted {
                rule: wide,
                note: None,
                comments: vec!["a\nb".to_owned()],
                remarks: BTreeMap::new(),
            },
        ],
        deny: vec![Drafted::noted(
            Deny {
                name: "old".into(),
                line: 0,
                file: None,
                from: vec![From::Any],
                users: vec!["root".to_owned()],
                certificates: Vec::new(),
            },
            "line 4",
        )],
    };
    let text = draft.to_string();
    let (head, tail) = text.split_once("      - 10.1").unwrap();
    assert_eq!(
        head,
        "# Look it over.
version: 1
listeners:
  - name: pg
    protocol: postgres
    listen: [\"127.0.0.1:6432\"]
    upstream: \"127.0.0.1:5432\"
origins:
  - name: shop
    note: \"line 3: \\\"old\\\"\"
    from: [10.0.0.7]
    users: [shop_app, \"yes\"]
    databases: [\"007\"]
  # ab
  - name: wide
    from:
"
    );
    assert!(
        tail.ends_with(
            "      - \"2001:db8:8::/48\"
deny:
  - name: old
    note: \"line 4\"
    from: [any]
    users: [root]
"
        ),
        "{tail}"
    );
    assert_eq!(read(&draft).origins.len(), 2);
}

#[test]
fn every_condition_and_limit_of_an_origin_is_written_back() {
    let text = format!(
        "{}origins:\n  - {{name: a, from: [{{host: a.example, private: true}}, 10.0.0.1], users: [u], databases: [d], listeners: [pg], \
             exclusive: true, active: false, observe: true, expires: 2026-11-22T18:00:00Z, proof: {{certificate: {{dns: a.example, sha256: '{}'}}}}, \
             tls: {{min: '1.3'}}, expect: {{rtt: 2500us}}, on_revoke: close, note: n, \
             limits: {{connections: 1, new_per_minute: 2, session: 8h, failed_auth_per_minute: 3}}}}\n",
        settings(),
        "ab".repeat(32)
    );
    let of = |text: &str| {
        let nobody = (Environment::default(), Overrides::default());
        let loaded = parse("f", text, &nobody.0, &nobody.1, SystemTime::UNIX_EPOCH).unwrap();
        let mut origin = (*loaded.rules.origins[0]).clone();
        origin.line = 0;
        origin
    };
    let origin = of(&text);
    let draft = Draft {
        settings: Some(settings()),
        origins: vec![Drafted {
            rule: origin.clone(),
            note: None,
            comments: Vec::new(),
            remarks: BTreeMap::new(),
        }],
        ..Draft::default()
    };
    let again = of(&draft.to_string());
    assert_eq!(format!("{again:#?}"), format!("{origin:#?}"));
}

proptest! {
    #[test]
    fn whatever_a_name_is_the_loader_reads_the_same(name in "[^\\p{Cc}]{1,15}", file in "\\PC{1,20}") {
        prop_assume!(name != "any");
        let mut origin = Origin::new("x", vec![From::Network("10.0.0.7/32".parse().unwrap())]);
        origin.users = Names::Listed(vec![name.clone()]);
        origin.databases = Names::Listed(vec!["a".to_owned(), name.clone()]);
        let draft = Draft {
            head: vec![file.clone()],
            settings: Some(settings()),
            origins: vec![Drafted::noted(origin, file)],
            deny: Vec::new(),
        };
        let read = read(&draft).origins.remove(0);
        prop_assert_eq!(&read.users, &Names::Listed(vec![name.clone()]));
        prop_assert_eq!(&read.databases, &Names::Listed(vec!["a".to_owned(), name]));
    }
}
