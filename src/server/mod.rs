//! Accepting, limits, reload, the admin's doors, systemd. Floor 4.

pub mod why_answer;
