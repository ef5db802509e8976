//! Hosts are followed by what a name server says of them, each family for itself, and nothing is lost when it fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use doorward::{
    net::resolver::{self, HostState, Resolved, Wanted},
    policy::{Freshness, HostAnswer},
};
use hickory_resolver::proto::rr::RecordType;
use tokio::{runtime::Runtime, sync::watch};

use crate::harness::{Dns, PATIENCE};

const HOST: &str = "erp.partner.example";

/// The task, running, with a name server to itself.
struct Following {
    runtime: Runtime,
    wanted: watch::Sender<Wanted>,
    told: watch::Receiver<Resolved>,
}

impl Following {
    /// Waits for the first answers.
    fn new(wanted: Wanted) -> Self {
        let runtime = Runtime::new().unwrap();
        let (wanted, receiver) = watch::channel(wanted);
        let (sender, told) = watch::channel(Resolved::default());
        runtime.spawn(resolver::follow(receiver, sender));
        let following = Self {
            runtime,
            wanted,
            told,
        };
        following.until("asked for", |resolved| {
            resolved.complete && !resolved.states.is_empty()
        });
        following
    }

    /// Wakes only for what a decision could depend on.
    fn until(&self, what: &str, holds: impl FnMut(&Resolved) -> bool) {
        let mut told = self.told.clone();
        let waited = async { tokio::time::timeout(PATIENCE, told.wait_for(holds)).await };
        let waited = self.runtime.block_on(waited);
        assert!(waited.is_ok_and(|told| told.is_ok()), "never {what}");
    }

