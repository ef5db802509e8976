//! The life of one connection. Floor 3.
