//! One binary for all integration tests: real servers, real clients, raw bytes. A test's name is the promise it keeps.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::float_cmp,
    reason = "a test may stop at a surprise, and stands outside the program: it has real time and the real environment"
)]

mod admin;
mod answers;
mod audit;
mod balancers;
mod bans;
mod cancels;
mod certificates;
mod checks;
mod clients_work;
mod connect;
mod corpus;
mod corpus_mysql;
mod crates;
mod crowds;
mod dashboards;
mod decided;
mod decided_live;
mod docs;
mod far;
mod faults;
mod floors;
mod handshakes;
mod harness;
mod harness_works;
mod hosts;
mod import;
mod import_lines;
mod invariants;
mod large;
mod latency;
mod learned;
mod limits;
mod mutants;
mod mysql_clients_work;
mod mysql_commands;
mod mysql_endings;
mod mysql_harness_works;
mod mysql_identities;
mod mysql_matrix;
mod mysql_openings;
mod mysql_oracle;
mod mysql_refusals;
mod mysql_rights;
mod mysql_times;
mod mysql_unblocked;
mod mysql_ways;
mod names;
mod names_shown;
mod newest;
mod openings;
mod pages;
mod pg_matrix;
mod pg_oracle;
mod refusals;
mod reload;
mod repeated;
mod replication;
mod rogue_postgres;
mod scram;
mod service;
mod sqlstates;
mod starting;
mod status_page;
mod storm;
mod temporary;
mod truth;
mod upstream_tls;