    /// Looks again and again: what is told without waking anybody is seen, too.
    fn sees(&self, what: &str, mut holds: impl FnMut(&HostState) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.state()) {
            assert!(
                Instant::now() < deadline,
                "never {what}: {:?}",
                self.state()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has everything asked for again, as a reload does.
    fn hurry(&self) {
        self.wanted.send_modify(|_the_same| {});
    }

    fn state(&self) -> HostState {
        self.told.borrow().states[HOST].clone()
    }

    fn counts(&self) -> Vec<String> {
        counting(&self.told.borrow())
    }
}

/// The addresses of the host that count for a policy.
fn counting(resolved: &Resolved) -> Vec<String> {
    let answer = resolved.hosts.get(HOST);
    let addresses = answer.into_iter().flat_map(|answer| &answer.addresses);
    addresses.map(ToString::to_string).collect()
}

fn wanted(dns: &Dns) -> Wanted {
    Wanted {
        hosts: [Arc::from(HOST)].into(),
        servers: vec![dns.address],
        max_stale: Duration::from_secs(3600),
    }
}

fn lasts(state: &HostState) -> Duration {
    let Some(Freshness::Fresh { since, until }) = state.freshness else {
        panic!("{state:?}");
    };
    until.duration_since(since).unwrap()
}

#[test]
fn a_host_has_the_addresses_of_both_families() {
    let dns = Dns::new();
    dns.says(HOST, &["198.18.5.5", "2001:db8:77::9"], 120);
    let following = Following::new(wanted(&dns));
    assert_eq!(following.counts(), ["198.18.5.5", "2001:db8:77::9"]);
    assert_eq!(lasts(&following.state()), Duration::from_secs(120));
}

#[test]
fn a_name_is_asked_for_as_it_stands() {
    let dns = Dns::new();
    let following = Following::new(wanted(&dns));
    assert_eq!(following.counts(), [""; 0]);
    assert!(following.state().error.is_none(), "there is no such name");
    assert_eq!(dns.asked(), [format!("{HOST}."), format!("{HOST}.")]);
}

#[test]
fn a_new_address_is_told_at_once_and_the_old_one_has_its_minute() {
    let dns = Dns::new();
    dns.says(HOST, &["198.18.5.5"], 3600);
    let following = Following::new(wanted(&dns));
    dns.says(HOST, &["198.18.5.6"], 3600);
    following.hurry();
    following.until("both", |resolved| counting(resolved).len() == 2);
    dns.forgets(HOST);
    following.hurry();
    following.sees("asked again", |state| state.answered == 3);
    assert_eq!(following.counts(), ["198.18.5.5", "198.18.5.6"]);
}

#[test]
fn an_answer_that_says_the_same_wakes_nobody() {
    let dns = Dns::new();
    dns.says(HOST, &["198.18.5.5", "198.18.5.6"], 3600);
    let mut following = Following::new(wanted(&dns));
    following.told.mark_unchanged();
    dns.says(HOST, &["198.18.5.6", "198.18.5.5"], 1800);
    following.hurry();
    following.sees("asked again", |state| state.answered == 2);
    assert_eq!(lasts(&following.state()), Duration::from_secs(1800));
    assert!(!following.told.has_changed().unwrap());
}

#[test]
fn a_server_that_fails_takes_nothing_away() {
    let dns = Dns::new();
    dns.says(HOST, &["198.18.5.5", "2001:db8:77::9"], 3600);
    let mut following = Following::new(wanted(&dns));
    following.told.mark_unchanged();
    dns.fails(HOST, RecordType::AAAA);
    following.hurry();
    following.sees("failing", |state| state.error.is_some());
    assert_eq!(following.counts(), ["198.18.5.5", "2001:db8:77::9"]);
    let error = following.state().error.unwrap();
    assert!(error.starts_with("AAAA: "), "{error}");
    dns.is_silent(HOST);
    following.sees("silent", |state| {
        state
            .error
            .as_deref()
            .is_some_and(|error| error.starts_with("A: "))
    });
    assert_eq!(following.counts(), ["198.18.5.5", "2001:db8:77::9"]);
    assert!(!following.told.has_changed().unwrap());
    dns.says(HOST, &["198.18.5.7"], 3600);
    following.sees("back", |state| state.error.is_none());
    assert_eq!(following.counts().len(), 3);
}

#[test]
fn an_answer_that_cannot_be_renewed_goes_stale_by_itself() {
    let dns = Dns::new();
    dns.says(HOST, &["198.18.5.5"], 3600);
    let wanted = Wanted {
        max_stale: Duration::from_secs(1),
        ..wanted(&dns)
    };
    let following = Following::new(wanted);
    dns.is_silent(HOST);
    following.hurry();
    following.until("stale", |resolved| {
        resolved.hosts.get(HOST).is_some_and(HostAnswer::is_stale)
    });
    assert_eq!(following.counts(), ["198.18.5.5"]);
}

#[test]
fn an_alias_may_last_less_long_than_what_it_leads_to() {
    let dns = Dns::new();
    dns.says("router.isp.example", &["198.18.5.5"], 3600);
    dns.alias(HOST, "router.isp.example", 40);
    let following = Following::new(wanted(&dns));
    assert_eq!(following.counts(), ["198.18.5.5"]);
    assert_eq!(lasts(&following.state()), Duration::from_secs(40));
}

#[test]
fn who_is_wanted_no_more_is_forgotten_and_the_others_are_kept() {
    let dns = Dns::new();
    dns.says(HOST, &["198.18.5.5"], 3600);
    dns.says("other.example", &["198.18.5.6"], 3600);
    let following = Following::new(wanted(&dns));
    following.wanted.send_modify(|wanted| {
        wanted.hosts.insert(Arc::from("other.example"));
    });
    following.until("both", |resolved| {
        resolved.complete && resolved.hosts.iter().count() == 2
    });
    dns.is_silent("other.example");
    following.wanted.send_modify(|wanted| {
        wanted.hosts = [Arc::from("other.example")].into();
    });
    following.until("the one", |resolved| resolved.hosts.get(HOST).is_none());
    let kept = following.told.borrow().hosts.get("other.example").cloned();
    assert_eq!(kept.unwrap().addresses.len(), 1);
}

#[test]
fn a_command_looks_up_many_hosts_once() {
    let dns = Dns::new();
    let names: Vec<_> = (0..100).map(|n| format!("web-{n}.example")).collect();
    for name in &names {
        dns.says(name, &["198.18.5.5", "2001:db8:77::9"], 60);
    }
    let wanted = Wanted {
        hosts: names.iter().map(|name| Arc::from(name.as_str())).collect(),
        ..wanted(&dns)
    };
    let runtime = Runtime::new().unwrap();
    let resolved = runtime.block_on(resolver::look_up(&wanted));
    assert!(resolved.complete);
    assert_eq!(resolved.hosts.iter().count(), 100);
    assert_eq!(dns.asked().len(), 200);
}

#[test]
fn nobody_who_answers_is_an_error_and_no_endless_wait() {
    let dns = Dns::new();
    let gone = dns.address;
    drop(dns);
    let wanted = Wanted {
        hosts: [Arc::from(HOST)].into(),
        servers: vec![gone],
        max_stale: Duration::from_secs(3600),
    };
    let began = Instant::now();
    let runtime = Runtime::new().unwrap();
    let resolved = runtime.block_on(resolver::look_up(&wanted));
    assert!(resolved.hosts.get(HOST).is_none());
    assert!(resolved.states[HOST].error.is_some());
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}
