//! Single values: text to the type that cannot be wrong. Floor 1: pure.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    addresses,
    problems::Fault,
    settings::UpstreamAddress,
    walk::{shorten, word},
};

pub(super) fn boolean(text: &str) -> Result<bool, Fault> {
    let hint = match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" => "true",
        "no" | "off" | "n" => "false",
        _ => "true or false",
    };
    word(text, "true or false", &[("true", true), ("false", false)])
        .map_err(|fault| fault.hint(format!("write {hint}")))
}

/// A whole number from `least`.
pub(super) fn count(text: &str, least: u32) -> Result<u32, Fault> {
    let fault = || Fault::new(format!("`{}` is not a number", shorten(text)));
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault().hint("digits only"));
    }
    let number: u32 = text
        .parse()
        .map_err(|_too_large| fault().label(format!("larger than {}", u32::MAX)))?;
    if number < least {
        return Err(
            Fault::new(format!("`{text}` is too little")).label(format!("at least {least}"))
        );
    }
    Ok(number)
}

/// `500us`, `20ms`, `30s`, `1m`, `8h`, up to a day.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    within(text, DAY)
}

fn within(text: &str, longest: Duration) -> Result<Duration, Fault> {
    let fault = || {
        Fault::new(format!("`{}` is not a duration", shorten(text)))
            .hint("a number and its unit: 500us, 20ms, 30s, 1m, 8h")
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(fault)?;
    let microseconds: u64 = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "" if digits > 0 => return Err(fault().label("the unit is missing")),
        _ => return Err(fault()),
    };
    let number: u64 = number.parse().map_err(|_none_or_too_large| fault())?;
    let total = Duration::from_micros(number.saturating_mul(microseconds));
    if total > longest {
        let most = if longest == DAY { "a day" } else { "31 days" };
        return Err(Fault::new(format!("`{text}` is too long")).label(format!("{most} at most")));
    }
    Ok(total)
}

/// A duration that is more than nothing.
pub(super) fn some_time(text: &str) -> Result<Duration, Fault> {
    more_than_nothing(text, within(text, DAY)?)
}

/// One that may be as long as a month: `168h`.
pub(super) fn long_time(text: &str) -> Result<Duration, Fault> {
    more_than_nothing(text, within(text, MONTH)?)
}

fn more_than_nothing(text: &str, duration: Duration) -> Result<Duration, Fault> {
    if duration.is_zero() {
        return Err(Fault::new(format!("`{text}` is too short")).label("more than nothing"));
    }
    Ok(duration)
}

/// `200/s`.
pub(super) fn per_second(text: &str) -> Result<u32, Fault> {
    let fault = || {
        Fault::new(format!("`{}` is not a rate", shorten(text))).hint("a number a second: 200/s")
    };
    let number = text.strip_suffix("/s").ok_or_else(fault)?;
    count(number, 0).map_err(|_not_a_number| fault())
}

/// RFC 3339 with a zone.
pub(super) fn time(text: &str) -> Result<SystemTime, Fault> {
    let fault = || Fault::new(format!("`{}` is not a time", shorten(text)));
    if let (Ok(time), true) = (
        text.parse::<jiff::Timestamp>(),
        text.len() <= 40 && !text.contains('['),
    ) {
        return Ok(SystemTime::from(time));
    }
    let fault = fault().hint(EXAMPLE_TIME);
    Err(if text.parse::<jiff::civil::DateTime>().is_ok() {
        fault.label("the zone is missing")
    } else {
        fault
    })
}

/// The name of a thing of the file: becomes a metric label.
pub(super) fn label(text: &str) -> Result<&str, Fault> {
    let fault = Fault::new(format!("`{}` is not a name", shorten(text)));
    let strange = text
        .chars()
        .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-'));
    match strange {
        None if text.is_empty() => Err(fault.label("it is empty")),
        None if text.len() > MAX_NAME => {
            Err(fault.label(format!("longer than {MAX_NAME} characters")))
        }
        None => Ok(text),
        Some(c) => Err(fault
            .label(format!("`{c}` does not belong in it"))
            .hint("small letters, digits and `-`")),
    }
}

