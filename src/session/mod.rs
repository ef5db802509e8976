//! The life of one connection. Floor 3.

pub mod relay;
