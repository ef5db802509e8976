//! One binary for all integration tests: real servers, real clients, raw bytes. A test's name is the promise it keeps.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at a surprise"
)]

mod corpus;
mod floors;
