//! What is read from providers' files, and what is refused.

use std::{os::unix::fs::PermissionsExt, process::Command};

use tempfile::TempDir;

use super::*;

const FILE: &str = "/etc/doorward/list";

fn parsed(format: Format, key: Option<&str>, text: &str) -> Vec<String> {
    let networks = parse(Path::new(FILE), format, key, text);
    let networks = networks.unwrap_or_else(|error| panic!("{error}"));
    networks.iter().map(ToString::to_string).collect()
}

fn refused(format: Format, key: Option<&str>, text: &str) -> String {
    let error = parse(Path::new(FILE), format, key, text).unwrap_err();
    let error = error.to_string();
    error.strip_prefix(FILE).unwrap().to_owned()
}

const AWS: &str = r#"{
  "syncToken": "1732000000",
  "createDate": "2025-11-20-01-02-03",
  "prefixes": [
    {"ip_prefix": "3.4.12.4/32", "region": "eu-west-1", "service": "AMAZON", "network_border_group": "eu-west-1"},
    {"ip_prefix": "52.219.170.0/23", "region": "eu-central-1", "service": "S3", "network_border_group": "eu-central-1"},
    {"ip_prefix": "52.219.168.0/24", "region": "eu-west-1", "service": "S3", "network_border_group": "eu-west-1"},
    {"ip_prefix": "3.120.0.0/14", "region": "eu-central-1", "service": "EC2", "network_border_group": "eu-central-1"}
  ],
  "ipv6_prefixes": [
    {"ipv6_prefix": "2a05:d07a:a000::/40", "region": "eu-south-1", "service": "S3", "network_border_group": "eu-south-1"}
  ]
}"#;

#[test]
fn a_plain_list_has_an_address_or_a_network_in_each_line() {
    let text = "# office\r\n198.51.100.0/28\r\n\r\n  203.0.113.7 # the gateway\n2001:db8:30::/48\n";
    assert_eq!(
        parsed(Format::Plain, None, text),
        ["198.51.100.0/28", "203.0.113.7/32", "2001:db8:30::/48"]
    );
    assert_eq!(
        parsed(Format::Plain, None, "\u{feff}203.0.113.7"),
        ["203.0.113.7/32"]
    );
}

#[test]
fn networks_are_said_with_as_few_as_there_can_be() {
    let text =
        "10.0.0.0/25\n10.0.0.128/25\n10.0.0.7\n10.0.1.0/24\n2001:db8::/33\n2001:db8:8000::/33";
    assert_eq!(
        parsed(Format::Plain, None, text),
        ["10.0.0.0/23", "2001:db8::/32"]
    );
}

#[test]
fn an_entry_that_is_no_network_is_named_with_its_line() {
    for (line, said) in [
        (
            "10.0.0.1/8",
            ":2: `10.0.0.1/8` is not an address range; it has host bits; the network is 10.0.0.0/8, the one address is 10.0.0.1",
        ),
        (
            "010.0.0.1",
            ":2: `010.0.0.1` is not an address; octet 010 begins with 0: some read it as octal",
        ),
        (
            "::ffff:192.0.2.1",
            ":2: `::ffff:192.0.2.1` is not an address; IPv4 in IPv6's clothes; write 192.0.2.1",
        ),
        ("any", ":2: `any` is no network"),
        (
            "0.0.0.0/0",
            ":2: 0.0.0.0/0 is wider than any that has one owner",
        ),
        (
            "2000::/3",
            ":2: 2000::/3 is wider than any that has one owner",
        ),
    ] {
        let text = format!("203.0.113.7\n{line}\n");
        assert_eq!(refused(Format::Plain, None, &text), said);
    }
    let name = refused(Format::Plain, None, "example.com");
    assert!(name.starts_with(":1: `example.com`"), "{name}");
}

#[test]
fn an_empty_list_is_refused() {
    for format in [Format::Plain, Format::Cloudflare, Format::Geofeed] {
        for text in ["", "# nothing yet\n\n"] {
            assert_eq!(refused(format, None, text), ": there is no network in it");
        }
    }
    let text = r#"{"actions": []}"#;
    assert_eq!(
        refused(Format::GithubMeta, Some("actions"), text),
        ": there is no network in it"
    );
}

#[test]
fn amazons_list_is_taken_by_service_and_region() {
    let aws = |key| parsed(Format::AwsIpRanges, Some(key), AWS);
    assert_eq!(
        aws("S3"),
        ["52.219.168.0/24", "52.219.170.0/23", "2a05:d07a:a000::/40"]
    );
    assert_eq!(aws("S3/eu-central-1"), ["52.219.170.0/23"]);
    assert_eq!(aws("*/eu-central-1"), ["3.120.0.0/14", "52.219.170.0/23"]);
    assert_eq!(aws("*").len(), 5);
}

