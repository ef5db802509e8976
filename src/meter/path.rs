//! What is known of the path between an origin's clients and us. Floor 1: pure.
//!
//! The kernel's least round trip is that of its own TCP connection. Where something in between ends TCP (a balancer, a tunnel, a
//! pooler), it says nothing of the client behind; a turn of the opening that costs the client no thinking does.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    place::{Bands, Place},
    rtt::RttBook,
};

/// How far an origin's clients are, as their recent connections show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    pub scope: Scope,
    /// The least round trip, and those that half and nine tenths of the flights did not exceed. Where TCP ends in between, these
    /// are of the last hop.
    pub least: Option<Duration>,
    pub p50: Option<Duration>,
    pub p90: Option<Duration>,
    /// The turns without thinking: the least, and the quantiles over connections.
    pub turn: Option<Turns>,
    /// Between the tenth and the ninetieth percentile of new connections' round trips.
    pub jitter: Option<Duration>,
    /// Since the kernel was last asked.
    pub age: Option<Duration>,
    /// Recent connections that this is known from.
    pub connections: usize,
}

/// What the kernel's round trips span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// From us to the clients.
    #[default]
    Whole,
    /// From us to something that ends TCP; who is behind it is farther by an unknown way.
    Hop(Hop),
}

/// How it is known that something ends TCP in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// The peer is this machine itself, and its turns are as quick: an application, or the end of a tunnel.
    Loopback,
    /// A trusted balancer has named the client.
    Balancer,
    /// No turn of an opening came near the kernel's round trip, be the peer this machine itself.
    Turns,
}

impl Hop {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Balancer => "balancer",
            Self::Turns => "turns",
        }
    }
}

/// How long a turn took in which the client had nothing to think about: its round trip, and a little of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    pub least: Duration,
    pub p50: Duration,
    pub p90: Duration,
}

impl Path {
    /// The likelier round trip to the clients themselves, at this share of them: 0.5 or 0.9.
    pub fn likely(&self) -> Option<(Duration, Duration)> {
        match (self.scope, self.turn) {
            (Scope::Hop(Hop::Balancer | Hop::Turns), Some(turn)) => Some((turn.p50, turn.p90)),
            (Scope::Whole | Scope::Hop(_), _) => Some((self.p50?, self.p90?)),
        }
    }

    /// Where half of the flights come from, and where nine tenths do. Of what is behind a hop nothing near is claimed: whatever ended
    /// TCP may have been quick for another.
    pub fn places(&self, bands: &Bands) -> Option<(Place, Place)> {
        let (p50, p90) = self.likely()?;
        let claimed = match self.scope {
            Scope::Whole => true,
            Scope::Hop(Hop::Loopback) => false,
            Scope::Hop(Hop::Balancer | Hop::Turns) => {
                self.turn.is_some() && p50 >= bands.same_region
            }
        };
        claimed.then(|| (bands.place(p50), bands.place(p90)))
    }
}

/// A connection as its opening showed it.
#[derive(Clone, Copy, Debug)]
struct Opened {
    rtt: Duration,
    turn: Option<Duration>,
    hop: Option<Hop>,
    at: Instant,
}

/// The recent connections of one origin.
#[derive(Debug, Default)]
pub(super) struct PathBook {
    rtts: RttBook,
    newest: Option<Instant>,
    openings: Vec<Opened>,
    next: usize,
}

