//! `doorward why` over files: its verdicts and its words.

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};

const FILE: &str = "version: 1
listeners:
  - {name: pg, protocol: postgres, listen: '127.0.0.1:6432', upstream: '127.0.0.1:5432'}
origins:
  - {name: office, from: [198.51.100.0/24]}
  - {name: web, from: [203.0.113.9], users: [app], databases: [shop]}
deny:
  - {name: old-vps, from: [192.0.2.44]}
";

const MYSQL: &str = "version: 1
listeners:
  - {name: my, protocol: mysql, listen: '127.0.0.1:6306', upstream: /run/mysqld}
origins:
  - {name: web, from: [203.0.113.9], users: [app], databases: [shop]}
  - {name: replica, from: [203.0.113.8], users: [repl], replication: true}
";

/// Exit, standard output and standard error of `doorward why`.
fn why(arguments: &str) -> (Exit, String, String) {
    why_by(FILE, arguments)
}

fn why_by(text: &str, arguments: &str) -> (Exit, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("allowlist.yaml");
    std::fs::write(&file, text).unwrap();
    let given = format!("doorward why --config {} {arguments}", file.display());
    let cli = Cli::try_parse_from(given.split(' ')).unwrap();
    let Command::Why(arguments) = &cli.command else {
        panic!("not why");
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = Output::new(&cli.global, &mut out, &mut err);
    output.color = false;
    let exit = run(arguments, &cli.global, &mut output);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        exit,
        text(out).replace(&file.display().to_string(), "FILE"),
        text(err),
    )
}

#[test]
fn a_refusal_shows_every_origin_and_what_would_mend_it() {
    let (exit, out, err) = why("203.0.113.9 --user app --database shop");
    assert_eq!((exit, err.as_str()), (Exit::No, ""));
    let expected = "DENY  tls_required                                     (file FILE)
  line  origin  from  user  database  tls  first failure
     5  office  no    .     .         .    203.0.113.9 is not in 198.51.100.0/24
     6  web     yes   yes   yes       NO   the connection is not encrypted
mend: the client needs sslmode=verify-full
";
    assert_eq!(out, expected);
}

#[test]
fn whom_no_observation_spares_is_told_by_what() {
    let observed =
        format!("{FILE}observe: {{until: 2036-01-01T00:00:00Z, from: [192.0.2.0/24]}}\n");
    for (question, words) in [
        (
            "192.0.2.1 --user app",
            "; `observe` spares nobody without TLS, for `require.tls` asks for it",
        ),
        (
            "192.0.2.1 --user postgres --tls",
            "; `observe` spares none of `protected_users`",
        ),
        (
            "192.0.2.1 --user app --tls --replication=physical",
            "; `observe` admits no replication",
        ),
    ] {
        let (exit, out, _) = why_by(&observed, &format!("{question} --at 2026-11-22T00:00:00Z"));
        assert_eq!(exit, Exit::No, "{out}");
        assert!(out.trim_end().ends_with(words), "{out}");
        let (_, out, _) = why(question);
        assert!(!out.contains("observe"), "{out}");
    }
}

#[test]
fn a_certificate_that_is_no_good_is_named_in_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["web.example".to_owned()]).unwrap();
    let shown = folder.path().join("shown.crt");
    std::fs::write(&shown, made.cert.pem()).unwrap();
    let ca = crate::net::ClientAuthority::new(folder.path().join("ca"));
    ca.found(SystemTime::now()).unwrap();
    let file = format!("{FILE}tls: {{client_ca: {}}}\n", ca.ca().display()).replace(
        "users: [app], databases: [shop]",
        "proof: {certificate: {dns: web.example}}",
    );
    let question = format!(
        "203.0.113.9 --user app --tls --certificate {}",
        shown.display()
    );
    let (_, out, err) = why_by(&file, &question);
    assert!(
        out.contains("mend: the client needs another certificate with dns web.example, for the one that it has shown is not from a CA that `tls.client_ca` names  ->  doorward cert issue web.example"),
        "{out}{err}"
    );
}

#[test]
fn a_deny_rule_stands_first_with_its_line() {
    let (exit, out, err) = why("192.0.2.44 --user app --database shop --tls");
    assert_eq!((exit, err.as_str()), (Exit::No, ""));
    let expected = "DENY  deny_rule                                        (file FILE)
  line  origin   from  user  database  tls  first failure
     8  old-vps  yes   -     .         .    a deny rule: it beats every origin
     5  office   no    .     .         .    192.0.2.44 is not in 198.51.100.0/24
     6  web      no    .     .         .    192.0.2.44 is not in 203.0.113.9
mend: the deny rule \"old-vps\" (line 8) must go, or mean fewer
";
    assert_eq!(out, expected);
    let (_, out, _) = why("192.0.2.44 --user app --database shop --format json");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["denied_by"]["origin"], "old-vps");
    assert_eq!(json["denied_by"]["line"], 8);
}

#[test]
fn a_yes_ends_with_zero_and_names_the_origin() {
    let (exit, out, _) = why("::ffff:203.0.113.9 --user app --database shop --tls");
    assert_eq!(exit, Exit::Fine);
    assert!(out.starts_with("ALLOW  by \"web\""), "{out}");
}

