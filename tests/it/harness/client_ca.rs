//! A CA for clients, kept by `doorward cert` as an operator would.

use std::path::{Path, PathBuf};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tempfile::TempDir;

use super::{
    Account, Ended, Login, Raw,
    gateway::{Plan, doorward},
    process::run,
    tls,
};

/// A CA of a test's own. Its folder goes with it.
pub(crate) struct ClientCa {
    folder: TempDir,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl ClientCa {
    pub(crate) fn new() -> Self {
        let ca = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        ca.cert(&["init"]).worked();
        ca
    }

    /// `doorward cert`, about this CA.
    #[track_caller]
    pub(crate) fn cert(&self, words: &[&str]) -> Ended {
        let folder = self.folder.path().join("ca");
        let mut command = doorward();
        command.arg("cert").args(words).arg("--dir").arg(folder);
        run(&mut command)
    }

    /// A certificate for this name; `more` is what `doorward cert issue` takes.
    #[track_caller]
    pub(crate) fn issue(&self, name: &str, more: &[&str]) -> Shown {
        let out = self.folder.path().display().to_string();
        let words = [&["issue", name, "--out", &out], more].concat();
        self.cert(&words).worked();
        Shown {
            certificate: self.at(&format!("{name}.crt")),
            key: self.at(&format!("{name}.key")),
        }
    }

    #[track_caller]
    pub(crate) fn revoke(&self, whom: &str) {
        self.cert(&["revoke", whom]).worked();
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.at("ca/ca.crt")
    }

    pub(crate) fn list(&self) -> PathBuf {
        self.at("ca/ca.crl")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.at("ca/ca.key")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Plan {
    /// A gateway that believes this CA and its list.
    #[must_use]
    pub(crate) fn believing(self, ca: &ClientCa) -> Self {
        self.believing_files(&ca.certificate(), &ca.list())
    }

    #[must_use]
    pub(crate) fn believing_files(mut self, ca: &Path, list: &Path) -> Self {
        let (ca, list) = (ca.display(), list.display());
        let keys = format!("tls: {{client_ca: {ca}, crl: {list}, ");
        self.head = self.head.replace("tls: {", &keys);
        assert!(self.head.contains("client_ca"), "{}", self.head);
        self
    }
}

impl Login {
    /// With a certificate and its key.
    #[must_use]
    pub(crate) fn showing(self, shown: &Shown) -> Self {
        self.with("PGSSLCERT", &shown.certificate.display().to_string())
            .with("PGSSLKEY", &shown.key.display().to_string())
    }
}

impl Raw {
    /// After an `SSLRequest`, with a certificate.
    pub(crate) fn showing(source: [u8; 4], port: u16, shown: &Shown) -> Self {
        let chain = CertificateDer::pem_file_iter(&shown.certificate).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&shown.key).unwrap();
        Self::encrypted_by(source, port, tls::client_showing(chain, key))
    }
}

impl Account {
    /// With a certificate and its key.
    #[must_use]
    pub(crate) fn showing(self, shown: &Shown) -> Self {
        let (certificate, key) = (shown.certificate.display(), shown.key.display());
        self.with(&[
            &format!("--ssl-cert={certificate}"),
            &format!("--ssl-key={key}"),
        ])
    }
}
