//! The commands. Floor 5.
