//! The exact outputs.

use super::*;

/// Holds an import against what it prints on both outputs.
#[track_caller]
fn prints(format: &str, text: &str, options: &str, out: &str, err: &str) {
    let (exit, printed, said) = imported(format, text, options);
    assert_eq!(printed, out, "{said}");
    assert_eq!(said, err);
    assert_eq!(exit, Exit::Fine);
}

#[test]
fn a_pg_hba_becomes_origins_and_what_is_missing_is_named() {
    prints(
        "pg-hba",
        "# TYPE  DATABASE  USER  ADDRESS  METHOD
local   all          postgres                   peer
host    shop         shop_app  10.20.0.11/32    scram-sha-256
host    shop         shop_app  10.20.0.12/32    scram-sha-256
host    all          bob       10.20.0.0/16     reject
host    all          all       10.20.0.0/16     md5
hostssl replication  repl      10.20.0.20/32    scram-sha-256
host    all          +staff    198.51.100.0/24  scram-sha-256
hostssl blog         blog      203.0.113.0/24   trust
host    all          all       0.0.0.0/0        scram-sha-256
",
        "",
        r#"# Imported from list. Look it over, then: doorward check FILE
# left out: list:8: who is a member of `staff` only the database knows
# left out: list:10: 0.0.0.0/0 is too wide for an origin without a proof of identity: name the networks that clients come from, or give them certificates (`doorward cert`)
version: 1
listeners:
  - name: pg
    protocol: postgres
    listen: ["0.0.0.0:6432"]
    upstream: "127.0.0.1:5432"
origins:
  - name: shop-app-shop
    note: "imported from list, lines 3, 4"
    from: [10.20.0.11, 10.20.0.12]
    users: [shop_app]
    databases: [shop]
  - name: line-6
    note: "imported from list, line 6"
    from: [10.20.0.0/16]
  - name: repl-replication
    note: "imported from list, line 7"
    from: [10.20.0.20]
    users: [repl]
    replication: physical
  - name: blog
    note: "imported from list, line 9"
    from: [203.0.113.0/24]
    users: [blog]
    databases: [blog]
deny:
  - name: rejected-by-line-5
    note: "imported from list, line 5"
    from: [10.20.0.0/16]
    users: [bob]
"#,
        "left out: list:8: who is a member of `staff` only the database knows
left out: list:10: 0.0.0.0/0 is too wide for an origin without a proof of identity: name the networks that clients come from, or give them certificates (`doorward cert`)
note: list:2: unix sockets do not pass through the gateway: it stays as it is
note: list:9: DANGER: `trust` lets everybody in who comes from there, whoever they say they are; the gateway ends such sessions (`require.authentication`): ask for scram-sha-256
note: `all` users is every user but the protected ones (postgres, ...): a superuser comes in only where an origin names it (list:6, list:10)
note: connections in clear are refused from now on, also where `host` admitted them: `--clear` keeps them
note: logical replication is a right of its own here: whoever needs it gets an origin with `replication: logical`
note: the database will see the gateway's address instead of its clients': its own pg_hba.conf needs `host all all GATEWAY/32 scram-sha-256` and nothing wider
list became 4 origins and 1 deny rule; 2 left out
",
    );
}

#[test]
fn a_line_that_only_connections_in_clear_reach_is_left_out_and_says_so() {
    let list = "hostssl all all 0.0.0.0/0 cert map=foo
host all badguy 10.2.0.0/16 reject
host all all 10.2.0.0/16 scram-sha-256
hostssl all all 10.2.3.0/24 scram-sha-256
";
    let (_, _, said) = imported("pg-hba", list, "");
    let clear = "list:1 matches encrypted connections first; what is left of it is in clear, and origins ask for TLS";
    for line in [
        format!("note: list:2: {clear}\n"),
        format!("left out: list:3: {clear}\n"),
        "note: list:4: is never reached: list:1 matches first\n".to_owned(),
    ] {
        assert!(said.contains(&line), "{said}");
    }
    let (_, _, said) = imported("pg-hba", list, "--clear");
    assert!(
        said.contains("stopped: list:1 and list:3: ")
            && said.contains("in origins: connections in clear only"),
        "{said}"
    );
    let hidden = "hostssl all all 10.0.0.0/8 cert map=foo
host all all 10.0.0.0/8 reject
host all all 10.2.0.0/16 scram-sha-256
";
    let (_, _, said) = imported("pg-hba", hidden, "");
    assert!(
        said.contains("note: list:3: is never reached: list:2 matches first"),
        "{said}"
    );
}

