//! Passwords under RSA, as `caching_sha2_password` and `sha256_password` send them over a leg without TLS. Floor 2.
//!
//! The password with its final zero byte is folded (XOR) with the twenty bytes of the nonce over and over, then encrypted by
//! RSA-OAEP with SHA-1 (MySQL, `sha2_password`: `xor_string`, `RSA_PKCS1_OAEP_PADDING`). What was a password is wiped when dropped.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{
        KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
        PrivateDecryptingKey, PublicEncryptingKey,
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use tokio::{sync::OnceCell, task::spawn_blocking};
use zeroize::Zeroizing;

/// The bytes of the server's that a password is folded with.
pub(super) type Nonce = [u8; 20];

/// Why a password was not encrypted. Nobody's secret is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the server's RSA key is none that can be used")]
    Key,
    #[error("the password is too long for the server's RSA key")]
    Password,
}

/// Encrypts `password`, which bears its final zero byte, for the server whose public key is `pem`.
pub(super) fn seal(pem: &[u8], password: &[u8], nonce: &Nonce) -> Result<Vec<u8>, SealError> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_not_a_key| SealError::Key)?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_rejected| SealError::Key)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_rejected| SealError::Key)?;
    if password.len() > key.max_plaintext_size(&OAEP_SHA1_MGF1SHA1) {
        return Err(SealError::Password);
    }
    let mut folded = Zeroizing::new(password.to_vec());
    fold(&mut folded, nonce);
    let mut sealed = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(&OAEP_SHA1_MGF1SHA1, &folded, &mut sealed, None)
        .map_err(|_failed| SealError::Key)?
        .len();
    sealed.truncate(length);
    Ok(sealed)
}

/// The gateway's own RSA key, for clients without TLS before a server that takes passwords as they are. Made when it is first
/// needed, never stored, gone with the process.
#[derive(Debug, Default)]
pub struct OwnKey(OnceCell<Arc<KeyPair>>);

impl OwnKey {
    /// The key. Making it takes tenths of a second of a processor, off the threads that serve.
    ///
    /// `None` where the library cannot make one.
    pub(super) async fn pair(&self) -> Option<Arc<KeyPair>> {
        let make = || async {
            let made = spawn_blocking(KeyPair::generate).await;
            made.ok().flatten().map(Arc::new).ok_or(())
        };
        self.0.get_or_try_init(make).await.ok().map(Arc::clone)
    }
}

/// A private key with its public half as clients ask for it.
pub(super) struct KeyPair {
    private: OaepPrivateDecryptingKey,
    pem: Vec<u8>,
}

impl KeyPair {
    pub(super) fn generate() -> Option<Self> {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).ok()?;
        let public = private.public_key().as_der().ok()?;
        let pem = pem(public.as_ref());
        let private = OaepPrivateDecryptingKey::new(private).ok()?;
        Some(Self { private, pem })
    }

    /// The public key, in PEM.
    pub(super) fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// The password that a client has encrypted for this key, with its final zero byte; `None` if that is not what `sealed` is.
    pub(super) fn open(&self, sealed: &[u8], nonce: &Nonce) -> Option<Zeroizing<Vec<u8>>> {
        let mut password = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let length = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, sealed, &mut password, None)
            .ok()?
            .len();
        password.truncate(length);
        fold(&mut password, nonce);
        (password.last() == Some(&0)).then_some(password)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

/// Folding twice gives back what was folded.
fn fold(bytes: &mut [u8], nonce: &Nonce) {
    for (byte, mask) in bytes.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
}

/// `SubjectPublicKeyInfo` in PEM, 64 columns wide: what `PEM_read_bio_RSA_PUBKEY` of a client reads.
fn pem(der: &[u8]) -> Vec<u8> {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = Vec::with_capacity(text.len() + 128);
    pem.extend_from_slice(b"-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END PUBLIC KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = *b"abcdefghijklmnopqrst";

    #[tokio::test]
    async fn what_is_sealed_for_our_key_is_opened_with_it_and_the_same_nonce() {
        let own = OwnKey::default();
        let pair = own.pair().await.unwrap();
        for password in [&b"\0"[..], b"secret\0", &[&[b'x'; 213][..], b"\0"].concat()] {
            let sealed = seal(pair.pem(), password, &NONCE).unwrap();
            assert_eq!(sealed.len(), 256);
            let opened = pair.open(&sealed, &NONCE).unwrap();
            assert_eq!(&**opened, password);
            assert!(pair.open(&sealed, b"0123456789abcdefghij").is_none());
        }
    }

    #[tokio::test]
    async fn the_key_is_made_once() {
        let own = OwnKey::default();
        let (one, other) = tokio::join!(own.pair(), own.pair());
        assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
    }

    #[tokio::test]
    async fn garbage_opens_to_nothing_and_garbage_is_no_key() {
        let pair = OwnKey::default().pair().await.unwrap();
        for sealed in [&b""[..], b"\x02", &[7; 255], &[7; 256], &[7; 257]] {
            assert!(pair.open(sealed, &NONCE).is_none());
        }
        for pem in [
            &b""[..],
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        ] {
            assert_eq!(seal(pem, b"secret\0", &NONCE), Err(SealError::Key));
        }
        let long = [b'x'; 215];
        assert_eq!(seal(pair.pem(), &long, &NONCE), Err(SealError::Password));
    }

    #[tokio::test]
    async fn no_secret_is_shown() {
        let own = OwnKey::default();
        own.pair().await.unwrap();
        assert!(!format!("{own:?}").contains("BEGIN"));
    }
}
