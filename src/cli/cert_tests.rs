//! What `doorward cert` shows and writes.

use std::fs;

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::cli::{Cli, Command};

/// A folder with a CA in `ca`, at a fixed moment.
fn office() -> TempDir {
    let office = tempfile::tempdir().unwrap();
    let (exit, ..) = cert(&office, "init");
    assert_eq!(exit, Exit::Fine);
    office
}

/// Runs a command in the folder. What differs from run to run is shown as `DIR` and `HEX`.
fn cert(office: &TempDir, command: &str) -> (Exit, String, String) {
    let folder = office.path().display().to_string();
    let given = format!("doorward cert --dir {folder}/ca {command}");
    let given = given.replace("DIR", &folder);
    let cli = Cli::try_parse_from(given.split(' ')).unwrap();
    let Command::Cert(arguments) = &cli.command else {
        panic!("not cert");
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = Output::new(&cli.global, &mut out, &mut err);
    output.color = false;
    let desk = Desk {
        authority: ClientAuthority::new(arguments.dir.clone().unwrap()),
        unsaid: None,
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    };
    let exit = desk.serve(&arguments.command, &mut output);
    let shown = |bytes| constant(&String::from_utf8(bytes).unwrap().replace(&folder, "DIR"));
    (exit, shown(out), shown(err))
}

/// The text with long hexadecimal numbers as `HEX`.
fn constant(text: &str) -> String {
    let mut shown = String::new();
    let mut number = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
            number.push(c);
            continue;
        }
        shown.push_str(if number.len() < 8 { &number } else { "HEX" });
        number.clear();
        shown.push(c);
    }
    shown.pop();
    shown
}

fn said(office: &TempDir, command: &str) -> String {
    let (exit, out, err) = cert(office, command);
    assert_eq!((exit, err.as_str()), (Exit::Fine, ""), "{command}");
    out
}

#[test]
fn the_start_says_what_the_allowlist_needs() {
    let office = tempfile::tempdir().unwrap();
    let lines = "in the allowlist:
  tls:
    client_ca: DIR/ca/ca.crt
    crl: DIR/ca/ca.crl
next: doorward cert issue NAME
";
    let made = "a CA for clients is made; whoever has its ca.key can make clients\n";
    assert_eq!(said(&office, "init"), format!("{made}{lines}"));
    let there = "there is a CA for clients, until 2037-01-12T08:00:00Z\n";
    assert_eq!(said(&office, "init"), format!("{there}{lines}"));
    assert_eq!(
        said(&office, "init --format json"),
        r#"{
  "made": false,
  "client_ca": "DIR/ca/ca.crt",
  "crl": "DIR/ca/ca.crl",
  "issuer": "sha256:HEX",
  "ends": "2037-01-12T08:00:00Z"
}
"#
    );
}

#[test]
fn what_is_issued_comes_with_the_lines_that_clients_need() {
    let office = office();
    assert_eq!(
        said(&office, "issue shop.example.com --out DIR"),
        "shop.example.com until 2028-01-15T08:00:00Z, serial HEX
  DIR/shop.example.com.crt
  DIR/shop.example.com.key  (for the client alone)
PostgreSQL's clients:  sslcert=DIR/shop.example.com.crt sslkey=DIR/shop.example.com.key
MySQL's clients:       ssl-cert=DIR/shop.example.com.crt ssl-key=DIR/shop.example.com.key
in an origin:
  proof:
    certificate: {dns: shop.example.com}
"
    );
    let issue = "issue reports --uri spiffe://example.com/reports --cn etl --days 30 --out DIR";
    assert_eq!(
        said(&office, &format!("{issue} --format json")),
        r#"{
  "certificate": "DIR/reports.crt",
  "key": "DIR/reports.key",
  "serial": "HEX",
  "dns": [
    "reports"
  ],
  "uri": [
    "spiffe://example.com/reports"
  ],
  "cn": "etl",
  "sha256": "sha256:HEX",
  "ends": "2027-02-14T08:00:00Z"
}
"#
    );
    assert_eq!(said(&office, "issue quiet --quiet --out DIR"), "");
}

