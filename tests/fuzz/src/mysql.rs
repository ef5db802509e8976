//! What must hold for any bytes of MySQL's protocol.

use doorward::wire::{
    Parsed,
    mysql::{
        AuthPacket, Capabilities, ChangeUser, ClientOpening, Edit, FirstPacket, Greeting, HEADER,
        HandshakeResponse, MAX_RESPONSE, Offer, Packet, terminal_status,
    },
};

/// Cut anywhere, a packet is the same packet; until it is all there, more is asked for, within bounds.
pub fn mysql_packet(bytes: &[u8]) {
    const LIMIT: usize = 0x4000;
    let whole = Packet::parse(bytes, LIMIT);
    let step = 1 + bytes.len() / 256;
    for cut in (0..bytes.len()).step_by(step) {
        match Packet::parse(&bytes[..cut], LIMIT) {
            Ok(Parsed::Need(need)) => assert!(cut < need && need <= HEADER + LIMIT),
            early => assert_eq!(early, whole, "at {cut}"),
        }
    }
    if let Ok(Parsed::Done(packet, size)) = whole {
        assert_eq!(
            *Packet::encode(packet.sequence, packet.payload),
            bytes[..size]
        );
    }
    let _ = AuthPacket::parse(bytes, Capabilities::from_bits(u32::MAX));
    // what is needed of an end is in its first bytes
    let head = &bytes[..bytes.len().min(21)];
    assert_eq!(
        terminal_status(head, bytes.len()),
        terminal_status(bytes, bytes.len())
    );
}

/// A server's greeting, then whatever a client answers to it, packet by packet.
pub fn mysql_opening(bytes: &[u8]) {
    let Some((payload, mut rest)) = next(bytes) else {
        return;
    };
    let Some(greeting) = greeting_in(payload) else {
        return;
    };
    shown(&greeting, payload);
    let mut offer = greeting.offer(true, true);
    while let Some((payload, after)) = next(rest) {
        rest = after;
        match ClientOpening::parse(payload, offer) {
            Ok(ClientOpening::SslRequest(_)) => offer = offer.inside_tls(),
            Ok(ClientOpening::Response(response)) => answered(&response, payload, offer),
            Err(_) => changed(payload, offer),
        }
    }
}

fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match Packet::parse(bytes, MAX_RESPONSE) {
        Ok(Parsed::Done(packet, size)) => Some((packet.payload, &bytes[size..])),
        _ => None,
    }
}

/// A greeting is shown with other flags and nothing else, and one of ours differs from it in its id and nonce.
fn shown(greeting: &Greeting, payload: &[u8]) {
    assert_eq!(
        greeting.offer(true, true).capabilities,
        again(&greeting.shown(true, true)).capabilities()
    );
    for (tls, compression) in [(true, false), (false, true), (false, false)] {
        let shown = greeting.shown(tls, compression);
        let read = again(&shown);
        assert_eq!(
            read.capabilities(),
            greeting.offer(tls, compression).capabilities
        );
        assert_eq!(shown.len(), payload.len());
        assert_eq!(read.nonce(), greeting.nonce());
        assert_eq!(read.plugin(), greeting.plugin());
        assert_eq!(read.connection_id(), greeting.connection_id());
        let differing = read.capabilities().bits() ^ greeting.capabilities().bits();
        let ours = Capabilities::SSL.with(Capabilities::COMPRESSION);
        assert_eq!(differing & !ours.bits(), 0);
    }
    let ours = greeting.ours(7, *b"0123456789abcdefghij");
    let read = again(&ours.shown(true, true));
    assert_eq!(read.connection_id(), 7);
    assert_eq!(read.nonce(), b"0123456789abcdefghij");
    assert_eq!(
        (read.version(), read.plugin()),
        (greeting.version(), greeting.plugin())
    );
}

