//! What reading the wire costs: an opening, and the headers of messages that go by.
#![expect(clippy::unwrap_used, reason = "a bench may stop at a surprise")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use doorward::{
    protocol::{mysql, postgres::Conversation},
    wire::{
        mysql::{Capabilities, Extended, Packet, Status},
        postgres::{Frames, Opening, TransactionStatus},
    },
};

fn opening(criterion: &mut Criterion) {
    let parameters: &[u8] =
        b"user\0app\0database\0shop\0application_name\0web\0client_encoding\0UTF8\0\0";
    let length = u32::try_from(parameters.len() + 8).unwrap();
    let packet = [&length.to_be_bytes(), &[0, 3, 0, 0][..], parameters].concat();
    criterion.bench_function("opening/startup", |bencher| {
        bencher.iter(|| Opening::parse(black_box(&packet)).is_ok());
    });
}

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    for size in [32, 128, 1024, 8192] {
        let row = message(b'D', &vec![7; size - 5]);
        let chunk = row.repeat(64 * 1024 / size);
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_function(format!("rows of {size} bytes"), |bencher| {
            let mut frames = Frames::default();
            bencher.iter(|| {
                let mut rows = 0;
                frames.advance(black_box(&chunk), |_| rows += 1);
                rows
            });
        });
        group.bench_function(format!("conversation, rows of {size} bytes"), |bencher| {
            let (client, server) = (Frames::default(), Frames::default());
            let mut conversation = Conversation::new(client, server, TransactionStatus::Idle);
            bencher.iter(|| conversation.from_server(black_box(&chunk)));
        });
    }
    group.finish();
}

fn query(criterion: &mut Criterion) {
    let (client, server) = (Frames::default(), Frames::default());
    let mut conversation = Conversation::new(client, server, TransactionStatus::Idle);
    let query = message(b'Q', b"select abalance from accounts where aid = 42\0");
    let answer = [
        message(b'T', &[1; 30]),
        message(b'D', &[1; 12]),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ]
    .concat();
    criterion.bench_function("conversation/a query and its answer", |bencher| {
        bencher.iter(|| {
            conversation.from_client(black_box(&query));
            conversation.from_server(black_box(&answer));
            conversation.take_counts()
        });
    });
}

fn packets(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (payload, sequence) in payloads.iter().zip(1..) {
        Packet::append(&mut bytes, sequence, payload);
    }
    bytes
}

fn mysql_conversation() -> mysql::Conversation {
    let facts = mysql::Facts {
        capabilities: Capabilities::DEPRECATE_EOF,
        extended: Extended::default(),
        status: Status::AUTOCOMMIT,
        mariadb: false,
    };
    mysql::Conversation::new(facts, mysql::Rights::default())
}

fn mysql_rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packets");
    for size in [32, 128, 1024, 8192] {
        let mut chunk = packets(&[&vec![7; size - 4]]).repeat(64 * 1024 / size);
        // reads of a relay end anywhere
        let cut = chunk.split_off(chunk.len() - 3);
        chunk.splice(0..0, cut);
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_function(format!("conversation, rows of {size} bytes"), |bencher| {
            let mut conversation = mysql_conversation();
            conversation.from_client(&packets(&[b"\x03select"]));
            conversation.from_server(&packets(&[&[1], b"\x03def"]));
            // the first row but its last bytes, which begin the chunk
            let row = packets(&[&vec![7; size - 4]]);
            conversation.from_server(row.split_at(size - 3).0);
            bencher.iter(|| conversation.from_server(black_box(&chunk)));
        });
    }
    group.finish();
}

fn mysql_query(criterion: &mut Criterion) {
    let mut conversation = mysql_conversation();
    let query = packets(&[b"\x03select abalance from accounts where aid = 42"]);
    let answer = packets(&[&[1], &[1; 40], b"\x0242", &[0xFE, 0, 0, 2, 0, 0, 0]]);
    criterion.bench_function("packets/a query and its answer", |bencher| {
        bencher.iter(|| {
            conversation.from_client(black_box(&query));
            conversation.from_server(black_box(&answer));
            conversation.take_counts()
        });
    });
}

criterion_group!(benches, opening, frames, query, mysql_rows, mysql_query);
criterion_main!(benches);
