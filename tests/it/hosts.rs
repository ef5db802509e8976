//! Origins that are known by a name: where DNS says that they are, for new connections and for live sessions.

use crate::harness::{Dns, Gateway, Postgres, Raw, psql, wait_until};

const HOST: &str = "app.partner.example";

fn policy(dns: &Dns) -> String {
    format!(
        "resolver: {{servers: [\"{}\"]}}\nsessions: {{drain: 1s}}\norigins:\n  - {{name: partner, from: [{{host: {HOST}, private: true}}], users: [app, by_text], databases: [shop]}}\n",
        dns.address
    )
}

#[test]
fn a_host_comes_in_from_where_dns_says_and_its_session_ends_when_that_changes() {
    let dns = Dns::new();
    dns.says(HOST, &["127.0.0.1"], 1);
    let gateway = Gateway::start(&Postgres::shared().address(), &policy(&dns));
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");
    let mut session = Raw::encrypted([127, 0, 0, 1], gateway.port);
    session.log_in("by_text", "shop");
    let elsewhere = gateway.seen_from([127, 0, 0, 66]);
    let mut stranger = gateway.shop();
    stranger.port = elsewhere.port;
    assert!(psql(&stranger, "select 1").failed().contains("not allowed"));

    // an operator who reloads has the names asked for again
    dns.says(HOST, &["127.0.0.66"], 30);
    gateway.reload(&policy(&dns));
    wait_until("the new address is in force", || {
        psql(&stranger, "select 1").status.success().then_some(())
    });
    let status = gateway.command(&["status"]);
    assert!(status.stdout.contains(HOST), "{status:?}");
    drop(session);
}

#[test]
fn an_answer_of_dns_is_a_generation_of_its_own_and_no_reload() {
    let dns = Dns::new();
    dns.says(HOST, &["127.0.0.1"], 30);
    let gateway = Gateway::start(&Postgres::shared().address(), &policy(&dns));
    dns.says(HOST, &["127.0.0.66"], 30);
    // the reload's own, and that of what it has asked for
    gateway.reload(&policy(&dns));
    gateway.until_metric("doorward_config_generation", &[], 3.0);
    let taken = [("result", "success")];
    let reloads = gateway.metric("doorward_config_reloads_total", &taken);
    assert!((reloads - 2.0).abs() < 1e-9, "with the start: {reloads}");
}
