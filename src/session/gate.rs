//! How many may be at the door at once: openings in progress, per source and in all. Floor 3.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Where per-source accounting draws the line: one IPv4 address, or one IPv6 /64, which is what a host gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(u64);

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits())),
            // the upper half; 0000::/32 holds no unicast address, so no /64 meets an IPv4 number there
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }

    /// The wider network of an IPv6 source, its /48; for IPv4 the address itself.
    pub(super) const fn site(self) -> Self {
        if self.0 > u32::MAX as u64 {
            Self(self.0 >> 16 << 16)
        } else {
            self
        }
    }
}

/// The address, or the IPv6 network.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u32::try_from(self.0) {
            Ok(v4) => Ipv4Addr::from_bits(v4).fmt(f),
            Err(_v6) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(self.0) << 64)),
        }
    }
}

/// Counts openings in progress.
#[derive(Debug, Default)]
pub(super) struct Gate {
    openings: Mutex<Openings>,
    left: Notify,
    waiting: AtomicU32,
}

#[derive(Debug, Default)]
struct Openings {
    all: u32,
    by_source: HashMap<Source, u32>,
}

/// The most openings at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) all: u32,
    pub(super) per_source: u32,
}

/// Of what there is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowd {
    /// Openings of everybody.
    InAll,
    /// Openings of one source.
    OfSource,
    /// Strangers that were answered in this second.
    Answered,
}

impl Crowd {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::InAll => "too many openings in progress",
            Self::OfSource => "too many openings in progress from this source",
            Self::Answered => "too many strangers were answered in this second",
        }
    }
}

/// One opening in progress; it ends when dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    source: Source,
}

impl Gate {
    /// Fails when too many are at the door: in all, where a quarter is kept for mentioned sources, or from this source.
    pub(super) fn enter(
        self: &Arc<Self>,
        source: Source,
        mentioned: bool,
        caps: Caps,
    ) -> Result<Pass, Crowd> {
        let mut openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        let all = if mentioned {
            caps.all
        } else {
            caps.all - caps.all / 4
        };
        if openings.all >= all {
            return Err(Crowd::InAll);
        }
        let here = openings.by_source.entry(source).or_default();
        if *here >= caps.per_source {
            return Err(Crowd::OfSource);
        }
        *here += 1;
        openings.all += 1;
        Ok(Pass {
            gate: Arc::clone(self),
            source,
        })
    }

    /// For a mentioned source, which is throttled and not turned away: waits for a place until `deadline`. As many may
    /// wait as may be at the door.
    pub(super) async fn wait(
        self: &Arc<Self>,
        source: Source,
        caps: Caps,
        deadline: Instant,
    ) -> Result<Pass, Crowd> {
        let enter = || self.enter(source, true, caps);
        if let Ok(pass) = enter() {
            return Ok(pass);
        }
        let _place = Waiting::queue(&self.waiting, caps.all).ok_or(Crowd::InAll)?;
        loop {
            // registered before the look, so that a place given back between the two is not missed
            let mut left = pin!(self.left.notified());
            left.as_mut().enable();
            let crowd = match enter() {
                Ok(pass) => return Ok(pass),
                Err(crowd) => crowd,
            };
            timeout_at(deadline, left).await.map_err(|_late| crowd)?;
        }
    }
}

/// A place in the queue; given back when dropped.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn queue(waiting: &'a AtomicU32, most: u32) -> Option<Self> {
        let one_more = |now: u32| (now < most).then_some(now.saturating_add(1));
        waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut openings = self
            .gate
            .openings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        openings.all = openings.all.saturating_sub(1);
        if let Some(here) = openings.by_source.get_mut(&self.source) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                openings.by_source.remove(&self.source);
            }
        }
        drop(openings);
        if self.gate.waiting.load(Ordering::Relaxed) > 0 {
            self.gate.left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn a_quarter_of_the_openings_is_kept_for_mentioned_sources() {
        let gate = Arc::new(Gate::default());
        let caps = Caps {
            all: 8,
            per_source: 64,
        };
        let strangers: Vec<_> = (0..9)
            .filter_map(|n| {
                gate.enter(source(&format!("192.0.2.{n}")), false, caps)
                    .ok()
            })
            .collect();
        assert_eq!(strangers.len(), 6);
        let known: Vec<_> = (0..3)
            .filter_map(|_| gate.enter(source("10.0.0.1"), true, caps).ok())
            .collect();
        assert_eq!(known.len(), 2);
        let one_more = gate.enter(source("10.0.0.2"), true, caps);
        assert_eq!(one_more.unwrap_err(), Crowd::InAll);
    }

    #[test]
    fn one_source_never_takes_all_places_and_gives_them_back() {
        let gate = Arc::new(Gate::default());
        let caps = Caps {
            all: 100,
            per_source: 2,
        };
        let first = gate.enter(source("2001:db8::1"), false, caps);
        let second = gate.enter(source("2001:db8::2"), false, caps);
        assert!(first.is_ok() && second.is_ok());
        let third = gate.enter(source("2001:db8::3"), false, caps);
        assert_eq!(third.unwrap_err(), Crowd::OfSource, "the same /64");
        assert!(gate.enter(source("2001:db8:0:1::3"), false, caps).is_ok());
        drop(first);
        assert!(gate.enter(source("2001:db8::3"), false, caps).is_ok());
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mentioned_source_waits_for_a_place_and_no_longer_than_its_deadline() {
        let gate = Arc::new(Gate::default());
        let caps = Caps {
            all: 8,
            per_source: 1,
        };
        let first = gate.enter(source("10.0.0.1"), true, caps);
        let soon = Instant::now() + Duration::from_secs(1);
        let late = gate.wait(source("10.0.0.1"), caps, soon).await;
        assert_eq!(late.unwrap_err(), Crowd::OfSource);
        let later = soon + Duration::from_secs(1);
        let (pass, ()) = tokio::join!(gate.wait(source("10.0.0.1"), caps, later), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(pass.is_ok());
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_mapped_address_and_its_v4_form_are_one_source() {
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }
}
