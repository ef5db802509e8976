//! What is believed of clients' certificates, and what the handshake asks of them.

use std::{fs, path::PathBuf, slice, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::*;

/// A CA for clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

/// For a client, valid through the 2020s.
fn client_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(7));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2021, 1, 1);
    params.not_after = date_time_ymd(2029, 1, 1);
    params
}

impl Authority {
    fn new(name: &str) -> Self {
        Self::with(authority_params(name))
    }

    fn with(params: CertificateParams) -> Self {
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn below(params: CertificateParams, above: &Self) -> Self {
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &above.0).unwrap())
    }

    fn make(&self, params: &CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.0).unwrap().der().clone()
    }

    /// A revocation list of this CA.
    fn list(&self, made: i32, ends: i32, revoked: &[u64]) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(made, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(made, 1, 1),
            next_update: date_time_ymd(ends, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }

    fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn key_hash(&self) -> [u8; 32] {
        let spki = self.0.key().subject_public_key_info();
        Fingerprint::of_bytes(&spki).0
    }
}

/// The first of January of a year.
fn new_year(year: i32) -> SystemTime {
    date_time_ymd(year, 1, 1).into()
}

/// A trust in these CAs and lists, by way of files.
fn trusting(authorities: &[&Authority], lists: &[String]) -> Result<ClientTrust, TlsError> {
    let folder = tempfile::tempdir().unwrap();
    let ca: String = authorities.iter().map(|ca| ca.0.pem()).collect();
    let at = written(&folder, "ca.crt", &ca);
    let crl = (!lists.is_empty()).then(|| written(&folder, "ca.crl", &lists.concat()));
    ClientTrust::read(&at, crl.as_deref())
}