#[test]
fn a_name_of_a_list_ends_no_line_and_moves_no_cursor() {
    let list = r#"{"SecurityGroups":[{"GroupId":"sg-1","GroupName":"x\ny\u001b[31m","IpPermissions":[{"IpProtocol":"-1","UserIdGroupPairs":[{"GroupId":"sg-2\n"}]}]}]}"#;
    let (_, out, said) = imported("aws-sg", list, "--port 5432");
    assert!(
        said.contains("sg-1 (x\u{fffd}y\u{fffd}[31m), rule 1"),
        "{said}"
    );
    for text in [out, said] {
        let strange = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(strange, None, "{text}");
        assert!(text.lines().all(|line| !line.starts_with('y')), "{text}");
    }
}

#[test]
fn a_security_group_admits_whom_it_names_by_address() {
    prints(
        "aws-sg",
        r#"{"SecurityGroups": [{"GroupId": "sg-0a1", "GroupName": "database", "IpPermissions": [
  {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
  {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5433,
   "IpRanges": [{"CidrIp": "198.51.100.0/28", "Description": "Amsterdam office"}, {"CidrIp": "10.0.3.7/16"}, {"CidrIp": "0.0.0.0/0"}],
   "Ipv6Ranges": [{"CidrIpv6": "2001:db8:30::/48", "Description": "Amsterdam office"}],
   "PrefixListIds": [{"PrefixListId": "pl-7"}],
   "UserIdGroupPairs": [{"GroupId": "sg-0b2"}]}]}]}
"#,
        "--user app --database shop",
        r#"# Imported from list. Look it over, then: doorward check FILE
# left out: sg-0a1 (database), rule 2: the machines of the group sg-0b2, whose addresses AWS knows: write down theirs
# left out: sg-0a1 (database), rule 2: the prefix list pl-7, that AWS keeps: write down its networks
# left out: sg-0a1 (database), rule 2: 0.0.0.0/0 is too wide for an origin without a proof of identity: name the networks that clients come from, or give them certificates (`doorward cert`)
version: 1
listeners:
  - name: pg
    protocol: postgres
    listen: ["0.0.0.0:6432"]
    upstream: "127.0.0.1:5432"
origins:
  - name: amsterdam-office
    note: "imported from list, sg-0a1 (database), rule 2: Amsterdam office"
    from: [198.51.100.0/28, "2001:db8:30::/48"]
    users: [app]
    databases: [shop]
  - name: database
    note: "imported from list, sg-0a1 (database), rule 2"
    from: [10.0.0.0/16]
    users: [app]
    databases: [shop]
"#,
        "left out: sg-0a1 (database), rule 2: the machines of the group sg-0b2, whose addresses AWS knows: write down theirs
left out: sg-0a1 (database), rule 2: the prefix list pl-7, that AWS keeps: write down its networks
left out: sg-0a1 (database), rule 2: 0.0.0.0/0 is too wide for an origin without a proof of identity: name the networks that clients come from, or give them certificates (`doorward cert`)
note: 1 rule is for other ports than 5432
list became 2 origins and 0 deny rules; 3 left out
",
    );
}

#[test]
fn trusted_sources_become_origins_where_they_are_addresses() {
    prints(
        "digitalocean",
        r#"{"rules": [
  {"uuid": "a", "type": "ip_addr", "value": "203.0.113.7", "description": "web-1"},
  {"uuid": "b", "type": "ip_addr", "value": "198.51.100.0/24"},
  {"uuid": "c", "type": "ip_addr", "value": "198.51.101.0/24"},
  {"uuid": "d", "type": "droplet", "value": "163973392"},
  {"uuid": "e", "type": "tag", "value": "backend"}]}
"#,
        "",
        r#"# Imported from list. Look it over, then: doorward check FILE
