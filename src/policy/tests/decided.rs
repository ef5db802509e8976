//! Examples whose outcome was decided before the code.

use super::*;

/// The example of the documentation, as far as it needs no certificate and no name.
fn example() -> Policy {
    let web = Origin {
        users: listed(&["shop_app"]),
        databases: listed(&["shop"]),
        exclusive: true,
        limits: OriginLimits {
            connections: Some(60),
            ..OriginLimits::default()
        },
        ..origin("shop-web", &["10.20.0.11", "10.20.0.12"])
    };
    let worker = Origin {
        users: listed(&["shop_worker"]),
        databases: listed(&["shop"]),
        ..origin("shop-worker", &["127.0.0.1", "::1"])
    };
    let reports = Origin {
        users: listed(&["etl"]),
        databases: listed(&["shop", "warehouse"]),
        ..origin("reports", &["10.40.0.0/16"])
    };
    let anna = Origin {
        users: listed(&["anna_ro"]),
        databases: listed(&["shop"]),
        expires: Some(at(SIX)),
        ..origin("tmp-anna-7f3a", &["203.0.113.90"])
    };
    let office = Origin {
        users: listed(&["postgres"]),
        ..origin("office-admin", &["198.51.100.0/28", "2001:db8:30::/48"])
    };
    let replica = Origin {
        users: listed(&["replicator"]),
        replication: Some(Replication::Physical),
        ..origin("replica-1", &["10.20.0.20"])
    };
    let denied = vec![
        deny("old-vps", &["192.0.2.44"], &[]),
        deny("no-root-remotely", &["any"], &["root"]),
    ];
    let origins = vec![web, worker, reports, anna, office, replica];
    samples::policy(rules(origins, denied))
}

/// The case, address, user, database, reason and rule.
type Example = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Reason,
    &'static str,
);

const EXAMPLES: &[Example] = &[
    (
        "shop web ok",
        "10.20.0.11",
        "shop_app",
        "shop",
        Reason::Allowed,
        "shop-web",
    ),
    (
        "v4-mapped is the same client",
        "::ffff:10.20.0.11",
        "shop_app",
        "shop",
        Reason::Allowed,
        "shop-web",
    ),
    (
        "leaked url from elsewhere",
        "203.0.113.90",
        "shop_app",
        "shop",
        Reason::ExclusiveUser,
        "shop-web",
    ),
    (
        "leaked url, unknown address",
        "8.8.8.8",
        "shop_app",
        "shop",
        Reason::ExclusiveUser,
        "shop-web",
    ),
    (
        "wrong database",
        "10.20.0.11",
        "shop_app",
        "hr",
        Reason::DatabaseNotAllowed,
        "shop-web",
    ),
    (
        "database omitted",
        "10.20.0.11",
        "shop_app",
        "shop_app",
        Reason::DatabaseNotAllowed,
        "shop-web",
    ),
    (
        "temporary, before expiry",
        "203.0.113.90",
        "anna_ro",
        "shop",
        Reason::Allowed,
        "tmp-anna-7f3a",
    ),
    (
        "worker on the same host",
        "127.0.0.1",
        "shop_worker",
        "shop",
        Reason::Allowed,
        "shop-worker",
    ),
    (
        "worker over IPv6",
        "::1",
        "shop_worker",
        "shop",
        Reason::Allowed,
        "shop-worker",
    ),
    (
        "superuser from the office",
        "198.51.100.3",
        "postgres",
        "shop",
        Reason::Allowed,
        "office-admin",
    ),
    (
        "superuser from elsewhere",
        "10.40.3.3",
        "postgres",
        "shop",
        Reason::UserNotAllowed,
        "reports",
    ),
    (
        "wrong database in a network",
        "10.40.3.3",
        "etl",
        "hr",
        Reason::DatabaseNotAllowed,
        "reports",
    ),
    (
        "ordinary session of the replica",
        "10.20.0.20",
        "replicator",
        "shop",
        Reason::ReplicationNotAllowed,
        "replica-1",
    ),
    (
        "denied address beats everything",
        "192.0.2.44",
        "blog",
        "blog",
        Reason::DenyRule,
        "old-vps",
    ),
    (
        "root over TCP",
        "10.20.0.11",
        "root",
        "mysql",
        Reason::DenyRule,
        "no-root-remotely",
    ),
    (
        "scanner",
        "45.9.9.9",
        "postgres",
        "postgres",
        Reason::NoOrigin,
        "",
    ),
];

#[test]
fn the_decided_examples_hold() {
    use Reason as R;
    let policy = example();
    for (case, address, user, database, reason, rule) in EXAMPLES {
        let rule = (!rule.is_empty()).then(|| (*rule).to_owned());
        let expected = (*reason, rule);
        let claim = claim(address, user, database);
        assert_eq!(decided(&policy, &claim, at(NOON)), expected, "{case}");
    }
    let anna = claim("203.0.113.90", "anna_ro", "shop");
    assert_eq!(
        decided(&policy, &anna, at(SIX)).0,
        R::Expired,
        "at the very moment"
    );
    let clear = Claim {
        tls: None,
        ..claim("10.20.0.11", "shop_app", "shop")
    };
    assert_eq!(decided(&policy, &clear, at(NOON)).0, R::TlsRequired);
    let physical = |address, user| Claim {
        database: None,
        replication: Some(Replication::Physical),
        ..claim(address, user, "")
    };
    let replica = physical("10.20.0.20", "replicator");
    assert_eq!(decided(&policy, &replica, at(NOON)).0, R::Allowed);
    let web = physical("10.20.0.11", "shop_app");
    let expected = (R::ReplicationNotAllowed, Some("shop-web".to_owned()));
    assert_eq!(decided(&policy, &web, at(NOON)), expected);
}