fn written(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// What is said of a chain, in the two ways of asking, which agree.
fn said(trust: &ClientTrust, chain: &[CertificateDer<'_>], now: SystemTime) -> Option<Fault> {
    let fault = trust.fault(chain, now);
    let certificate = trust.certificate(chain, now).unwrap();
    let validity = fault.as_ref().map_or(Validity::Valid, Fault::validity);
    assert_eq!(certificate.validity, validity, "{fault:?}");
    assert_eq!(trust.again(&certificate, now), certificate);
    fault
}

#[test]
fn a_certificate_of_our_ca_is_believed_and_tells_who_made_it() {
    let ca = Authority::new("clients");
    let mut params = client_params("Shop.Example.com");
    let uri = "spiffe://example.com/Shop".try_into().unwrap();
    params.subject_alt_names.push(SanType::URI(uri));
    params.distinguished_name.push(DnType::CommonName, "shop");
    let made = ca.make(&params);
    let trust = trusting(&[&ca], &[]).unwrap();
    let now = new_year(2026);
    let seen = trust.certificate(slice::from_ref(&made), now).unwrap();
    assert_eq!(seen.validity, Validity::Valid);
    assert_eq!(seen.dns, ["shop.example.com"]);
    assert_eq!(seen.uri, ["spiffe://example.com/Shop"]);
    assert_eq!(seen.cn.as_deref(), Some("shop"));
    assert_eq!(seen.sha256, Fingerprint::of(&made).0);
    assert_eq!(seen.issuers, [ca.key_hash()]);
    assert_eq!(seen.ends, new_year(2029));
    assert_eq!(seen.chain, [made.to_vec()]);
    assert_eq!(said(&trust, &[made], now), None);
}

#[test]
fn nobody_is_believed_by_default_and_nobody_is_asked() {
    let made = Authority::new("clients").make(&client_params("a.example"));
    let trust = ClientTrust::default();
    assert!(!trust.asks() && trust.hints().is_empty());
    let fault = said(&trust, &[made], new_year(2026));
    assert_eq!(fault, Some(Fault::UnknownIssuer));
    assert_eq!(trust.certificate(&[], new_year(2026)), None);
}

#[test]
fn a_ca_of_the_same_name_and_another_key_is_another_ca() {
    let (ours, other) = (Authority::new("clients"), Authority::new("clients"));
    let made = other.make(&client_params("a.example"));
    let trust = trusting(&[&ours], &[]).unwrap();
    let now = new_year(2026);
    let alone = said(&trust, slice::from_ref(&made), now);
    assert_eq!(alone, Some(Fault::UnknownIssuer));
    let with_its_ca = said(&trust, &[made.clone(), other.der()], now);
    assert_eq!(with_its_ca, Some(Fault::UnknownIssuer));
    let both = trusting(&[&ours, &other], &[]).unwrap();
    assert_eq!(said(&both, &[made], now), None);
}

#[test]
fn a_certificate_is_good_between_its_two_dates() {
    let ca = Authority::new("clients");
    let chain = [ca.make(&client_params("a.example"))];
    let trust = trusting(&[&ca], &[]).unwrap();
    let second = Duration::from_secs(1);
    let said = |at| said(&trust, &chain, at);
    assert_eq!(said(new_year(2021) - second), Some(Fault::NotYet));
    assert_eq!(said(new_year(2021)), None);
    assert_eq!(said(new_year(2029) - second), None);
    assert_eq!(said(new_year(2029) + second), Some(Fault::Ended));
}

#[test]
fn a_ca_that_has_ended_vouches_for_nobody_until_it_is_renewed() {
    let mut params = authority_params("clients");
    params.not_after = date_time_ymd(2025, 1, 1);
    let key = KeyPair::generate().unwrap();
    let again = KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let old = Authority(CertifiedIssuer::self_signed(params.clone(), key).unwrap());
    params.not_after = date_time_ymd(2028, 1, 1);
    let renewed = Authority(CertifiedIssuer::self_signed(params, again).unwrap());
    let chain = [old.make(&client_params("a.example"))];
    let now = new_year(2026);
    let trust = trusting(&[&old], &[]).unwrap();
    assert_eq!(said(&trust, &chain, now), Some(Fault::Ended));
    let trust = trusting(&[&old, &renewed], &[]).unwrap();
    assert_eq!(said(&trust, &chain, now), None);
    let ends = trust.certificate(&chain, now).unwrap().ends;
    assert_eq!(ends, new_year(2028), "before the certificate's own end");
}

#[test]
fn what_is_on_the_list_is_revoked_and_the_newest_list_counts() {
    let ca = Authority::new("clients");
    let chain = [ca.make(&client_params("a.example"))];
    let now = new_year(2026);
    let (without, with) = (
        ca.list(2024, 2030, &[1, 2]),
        ca.list(2025, 2030, &[1, 2, 7]),
    );
    let said = |lists: &[String]| said(&trusting(&[&ca], lists).unwrap(), &chain, now);
    assert_eq!(said(slice::from_ref(&without)), None);
    assert_eq!(said(slice::from_ref(&with)), Some(Fault::Revoked));
    assert_eq!(said(&[with.clone(), without.clone()]), Some(Fault::Revoked));
    assert_eq!(said(&[without, with]), Some(Fault::Revoked));
}

#[test]
fn a_certificate_whose_revocation_cannot_be_told_is_not_believed() {
    let (ca, other) = (Authority::new("clients"), Authority::new("others"));
    let namesake = Authority::new("clients");
    let chain = [ca.make(&client_params("a.example"))];
    let now = new_year(2026);
    let said = |list: String| said(&trusting(&[&ca, &other], &[list]).unwrap(), &chain, now);
    assert_eq!(said(other.list(2025, 2030, &[])), Some(Fault::NoList));
    assert_eq!(said(ca.list(2024, 2025, &[])), Some(Fault::ListEnded));
    let forged = said(namesake.list(2025, 2030, &[])).unwrap();
    assert_eq!(forged.validity(), Validity::Untrusted, "{forged}");
}

#[test]
fn the_end_of_the_first_list_is_known_beforehand() {
    let (ca, other) = (Authority::new("clients"), Authority::new("others"));
    let lists = [ca.list(2024, 2028, &[]), other.list(2024, 2027, &[])];
    let trust = trusting(&[&ca, &other], &lists).unwrap();
    assert_eq!(trust.lists_end(), Some(new_year(2027)));
    assert_eq!(trusting(&[&ca], &[]).unwrap().lists_end(), None);
}

#[test]
fn a_certificate_for_servers_lets_no_client_in() {
    let ca = Authority::new("clients");
    let mut params = client_params("a.example");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let chain = [ca.make(&params)];
    let fault = said(&trusting(&[&ca], &[]).unwrap(), &chain, new_year(2026));
    assert_eq!(fault, Some(Fault::NotForClients));
}

#[test]
fn the_cas_that_are_named_are_those_of_the_verified_path_alone() {
    let root = Authority::new("root");
    let between = Authority::below(authority_params("between"), &root);
    let bystander = Authority::new("bystander");
    let leaf = between.make(&client_params("a.example"));
    let now = new_year(2026);
    let path = [between.key_hash(), root.key_hash()];
    let root_alone = trusting(&[&root], &[]).unwrap();
    let sent = [leaf.clone(), bystander.der(), between.der()];
    let seen = root_alone.certificate(&sent, now).unwrap();
    assert_eq!(seen.issuers, path, "not the bystander, who was sent along");
    // the client has sent no CA, and the file links the two
    let both = trusting(&[&between, &root], &[]).unwrap();
    let seen = both.certificate(slice::from_ref(&leaf), now).unwrap();
    assert_eq!(seen.issuers, path);
    assert_eq!(
        said(&root_alone, slice::from_ref(&leaf), now),
        Some(Fault::UnknownIssuer)
    );
    let between_alone = trusting(&[&between], &[]).unwrap();
    let seen = between_alone.certificate(&[leaf], now).unwrap();
    assert_eq!(seen.issuers, [between.key_hash()]);
}

#[test]
fn a_revoked_ca_takes_its_certificates_along() {
    let root = Authority::new("root");
    let mut params = authority_params("between");
    params.serial_number = Some(SerialNumber::from(3));
    let between = Authority::below(params, &root);
    let chain = [between.make(&client_params("a.example")), between.der()];
    let now = new_year(2026);
    let own = between.list(2025, 2030, &[]);
    let said = |lists: &[String]| said(&trusting(&[&root], lists).unwrap(), &chain, now);
    assert_eq!(said(slice::from_ref(&own)), Some(Fault::NoList));
    assert_eq!(said(&[own.clone(), root.list(2025, 2030, &[])]), None);
    let revoked = said(&[own, root.list(2025, 2030, &[3])]);
    assert_eq!(revoked, Some(Fault::Revoked));
}

#[test]
fn a_certificate_that_was_believed_is_not_when_its_ca_is_gone() {
    let ca = Authority::new("clients");
    let chain = [ca.make(&client_params("a.example"))];
    let now = new_year(2026);
    let trust = trusting(&[&ca], &[]).unwrap();
    let kept = trust.certificate(&chain, now).unwrap();
    let gone = ClientTrust::default().again(&kept, now);
    assert_eq!(gone.validity, Validity::Untrusted);
    assert!(gone.issuers.is_empty());
    assert_eq!(trust.again(&gone, now), kept, "and is when it comes back");
    let revoking = trusting(&[&ca], &[ca.list(2025, 2030, &[7])]).unwrap();
    assert_eq!(revoking.again(&kept, now).validity, Validity::Revoked);
}

#[test]
fn names_are_read_as_they_are_written_and_what_is_no_name_is_left_out() {
    let ca = Authority::new("clients");
    let mut params = client_params("*.example.com");
    let names = ["b.example.com", "a b", "c\0.example.com", "d_1.example"];
    let names = names.map(|name| SanType::DnsName(name.try_into().unwrap()));
    params.subject_alt_names.extend(names);
    let uri = SanType::URI("x:\n".try_into().unwrap());
    params.subject_alt_names.push(uri);
    params.distinguished_name.push(DnType::CommonName, "a\nb");
    let trust = trusting(&[&ca], &[]).unwrap();
    let now = new_year(2026);
    let seen = trust.certificate(&[ca.make(&params)], now).unwrap();
    assert_eq!(seen.dns, ["*.example.com", "b.example.com", "d_1.example"]);
    assert!(seen.uri.is_empty() && seen.cn.is_none());
}

#[test]
fn a_chain_or_a_list_of_names_without_end_is_not_read() {
    let ca = Authority::new("clients");
    let trust = trusting(&[&ca], &[]).unwrap();
    let now = new_year(2026);
    let leaf = ca.make(&client_params("a.example"));
    let long = vec![leaf.clone(); 9];
    let fault = said(&trust, &long, now);
    assert_eq!(fault, Some(Unreadable::TooLong.into()));
    assert!(trust.certificate(&long, now).unwrap().chain.is_empty());
    assert_eq!(said(&trust, &long[..8], now), None);
    let names: Vec<_> = (0..101).map(|n| format!("n{n}.example")).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let fault = said(&trust, &[ca.make(&params)], now);
    assert_eq!(fault, Some(Unreadable::TooManyNames.into()));
    let fault = said(&trust, &[b"hello".as_slice().into()], now);
    assert_eq!(fault, Some(Unreadable::NotX509.into()));
}

#[test]
fn the_same_files_are_the_same_trust_and_a_new_list_is_another() {
    let ca = Authority::new("clients");
    let read = |lists: &[String]| trusting(&[&ca], lists).unwrap();
    let list = ca.list(2025, 2030, &[]);
    assert_eq!(read(&[]), read(&[]));
    assert_eq!(read(slice::from_ref(&list)), read(slice::from_ref(&list)));
    assert_ne!(read(&[]), read(&[list]));
    assert_ne!(read(&[]), ClientTrust::default());
}

#[test]
fn only_a_ca_may_vouch_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let at = written(&folder, "ca.crt", &pem);
        ClientTrust::read(&at, None).unwrap_err().to_string()
    };
    let leaf = refused(client_params("a.example"));
    assert!(leaf.contains("may not issue any"), "{leaf}");
    let mut params = authority_params("no signer");
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let cannot_sign = refused(params);
    assert!(cannot_sign.contains("CN=no signer"), "{cannot_sign}");
}

#[test]
fn a_file_that_holds_nothing_of_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new("clients");
    let good = written(&folder, "ca.crt", &ca.0.pem());
    let empty = written(&folder, "empty", "");
    let broken = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    let broken = written(&folder, "broken.crl", broken);
    let said = |ca: &Path, lists: Option<&Path>| {
        let error = ClientTrust::read(ca, lists).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(said(&empty, None), "empty holds no PEM certificate");
    assert_eq!(
        said(&good, Some(&empty)),
        "empty holds no PEM revocation list"
    );
    assert_eq!(
        said(&good, Some(&good)),
        "ca.crt holds no PEM revocation list"
    );
    let text = said(&good, Some(&broken));
    assert!(
        text.starts_with("broken.crl holds a revocation list that cannot be used"),
        "{text}"
    );
    let none = said(&good, Some(&folder.path().join("none.crl")));
    assert_eq!(none, "cannot read none.crl: there is no such file");
}