impl PathBook {
    /// A connection was opened. `turn`: its quickest turn that costs no thinking; `hop`: what its address tells.
    pub(super) fn opened(
        &mut self,
        rtt: Duration,
        turn: Option<Duration>,
        hop: Option<Hop>,
        now: Instant,
    ) {
        let opened = Opened {
            rtt,
            turn,
            hop,
            at: now,
        };
        match self.openings.get_mut(self.next) {
            Some(oldest) => *oldest = opened,
            None => self.openings.push(opened),
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// The kernel was asked about a connection that carried so many flights since.
    pub(super) fn sampled(&mut self, rtt: Duration, flights: u64, now: Instant) {
        self.rtts.add(rtt, flights, now);
        self.newest = Some(now);
    }

    pub(super) fn path(&self, now: Instant) -> Path {
        Path {
            scope: scope(&self.openings),
            least: self.rtts.least(),
            p50: self.rtts.quantile(0.5),
            p90: self.rtts.quantile(0.9),
            turn: turns(&self.openings),
            jitter: self.jitter(),
            age: self.newest.map(|at| now.saturating_duration_since(at)),
            connections: self.openings.len(),
        }
    }

    /// The likelier round trip that nine tenths of what was measured since then did not exceed; `None` where nothing was.
    pub(super) fn since(&self, then: Instant) -> Option<Duration> {
        let new = self.openings.iter().filter(|one| one.at >= then);
        let new: Vec<_> = new.copied().collect();
        // who comes another way now is not judged by how he came before
        let shown = if new.is_empty() { &self.openings } else { &new };
        match scope(shown) {
            Scope::Hop(Hop::Balancer | Hop::Turns) if turns(shown).is_some() => {
                turns(&new).map(|turn| turn.p90)
            }
            Scope::Whole | Scope::Hop(_) => self.rtts.quantile_since(0.9, then),
        }
    }

    fn jitter(&self) -> Option<Duration> {
        let mut rtts: Vec<_> = self.openings.iter().map(|one| one.rtt).collect();
        rtts.sort_unstable();
        Some(at(&rtts, 90)?.saturating_sub(at(&rtts, 10)?))
    }
}

/// What these openings show of the way.
fn scope(openings: &[Opened]) -> Scope {
    let most = |hop| {
        let such = openings.iter().filter(|one| one.hop == Some(hop));
        such.count() * 2 > openings.len()
    };
    let mut timed = openings
        .iter()
        .filter_map(|one| Some((one, one.turn?)))
        .peekable();
    // `all` of none is true
    let slow = timed.peek().is_some()
        && timed.all(|(one, turn)| {
            let allowance = if one.hop == Some(Hop::Loopback) {
                LOCAL_ALLOWANCE
            } else {
                ALLOWANCE
            };
            turn >= one.rtt * 3 + allowance
        });
    if most(Hop::Balancer) {
        Scope::Hop(Hop::Balancer)
    } else if slow {
        Scope::Hop(Hop::Turns)
    } else if most(Hop::Loopback) {
        Scope::Hop(Hop::Loopback)
    } else {
        Scope::Whole
    }
}

fn turns(openings: &[Opened]) -> Option<Turns> {
    let mut turns: Vec<_> = openings.iter().filter_map(|one| one.turn).collect();
    turns.sort_unstable();
    Some(Turns {
        least: *turns.first()?,
        p50: at(&turns, 50)?,
        p90: at(&turns, 90)?,
    })
}

/// The value that so many per cent of these do not exceed.
fn at(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent + 50) / 100).copied()
}

