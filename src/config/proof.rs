//! `proof.certificate`: what a client's certificate must say. Floor 1: pure.

use super::{
    keys::{CERTIFICATE, PROOF},
    problems::{Fault, Report},
    raw::Node,
    values,
    walk::{Fields, optional, shorten},
};
use crate::policy::Proof;

/// Reads `proof`. `None` with the fault reported.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Proof> {
    let fields = Fields::read(node, &PROOF, report)?;
    certificate(fields.demand("certificate", report)?, report)
}

/// Reads the names and hashes of a certificate: those that are asked for.
fn certificate(node: &Node, report: &mut Report) -> Option<Proof> {
    let fields = Fields::read(node, &CERTIFICATE, report)?;
    if CERTIFICATE.names().all(|key| fields.get(key).is_none()) {
        let fault = Fault::new("a proof says what the certificate must be")
            .label("any certificate of the CA would do")
            .hint("one or more of dns, uri, cn, sha256, issuer");
        report.error(&node.at, fault);
        return None;
    }
    if let Some(node) = fields.get("cn") {
        let fault = Fault::new("a common name is whatever the CA let somebody write there")
            .hint("ask for `dns` or `uri`, which CAs check");
        report.warn("W-COMMON-NAME", &node.at, fault);
    }
    let text = |text: &str| values::name(text, &[]).map(str::to_owned);
    let proof = Proof {
        dns: optional(&fields, "dns", report, |text| {
            values::certificate_dns(text).map(str::to_owned)
        }),
        uri: optional(&fields, "uri", report, |text| uri(text).map(str::to_owned)),
        cn: optional(&fields, "cn", report, text),
        sha256: optional(&fields, "sha256", report, values::sha256),
        issuer: optional(&fields, "issuer", report, values::sha256),
    };
    let asked = CERTIFICATE
        .names()
        .filter(|key| fields.get(key).is_some())
        .count();
    let parts = [
        proof.dns.is_some(),
        proof.uri.is_some(),
        proof.cn.is_some(),
        proof.sha256.is_some(),
        proof.issuer.is_some(),
    ];
    // a key that cannot be read must not make the proof an easier one
    let read = parts.iter().filter(|read| **read).count();
    (read == asked).then_some(proof)
}

/// A URI whose authority is whole: below a trailing `/` of its path anything may follow.
pub(super) fn uri(text: &str) -> Result<&str, Fault> {
    let fault = || Fault::new(format!("`{}` is not a URI", shorten(text)));
    let example = "spiffe://example.com/ns/shop, or spiffe://example.com/ns/ for all below it";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(fault().label("it has no scheme").hint(example));
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if scheme.is_empty() || !scheme.chars().all(letters) {
        return Err(fault().label("its scheme is none").hint(example));
    }
    if rest.split('/').next().is_none_or(str::is_empty) {
        return Err(fault().label("it names no domain").hint(example));
    }
    if text.contains('*') {
        return Err(fault().label("`*` means nothing in a URI").hint(example));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(fault().label("there is white space in it"));
    }
    Ok(text)
}