/// Whom we decide on is whom both servers log in, by the client's packet and by every one that we make of it.
fn answered(response: &HandshakeResponse, payload: &[u8], offer: Offer) {
    judged(
        response.user(),
        response.database(),
        response.charset(),
        offer,
    );
    let ours = [
        ("_doorward_client", "203.0.113.9"),
        ("_doorward_origin", "till"),
    ];
    for (attributes, forced_switch) in [
        (&ours[..0], false),
        (&ours, false),
        (&ours[..0], true),
        (&ours, true),
    ] {
        let edit = Edit {
            local_files: false,
            compression: false,
            attributes,
            forced_switch,
        };
        let edited = response.edited(&edit);
        // what is sent is read by both; what came, in the same way where it is
        let theirs = [mysql_reads(payload, offer), mariadb_reads(payload, offer)];
        let sent = [mysql_reads(&edited, offer), mariadb_reads(&edited, offer)];
        assert!(
            sent.iter().all(Option::is_some),
            "we let pass what a server refuses"
        );
        for reading in theirs.iter().chain(&sent).flatten() {
            assert_eq!(reading.user, response.user().as_bytes());
            assert_eq!(
                reading.database,
                response.database().unwrap_or_default().as_bytes()
            );
        }
        let read = response_in(&edited, offer);
        assert_eq!(read.agreed(&edit), response.agreed(&edit));
        assert!(!read.capabilities().has(Capabilities::SSL));
        assert_eq!(response.ssl_request(&edit)[4..], edited[4..32]);
        if !forced_switch {
            assert_eq!(read.auth_response(), response.auth_response());
            assert_eq!(read.plugin(), response.plugin());
        }
        let told = read
            .attributes()
            .filter(|(key, _)| key.starts_with(b"_doorward_"))
            .count();
        let taken = read.agreed(&edit).has(Capabilities::CONNECT_ATTRS);
        assert_eq!(told, if taken { attributes.len() } else { 0 });
        assert_eq!(*read.edited(&edit), *edited, "edited twice it differs");
    }
}

/// The same for a change of user.
fn changed(payload: &[u8], offer: Offer) {
    let agreed = offer.capabilities;
    let Ok(change) = ChangeUser::parse(payload, agreed, offer.names) else {
        return;
    };
    judged(change.user(), change.database(), change.charset(), offer);
    for forced_switch in [false, true] {
        let attributes = [("_doorward_client", "::1")];
        let edit = Edit {
            attributes: &attributes,
            forced_switch,
            ..Edit::default()
        };
        let edited = change.edited(&edit);
        for packet in [payload, &edited] {
            let (user, database) = changes_to(packet).expect("we let pass what a server refuses");
            assert_eq!(user, change.user().as_bytes());
            assert_eq!(database, change.database().unwrap_or_default().as_bytes());
        }
        let read =
            ChangeUser::parse(&edited, agreed, offer.names).expect("we cannot read what we wrote");
        assert_eq!(read.charset(), change.charset());
        assert_eq!(*read.edited(&edit), *edited, "edited twice it differs");
    }
}

/// Names are such that no server changes them.
fn judged(user: &str, database: Option<&str>, charset: u16, offer: Offer) {
    let plain = |name: &str| {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.$-".contains(c))
    };
    assert!(!user.is_empty() && user.chars().count() <= 128);
    assert!(!(user.starts_with('\'') && user.ends_with('\'')));
    for name in [Some(user), database].into_iter().flatten() {
        assert!(name.chars().all(|c| c > '\x1f' && c <= '\u{ffff}'));
        assert!(plain(name) || offer.names.user("\u{e9}".as_bytes(), charset).is_ok());
    }
    assert!(database.is_none_or(|name| (1..=64).contains(&name.chars().count())));
}

fn greeting_in(payload: &[u8]) -> Option<Greeting> {
    match FirstPacket::parse(payload) {
        Ok(FirstPacket::Greeting(greeting)) => Some(greeting),
        _ => None,
    }
}

fn again(payload: &[u8]) -> Greeting {
    greeting_in(payload).expect("we cannot read what we wrote")
}

