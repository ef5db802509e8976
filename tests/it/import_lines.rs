//! What the import reads in a `pg_hba.conf`, and refuses to read: as PostgreSQL's own parser does.

use crate::{harness::Postgres, import::import};

/// What a file may hold that is hard to read.
const TRICKY: &str = r#"# a comment, and an empty line

local all postgres trust
host shop,hr , archive 10.0.0.1/32 md5
host "shop" "two words" 10.0.0.2/32 scram-sha-256 # why
host "sh""op",plain al"ice" 10.0.0.3 255.255.255.255 scram-sha-256
host shop, hr,	archive bob,carol    10.0.4.0/24    scram-sha-256
host	all	"all"	10.0.5.77/24	scram-sha-256
host all +staff,dave 10.0.6.0/24 md5
host sameuser alice,bob samenet scram-sha-256
host replication,all repl 10.0.8.0 255.255.254.0 ldap ldapserver=ldap.example.com ldapprefix="cn=" ldapsuffix=", dc=x"
host shop app db1.example.com scram-sha-256
host shop app .example.com scram-sha-256
host all all 2001:db8::1/64 scram-sha-256
host all all 2001:db8:5::1 ffff:ffff:ffff:: scram-sha-256
hostnossl all all 10.0.9.0/24 reject
host all eve all reject
"#;

/// Lines that PostgreSQL does not take, one error each.
const BAD: &str = "\
local all postgres trust
host all all 10.0.0.0/33 md5
host all all 10.0.0.0/8
host all all 10.0.0.0/8 magic
hots all all 10.0.0.0/8 md5
host all all 10.0.0.0 md5
host all all 10.0.0.1/8,10.0.0.2/8 md5
host all
host all all 10.0.0.0 ffff:: md5
host all all 10.0.0.0/8 peer
host all all 10.0.0.0/8 cert
host all all 10.0.0.0/8 md5 loose
";

/// Every line that PostgreSQL has read, written anew on the line where it stood.
const WRITTEN_ANEW: &str = r#"
SELECT line_number || ' ' || concat_ws(' ', type,
  (SELECT string_agg(CASE WHEN d IN ('sameuser', 'replication') OR d = 'all' THEN d
     ELSE '"' || replace(d, '"', '""') || '"' END, ',') FROM unnest(database) d),
  (SELECT string_agg(CASE WHEN u LIKE '+%' OR u = 'all' AND line_number <> 8 THEN u
     ELSE '"' || replace(u, '"', '""') || '"' END, ',') FROM unnest(user_name) u),
  address, netmask, auth_method)
FROM pg_hba_file_rules WHERE error IS NULL ORDER BY line_number"#;

#[test]
fn postgresql_reads_the_same_lines_as_the_import() {
    let server = Postgres::start(&[]);
    server.write_hba(TRICKY);
    assert_eq!(
        server.sql("SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL"),
        ""
    );
    let mut anew = String::new();
    for line in server.sql(WRITTEN_ANEW).lines() {
        let (number, line) = line.split_once(' ').unwrap();
        while anew.lines().count() + 1 < number.parse().unwrap() {
            anew.push('\n');
        }
        anew.push_str(line);
        anew.push('\n');
    }
    let told = |text: &str| {
        let ended = import("pg-hba", text, &["--clear"]);
        (ended.code(), ended.stdout, ended.stderr)
    };
    let (code, yaml, remarks) = told(TRICKY);
    assert_eq!(told(&anew), (code, yaml, remarks.clone()), "{anew}");
    assert_eq!(code, 0, "{remarks}");

    server.write_hba(BAD);
    let theirs =
        server.sql("SELECT line_number FROM pg_hba_file_rules WHERE error IS NOT NULL ORDER BY 1");
    let ended = import("pg-hba", BAD, &["--clear"]);
    let stopped = ended
        .failed()
        .lines()
        .filter_map(|line| line.strip_prefix("stopped: list:"));
    let ours: Vec<_> = stopped
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(ours, theirs.lines().collect::<Vec<_>>(), "{}", ended.stderr);
}
