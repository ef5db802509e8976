//! A command that the session decides on, read whole. Floor 2.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroize;

use crate::wire::mysql::{
    Capabilities, ChangeUser, HEADER, MAX_RESPONSE, NameRule, WireError, commands,
};

/// What the session is asked.
#[derive(Debug)]
pub enum Asked {
    ChangeUser(ChangeUser),
    InitDb(String),
    /// One of the commands of a replica.
    Replication,
    /// A statement that stops others, or that drivers say before one.
    Stop,
    Other,
}

/// How far a name or a flag in a command means what it says: as the login agreed.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub capabilities: Capabilities,
    pub names: NameRule,
    pub charset: u16,
}

/// Reads on until the packet at the front of `held` is whole, and not a byte beyond. Gives its length with the header; `None`
/// for one that is longer than any that the session has to decide on.
///
/// # Errors
/// The client is gone.
pub async fn whole_command<C: AsyncRead + Unpin>(
    client: &mut C,
    held: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    loop {
        let size = match held.first_chunk::<HEADER>() {
            Some([low, middle, high, _sequence]) => {
                HEADER + (usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16)
            }
            None => HEADER,
        };
        if size > HEADER + MAX_RESPONSE {
            return Ok(None);
        }
        let missing = size.saturating_sub(held.len()) as u64;
        if missing == 0 {
            return Ok(Some(size));
        }
        if (&mut *client).take(missing).read_buf(held).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Forgets the command at the front of `held`, which may hold a password.
pub fn forget_command(held: &mut Vec<u8>, size: usize) {
    if let Some(command) = held.get_mut(..size) {
        command.zeroize();
        held.drain(..size);
    }
}

impl Asked {
    /// What a whole packet asks, header and all.
    ///
    /// # Errors
    /// One that server and gateway could read differently.
    pub fn parse(packet: &[u8], reading: Reading) -> Result<Self, WireError> {
        let payload = packet.get(HEADER..).unwrap_or_default();
        let Some((command, rest)) = payload.split_first() else {
            return Ok(Self::Other);
        };
        match *command {
            commands::CHANGE_USER => {
                ChangeUser::parse(payload, reading.capabilities, reading.names)
                    .map(Self::ChangeUser)
            }
            // the server's to refuse: it names no database
            commands::INIT_DB if rest.is_empty() => Ok(Self::Other),
            commands::INIT_DB => reading
                .names
                .database(rest, reading.charset)
                .map(|name| Self::InitDb(name.to_owned()))
                .map_err(WireError::Database),
            commands::REGISTER_SLAVE | commands::BINLOG_DUMP | commands::BINLOG_DUMP_GTID => {
                Ok(Self::Replication)
            }
            commands::PROCESS_KILL | commands::PING => Ok(Self::Stop),
            commands::QUERY if statement(rest, reading.capabilities).is_some_and(stops) => {
                Ok(Self::Stop)
            }
            _ => Ok(Self::Other),
        }
    }
}

/// The statement of a query. `None` where attributes come before it: nobody attaches any to a `KILL`.
fn statement(query: &[u8], agreed: Capabilities) -> Option<&[u8]> {
    if agreed.has(Capabilities::QUERY_ATTRIBUTES) {
        query.strip_prefix(&NO_ATTRIBUTES)
    } else {
        Some(query)
    }
}

/// Whether a statement is a single `KILL`, or a `SET`, as drivers say when they have connected.
fn stops(statement: &[u8]) -> bool {
    let statement = statement.trim_ascii();
    let word = statement
        .split(|byte| !byte.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    let known = ["kill", "set"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    let single = statement.strip_suffix(b";").unwrap_or(statement);
    known && !single.contains(&b';')
}

/// No query attributes: `parameter_count` 0, `parameter_set_count` 1.
const NO_ATTRIBUTES: [u8; 2] = [0, 1];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::mysql::Flavor;

    fn reading() -> Reading {
        Reading {
            capabilities: Capabilities::default(),
            names: NameRule::of(Flavor::MySql, b"9.7.4"),
            charset: 45,
        }
    }

    fn packet(payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[length, 0, 0, 0], payload].concat()
    }

    #[tokio::test]
    async fn a_command_is_read_to_its_end_and_no_further() {
        let mut rest = &b"opNEXT"[..];
        let mut held = packet(b"\x02shop");
        held.truncate(7);
        let size = whole_command(&mut rest, &mut held).await.unwrap();
        assert_eq!(size, Some(9));
        assert_eq!((held.len(), rest), (9, &b"NEXT"[..]));
        forget_command(&mut held, 9);
        assert!(held.is_empty());
    }

    #[tokio::test]
    async fn an_endless_command_is_not_waited_for() {
        let mut held = vec![0xff, 0xff, 0xff, 0, 0x11];
        assert_eq!(whole_command(&mut &b""[..], &mut held).await.unwrap(), None);
    }

    #[test]
    fn only_a_single_kill_stops() {
        let asked = |statement: &str| {
            Asked::parse(&packet(format!("\x03{statement}").as_bytes()), reading())
        };
        for stops in ["KILL QUERY 7", " kill 7;", "SET NAMES utf8mb4"] {
            assert!(matches!(asked(stops), Ok(Asked::Stop)), "{stops}");
        }
        for other in ["KILL 7; DROP TABLE x", "killer", "SELECT 1", ""] {
            assert!(matches!(asked(other), Ok(Asked::Other)), "{other}");
        }
    }

    #[test]
    fn a_kill_is_known_behind_the_count_of_its_attributes() {
        let with_attributes = Reading {
            capabilities: Capabilities::QUERY_ATTRIBUTES,
            ..reading()
        };
        let stops = |query: &[u8], reading| {
            let packet = packet(&[b"\x03", query].concat());
            matches!(Asked::parse(&packet, reading), Ok(Asked::Stop))
        };
        assert!(stops(b"\x00\x01KILL QUERY 7", with_attributes));
        assert!(!stops(b"\x01\x01KILL QUERY 7", with_attributes));
        assert!(!stops(b"\x00\x01KILL QUERY 7", reading()));
    }

    #[test]
    fn a_database_is_asked_for_by_a_name_that_reads_in_one_way() {
        assert!(
            matches!(Asked::parse(&packet(b"\x02shop"), reading()), Ok(Asked::InitDb(name)) if name == "shop")
        );
        assert!(Asked::parse(&packet(b"\x02ren\xe9"), reading()).is_err());
    }
}