fn response_in(payload: &[u8], offer: Offer) -> HandshakeResponse {
    match ClientOpening::parse(payload, offer) {
        Ok(ClientOpening::Response(response)) => response,
        other => panic!("we cannot read what we wrote: {other:?}"),
    }
}

/// Who a server would log in.
struct Reading<'a> {
    user: &'a [u8],
    database: &'a [u8],
}

/// MySQL's reading (`parse_client_handshake_packet`): each field is searched in what is left of the packet.
fn mysql_reads(packet: &[u8], offer: Offer) -> Option<Reading<'_>> {
    let flags = u32::from_le_bytes(*packet.first_chunk()?) & offer.capabilities.bits();
    let text = |rest: &mut &'_ [u8]| -> Option<usize> {
        let length = rest.iter().position(|byte| *byte == 0)?;
        *rest = &rest[length + 1..];
        Some(length)
    };
    let mut rest = packet.get(32..)?;
    let start = rest;
    let user = &start[..text(&mut rest)?];
    let length = if flags & (1 << 21) == 0 {
        let (length, after) = rest.split_first()?;
        rest = after;
        usize::from(*length)
    } else {
        number(&mut rest)?
    };
    rest = rest.get(length..)?;
    let mut database = &b""[..];
    if flags & 8 != 0 {
        let start = rest;
        database = &start[..text(&mut rest)?];
    }
    let _plugin = text(&mut rest);
    if flags & (1 << 20) != 0 && !rest.is_empty() {
        let length = number(&mut rest)?;
        if length > rest.len() || length > 65_535 {
            return None;
        }
    }
    Some(Reading { user, database })
}

/// MariaDB's reading (its function of the same name): pointers run over the packet, behind which stands a zero byte.
fn mariadb_reads(packet: &[u8], offer: Offer) -> Option<Reading<'_>> {
    let end = packet.len();
    let flags = u32::from_le_bytes(*packet.first_chunk()?) & offer.capabilities.bits();
    let length_at = |at: usize| {
        let rest = packet.get(at..).unwrap_or_default();
        rest.iter()
            .position(|byte| *byte == 0)
            .unwrap_or(rest.len())
    };
    if end < 33 {
        return None;
    }
    let user_end = 32 + length_at(32);
    let mut at = user_end + 1;
    let length = if flags & (1 << 21) == 0 {
        at += 1;
        usize::from(*packet.get(at - 1)?)
    } else {
        let mut rest = packet.get(at..)?;
        let length = number(&mut rest)?;
        at = end - rest.len();
        length
    };
    let has_database = flags & 8 != 0;
    let database_at = at.checked_add(length)?;
    if database_at + usize::from(has_database) > end {
        return None;
    }
    let mut next = database_at;
    let mut database = &b""[..];
    if has_database {
        database = &packet[database_at..database_at + length_at(database_at)];
        next += database.len() + 1;
    }
    if next >= end {
        return None;
    }
    Some(Reading {
        user: &packet[32..user_end],
        database,
    })
}

/// `net_field_length_ll_safe`
fn number(rest: &mut &[u8]) -> Option<usize> {
    let (first, after) = rest.split_first()?;
    let digits = match first {
        0xfb | 0xff => return None,
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        small => {
            *rest = after;
            return Some(usize::from(*small));
        }
    };
    let (digits, after) = after.split_at_checked(digits)?;
    *rest = after;
    let value = digits
        .iter()
        .rev()
        .fold(0_u64, |sum, digit| sum << 8 | u64::from(*digit));
    usize::try_from(value).ok()
}

/// Both servers' reading of a change of user (`parse_com_change_user_packet`).
fn changes_to(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = packet.strip_prefix(b"\x11")?;
    let user = rest.split(|byte| *byte == 0).next()?;
    let length_at = user.len() + 1;
    let database_at = length_at + 1 + usize::from(*rest.get(length_at)?);
    let database = rest.get(database_at..)?.split(|byte| *byte == 0).next()?;
    let charset_at = database_at + database.len() + 1;
    // both bytes of it, and a plugin
    rest.get(charset_at + 2)?;
    Some((user, database))
}