/// A server's limit of names, which cuts longer ones off or has none such.
#[derive(Clone, Copy)]
pub(super) enum Longest {
    Bytes(usize),
    Characters(usize),
}

impl Longest {
    fn excess(self, text: &str) -> Option<String> {
        let (long, most, unit) = match self {
            Self::Bytes(most) => (text.len(), most, "bytes"),
            Self::Characters(most) => (text.chars().count(), most, "characters"),
        };
        (long > most).then(|| format!("{long} {unit}; the server's limit is {most}"))
    }
}

/// A user or a database.
pub(super) fn name<'t>(text: &'t str, longest: &[Longest]) -> Result<&'t str, Fault> {
    let fault = Fault::new(format!("`{}` is not a name", shorten(text)));
    if text.is_empty() {
        Err(fault.label("it is empty"))
    } else if let Some(excess) = longest.iter().find_map(|longest| longest.excess(text)) {
        Err(fault.label(excess))
    } else if text.chars().any(char::is_control) {
        Err(fault.label("there is a control character in it"))
    } else {
        Ok(text)
    }
}

/// A path that means the same wherever doorward is started.
pub(super) fn path(text: &str) -> Result<PathBuf, Fault> {
    if text.contains('\0') || !text.starts_with('/') {
        return Err(
            Fault::new(format!("`{}` is not an absolute path", shorten(text)))
                .label("it begins with `/`"),
        );
    }
    Ok(PathBuf::from(text))
}

/// The path of a unix socket.
pub(super) fn socket_path(text: &str) -> Result<PathBuf, Fault> {
    let path = path(text)?;
    if text.len() > MAX_SOCKET_PATH {
        return Err(
            Fault::new(format!("`{}` is too long for a socket", shorten(text)))
                .label(format!("{MAX_SOCKET_PATH} bytes at most")),
        );
    }
    Ok(path)
}

/// Where to listen: an address, never a name.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Fault> {
    let fault = || Fault::new(format!("`{}` is not an address and a port", shorten(text)));
    let (host, port) = host_and_port(text, "0.0.0.0:6432")?;
    let port = self::port(port).map_err(|label| fault().label(label))?;
    if host.is_empty() || host == "*" {
        return Err(fault().label("the address is missing").hint(format!(
            "all of IPv4 is 0.0.0.0:{port}, all of IPv6 is [::]:{port}"
        )));
    }
    let address = addresses::address(host).map_err(|cause| fault().label(cause))?;
    Ok(SocketAddr::new(address, port))
}

/// A resolver: an address, never a name.
pub(super) fn server(text: &str) -> Result<SocketAddr, Fault> {
    let address = listen(text)?;
    if address.port() == 0 || address.ip().is_unspecified() {
        return Err(
            Fault::new(format!("`{text}` is not the address of a server"))
                .hint("a name server of this machine is 127.0.0.1:53"),
        );
    }
    Ok(address)
}

/// The server behind a listener: `host:port`, the path of a unix socket, or its folder.
pub(super) fn upstream(text: &str) -> Result<UpstreamAddress, Fault> {
    let fault = || {
        Fault::new(format!(
            "`{}` is not the address of a server",
            shorten(text)
        ))
    };
    if text.starts_with('/') {
        return if text.len() > MAX_SOCKET_PATH || text.contains('\0') {
            Err(fault().label(format!("longer than {MAX_SOCKET_PATH} bytes")))
        } else {
            Ok(UpstreamAddress::Unix(Path::new(text).to_owned()))
        };
    }
    let (host, port) = host_and_port(text, "127.0.0.1:5432, or the path of its socket")?;
    let port = self::port(port).map_err(|label| fault().label(label))?;
    if port == 0 {
        return Err(fault().label("port 0 is none"));
    }
    let looks_like_address = host.contains(':')
        || host
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if looks_like_address {
        let address = addresses::address(host).map_err(|cause| fault().label(cause))?;
        if address.is_unspecified() {
            let loopback = if address.is_ipv4() {
                "127.0.0.1"
            } else {
                "[::1]"
            };
            return Err(fault()
                .label("this is an address to listen on, not one to connect to")
                .hint(format!("this machine is {loopback}:{port}")));
        }
    } else if !is_host_name(host) {
        return Err(fault().label(format!("`{}` is no host name", shorten(host))));
    }
    Ok(UpstreamAddress::Tcp {
        host: host.to_owned(),
        port,
    })
}

