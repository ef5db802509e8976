//! What is large or many comes through as it was sent: rows, copies both ways, notifications, pipelines.

use std::io::Read;

use crate::harness::{
    Gateway, Postgres, Raw,
    raw::{Message, framed},
};

const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text], databases: [shop]}
";

fn session(gateway: &Gateway) -> Raw {
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.log_in("by_text", "shop");
    client
}

fn gateway() -> Gateway {
    Gateway::start(&Postgres::shared().address(), TEXT)
}

/// The gateway's memory, in KiB.
fn resident(gateway: &Gateway) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

#[test]
fn a_large_row_comes_through_and_is_nowhere_held() {
    row_of(64 << 20);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn soak_a_row_of_a_gigabyte_comes_through_and_is_nowhere_held() {
    row_of(1_000_000_000);
}

fn row_of(size: usize) {
    const WORD: &[u8; 16] = b"0123456789abcdef";
    let gateway = gateway();
    let mut client = session(&gateway);
    let before = resident(&gateway);
    client.query(&format!("select repeat('0123456789abcdef', {})", size / 16));
    client.expect('T');
    let mut head = [0; 11];
    client.stream.read_exact(&mut head).unwrap();
    let length = u32::try_from(size / 16 * 16).unwrap();
    assert_eq!((head[0], &head[5..7]), (b'D', &[0, 1][..]));
    assert_eq!(head[1..5], (length + 10).to_be_bytes());
    assert_eq!(head[7..], length.to_be_bytes());
    let (mut chunk, expected) = (vec![0; 1 << 16], WORD.repeat(1 << 12));
    let (mut left, mut most) = (usize::try_from(length).unwrap(), 0);
    while left > 0 {
        let part = &mut chunk[..left.min(1 << 16)];
        client.stream.read_exact(part).unwrap();
        assert_eq!(part, &expected[..part.len()]);
        left -= part.len();
        if (left >> 16).is_multiple_of(64) {
            most = most.max(resident(&gateway) - before);
        }
    }
    client.expect('C');
    client.expect('Z');
    assert!(most < 4096, "{most} KiB for one row");
}

#[test]
fn a_copy_of_many_rows_comes_through_both_ways() {
    copied(50_000);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn soak_a_copy_of_a_gigabyte_comes_through_both_ways() {
    copied(7_000_000);
}

/// Rows of 1 to 300 bytes, out of the server and into it again by pieces that know nothing of rows.
fn copied(rows: usize) {
    let gateway = gateway();
    let mut client = session(&gateway);
    client.query("create temp table t (number int, it text)");
    client.expect('Z');
    let line = |number: usize| format!("{number}\t{}\n", "x".repeat(number % 300));
    client.query("copy t from stdin");
    client.expect('G');
    let mut piece = Vec::new();
    for number in 1..=rows {
        piece.extend_from_slice(line(number).as_bytes());
        if piece.len() > 1 + number % 50_000 {
            client.send(&framed(b'd', &std::mem::take(&mut piece)));
        }
    }
    client.send(&[framed(b'd', &piece), framed(b'c', b"")].concat());
    let done = client.expect('C').payload;
    assert_eq!(done, format!("COPY {rows}\0").as_bytes());
    client.expect('Z');
    client.query("copy (select * from t order by number) to stdout");
    client.expect('H');
    for number in 1..=rows {
        assert_eq!(client.expect('d').payload, line(number).as_bytes());
    }
    client.expect('c');
    client.expect('Z');
}

#[test]
fn a_hundred_thousand_notifications_come_in_their_order() {
    let gateway = gateway();
    let (mut hears, mut says) = (session(&gateway), session(&gateway));
    hears.query("listen news");
    hears.expect('Z');
    says.query("select pg_notify('news', i::text) from generate_series(1, 100000) i");
    for number in 1..=100_000 {
        let told = hears.expect('A').payload;
        let expected = format!("news\0{number}\0");
        assert_eq!(&told[4..], expected.as_bytes());
    }
    says.expect('Z');
    // and the session is none the worse for it
    hears.query("select 1");
    hears.expect('Z');
}

/// Parse, bind, execute; the answer is one row.
fn extended(number: usize) -> Vec<u8> {
    let sql = format!("\0select {number}\0\0\0");
    [
        framed(b'P', sql.as_bytes()),
        framed(b'B', &[0; 8]),
        framed(b'E', &[0; 5]),
    ]
    .concat()
}

#[test]
fn the_answers_to_a_long_pipeline_come_whole_to_a_client_that_has_closed_its_half() {
    const MANY: usize = 10_000;
    let gateway = gateway();
    let mut client = session(&gateway);
    let requests: Vec<u8> = (0..MANY)
        .flat_map(|number| {
            let sync = if number % 7 == 6 {
                framed(b'S', b"")
            } else {
                Vec::new()
            };
            [extended(number), sync].concat()
        })
        .chain(framed(b'S', b""))
        .collect();
    // by pieces, so that nobody waits for a buffer that the other has to empty
    let (mut rows, mut ready) = (0, 0);
    for (number, piece) in requests.chunks(16 * 1024).enumerate() {
        client.send(piece);
        while rows < number * 100 {
            let message = client.message().unwrap();
            count(&message, &mut rows, &mut ready);
        }
    }
    client.half_close();
    while let Some(message) = client.message() {
        count(&message, &mut rows, &mut ready);
        if rows == MANY && ready == MANY / 7 + 1 {
            break;
        }
    }
    assert_eq!((rows, ready), (MANY, MANY / 7 + 1));
    assert_eq!(client.rest(), b"");
}

/// The rows are numbered in the order in which they were asked for.
fn count(message: &Message, rows: &mut usize, ready: &mut usize) {
    assert_ne!(message.kind, 'E', "{:?}", message.field('M'));
    if message.kind == 'D' {
        assert_eq!(message.payload[6..], *rows.to_string().as_bytes());
        *rows += 1;
    }
    *ready += usize::from(message.kind == 'Z');
}
