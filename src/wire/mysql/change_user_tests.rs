//! Changes of user that can be read in two ways, and the one reading of the others.

use super::*;
use crate::wire::mysql::{Flavor, NameFault};
use proptest::prelude::*;

const ATTRIBUTES: Capabilities = Capabilities::CONNECT_ATTRS;
const NOTHING: Capabilities = Capabilities::from_bits(0);

fn names() -> NameRule {
    NameRule::of(Flavor::MySql, b"9.7.4")
}

fn packet(user: &[u8], auth: &[u8], database: &[u8], charset: u16, rest: &[u8]) -> Vec<u8> {
    let length = u8::try_from(auth.len()).unwrap();
    [
        b"\x11",
        user,
        &[0, length],
        auth,
        database,
        b"\0",
        &charset.to_le_bytes(),
        rest,
    ]
    .concat()
}

fn plain() -> Vec<u8> {
    packet(b"app", &[7; 20], b"shop", 45, b"mysql_native_password\0")
}

fn read(bytes: &[u8], agreed: Capabilities) -> Result<ChangeUser, WireError> {
    ChangeUser::parse(bytes, agreed, names())
}

#[test]
fn a_change_of_user_says_who_comes() {
    let bytes = [&plain()[..], b"\x04\x01a\x01b"].concat();
    let change = read(&bytes, ATTRIBUTES).unwrap();
    assert_eq!((change.user(), change.database()), ("app", Some("shop")));
    assert_eq!(
        (change.plugin(), change.charset()),
        ("mysql_native_password", 45)
    );
    assert_eq!(change.auth_response(), [7; 20]);
    assert_eq!(change.attribute("a"), Some("b"));
    assert_eq!(change.edited(&Edit::default()).to_vec(), bytes);
    let none = packet(b"app", b"", b"", 45, b"x\0");
    assert_eq!(read(&none, NOTHING).unwrap().database(), None);
}

#[test]
fn no_beginning_of_it_is_one_but_where_the_plugin_s_name_is_cut() {
    let whole = [&plain()[..], b"\x04\x01a\x01b"].concat();
    let name = packet(b"app", &[7; 20], b"shop", 45, b"").len();
    for cut in 0..whole.len() {
        let expected = match cut {
            cut if cut > plain().len() => Some(WireError::Attributes),
            cut if cut > name => None,
            _ => Some(WireError::Layout),
        };
        assert_eq!(read(&whole[..cut], ATTRIBUTES).err(), expected, "{cut}");
    }
}

#[test]
fn nothing_may_stand_behind_the_last_field() {
    let longer = [&plain()[..], b"\0"].concat();
    assert_eq!(read(&longer, NOTHING).err(), Some(WireError::Layout));
    let longer = [&plain()[..], b"\0\0"].concat();
    assert_eq!(read(&longer, ATTRIBUTES).err(), Some(WireError::Layout));
}

#[test]
fn no_other_command_is_one() {
    let mut other = plain();
    other[0] = 3;
    assert_eq!(read(&other, NOTHING).err(), Some(WireError::Layout));
}

#[test]
fn its_names_are_judged_by_its_own_character_set() {
    let rene = "ren\u{e9}".as_bytes();
    let with = |user: &[u8], database: &[u8], charset| {
        read(&packet(user, b"", database, charset, b"x\0"), NOTHING).err()
    };
    assert_eq!(with(rene, rene, 45), None);
    assert_eq!(with(rene, rene, 309), None);
    assert_eq!(
        with(rene, b"", 8),
        Some(WireError::User(NameFault::CharacterSet))
    );
    // 45 in its low byte only
    assert_eq!(
        with(rene, b"", 45 + 512),
        Some(WireError::User(NameFault::CharacterSet))
    );
    assert_eq!(
        with(b"app", rene, 8),
        Some(WireError::Database(NameFault::CharacterSet))
    );
    assert_eq!(
        with(b"'app'", b"", 45),
        Some(WireError::User(NameFault::Quoted))
    );
}

#[test]
fn a_server_that_was_promised_attributes_gets_a_block_of_them() {
    let bytes = plain();
    let change = read(&bytes, ATTRIBUTES).unwrap();
    assert_eq!(
        change.edited(&Edit::default()).to_vec(),
        [&bytes[..], b"\0"].concat()
    );
    let edit = Edit {
        attributes: &[("_doorward_client", "::1")],
        ..Edit::default()
    };
    let edited = change.edited(&edit);
    let again = read(&edited, ATTRIBUTES).unwrap();
    assert_eq!(again.attribute("_doorward_client"), Some("::1"));
    let change = read(&bytes, NOTHING).unwrap();
    assert_eq!(change.edited(&edit).to_vec(), bytes);
}

#[test]
fn a_forced_switch_proves_nothing_and_changes_nobody() {
    let change = read(&plain(), NOTHING).unwrap();
    let edit = Edit {
        forced_switch: true,
        ..Edit::default()
    };
    let edited = change.edited(&edit);
    let again = read(&edited, NOTHING).unwrap();
    assert_eq!(
        (again.user(), again.database(), again.charset()),
        ("app", Some("shop"), 45)
    );
    assert_eq!(again.auth_response(), b"");
    assert_ne!(again.plugin(), change.plugin());
}

#[test]
fn no_secret_is_shown() {
    let bytes = packet(b"app", b"s3cret", b"shop", 45, b"mysql_clear_password\0");
    let shown = format!("{:?}", read(&bytes, NOTHING));
    assert!(
        shown.contains("app") && !shown.contains("s3cret") && !shown.contains("115"),
        "{shown}"
    );
}

/// Who the server would log in: MySQL's `parse_com_change_user_packet`.
fn server_reads(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = payload.get(1..)?.splitn(2, |byte| *byte == 0);
    let (user, rest) = (parts.next()?, parts.next()?);
    let (length, rest) = rest.split_first()?;
    let rest = rest.get(usize::from(*length)..)?;
    let database = rest.split(|byte| *byte == 0).next()?;
    Some((user, database))
}

proptest! {
    #[test]
    fn a_packet_bent_anywhere_is_refused_or_read_as_the_server_reads_it(
        user in "[a-z\u{e9}]{1,32}", database in "[a-z]{0,20}", auth in prop::collection::vec(any::<u8>(), 0..255),
        at: prop::sample::Index, with: u8, attributes: bool, forced_switch: bool,
    ) {
        let mut bytes = packet(user.as_bytes(), &auth, database.as_bytes(), 45, b"caching_sha2_password\0");
        if attributes {
            bytes.extend_from_slice(b"\x04\x01a\x01b");
        }
        let agreed = if attributes { ATTRIBUTES } else { NOTHING };
        let whole = read(&bytes, agreed).unwrap();
        prop_assert_eq!((whole.user(), whole.database().unwrap_or_default()), (&*user, &*database));
        *at.get_mut(&mut bytes) = with;
        if let Ok(change) = read(&bytes, agreed) {
            let edit = Edit { forced_switch, attributes: &[("_doorward_client", "::1")], ..Edit::default() };
            for payload in [&bytes[..], &change.edited(&edit)] {
                let (user, database) = server_reads(payload).unwrap();
                prop_assert_eq!(user, change.user().as_bytes());
                prop_assert_eq!(database, change.database().unwrap_or_default().as_bytes());
            }
        }
    }
}