#[test]
fn a_program_reads_verdict_reason_origin_and_what_was_tried() {
    let (exit, out, _) = why("203.0.113.9 --user app --tls --format json");
    assert_eq!(exit, Exit::No);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["verdict"], "deny");
    assert_eq!(
        json["reason"], "database_not_allowed",
        "the database is the user's name"
    );
    assert_eq!(json["origin"], "web");
    assert_eq!(json["would_deny"], serde_json::Value::Null);
    assert_eq!(json["source"], "file FILE");
    assert_eq!(json["tried"][1]["line"], 6);
    assert_eq!(json["tried"][1]["first_failure"], "database");
    assert_eq!(json["tried"][1]["conditions"]["user"], "holds");
    assert_eq!(json["tried"][0]["conditions"]["user"], "not_tried");
}

#[test]
fn every_refusal_says_what_would_mend_it() {
    for (asked, mend) in [
        (
            "203.0.113.9 --user eva --tls",
            "\"web\" (line 6) needs `eva` in its `users`",
        ),
        (
            "203.0.113.9 --user app --tls",
            "\"web\" (line 6) needs `app` in its `databases`",
        ),
        (
            "192.0.2.44 --user app --tls",
            "the deny rule \"old-vps\" (line 8) must go",
        ),
        (
            "192.0.2.1 --user app --tls",
            "an origin must name 192.0.2.1",
        ),
        (
            "203.0.113.9 --user app --tls --replication",
            "`replication: physical`",
        ),
    ] {
        let (exit, out, _) = why(asked);
        let last = out.lines().last().unwrap_or_default();
        assert_eq!(exit, Exit::No, "{asked}");
        assert!(
            last.starts_with("mend: ") && last.contains(mend),
            "{asked}: {last}"
        );
    }
}

#[test]
fn a_mysql_client_is_asked_for_what_mysql_knows() {
    let asked = |arguments: &str| {
        let (exit, out, err) = why_by(MYSQL, arguments);
        let last = out.lines().chain(err.lines()).last();
        (exit, last.unwrap_or_default().to_owned())
    };
    let (exit, _) = asked("203.0.113.9 --user app --tls");
    assert_eq!(exit, Exit::Fine, "a session may begin without a database");
    let (exit, last) = asked("203.0.113.9 --user app");
    assert_eq!(exit, Exit::No);
    assert_eq!(last, "mend: the client needs ssl-mode=VERIFY_IDENTITY");
    let (exit, last) = asked("203.0.113.9 --user app --tls --replication");
    assert_eq!(exit, Exit::No);
    assert!(last.contains("needs `replication: true`"), "{last}");
    let (exit, _) = asked("203.0.113.8 --user repl --tls --replication");
    assert_eq!(exit, Exit::Fine);
    let (exit, last) = asked("203.0.113.8 --user repl --replication=physical");
    assert_eq!(exit, Exit::Usage);
    assert!(last.contains("MySQL knows one"), "{last}");
}

#[test]
fn a_question_that_means_nothing_is_a_usage_error() {
    for (asked, text) in [
        (
            "db.example.com --user app",
            "`db.example.com` is not an address",
        ),
        ("010.0.0.1 --user app", "is not an address"),
        (
            "10.0.0.1 --user app --listener mysql",
            "there is no listener `mysql`; there are pg",
        ),
        (
            "10.0.0.1 --user app --at tomorrow",
            "`tomorrow` is not a time",
        ),
        (
            "10.0.0.1 --user app --replication=no",
            "`no` is not a kind of replication",
        ),
    ] {
        let (exit, out, err) = why(asked);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{asked}");
        assert!(err.contains(text), "{asked}: {err}");
    }
}

const PROOFS: &str = "version: 1
listeners:
  - {name: pg, protocol: postgres, listen: '127.0.0.1:6432', upstream: '127.0.0.1:5432'}
tls: {client_ca: /CA}
origins:
  - {name: blog, from: [any], users: [blog], proof: {certificate: {dns: blog.example.org}}}
  - {name: erp, from: [{host: erp.partner.example}], users: [erp], tls: {min: '1.3'}}
  - {name: reports, observe: true, from: [10.40.0.0/16], users: [etl], proof: {certificate: {uri: 'spiffe://example.com/etl'}}}
";

fn proofs(arguments: &str) -> (Exit, String) {
    let (exit, out, err) = why_by(
        PROOFS,
        &format!("--resolve erp.partner.example=198.18.5.5,2001:db8:77::9 {arguments}"),
    );
    (exit, out + &err)
}

