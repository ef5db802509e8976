//! What `doorward latency` and the status page say of an origin: where its time goes, as plain values. Floor 4.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{status::rfc3339, verdict};
use crate::meter::{Bands, LastHour, OriginFigures, Path, Point, Repeated, Scope};

/// One origin on one listener, over the last hour or as long as it is known. Milliseconds are those of one [`Unit`]; they are
/// least ones: jitter, queues and loss come on top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyLine {
    pub origin: String,
    pub listener: String,
    /// What the figures are of.
    pub window_seconds: u64,
    /// `path`, or `hop` where TCP ends between us and the clients: then the round trips are of the last hop.
    pub scope: String,
    /// How that is known: `loopback`, `balancer` or `turns`.
    pub hop: Option<String>,
    /// Of half and of nine tenths of the flights; the kernel's least round trips, and the least of them.
    pub rtt_p50_ms: Option<f64>,
    pub rtt_p90_ms: Option<f64>,
    pub rtt_least_ms: Option<f64>,
    /// What a turn took in which the client had nothing to think about: the likelier round trip behind a hop.
    pub turn_ms: Option<f64>,
    /// The likelier round trips to the clients themselves: of turns where these stand in for the kernel's.
    pub likely_p50_ms: Option<f64>,
    pub likely_p90_ms: Option<f64>,
    /// The spread of new connections' round trips.
    pub jitter_ms: Option<f64>,
    /// Since the kernel was last asked.
    pub rtt_age_seconds: Option<u64>,
    /// Recent connections that this is known from.
    pub connections: usize,
    /// A label of [`Place`](crate::meter::Place), of the median; `None` where nothing can be claimed.
    pub place: Option<String>,
    /// Where nine tenths are, if that is elsewhere.
    pub place_p90: Option<String>,
    /// `connection` where each piece of work has one of its own, otherwise `burst`.
    pub unit: Unit,
    pub units: u64,
    pub flights: u64,
    pub flights_per_unit: f64,
    pub database_ms: f64,
    /// Both legs, with connecting.
    pub network_ms: f64,
    pub network_upstream_ms: f64,
    /// What a client waits for a session, round trips and all; of these so many milliseconds are network on both legs, and of those
    /// so many between gateway and database.
    pub connecting_ms: f64,
    pub connecting_network_ms: f64,
    pub connecting_network_upstream_ms: f64,
    /// Round trips of the client, and to the database.
    pub connect_turns: f64,
    pub connect_turns_upstream: f64,
    pub transfer_ms: f64,
    /// Of this, estimated by the size of answers.
    pub transfer_estimated_ms: f64,
    pub request_ms: f64,
    pub think_ms: f64,
    pub idle_in_transaction_ms: f64,
    /// The network's part of network and database, 0 to 1; `None` before the first flight.
    pub network_share: Option<f64>,
    pub pipelined: u64,
    pub transactions: u64,
    /// Segments sent again to clients.
    pub retransmits: u64,
    pub sessions: u64,
    /// Sessions of the origin ran side by side: sums are more than the time that passed.
    pub overlap: bool,
    /// The longest round trip that the file expects.
    pub expected_rtt_ms: Option<f64>,
    /// What was asked again and again while somebody watched, the dearest first.
    #[serde(default)]
    pub repeated: Vec<RepeatedAnswer>,
    /// What a new session asks before its first piece of work, as far as somebody watched: statements, and their milliseconds.
    #[serde(default)]
    pub set_up_statements: f64,
    #[serde(default)]
    pub set_up_ms: f64,
    pub confidence: Confidence,
    /// Begins with what was measured.
    pub verdict: String,
    pub advice: Vec<Advice>,
}

/// What a piece of work is taken to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A connection is made for each: a page of Django as it comes.
    Connection,
    /// A run of flights without a longer pause. It may join several pages.
    Burst,
}

/// How much the figures are founded on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// On nothing.
    None,
    /// On fewer than thirty flights, or one connection.
    Low,
    Fair,
    /// On three hundred flights in ten connections or more.
    Good,
}

/// A query that was asked many times in a row where once would have done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepeatedAnswer {
    /// How often in the longest row.
    pub length: u32,
    /// How many such rows there were.
    pub times: u32,
    /// What the longest row took: the most that asking once can save.
    pub saves_ms: f64,
    /// RFC 3339, in UTC: the end of the last row.
    pub seen: String,
}

/// What could be done, and what it saves at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    pub what: Remedy,
    pub text: String,
    /// Milliseconds of one unit.
    pub saves_ms: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Keep connections.
    Connecting,
    /// Ask for many rows at once instead of for each by itself.
    Repeated,
    /// Ask for less: answers wait until the client has taken them.
    Transfer,
}

/// The last hour of all origins, as a page draws it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryAnswer {
    pub step_seconds: u64,
    pub origins: Vec<OriginHistory>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginHistory {
    pub origin: String,
    pub listener: String,
    /// The oldest first; the last is under way.
    pub points: Vec<PointAnswer>,
}

/// Seconds, but for the round trip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointAnswer {
    pub rtt_ms: Option<f64>,
    pub database: f32,
    pub network_client: f32,
    pub network_upstream: f32,
    pub transfer: f32,
    pub request: f32,
    pub flights: u32,
    pub sessions: u32,
}

