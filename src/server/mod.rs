//! Accepting, limits, reload, the admin's doors, systemd. Floor 4.

pub mod control;
pub mod status;
mod tasks;
pub mod why_answer;

pub use tasks::Tasks;