# left out: droplet 163973392: its addresses are known to DigitalOcean alone: write them down
# left out: tag backend: its addresses are known to DigitalOcean alone: write them down
version: 1
listeners:
  - name: pg
    protocol: postgres
    listen: ["0.0.0.0:6432"]
    upstream: "127.0.0.1:5432"
origins:
  - name: web-1
    note: "imported from list, ip_addr 203.0.113.7: web-1"
    from: [203.0.113.7]
  - name: trusted-sources
    note: "imported from list, ip_addr 198.51.100.0/24, ip_addr 198.51.101.0/24"
    from: [198.51.100.0/24, 198.51.101.0/24]
"#,
        "left out: droplet 163973392: its addresses are known to DigitalOcean alone: write them down
left out: tag backend: its addresses are known to DigitalOcean alone: write them down
note: a firewall knows no users: `--user` and `--database` say who these clients are, otherwise any user but the protected ones may come in
list became 2 origins and 0 deny rules; 2 left out
",
    );
}

#[test]
fn a_cloud_firewall_is_read_for_the_port_of_the_database() {
    prints(
        "digitalocean",
        r#"{"firewalls": [{"name": "db", "inbound_rules": [
  {"protocol": "tcp", "ports": "22", "sources": {"addresses": ["0.0.0.0/0"]}},
  {"protocol": "tcp", "ports": "3306", "sources": {"addresses": ["192.0.2.8", "2001:db8::/64"], "droplet_ids": [8043964], "tags": ["web"]}}]}]}
"#,
        "--protocol mysql --user app",
        r#"# Imported from list. Look it over, then: doorward check FILE
# left out: db, inbound rule 2: the droplet 8043964: its addresses are known to DigitalOcean alone, write them down
# left out: db, inbound rule 2: the tag "web": its addresses are known to DigitalOcean alone, write them down
version: 1
listeners:
  - name: mysql
    protocol: mysql
    listen: ["0.0.0.0:3307"]
    upstream: "127.0.0.1:3306"
origins:
  - name: db
    note: "imported from list, db, inbound rule 2"
    from: [192.0.2.8, "2001:db8::/64"]
    users: [app]
"#,
        r#"left out: db, inbound rule 2: the droplet 8043964: its addresses are known to DigitalOcean alone, write them down
left out: db, inbound rule 2: the tag "web": its addresses are known to DigitalOcean alone, write them down
note: 1 rule is for other ports than 3306
list became 1 origin and 0 deny rules; 2 left out
"#,
    );
}

#[test]
fn the_order_of_a_firewall_s_rules_is_kept() {
    prints(
        "ufw",
        "Added user rules (see 'ufw status' for running firewall):
ufw limit 22/tcp
ufw deny from 203.0.113.4
ufw allow from 10.0.0.9 to any port 5432 proto tcp comment 'the replica'
ufw deny from 10.0.0.0/24 to any port 5432
ufw allow from 10.0.0.0/16 to 192.0.2.10 port 5432,6432 proto tcp
ufw allow in on eth1 from 192.168.0.0/24 to any port 5432
ufw allow 80,443/tcp
ufw allow Apache
ufw allow 5432/tcp
",
        "--origins-only --listener pg",
        r#"# Imported from list. Look it over, then: doorward check FILE
# left out: list:7: it is for the network interface `eth1` alone
# left out: list:9: what ports `Apache` has is ufw's to say
# left out: list:10: 0.0.0.0/0 is too wide for an origin without a proof of identity: name the networks that clients come from, or give them certificates (`doorward cert`)
origins:
  - name: the-replica
    note: "imported from list, line 4: the replica"
    listeners: [pg]
    from: [10.0.0.9]
  - name: ufw
    note: "imported from list, line 6"
    listeners: [pg]
    from:
      - 10.0.1.0/24
      - 10.0.2.0/23
      - 10.0.4.0/22
      - 10.0.8.0/21
      - 10.0.16.0/20
      - 10.0.32.0/19
      - 10.0.64.0/18
      - 10.0.128.0/17
"#,
        "left out: list:7: it is for the network interface `eth1` alone
left out: list:9: what ports `Apache` has is ufw's to say
left out: list:10: 0.0.0.0/0 is too wide for an origin without a proof of identity: name the networks that clients come from, or give them certificates (`doorward cert`)
note: list:3: needs no entry: no later rule admits what it refuses
note: list:6: which of the machine's addresses it is for is the listener's matter here
note: a firewall knows no users: `--user` and `--database` say who these clients are, otherwise any user but the protected ones may come in
note: 2 rules are for other ports than 5432
list became 2 origins and 0 deny rules; 3 left out
",
    );
}