#[test]
fn a_key_that_is_not_there_is_told_with_the_one_that_was_meant() {
    let aws = |key| refused(Format::AwsIpRanges, key, AWS);
    assert_eq!(
        aws(Some("AMAZN")),
        ": it has no service `AMAZN`; did you mean `AMAZON`?"
    );
    assert_eq!(
        aws(Some("S3/eu-centrl-1")),
        ": it has no region `eu-centrl-1`; did you mean `eu-central-1`?"
    );
    assert_eq!(
        aws(Some("S3/us-gov-east-1")),
        ": it has no region `us-gov-east-1`"
    );
    assert_eq!(aws(None), ": it has no service ``");
    // both are there, but not together
    assert_eq!(aws(Some("EC2/eu-west-1")), ": there is no network in it");
}

#[test]
fn cloudflares_list_is_text_or_the_answer_of_its_api() {
    let expected = ["173.245.48.0/20", "2400:cb00::/32"];
    assert_eq!(
        parsed(
            Format::Cloudflare,
            None,
            "173.245.48.0/20\n2400:cb00::/32\n"
        ),
        expected
    );
    let api = r#" {"result":{"ipv4_cidrs":["173.245.48.0/20"],"ipv6_cidrs":["2400:cb00::/32"],"etag":"e"},"success":true,"errors":[],"messages":[]}"#;
    assert_eq!(parsed(Format::Cloudflare, None, api), expected);
    let failed = api.replace("true", "false");
    assert_eq!(
        refused(Format::Cloudflare, None, &failed),
        ": it says of itself that it is no success"
    );
}

#[test]
fn githubs_lists_are_taken_by_name() {
    let meta = r#"{
      "verifiable_password_authentication": false,
      "ssh_keys": ["ssh-ed25519 AAAA"],
      "domains": {"website": ["*.github.com"]},
      "hooks": ["192.30.252.0/22", "2a0a:a440::/29"],
      "actions": ["4.148.0.0/16", "4.149.0.1/18"]
    }"#;
    let refused = |key| refused(Format::GithubMeta, Some(key), meta);
    assert_eq!(
        parsed(Format::GithubMeta, Some("hooks"), meta),
        ["192.30.252.0/22", "2a0a:a440::/29"]
    );
    let said = refused("actions");
    assert!(
        said.starts_with(": actions[1]: `4.149.0.1/18` is not"),
        "{said}"
    );
    assert_eq!(
        refused("action"),
        ": it has no list `action`; did you mean `actions`?"
    );
    assert_eq!(refused("domains"), ": it has no list `domains`");
    assert!(refused("ssh_keys").starts_with(": ssh_keys[0]: "));
}

#[test]
fn googles_list_is_taken_whole_or_by_scope() {
    let cloud = r#"{"syncToken": "1", "creationTime": "2025-11-20T01:02:03", "prefixes": [
      {"ipv4Prefix": "34.1.208.0/20", "service": "Google Cloud", "scope": "africa-south1"},
      {"ipv6Prefix": "2600:1900:8000::/44", "service": "Google Cloud", "scope": "africa-south1"},
      {"ipv4Prefix": "34.22.112.0/20", "service": "Google Cloud", "scope": "europe-west1"}
    ]}"#;
    let gcp = |key| parsed(Format::GcpCloud, key, cloud);
    assert_eq!(gcp(None).len(), 3);
    assert_eq!(gcp(Some("europe-west1")), ["34.22.112.0/20"]);
    assert_eq!(
        refused(Format::GcpCloud, Some("europe-west9"), cloud),
        ": it has no scope `europe-west9`; did you mean `europe-west1`?"
    );
    let goog = r#"{"prefixes": [{"ipv4Prefix": "8.8.4.0/24"}]}"#;
    assert_eq!(parsed(Format::GcpCloud, None, goog), ["8.8.4.0/24"]);
}

