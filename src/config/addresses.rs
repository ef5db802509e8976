//! Where clients come from, as it is written: an address, a network or `any`. Floor 1: pure.
//!
//! Stricter than the parsers of std and `ipnet`: what two programs could read differently is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{problems::Fault, walk::shorten};
use crate::policy::From;

/// An entry of `from`. A string is never guessed to be a host name.
pub(super) fn from(text: &str) -> Result<From, Fault> {
    if text == "any" {
        return Ok(From::Any);
    }
    let Some((address, prefix)) = text.split_once('/') else {
        let fault = || Fault::new(format!("`{}` is not an address", shorten(text)));
        let address = address(text).map_err(|cause| {
            if looks_like_name(text) {
                fault()
                    .label("a string is never taken for a host name")
                    .hint(format!(
                        "if you mean the host, write {{host: {}}}",
                        shorten(text)
                    ))
            } else if text.contains('-') {
                let fault = fault().label("a range is written as its networks");
                fault.hint("10.0.0.0/30 is 10.0.0.0 to 10.0.0.3")
            } else {
                fault().label(cause)
            }
        })?;
        if address.is_unspecified() {
            return Err(fault()
                .label("no client has this address")
                .hint("everybody is `any`"));
        }
        return Ok(From::Network(IpNet::from(address)));
    };
    let fault = || Fault::new(format!("`{}` is not an address range", shorten(text)));
    let address = self::address(address).map_err(|cause| fault().label(cause))?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = self::prefix(prefix, longest).map_err(|cause| fault().label(cause))?;
    let network = IpNet::new(address, prefix).map_err(|error| fault().label(error.to_string()))?;
    if network.addr() != network.network() {
        return Err(fault().label("it has host bits").hint(format!(
            "the network is {}, the one address is {address}",
            network.trunc()
        )));
    }
    Ok(From::Network(network))
}

/// One address in its one form.
///
/// # Errors
/// The cause, for beside the carets.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    if text.contains('%') {
        return Err("a zone means something on one machine only".to_owned());
    }
    if text.contains(':') {
        let v6: Ipv6Addr = text
            .parse()
            .map_err(|_malformed| "this is no IPv6 address".to_owned())?;
        return match v6.to_ipv4_mapped() {
            Some(v4) => Err(format!("IPv4 in IPv6's clothes; write {v4}")),
            None => Ok(v6.into()),
        };
    }
    Ok(v4(text)?.into())
}

fn v4(text: &str) -> Result<Ipv4Addr, String> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts
            .next()
            .ok_or_else(|| "an IPv4 address has four numbers".to_owned())?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("`{}` is no octet", shorten(part)));
        }
        if part.len() > 1 && part.starts_with('0') {
            return Err(format!(
                "octet {} begins with 0: some read it as octal",
                shorten(part)
            ));
        }
        *octet = part
            .parse()
            .map_err(|_too_large| format!("octet {} is larger than 255", shorten(part)))?;
    }
    if parts.next().is_some() {
        return Err("an IPv4 address has four numbers".to_owned());
    }
    Ok(octets.into())
}

fn prefix(text: &str, longest: u8) -> Result<u8, String> {
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        return Err(match ipnet::ipv4_mask_to_prefix(mask) {
            Ok(prefix) if longest == 32 => format!("write /{prefix}"),
            Ok(_) | Err(_) => format!("/{mask} is no prefix length"),
        });
    }
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    let number = plain.then(|| text.parse::<u8>().ok()).flatten();
    number.filter(|number| *number <= longest).ok_or_else(|| {
        format!(
            "/{} is no prefix length; the longest is /{longest}",
            shorten(text)
        )
    })
}

fn looks_like_name(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains([':', '%'])
}
