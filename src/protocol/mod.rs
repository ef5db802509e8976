//! The dialogues. Floor 2.
