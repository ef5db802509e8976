// Figures as the gateway tells them, of a house that does not exist: four origins, one of them far away. Always the same ones.
"use strict";

// a small generator of its own, so that the picture does not change from day to day
let seed = 7;
const dice = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
const NOW = new Date("2026-11-23T09:14:05Z");
const before = seconds => new Date(NOW - seconds * 1000).toISOString().replace(".000", "");

function line(origin, more) {
  return {
    origin, listener: "pg", window_seconds: 3600, scope: "path", hop: null, rtt_p50_ms: null, rtt_p90_ms: null, rtt_least_ms: null,
    turn_ms: null, jitter_ms: 0.08, rtt_age_seconds: 4, connections: 64, place: null, place_p90: null, unit: "burst", units: 0, flights: 0,
    flights_per_unit: 0, database_ms: 0, network_ms: 0, network_upstream_ms: 0, connecting_ms: 0, connecting_network_ms: 0, connect_turns: 0,
    transfer_ms: 0, transfer_estimated_ms: 0, request_ms: 0, think_ms: 0, idle_in_transaction_ms: 0, network_share: null, pipelined: 0,
    transactions: 0, retransmits: 0, sessions: 0, overlap: true, expected_rtt_ms: null, confidence: "good", verdict: "", advice: [], ...more,
  };
}

const latency = [
  line("blog", {
    rtt_p50_ms: 148.2, rtt_p90_ms: 151.4, rtt_least_ms: 147.6, turn_ms: 149.1, jitter_ms: 3.1, place: "another_continent", unit: "connection",
    units: 412, flights: 17304, flights_per_unit: 42, database_ms: 58, network_ms: 7112, network_upstream_ms: 3.4, connecting_ms: 912,
    connecting_network_ms: 888, connect_turns: 6, transfer_ms: 41, transfer_estimated_ms: 38, request_ms: 0.8, think_ms: 96, network_share: 0.9919,
    transactions: 412, retransmits: 23, sessions: 3, verdict: "the path takes 148 ms: bring app and database together, or cut round trips",
    advice: [
      { what: "repeated", text: "one query repeated 37 times in a row: joining it saves up to 5.3 s", saves_ms: 5330 },
      { what: "connecting", text: "of which connecting 888 ms (6 turns, a new connection for each page): CONN_MAX_AGE=60, or a pool, saves up to 912 ms", saves_ms: 912 },
    ],
  }),
  line("metabase", {
    rtt_p50_ms: 0.62, rtt_p90_ms: 0.9, rtt_least_ms: 0.55, turn_ms: 1.1, place: "same_region", units: 96, flights: 1140, flights_per_unit: 11.9, database_ms: 1840,
    network_ms: 9.4, network_upstream_ms: 1, connecting_ms: 2.1, connecting_network_ms: 1.2, connect_turns: 0.3, transfer_ms: 212,
    transfer_estimated_ms: 3, request_ms: 0.9, think_ms: 4100, network_share: 0.0051, transactions: 96, sessions: 4, verdict: "fine",
  }),
  line("partner", {
    scope: "hop", hop: "balancer", rtt_p50_ms: 0.31, rtt_p90_ms: 0.36, rtt_least_ms: 0.24, turn_ms: 31.4, place: "same_continent", units: 130,
    flights: 910, flights_per_unit: 7, database_ms: 44, network_ms: 2.6, network_upstream_ms: 0.5, connecting_ms: 130, connecting_network_ms: 1.7,
    connect_turns: 5.5, transfer_ms: 0, request_ms: 0.2, think_ms: 210, network_share: 0.0557, transactions: 0, sessions: 2, confidence: "fair",
    verdict: "a turn takes 31 ms and the path 0.31 ms: a balancer is in between, and the rest of the way is behind it",
  }),
  line("shop-web", {
    rtt_p50_ms: 0.21, rtt_p90_ms: 0.24, rtt_least_ms: 0.18, turn_ms: 0.4, jitter_ms: 0.03, place: "same_site", units: 9120, flights: 383040,
    flights_per_unit: 42, database_ms: 61, network_ms: 9, network_upstream_ms: 3.1, connecting_ms: 0, transfer_ms: 0.6, request_ms: 0.4,
    think_ms: 140, network_share: 0.1286, pipelined: 120, transactions: 9120, sessions: 11, expected_rtt_ms: 1, verdict: "fine",
  }),
  line("nightly", { window_seconds: 3600, connections: 0, rtt_age_seconds: null, jitter_ms: null, overlap: false, confidence: "none", verdict: "nothing has been measured yet" }),
];

