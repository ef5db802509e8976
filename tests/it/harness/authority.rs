//! Certificates for one test process: an authority of its own and leaves below it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
    sync::OnceLock,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A certificate authority that clients of the tests are given.
pub(crate) struct Authority {
    root: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority of this test process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "doorward tests");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        // not in /tmp: what is shared by a whole test process is dropped by nobody
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ca-{}.crt", process::id()));
        fs::write(&root, certificate.pem()).unwrap();
        Self {
            root,
            issuer: Issuer::new(params, key),
        }
    }

    /// The file that a client trusts.
    pub(crate) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// Writes `NAME.crt` and `NAME.key` into `folder`, for localhost and 127.0.0.1, made anew at each call.
    pub(crate) fn issue(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        self.issue_for(folder, name, &["localhost", "127.0.0.1"])
    }

    /// The same for these names.
    pub(crate) fn issue_for(
        &self,
        folder: &Path,
        name: &str,
        names: &[&str],
    ) -> (PathBuf, PathBuf) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (
            folder.join(format!("{name}.crt")),
            folder.join(format!("{name}.key")),
        );
        fs::write(&paths.0, certificate.pem()).unwrap();
        write_private(&paths.1, &key.serialize_pem());
        paths
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