/// A name that a certificate can be made for.
pub(super) fn certificate_name(text: &str) -> Result<&str, Fault> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    if text.parse::<IpAddr>().is_ok() || is_host_name(host) {
        Ok(text)
    } else {
        Err(Fault::new(format!(
            "`{}` is neither a host name nor an address",
            shorten(text)
        )))
    }
}

/// A DNS name that a certificate must bear; `*.` in front stands for one label.
pub(super) fn certificate_dns(text: &str) -> Result<&str, Fault> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    let fault = || Fault::new(format!("`{}` is not a DNS name", shorten(text)));
    if text.parse::<IpAddr>().is_ok() {
        return Err(fault().label("a certificate proves a name, not an address"));
    }
    if host.contains('*') {
        return Err(fault().label("`*.` stands for the first label alone"));
    }
    if !is_host_name(host) || (host != text && !host.contains('.')) {
        return Err(fault());
    }
    Ok(text)
}

/// The SHA-256 of a certificate: 64 hexadecimal digits, with or without colons and `sha256:` before them.
pub(super) fn sha256(text: &str) -> Result<[u8; 32], Fault> {
    let fault = || {
        Fault::new(format!("`{}` is not a SHA-256", shorten(text))).hint(
            "64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256 -in FILE` prints them",
        )
    };
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let digits: Vec<u32> = digits
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()
        .ok_or_else(fault)?;
    let bytes: Vec<u8> = digits
        .as_chunks::<2>()
        .0
        .iter()
        .filter_map(|[high, low]| u8::try_from(high << 4 | low).ok())
        .collect();
    if digits.len() != 64 {
        return Err(fault().label(format!("{} digits", digits.len())));
    }
    bytes.try_into().map_err(|_never| fault())
}

/// A name that a server's certificate must be for.
pub(super) fn server_name(text: &str) -> Result<String, Fault> {
    if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
        Ok(text.to_owned())
    } else {
        Err(Fault::new(format!(
            "`{}` is neither a host name nor an address",
            shorten(text)
        )))
    }
}

fn host_and_port<'t>(text: &'t str, example: &str) -> Result<(&'t str, &'t str), Fault> {
    let fault = |label: &str| {
        Fault::new(format!("`{}` is not an address and a port", shorten(text)))
            .label(label)
            .hint(format!("write it like {example}"))
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .ok_or_else(|| fault("`]` is missing"))?;
        let port = port
            .strip_prefix(':')
            .ok_or_else(|| fault("the port is missing"))?;
        return if host.contains(':') {
            Ok((host, port))
        } else {
            Err(fault("brackets are for IPv6 addresses"))
        };
    }
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| fault("the port is missing"))?;
    if host.contains(':') {
        return Err(fault("an IPv6 address stands in brackets before its port"));
    }
    Ok((host, port))
}

fn port(text: &str) -> Result<u16, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{}` is no port", shorten(text)));
    }
    text.parse()
        .map_err(|_too_large| format!("port {} is larger than 65535", shorten(text)))
}

pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

const EXAMPLE_TIME: &str =
    "as RFC 3339 has it, with its zone: 2026-12-31T18:00:00Z or 2026-12-31T18:00:00+01:00";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const MONTH: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// Of listeners and origins.
const MAX_NAME: usize = 63;

/// `sun_path` of Linux holds 108 bytes, the last of them 0.
const MAX_SOCKET_PATH: usize = 107;
