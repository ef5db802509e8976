//! Sessions made up by chance: any commands, any answers, cut anywhere.

use crate::wire::mysql::Capabilities;
use proptest::prelude::*;

use super::*;

/// A command and its answer, by the names of their packets.
type Exchange = (&'static str, Vec<&'static str>);

fn results() -> impl Strategy<Value = Vec<&'static str>> {
    let row = prop::sample::select(vec!["row", "empty-row", "null-row", "progress"]);
    let rows = prop::collection::vec(row, 0..6);
    let result = (0u8..3, rows, any::<bool>()).prop_map(|(columns, rows, ok)| {
        if ok {
            return (vec![], vec!["ok+"]);
        }
        let head = match columns {
            0 => vec!["1columns", "column", "between"],
            1 => vec!["2columns", "column", "column", "between"],
            _ => vec![
                "progress", "3columns", "column", "column", "column", "between",
            ],
        };
        (head, rows)
    });
    let last = prop::sample::select(vec!["ok", "ok:trx", "err", "end", "end:trx"]);
    (prop::collection::vec(result, 0..3), last).prop_map(|(results, last)| {
        let mut words = Vec::new();
        for (head, rows) in results {
            let is_ok = head.is_empty();
            words.extend(head);
            words.extend(rows);
            if !is_ok {
                words.push("end+");
            }
        }
        match last {
            "end" | "end:trx" => words.extend(["1columns", "column", "between", "row", last]),
            _ => words.push(last),
        }
        words
    })
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let one = |word: &'static str| Just(vec![word]);
    let plain = prop::sample::select(vec!["ok", "err", "end"]).prop_map(|word| vec![word]);
    let prepared = prop::sample::select(vec![
        vec!["prepared"],
        vec!["2prepared", "column", "column", "between"],
        vec!["10prepared", "column", "between"],
        vec!["11prepared", "column", "between", "column", "between"],
        vec!["err"],
    ]);
    let rows = prop::sample::select(vec![
        vec!["row", "row", "end"],
        vec!["end"],
        vec!["err"],
        vec!["empty-row", "err"],
    ]);
    prop_oneof![
        3 => results().prop_map(|words| ("query", words)),
        3 => results().prop_map(|words| ("execute", words)),
        1 => results().prop_map(|words| ("bulk", words)),
        2 => plain.clone().prop_map(|words| ("ping", words)),
        1 => plain.prop_map(|words| ("init", words)),
        2 => prepared.prop_map(|words| ("prepare", words)),
        1 => rows.clone().prop_map(|words| ("fetch", words)),
        1 => rows.prop_map(|words| ("fields", words)),
        1 => one("text").prop_map(|words| ("statistics", words)),
        1 => one("err").prop_map(|words| ("unknown", words)),
        1 => Just(("close", vec![])),
        1 => Just(("long", vec![])),
    ]
}

fn feed(bytes: &[u8], cuts: &[usize], mut take: impl FnMut(&[u8]) -> usize) {
    let (mut rest, mut held) = (bytes, Vec::new());
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at((*cut).min(rest.len()));
        held.extend_from_slice(part);
        let passed = take(&held);
        held.drain(..passed);
        rest = after;
    }
    assert!(held.is_empty());
}

proptest! {
    #[test]
    fn answers_are_followed_to_their_ends_however_they_are_cut(
        exchanges in prop::collection::vec(exchange(), 1..12),
        pipelined in any::<bool>(),
        new in any::<bool>(),
        cuts in prop::collection::vec(1usize..40, 1..40),
    ) {
        let capabilities = DIALECTS[usize::from(new)];
        let mut conversation = Conversation::new(facts(capabilities), agreeable());
        let asks = |word: &str| packet(0, &asked(word));
        let answers = |words: &[&str]| -> Vec<Vec<u8>> {
            let payloads = words.iter().filter_map(|word| said(word, capabilities));
            payloads.map(|payload| packet(1, &payload)).collect()
        };
        let turns: Vec<Vec<Exchange>> = if pipelined { vec![exchanges.clone()] } else { exchanges.iter().map(|one| vec![one.clone()]).collect() };
        for turn in &turns {
            let asked: Vec<u8> = turn.iter().flat_map(|(word, _)| asks(word)).collect();
            feed(&asked, &cuts, |bytes| conversation.from_client(bytes));
            for (_, words) in turn {
                let packets = answers(words);
                let Some((last, others)) = packets.split_last() else {
                    continue;
                };
                feed(&others.concat(), &cuts, |bytes| conversation.from_server(bytes));
                prop_assert_eq!(conversation.standing(), Standing::Owing);
                let (last, end) = last.split_at(last.len() - 1);
                feed(last, &cuts, |bytes| conversation.from_server(bytes));
                prop_assert_eq!(conversation.standing(), Standing::Owing);
                prop_assert!(!conversation.may_speak_to_client());
                conversation.from_server(end);
                prop_assert!(conversation.may_speak_to_client());
            }
            prop_assert!(conversation.standing() != Standing::Owing, "{:?}", conversation);
            prop_assert!(conversation.state.owed.is_nothing());
        }
        let flights = exchanges.iter().filter(|(_, words)| !words.is_empty()).count();
        prop_assert_eq!(conversation.take_counts().flights as usize, flights);
        prop_assert_eq!(conversation.hold(), None);
    }

    #[test]
    fn no_bytes_are_too_strange(
        said in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..40),
        whole in any::<bool>(),
        capabilities in prop::sample::select(vec![0, 1 << 24, 3 << 24, 1 << 25]),
    ) {
        let mut conversation = Conversation::new(facts(Capabilities::from_bits(capabilities)), agreeable());
        for (client, bytes) in said {
            let bytes = if whole { packet(1, &bytes) } else { bytes };
            let passed = if client { conversation.from_client(&bytes) } else { conversation.from_server(&bytes) };
            prop_assert!(passed <= bytes.len());
            let held = conversation.hold();
            prop_assert!(passed == bytes.len() || held.is_some());
            if !client && passed < bytes.len() {
                prop_assert!(matches!(held, Some(Hold::Breach(_))));
            }
            let _standing = conversation.standing();
            prop_assert!(!conversation.quiet() || conversation.may_speak_to_client());
        }
    }
}
