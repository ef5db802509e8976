//! Sessions told by their packets: what stands open, what may pass, and when we may speak.

use super::*;

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::wire::mysql::Packet::append(&mut bytes, sequence, payload);
    bytes
}

#[test]
fn a_query_is_owed_an_answer_until_its_last_packet() {
    let facts = Facts {
        capabilities: Capabilities::DEPRECATE_EOF,
        extended: Extended::default(),
        status: Status::AUTOCOMMIT,
        mariadb: false,
    };
    let mut conversation = Conversation::new(facts, Rights::default());
    assert!(conversation.quiet());
    let query = packet(0, b"\x03select 1");
    assert_eq!(conversation.from_client(&query), query.len());
    assert_eq!(conversation.standing(), Standing::Owing);
    let answer = [
        packet(1, b"\x01"),
        packet(2, b"\x03def"),
        packet(3, b"\x011"),
    ];
    let answer = answer.concat();
    assert_eq!(conversation.from_server(&answer), answer.len());
    assert_eq!(conversation.standing(), Standing::Owing);
    let end = packet(4, &[0xFE, 0, 0, 2, 0, 0, 0]);
    assert_eq!(conversation.from_server(&end), end.len());
    assert!(conversation.quiet());
    assert_eq!(conversation.take_counts().flights, 1);
}
