//! A TLS connection by the certificate of its server, as SCRAM binds a login to it: `tls-server-end-point` (RFC 5929, 4.1). Floor 1.

use std::fmt;

use aws_lc_rs::digest::{Algorithm, SHA224, SHA256, SHA384, SHA512, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    signature_algorithm::RsaSsaPssParams,
    x509::AlgorithmIdentifier,
};

/// The hash of a server's certificate (DER) by the function it was signed with. It is no secret: everybody who connects
/// can compute it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EndPoint {
    hash: [u8; LONGEST],
    length: usize,
}

impl EndPoint {
    /// `None` where RFC 5929 gives none: a signature without exactly one hash function, such as Ed25519's. Such a connection
    /// cannot be bound to, and `SCRAM-SHA-256-PLUS` is not for it.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let hashed = digest(function(&parsed.signature_algorithm)?, certificate);
        let mut hash = [0; LONGEST];
        let length = hashed.as_ref().len();
        hash.get_mut(..length)?.copy_from_slice(hashed.as_ref());
        Some(Self { hash, length })
    }

    /// What the two ends of a login have to agree on.
    pub fn as_bytes(&self) -> &[u8] {
        self.hash.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for EndPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.as_bytes().iter();
        bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The hash function of a signature, or SHA-256 in the place of the broken two.
fn function(signed: &AlgorithmIdentifier<'_>) -> Option<&'static Algorithm> {
    if signed.algorithm.as_bytes() == RSASSA_PSS {
        // what is left out means SHA-1 (RFC 4055, 3.1)
        let parameters = RsaSsaPssParams::try_from(signed.parameters.as_ref()?).ok()?;
        return named(&HASHES, parameters.hash_algorithm_oid().as_bytes());
    }
    named(&SIGNATURES, signed.algorithm.as_bytes())
}

fn named(table: &[(&[u8], &'static Algorithm)], oid: &[u8]) -> Option<&'static Algorithm> {
    let found = table.iter().find(|(known, _)| *known == oid);
    found.map(|(_, function)| *function)
}

/// SHA-512's.
const LONGEST: usize = 64;

/// 1.2.840.113549.1.1.10
const RSASSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";

/// Signatures by the contents of their object identifiers, and the function for the binding.
const SIGNATURES: [(&[u8], &Algorithm); 13] = [
    // md5, sha1, sha256, sha384, sha512, sha224 WithRSAEncryption (RFC 8017): 1.2.840.113549.1.1.x
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", &SHA384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", &SHA512),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", &SHA224),
    // ecdsa-with-SHA1, 224, 256, 384, 512 (RFC 5758): 1.2.840.10045.4.1 and .4.3.x
    (b"\x2a\x86\x48\xce\x3d\x04\x01", &SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", &SHA224),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", &SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", &SHA384),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", &SHA512),
    // dsa-with-sha1 and -sha256, which no TLS of ours serves, but a CA may have signed so
    (b"\x2a\x86\x48\xce\x38\x04\x03", &SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x03\x02", &SHA256),
];

/// Hash functions by themselves, as RSASSA-PSS names them.
const HASHES: [(&[u8], &Algorithm); 5] = [
    // 1.3.14.3.2.26 is SHA-1; 2.16.840.1.101.3.4.2.x are SHA-256, 384, 512, 224 (RFC 8017)
    (b"\x2b\x0e\x03\x02\x1a", &SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x01", &SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x02", &SHA384),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x03", &SHA512),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x04", &SHA224),
];

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustls_pki_types::pem::PemObject;

    use super::*;

    /// A certificate that the `openssl` command signs with itself by these words.
    fn signed(words: &str) -> CertificateDer<'static> {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let made = Command::new("openssl")
            .args("req -x509 -nodes -subj /CN=db.example.com".split(' '))
            .args(words.split(' '))
            .arg("-keyout")
            .arg(key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{words}: {made:?}");
        CertificateDer::from_pem_file(certificate).unwrap()
    }

    #[test]
    fn a_certificate_is_hashed_by_the_function_it_was_signed_with() {
        for (words, function) in [
            (
                "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha256",
                &SHA256,
            ),
            (
                "-newkey ec -pkeyopt ec_paramgen_curve:P-384 -sha384",
                &SHA384,
            ),
            (
                "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha512",
                &SHA512,
            ),
            (
                "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha224",
                &SHA224,
            ),
            ("-newkey rsa:2048 -sha224", &SHA224),
            ("-newkey rsa:2048 -sha256", &SHA256),
            ("-newkey rsa:2048 -sha384", &SHA384),
            ("-newkey rsa:2048 -sha512", &SHA512),
            (
                "-newkey rsa:2048 -sha256 -sigopt rsa_padding_mode:pss",
                &SHA256,
            ),
            (
                "-newkey rsa:2048 -sha384 -sigopt rsa_padding_mode:pss",
                &SHA384,
            ),
            (
                "-newkey rsa:2048 -sha512 -sigopt rsa_padding_mode:pss",
                &SHA512,
            ),
        ] {
            let certificate = signed(words);
            let expected = digest(function, &certificate);
            let end_point = EndPoint::of(&certificate).unwrap_or_else(|| panic!("{words}"));
            assert_eq!(end_point.as_bytes(), expected.as_ref(), "{words}");
        }
    }

    #[test]
    fn the_broken_functions_give_way_to_sha_256() {
        for words in [
            "-newkey rsa:2048 -md5",
            "-newkey rsa:2048 -sha1",
            "-newkey rsa:2048 -sha1 -sigopt rsa_padding_mode:pss",
            "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha1",
        ] {
            let certificate = signed(words);
            let expected = digest(&SHA256, &certificate);
            let end_point = EndPoint::of(&certificate).unwrap_or_else(|| panic!("{words}"));
            assert_eq!(end_point.as_bytes(), expected.as_ref(), "{words}");
        }
    }

    #[test]
    fn a_signature_without_one_hash_function_binds_nothing() {
        assert_eq!(EndPoint::of(&signed("-newkey ed25519")), None);
        assert_eq!(EndPoint::of(&signed("-newkey ed448")), None);
        assert_eq!(EndPoint::of(&signed("-newkey rsa:2048 -sha3-256")), None);
        assert_eq!(EndPoint::of(&CertificateDer::from(vec![0x30, 0x80])), None);
    }
}