#[test]
fn accounts_become_origins_and_a_list_of_renames() {
    prints(
        "mysql-users",
        "user	host	ssl_type
account	10.0.%	
app	10.0.%	ANY
app	10.1.0.0/255.255.0.0	
blog	%	
erp	erp.partner.example	
cards	203.0.113.7	X509
reports	203.0.113.%	
mysql.sys	localhost	
root	localhost	
legacy	10.9.0.5_	
	10.3.0.1	
",
        "",
        r#"# Imported from list. Look it over, then: doorward check FILE
# left out: list:5: 0.0.0.0/0 is too wide for an origin without a proof of identity: name the networks that clients come from, or give them certificates (`doorward cert`)
# left out: list:7: 'cards'@'203.0.113.7' asks for any certificate of a CA, and an origin's proof names one: write `proof: {certificate: {dns: ...}}`
# left out: list:12: DANGER: ''@'10.3.0.1' is an anonymous account: whoever fits no other gets in by it; drop it
version: 1
listeners:
  - name: mysql
    protocol: mysql
    listen: ["0.0.0.0:3307"]
    upstream: "127.0.0.1:3306"
origins:
  - name: erp
    note: "imported from list, line 6"
    from: [{host: erp.partner.example}]
    users: [erp]
  - name: legacy
    note: "imported from list, line 11"
    from: [10.9.0.50/31, 10.9.0.52/30, 10.9.0.56/30]
    users: [legacy]
  - name: reports
    note: "imported from list, line 8"
    from: [203.0.113.0/24]
    users: [reports]
  - name: account
    note: "imported from list, line 2"
    from: [10.0.0.0/16]
    users: [account]
  - name: app
    note: "imported from list, lines 3, 4"
    from: [10.0.0.0/16, 10.1.0.0/16]
    users: [app]
"#,
        "left out: list:5: 0.0.0.0/0 is too wide for an origin without a proof of identity: name the networks that clients come from, or give them certificates (`doorward cert`)
left out: list:7: 'cards'@'203.0.113.7' asks for any certificate of a CA, and an origin's proof names one: write `proof: {certificate: {dns: ...}}`
left out: list:12: DANGER: ''@'10.3.0.1' is an anonymous account: whoever fits no other gets in by it; drop it
note: list:3: 'app'@'10.0.%' requires TLS, of the gateway's own connection to the server too: give it `upstream_tls`, or `ALTER USER ... REQUIRE NONE`
note: list:10: 'root'@'localhost' is for clients on the server's own machine: it stays as it is
note: what databases an account may use is in its grants: the origins name none
note: connections in clear are refused from now on: `--clear` keeps them
note: the server will see the gateway's address (127.0.0.1) instead of its clients': rename these accounts there, unless the listener has `upstream_proxy_protocol: v2` (MariaDB, Percona Server)
note: of a host's addresses private ones do not count, lest somebody bends its name to the inside: `private: true` beside `host` lets them
RENAME USER 'account'@'10.0.%' TO 'account'@'127.0.0.1';
RENAME USER 'app'@'10.0.%' TO 'app'@'127.0.0.1';
-- 'app'@'10.1.0.0/255.255.0.0' is a further account of that user: hold its grants against 'app'@'127.0.0.1', then DROP USER 'app'@'10.1.0.0/255.255.0.0';
RENAME USER 'erp'@'erp.partner.example' TO 'erp'@'127.0.0.1';
RENAME USER 'reports'@'203.0.113.%' TO 'reports'@'127.0.0.1';
RENAME USER 'legacy'@'10.9.0.5_' TO 'legacy'@'127.0.0.1';
list became 5 origins and 0 deny rules; 3 left out
",
    );
}