/// What is said of one origin's figures. `expected`: the longest round trip that its rule expects.
#[expect(clippy::cast_precision_loss, reason = "counts of an hour")]
pub(super) fn line(
    figures: &OriginFigures,
    bands: &Bands,
    expected: Option<Duration>,
) -> LatencyLine {
    let happened = &figures.happened;
    let (unit, units) = unit(figures);
    let per_unit = |sum: f64| sum / units.max(1) as f64;
    let millis = |seconds: f64| per_unit(seconds) * 1000.0;
    let count = |count: u64| per_unit(count as f64);
    let beginnings = figures.set_up.sessions.max(1) as f64;
    let network = happened.network_seconds();
    let both = network + happened.database_seconds;
    let Path { scope, .. } = figures.path;
    let places = figures.path.places(bands);
    let likely = figures.path.likely();
    let elsewhere = places.filter(|(half, most)| half != most);
    let mut line = LatencyLine {
        origin: figures.origin.clone(),
        listener: figures.listener.clone(),
        window_seconds: figures.window.as_secs(),
        scope: match scope {
            Scope::Whole => "path",
            Scope::Hop(_) => "hop",
        }
        .to_owned(),
        hop: match scope {
            Scope::Whole => None,
            Scope::Hop(hop) => Some(hop.label().to_owned()),
        },
        rtt_p50_ms: figures.path.p50.map(in_millis),
        rtt_p90_ms: figures.path.p90.map(in_millis),
        rtt_least_ms: figures.path.least.map(in_millis),
        turn_ms: figures.path.turn.map(|turn| in_millis(turn.p50)),
        likely_p50_ms: likely.map(|(half, _)| in_millis(half)),
        likely_p90_ms: likely.map(|(_, most)| in_millis(most)),
        jitter_ms: figures.path.jitter.map(in_millis),
        rtt_age_seconds: figures.path.age.map(|age| age.as_secs()),
        connections: figures.path.connections,
        place: places.map(|(half, _)| half.label().to_owned()),
        place_p90: elsewhere.map(|(_, most)| most.label().to_owned()),
        unit,
        units,
        flights: happened.flights,
        flights_per_unit: count(happened.flights),
        database_ms: millis(happened.database_seconds),
        network_ms: millis(network),
        network_upstream_ms: millis(happened.network_upstream_seconds),
        connecting_ms: millis(happened.connecting_seconds),
        connecting_network_ms: millis(happened.connecting_network_seconds),
        connecting_network_upstream_ms: millis(happened.connecting_upstream_seconds),
        connect_turns: count(happened.connect_turns),
        connect_turns_upstream: count(happened.connect_turns_upstream),
        transfer_ms: millis(happened.transfer_seconds),
        transfer_estimated_ms: millis(happened.transfer_estimated_seconds),
        request_ms: millis(happened.request_seconds),
        think_ms: millis(happened.think_seconds),
        idle_in_transaction_ms: millis(happened.idle_in_transaction_seconds),
        network_share: (happened.flights > 0 && both > 0.0).then(|| network / both),
        pipelined: happened.pipelined,
        transactions: happened.transactions,
        retransmits: happened.retransmits,
        sessions: figures.sessions,
        overlap: figures.overlaps,
        expected_rtt_ms: expected.map(in_millis),
        repeated: figures.repeated.iter().map(RepeatedAnswer::from).collect(),
        set_up_statements: figures.set_up.statements as f64 / beginnings,
        set_up_ms: in_millis(figures.set_up.took) / beginnings,
        confidence: confidence(figures),
        verdict: String::new(),
        advice: Vec::new(),
    };
    line.advice = verdict::advice(&line);
    line.verdict = verdict::of(&line);
    line
}

impl LatencyLine {
    /// Whether turns stand in for the kernel's round trips, which are those of the last hop.
    pub(crate) fn goes_by_turns(&self) -> bool {
        self.turn_ms.is_some() && matches!(self.hop.as_deref(), Some(hop) if hop != "loopback")
    }
}

/// The last hours as a page draws them.
pub fn history(hours: &[LastHour]) -> HistoryAnswer {
    let origins = hours.iter().map(|hour| OriginHistory {
        origin: hour.origin.clone(),
        listener: hour.listener.clone(),
        points: hour.points.iter().map(PointAnswer::from).collect(),
    });
    HistoryAnswer {
        step_seconds: LastHour::STEP.as_secs(),
        origins: origins.collect(),
    }
}

impl From<&Repeated> for RepeatedAnswer {
    fn from(repeated: &Repeated) -> Self {
        Self {
            length: repeated.length,
            times: repeated.times,
            saves_ms: in_millis(repeated.saves),
            seen: rfc3339(repeated.seen),
        }
    }
}

impl From<&Point> for PointAnswer {
    fn from(point: &Point) -> Self {
        Self {
            rtt_ms: point.rtt.map(in_millis),
            database: point.database,
            network_client: point.network_client,
            network_upstream: point.network_upstream,
            transfer: point.transfer,
            request: point.request,
            flights: point.flights,
            sessions: point.sessions,
        }
    }
}

/// "Per connection" is true only where a connection is made for each piece of work.
const fn unit(figures: &OriginFigures) -> (Unit, u64) {
    let happened = &figures.happened;
    let most = happened.flights_of_pages * 5 >= happened.flights * 4;
    if happened.pages >= 3 && most {
        (Unit::Connection, happened.sessions)
    } else {
        (Unit::Burst, happened.bursts)
    }
}

fn confidence(figures: &OriginFigures) -> Confidence {
    match (figures.happened.flights, figures.path.connections) {
        (0, _) => Confidence::None,
        (..30, _) | (_, ..2) => Confidence::Low,
        (300.., 10..) => Confidence::Good,
        _ => Confidence::Fair,
    }
}

fn in_millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
