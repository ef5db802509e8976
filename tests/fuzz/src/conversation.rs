//! What must hold for any bytes of a MySQL session after its login.

use doorward::{
    protocol::{
        Hold,
        mysql::{Conversation, Facts, Rights},
    },
    wire::mysql::{Capabilities, Extended, Status},
};

/// Two sessions of the same words, one of them byte by byte, are the same session; and no command for another user goes to the
/// server unseen. The first byte tells what was agreed on; then each part has its speaker and its length before it.
pub fn mysql_conversation(bytes: &[u8]) {
    let Some((&agreed, mut rest)) = bytes.split_first() else {
        return;
    };
    let files = agreed & 8 != 0;
    let mut whole = Side::new(agreed, files);
    let mut drops = Side::new(agreed, files);
    while let Some(([who, length], after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(*length).min(after.len());
        let (part, after) = after.split_at(length);
        rest = after;
        let server = who & 1 == 1;
        let alone: Vec<&[u8]> = part.chunks(1).collect();
        for (side, parts) in [(&mut whole, &[part][..]), (&mut drops, &alone)] {
            for part in parts {
                side.say(server, part);
            }
            // what waited for the server goes on when it has said its part
            side.offer();
        }
        if whole.is_over() || drops.is_over() {
            assert_eq!(whole.is_over(), drops.is_over());
            break;
        }
        assert_eq!(whole.passed, drops.passed);
        assert_eq!(whole.conversation.hold(), drops.conversation.hold());
        assert_eq!(whole.conversation.standing(), drops.conversation.standing());
        assert_eq!(whole.conversation.quiet(), drops.conversation.quiet());
        assert_eq!(whole.conversation.leave(), drops.conversation.leave());
    }
    assert_eq!(
        whole.conversation.take_counts(),
        drops.conversation.take_counts()
    );
    if !files {
        commands(&whole.passed);
        commands(&drops.passed);
    }
}

/// A relay in little.
struct Side {
    conversation: Conversation,
    held: Vec<u8>,
    /// What the server was given.
    passed: Vec<u8>,
}

impl Side {
    fn new(agreed: u8, files: bool) -> Self {
        let facts = Facts {
            capabilities: Capabilities::from_bits(u32::from(agreed & 3) << 24),
            extended: Extended::from_bits(u32::from(agreed >> 4)),
            status: Status::AUTOCOMMIT,
            mariadb: agreed & 4 != 0,
        };
        let rights = Rights {
            local_infile: files,
            ..Rights::default()
        };
        Self {
            conversation: Conversation::new(facts, rights),
            held: Vec::new(),
            passed: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        matches!(
            self.conversation.hold(),
            Some(Hold::Breach(_) | Hold::Command)
        )
    }

    fn say(&mut self, server: bool, bytes: &[u8]) {
        if self.is_over() {
            return;
        }
        if server {
            let passed = self.conversation.from_server(bytes);
            assert!(passed == bytes.len() || self.is_over());
        } else {
            self.held.extend_from_slice(bytes);
            self.offer();
        }
    }

    fn offer(&mut self) {
        if self.is_over() || self.conversation.hold() == Some(Hold::Answers) {
            return;
        }
        let passed = self.conversation.from_client(&self.held);
        assert!(passed == self.held.len() || self.conversation.hold().is_some());
        self.passed.extend(self.held.drain(..passed));
    }
}

/// As a server reads commands, without what it answers: none may be for another user. Streams have words of their own.
fn commands(mut bytes: &[u8]) {
    let mut continues = false;
    while let Some(([low, middle, high, _], rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16;
        match rest.first().filter(|_| length > 0 && !continues) {
            Some(0x12 | 0x13 | 0x1e | 0x20) => return,
            Some(command) => assert_ne!(*command, 0x11),
            None => {}
        }
        continues = length == 0xff_ffff;
        bytes = rest.get(length..).unwrap_or_default();
    }
}