/// Connections kept for each origin.
const KEPT: usize = 64;
/// What a client may need for a turn beyond three round trips: it verifies a certificate, or is scheduled late.
const ALLOWANCE: Duration = Duration::from_millis(2);
/// The same where it may be on this machine, and has to share its processors with us and the database.
const LOCAL_ALLOWANCE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn book(openings: &[(u64, Option<u64>, Option<Hop>)]) -> Path {
        let (mut book, now) = (PathBook::default(), Instant::now());
        for (rtt, turn, hop) in openings {
            book.opened(ms(*rtt), turn.map(ms), *hop, now);
            book.sampled(ms(*rtt), 1, now);
        }
        book.path(now)
    }

    #[test]
    fn a_turn_that_never_comes_near_the_round_trip_shows_that_tcp_ends_in_between() {
        let path = book(&[
            (0, Some(75), None),
            (0, Some(76), None),
            (0, Some(90), None),
        ]);
        assert_eq!(path.scope, Scope::Hop(Hop::Turns));
        assert_eq!(path.likely(), Some((ms(76), ms(90))));
    }

    #[test]
    fn one_quick_turn_clears_a_path_of_the_suspicion() {
        let path = book(&[(1, Some(75), None), (1, Some(3), None)]);
        assert_eq!(path.scope, Scope::Whole);
        assert_eq!(path.likely(), Some((ms(1), ms(1))));
        assert_eq!(
            book(&[(1, None, None)]).scope,
            Scope::Whole,
            "nothing is known"
        );
    }

    #[test]
    fn a_far_client_that_takes_its_round_trip_for_a_turn_is_no_hop() {
        let path = book(&[(150, Some(151), None), (150, Some(154), None)]);
        assert_eq!(path.scope, Scope::Whole);
    }

    #[test]
    fn a_balancer_and_this_machine_itself_are_hops_by_their_address() {
        let balanced = book(&[
            (0, Some(30), Some(Hop::Balancer)),
            (0, None, Some(Hop::Balancer)),
        ]);
        assert_eq!(balanced.scope, Scope::Hop(Hop::Balancer));
        assert_eq!(balanced.likely(), Some((ms(30), ms(30))));
        let bands = Bands::default();
        assert_eq!(
            balanced.places(&bands),
            Some((Place::SameContinent, Place::SameContinent))
        );
        let quick = book(&[(0, Some(1), Some(Hop::Balancer))]);
        assert_eq!(quick.places(&bands), None, "nothing near is claimed");
        let local = book(&[(0, Some(0), Some(Hop::Loopback))]);
        assert_eq!(local.places(&bands), None);
        assert_eq!(local.scope, Scope::Hop(Hop::Loopback));
        assert_eq!(local.likely(), Some((ms(0), ms(0))));
    }

    #[test]
    fn who_comes_through_this_machine_is_as_far_as_his_turns() {
        let loopback = Some(Hop::Loopback);
        let far = book(&[(0, Some(75), loopback), (0, Some(77), loopback)]);
        assert_eq!(far.scope, Scope::Hop(Hop::Turns));
        assert_eq!(far.likely(), Some((ms(77), ms(77))));
        let bands = Bands::default();
        assert_eq!(far.places(&bands), Some((Place::Far, Place::Far)));
        let busy = book(&[(0, Some(19), loopback)]);
        assert_eq!(busy.scope, Scope::Hop(Hop::Loopback));
        let here = book(&[(0, Some(75), loopback), (0, Some(1), loopback)]);
        assert_eq!(here.scope, Scope::Hop(Hop::Loopback));
    }

    #[test]
    fn an_application_that_fails_over_behind_a_tunnel_is_known_by_its_new_turns() {
        let (mut book, then) = (PathBook::default(), Instant::now());
        let now = then + ms(1);
        for (turn, at) in [(1, then), (75, now)] {
            book.opened(ms(0), Some(ms(turn)), Some(Hop::Loopback), at);
            book.sampled(ms(0), 1, at);
        }
        assert_eq!(book.since(now), Some(ms(75)));
    }

    #[test]
    fn what_was_measured_lately_is_the_turn_where_tcp_ends_in_between() {
        let (mut book, then) = (PathBook::default(), Instant::now());
        let now = then + ms(1);
        for (turn, at) in [(30, then), (75, now)] {
            book.opened(ms(0), Some(ms(turn)), Some(Hop::Balancer), at);
            book.sampled(ms(0), 1, at);
        }
        assert_eq!(book.since(now), Some(ms(75)));
        assert_eq!(
            book.since(now + ms(1)),
            None,
            "a hop's own round trip says nothing"
        );
        let mut direct = PathBook::default();
        direct.opened(ms(1), Some(ms(3)), None, then);
        direct.sampled(ms(1), 1, now);
        assert_eq!(direct.since(now), Some(ms(1)));
    }

    #[test]
    fn jitter_is_the_spread_of_new_connections() {
        let many: Vec<_> = (100..200).map(|rtt| (rtt, None, None)).collect();
        // the last 64 of them: 136 to 199
        assert_eq!(book(&many).jitter, Some(ms(51)));
        assert_eq!(book(&[]), Path::default());
    }
}