#[test]
fn azures_list_is_taken_by_tag() {
    let tags = r#"{"changeNumber": 300, "cloud": "Public", "values": [
      {"name": "ActionGroup", "id": "ActionGroup", "properties": {"changeNumber": 1, "region": "", "addressPrefixes": ["4.145.74.52/30"], "networkFeatures": ["API"]}},
      {"name": "AzureCloud.westeurope", "id": "x", "properties": {"region": "westeurope", "addressPrefixes": ["13.69.0.0/17", "2603:1020:200::/46"]}}
    ]}"#;
    assert_eq!(
        parsed(
            Format::AzureServiceTags,
            Some("AzureCloud.westeurope"),
            tags
        ),
        ["13.69.0.0/17", "2603:1020:200::/46"]
    );
    assert_eq!(
        refused(
            Format::AzureServiceTags,
            Some("AzureCloud.WestEurope"),
            tags
        ),
        ": it has no tag `AzureCloud.WestEurope`; did you mean `AzureCloud.westeurope`?"
    );
}

#[test]
fn of_a_geofeed_only_the_networks_count() {
    let feed = "# RFC 8805\n192.0.2.0/25,US,US-AL,,\n192.0.2.5,DE,,,\n2001:db8::/48 , PL,PL-MZ,,02-784\n198.51.100.0/24\n";
    assert_eq!(
        parsed(Format::Geofeed, None, feed),
        ["192.0.2.0/25", "198.51.100.0/24", "2001:db8::/48"]
    );
    assert!(refused(Format::Geofeed, None, "# a\n,US,,,\n").starts_with(":2: "));
}

#[test]
fn what_is_not_in_the_format_says_where() {
    for format in [
        Format::AwsIpRanges,
        Format::GithubMeta,
        Format::GcpCloud,
        Format::AzureServiceTags,
    ] {
        let half = refused(format, Some("x"), "{\"prefixes\": [{");
        assert!(half.contains("EOF while parsing"), "{half}");
        let other = refused(format, Some("x"), "203.0.113.7\n");
        assert!(other.contains("line 1 column"), "{other}");
    }
    assert_eq!(
        refused(Format::AwsIpRanges, Some("S3"), r#"{"prefixes": []}"#),
        ": missing field `ipv6_prefixes` at line 1 column 16"
    );
    let deep = "[".repeat(100_000);
    let deep = refused(
        Format::GithubMeta,
        Some("actions"),
        &format!("{{\"actions\": {deep}"),
    );
    assert!(deep.contains("recursion limit"), "{deep}");
}

#[test]
fn a_list_has_bounds() {
    let many = (0..=MAX_NETWORKS).map(|n| format!("2001:db8:{:x}:{:x}::1\n", n >> 16, n & 0xffff));
    let many: String = many.collect();
    assert_eq!(
        refused(Format::Plain, None, &many),
        ": 200001 networks; no more than 200000 are taken"
    );
    let all_but_one = many.trim_end().rsplit_once('\n').unwrap().0;
    assert_eq!(parsed(Format::Plain, None, all_but_one).len(), MAX_NETWORKS);
    let large = "#".repeat(MAX_FILE + 1);
    assert_eq!(
        refused(Format::Plain, None, &large),
        ": it is larger than 16777216 bytes"
    );
}

/// A folder of its own, and a file in it.
fn file(text: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("list");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn unreadable(path: &Path) -> String {
    let error = read(path).unwrap_err().to_string();
    let name = path.display().to_string();
    error.strip_prefix(&name).unwrap().to_owned()
}

#[test]
fn a_file_is_read_as_it_is() {
    let (_folder, path) = file(b"203.0.113.7\n");
    assert_eq!(read(&path).unwrap(), "203.0.113.7\n");
    let (_folder, path) = file(b"203.0.113.7 # \xff\n");
    assert_eq!(unreadable(&path), ": it is not UTF-8");
}

#[test]
fn a_file_that_everybody_may_write_or_replace_is_refused() {
    let (folder, path) = file(b"203.0.113.7\n");
    mode(&path, 0o646);
    assert_eq!(
        unreadable(&path),
        ": everybody may write to it: `chmod o-w`"
    );
    mode(&path, 0o664);
    assert!(read(&path).is_ok());
    mode(folder.path(), 0o777);
    assert_eq!(
        unreadable(&path),
        ": everybody may put another file in its place: `chmod o-w` for its folder"
    );
    mode(folder.path(), 0o1777);
    assert!(read(&path).is_ok(), "as in /tmp, only its owner may");
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let (folder, path) = file(b"");
    assert_eq!(unreadable(folder.path()), ": it is no file");
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(unreadable(&pipe), ": it is no file");
    fs::remove_file(&path).unwrap();
    assert_eq!(
        unreadable(&path),
        ": No such file or directory (os error 2)"
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read_whole() {
    let (_folder, path) = file(b"");
    let large = File::options().write(true).open(&path).unwrap();
    large.set_len(50 * 1024 * 1024).unwrap();
    assert_eq!(unreadable(&path), ": it is larger than 16777216 bytes");
}