#[test]
fn a_certificate_in_words_counts_as_valid() {
    let (exit, out) = proofs("44.1.2.3 --user blog --certificate-dns blog.example.org");
    assert_eq!(exit, Exit::Fine, "{out}");
    let (exit, out) =
        proofs("44.1.2.3 --user blog --certificate-dns evil.example --certificate-uri a:b");
    assert_eq!(exit, Exit::No);
    assert!(out.contains("DENY  certificate_mismatch"), "{out}");
    assert!(
        out.contains(
            "the certificate is for dns evil.example, uri a:b; it asks for dns blog.example.org"
        ),
        "{out}"
    );
    let (exit, out) = proofs("44.1.2.3 --user blog --tls");
    assert_eq!(exit, Exit::No);
    assert!(
        out.contains("no certificate was shown; it asks for dns blog.example.org"),
        "{out}"
    );
    let (exit, out) = proofs("44.1.2.3 --user blog --certificate-sha256 abc");
    assert_eq!(exit, Exit::Usage);
    assert!(out.contains("64 hexadecimal digits"), "{out}");
}

#[test]
fn a_certificate_of_a_file_is_judged_by_the_cas_of_the_allowlist() {
    let folder = tempfile::tempdir().unwrap();
    let own = Authority::new("ours");
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, own.pem()).unwrap();
    let text = PROOFS.replace("/CA", ca.to_str().unwrap());
    let shown = folder.path().join("shown.crt");
    let asked = format!(
        "44.1.2.3 --user blog --resolve erp.partner.example=198.18.5.5 --certificate {}",
        shown.display()
    );
    std::fs::write(&shown, own.client("blog.example.org")).unwrap();
    let (exit, out, err) = why_by(&text, &asked);
    assert_eq!(exit, Exit::Fine, "{out}{err}");
    std::fs::write(&shown, Authority::new("theirs").client("blog.example.org")).unwrap();
    let (exit, out, err) = why_by(&text, &asked);
    assert_eq!(exit, Exit::No, "{out}{err}");
    assert!(
        out.contains("the certificate is not from a CA that `tls.client_ca` names"),
        "{out}"
    );
    assert!(
        out.contains("doorward cert issue blog.example.org"),
        "{out}"
    );
    std::fs::write(&shown, "no certificate").unwrap();
    let (exit, _, err) = why_by(&text, &asked);
    assert_eq!(exit, Exit::Configuration);
    assert!(err.contains("holds no PEM certificate"), "{err}");
}

/// A CA that lives for a test.
struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = rcgen::CertificateParams::default();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self(rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn client(&self, dns: &str) -> String {
        let mut parameters = rcgen::CertificateParams::new([dns.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.signed_by(&key, &self.0).unwrap().pem()
    }
}

#[test]
fn given_addresses_stand_in_for_dns() {
    let (exit, out) = proofs("2001:db8:77::9 --user erp --tls");
    assert_eq!(exit, Exit::Fine, "{out}");
    let (exit, out) = proofs("198.18.5.6 --user erp --tls");
    assert_eq!(exit, Exit::No);
    assert!(
        out.contains("erp.partner.example is 198.18.5.5, 2001:db8:77::9 (as given)"),
        "{out}"
    );
    let (exit, out) = proofs("198.18.5.6 --user erp --resolve x.example=10.0.0.1");
    assert_eq!(exit, Exit::Usage);
    assert!(out.contains("no rule names the host `x.example`"), "{out}");
    let (exit, _) = proofs("198.18.5.6 --user erp --resolve x.example");
    assert_eq!(exit, Exit::Usage);
}

#[test]
fn an_old_tls_and_a_trial_are_told() {
    let (exit, out) = proofs("198.18.5.5 --user erp --tls=1.2");
    assert_eq!(exit, Exit::No);
    assert!(
        out.contains("DENY  tls_version") && out.contains("TLS 1.2 is older than 1.3"),
        "{out}"
    );
    assert!(out.ends_with("mend: the client needs TLS 1.3\n"), "{out}");
    let (exit, out) = proofs("10.40.3.3 --user etl --tls");
    assert_eq!(exit, Exit::Fine);
    assert!(out.contains("refused: certificate_missing"), "{out}");
    assert!(out.contains("  try"), "{out}");
}

#[test]
fn a_question_about_a_reference_names_nobody_else() {
    let parsed = |text: &str| Cli::try_parse_from(text.split(' ')).is_ok();
    assert!(parsed("doorward why --ref ABCD2345"));
    assert!(!parsed("doorward why 10.0.0.1 --ref ABCD2345"));
    assert!(!parsed("doorward why"));
    assert!(!parsed("doorward why 10.0.0.1"));
    assert!(!parsed(
        "doorward why 10.0.0.1 --user a --certificate f --certificate-dns b"
    ));
}

#[test]
fn a_remembered_refusal_is_told_with_what_would_happen_now() {
    let refusal = RefusalAnswer {
        reference: "ABCD2345".to_owned(),
        listener: "pg".to_owned(),
        address: "192.0.2.1".to_owned(),
        who: None,
        reason: "malformed_opening".to_owned(),
        rule: None,
        cause: "the opening is malformed".to_owned(),
        times: 2,
        first: "2026-11-22T12:00:00Z".to_owned(),
        last: "2026-11-22T12:01:00Z".to_owned(),
        now: None,
    };
    assert_eq!(
        render_refusal(&refusal, false),
        "ABCD2345: malformed_opening, 2 times since 2026-11-22T12:00:00Z, last at 2026-11-22T12:01:00Z
  192.0.2.1 on listener pg
  the opening is malformed"
    );
}