// how much each half minute had of the hour's work, from 0 to about 2
const SHAPES = {
  blog: i => (i < 34 ? 0.35 : 1.15 + 0.35 * Math.sin(i / 9)) * (0.75 + 0.5 * dice()),
  metabase: i => (i % 20 < 4 ? 3.6 : 0.3) * (0.6 + 0.8 * dice()),
  partner: () => dice() < 0.3 ? 2.4 * dice() : 0.3 * dice(),
  "shop-web": i => (0.9 + 0.25 * Math.sin(i / 17)) * (0.9 + 0.2 * dice()),
};

function hour(one) {
  const shape = SHAPES[one.origin];
  if (!shape) return [];
  const sum = ms => (ms * one.units) / 1000 / 120;
  return Array.from({ length: 121 }, (_, i) => {
    const share = shape(i) * (i === 120 ? 0.5 : 1), moved = one.origin === "blog" && i < 34;
    const rtt = moved ? 11.8 + 0.4 * dice() : one.rtt_p50_ms * (0.985 + 0.05 * dice());
    return {
      rtt_ms: rtt, database: sum(one.database_ms) * share * (0.85 + 0.3 * dice()),
      network_client: sum(one.network_ms - one.network_upstream_ms) * share * (moved ? 0.24 : 1),
      network_upstream: sum(one.network_upstream_ms) * share, transfer: sum(one.transfer_ms) * share * 2 * dice(), request: sum(one.request_ms) * share,
      flights: Math.round((one.flights * share) / 120), sessions: one.sessions,
    };
  });
}

const who = (address, user, database, application, tls = "1.3") => ({ listener: "pg", address, user, database, replication: null, tls, application, certificate: null });
const refusal = (seconds, reference, reason, cause, times, address, claim) => ({
  reference, listener: "pg", address, who: claim && who(address, ...claim), reason, rule: null, cause, times, first: before(seconds * 9 + 40), last: before(seconds), now: null,
});
// A session that asks a page's flights every ten seconds.
const split = (seconds, { rtt_p50_ms, database_ms, network_ms }) => ({
  rtt_ms: rtt_p50_ms, flights: Math.round(seconds / 10) * 42, database_seconds: database_ms * seconds / 1e4, network_seconds: network_ms * seconds / 1e4,
  transfer_seconds: 0, request_seconds: 0, idle_in_transaction_seconds: seconds > 8000 ? 42 : 0,
});
const session = (id, origin, seconds, address, ...claim) => ({ id, origin, ...who(address, ...claim), since: before(seconds), seconds, split: split(seconds, latency.find(one => one.origin === origin)) });

exports.example = {
  now: before(0),
  status: {
    version: "0.1.0", generation: 12, loaded: "2026-11-22T09:14:00Z", source: "/etc/doorward/allowlist.yaml", problem: null, differs: [],
    observing: { until: null, origins: [] }, bans: 2, uptime_seconds: 273000, sessions: 20,
    listeners: [{ name: "pg", protocol: "postgres", listen: ["203.0.113.10:5432"], upstream: "127.0.0.1:5432", upstream_up: true }],
    certificate: { ends: "2027-08-09T00:00:00Z", days_left: 258, ca: null, further: [] },
    origins: latency.map(one => ({ origin: one.origin, listener: one.listener, sessions: one.sessions, flights: one.flights })),
    refusals: [{ reason: "no_origin", count: 1874 }, { reason: "tls_required", count: 12 }, { reason: "database_not_allowed", count: 3 }],
    hosts: [{ host: "jobs.example.com", addresses: ["192.0.2.7"], inward: [], state: "fresh", trouble: null }],
  },
  latency,
  history: { step_seconds: 30, origins: latency.map(one => ({ origin: one.origin, listener: one.listener, points: hour(one) })) },
  sessions: [
    session(20412, "blog", 4, "198.51.100.23", "blog", "blog", null), session(20409, "blog", 7, "198.51.100.23", "blog", "blog", null),
    session(20311, "metabase", 1260, "10.0.4.9", "reports", "shop", "Metabase v0.59"), session(19877, "shop-web", 5400, "10.0.1.7", "shop_app", "shop", "gunicorn"),
    session(19876, "shop-web", 5400, "10.0.1.7", "shop_app", "shop", "gunicorn"), session(19402, "partner", 8800, "203.0.113.77", "sync", "orders", "node-postgres"),
  ],
  refused: [
    refusal(12, "7K3QZ9AB", "tls_required", "the connection is not encrypted", 6, "10.0.1.9", ["shop_app", "shop", null, null]),
    refusal(95, "0HV4M2TX", "database_not_allowed", "database \"postgres\" is not among those of origin \"shop-web\"", 3, "10.0.1.7", ["shop_app", "postgres", "psql"]),
    refusal(160, "C8RDN51E", "no_origin", "no origin names this address", 1211, "192.0.2.200", null),
    refusal(2400, "WJ6YB0FP", "no_origin", "no origin names this address", 663, "203.0.113.201", ["postgres", "postgres", null]),
  ],
};