#[test]
fn the_list_shows_what_was_issued_and_what_was_taken_back() {
    let office = office();
    assert_eq!(
        said(&office, "list"),
        "nothing is issued: doorward cert issue NAME\n"
    );
    said(&office, "issue shop.example.com --out DIR");
    said(&office, "issue laptop --cn anna --days 30 --out DIR");
    assert_eq!(
        said(&office, "revoke laptop"),
        "revoked HEX (laptop, anna)\nin force as soon as doorward has DIR/ca/ca.crl\n"
    );
    assert_eq!(
        said(&office, "revoke laptop"),
        "laptop was revoked before; the list is DIR/ca/ca.crl\n"
    );
    assert_eq!(
        said(&office, "list"),
        "SERIAL            NAMES             ENDS        STATE
HEX  laptop, anna      2027-02-14  revoked 2027-01-15
HEX  shop.example.com  2028-01-15  good
"
    );
    let json = said(&office, "list --format json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["dns"][0], "laptop");
    assert_eq!(json[0]["revoked"], "2027-01-15T08:00:00Z");
    assert_eq!(json[1]["revoked"], serde_json::Value::Null);
}

#[test]
fn a_look_says_what_a_certificate_proves_and_whether_it_is_good() {
    let office = office();
    said(
        &office,
        "issue laptop --uri spiffe://example.com/eva --out DIR",
    );
    let good = "dns     laptop
uri     spiffe://example.com/eva
cn      laptop
sha256  sha256:HEX
issuer  sha256:HEX  (CN=Doorward client CA of 2027-01-15, HEX)
key     sha256:HEX
ends    2028-01-15T08:00:00Z
serial  HEX
good: the CA for clients has made it
";
    assert_eq!(said(&office, "inspect DIR/laptop.crt"), good);
    said(&office, "revoke laptop");
    let (exit, out, _) = cert(&office, "inspect DIR/laptop.crt");
    assert_eq!(exit, Exit::No);
    let last = out.lines().last().unwrap();
    assert_eq!(
        last,
        "no good: the certificate is revoked, or that of a CA above it is"
    );
    let (_, json, _) = cert(&office, "inspect DIR/laptop.crt --format json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["valid"], &json["issuer"]),
        (&false.into(), &serde_json::Value::Null)
    );
    let ca = said(&office, "inspect DIR/ca/ca.crt");
    assert!(ca.ends_with("\nit is the CA for clients\n"), "{ca}");
}

#[test]
fn a_certificate_of_somebody_else_is_shown_and_no_good() {
    let (office, elsewhere) = (office(), tempfile::tempdir().unwrap());
    let made = rcgen::generate_simple_self_signed(["db.example.com".to_owned()]).unwrap();
    for folder in [&office, &elsewhere] {
        fs::write(folder.path().join("other.crt"), made.cert.pem()).unwrap();
    }
    let (exit, out, _) = cert(&office, "inspect DIR/other.crt");
    assert_eq!(exit, Exit::No);
    assert!(out.starts_with("dns     db.example.com\n"), "{out}");
    let last = "no good: the certificate is not from a CA that `tls.client_ca` names\n";
    assert!(out.ends_with(last), "{out}");
    let without_ca = said(&elsewhere, "inspect DIR/other.crt");
    let last = "no CA of ours is here to judge it\n";
    assert!(without_ca.ends_with(last), "{without_ca}");
}

#[test]
fn a_folder_for_what_is_issued_is_made_if_it_is_not_there() {
    let office = office();
    said(&office, "issue laptop --out DIR/new/folder");
    assert!(office.path().join("new/folder/laptop.crt").exists());
}

#[test]
fn what_is_wrong_with_a_certificate_is_a_plain_sentence() {
    let office = office();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let mut params = rcgen::CertificateParams::new(["b.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2028, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let backwards = params.self_signed(&key).unwrap();
    for (made, sentence) in [
        (
            ca,
            "is a CA's own, which proves no client: show one that the CA has made",
        ),
        (backwards, "ends before it begins: have it made anew"),
    ] {
        fs::write(office.path().join("other.crt"), made.pem()).unwrap();
        let (exit, out, _) = cert(&office, "inspect DIR/other.crt");
        assert_eq!(exit, Exit::No);
        let last = format!("no good: the certificate {sentence}\n");
        assert!(out.ends_with(&last), "{out}");
    }
}

#[test]
fn what_cannot_be_done_is_one_line_and_an_exit_code() {
    let office = office();
    let none = tempfile::tempdir().unwrap();
    said(&office, "issue laptop --out DIR");
    fs::write(office.path().join("hello"), "hello").unwrap();
    for (folder, command, exit, text) in [
        (
            &none,
            "list",
            Exit::Failed,
            "there is no CA for clients in DIR/ca: make one with `doorward cert init`",
        ),
        (
            &office,
            "issue laptop --out DIR",
            Exit::Failed,
            "DIR/laptop.key is there already, and nothing is overwritten: move it away, or give another folder with --out",
        ),
        (
            &office,
            "issue *.example.com",
            Exit::Usage,
            "`*.example.com` is no name for a certificate: give a DNS name without a wildcard, as laptop or shop.example.com",
        ),
        (
            &office,
            "issue desktop --uri eva",
            Exit::Usage,
            "`eva` is no URI for a certificate: give one as spiffe://example.com/shop",
        ),
        (
            &office,
            "revoke desktop",
            Exit::Failed,
            "no certificate for `desktop` was issued here: `doorward cert list` shows those that were",
        ),
        (
            &office,
            "inspect DIR/hello",
            Exit::Failed,
            "DIR/hello holds no PEM certificate",
        ),
        (
            &office,
            "inspect DIR/none",
            Exit::NotPermitted,
            "cannot read DIR/none: there is no such file",
        ),
    ] {
        let said = cert(folder, command);
        assert_eq!(
            said,
            (exit, String::new(), format!("error: {text}\n")),
            "{command}"
        );
    }
}

#[test]
fn a_path_is_quoted_where_yaml_would_read_another() {
    assert_eq!(yaml("/var/lib/doorward/ca.crt"), "/var/lib/doorward/ca.crt");
    assert_eq!(yaml("/a: b #\"c"), r#""/a: b #\"c""#);
}

fn place(given: &str) -> Result<Place, LoadError> {
    let cli = Cli::try_parse_from(given.split(' ')).unwrap();
    Place::of(None, &cli.global)
}

#[test]
fn an_allowlist_that_was_named_has_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("typo.yaml");
    let given = format!("doorward cert init --config {}", file.display());
    let error = place(&given).unwrap_err();
    assert_eq!(Exit::from(&error), Exit::Configuration);
    assert!(error.to_string().contains("typo.yaml"), "{error}");
    fs::write(&file, "version: 1\nstate_dir: /srv/doorward\n").unwrap();
    let said = place(&given).unwrap();
    assert_eq!(said.folder, Path::new("/srv/doorward/clients"));
    assert_eq!(said.unsaid, None);
    fs::write(&file, "version: 1\n").unwrap();
    let unsaid = place(&given).unwrap().unsaid.unwrap();
    assert!(unsaid.ends_with("typo.yaml has no `state_dir`"), "{unsaid}");
}

#[test]
fn a_place_that_nobody_has_said_is_told_with_the_reason() {
    let office = tempfile::tempdir().unwrap();
    let desk = Desk {
        authority: ClientAuthority::new(office.path().join("ca")),
        unsaid: Some("the file has no `state_dir`".to_owned()),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    };
    let cli = Cli::try_parse_from(["doorward", "cert", "init"]).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = Output::new(&cli.global, &mut out, &mut err);
    assert_eq!(desk.serve(&CertCommand::Init, &mut output), Exit::Fine);
    let told = String::from_utf8(err).unwrap();
    let place = format!("note: it is in {}/ca, ", office.path().display());
    assert!(
        told.starts_with(&place) && told.contains("has no `state_dir`"),
        "{told}"
    );
}
