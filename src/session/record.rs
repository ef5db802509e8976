//! Whether what happens is written down, and whether it has to be. Floor 3.

use std::sync::atomic::{AtomicBool, Ordering};

/// Events that belong to the audit as well as to the log.
pub const AUDIT: &str = "audit";
/// Events that belong to the audit alone.
pub const AUDIT_ONLY: &str = "audit_only";

/// The state of the audit, as sessions see it.
#[derive(Debug, Default)]
pub struct Record {
    required: AtomicBool,
    broken: AtomicBool,
}

impl Record {
    /// Whether new sessions are refused while nothing can be written down.
    pub fn require(&self, required: bool) {
        self.required.store(required, Ordering::Relaxed);
    }

    /// A line could not be written. Tells whether that is news.
    pub fn broken(&self) -> bool {
        !self.broken.swap(true, Ordering::Relaxed)
    }

    /// A line was written. Tells whether that is news.
    pub fn mended(&self) -> bool {
        self.broken.swap(false, Ordering::Relaxed)
    }

    /// Whether new sessions have to be refused now.
    pub fn is_wanting(&self) -> bool {
        self.required.load(Ordering::Relaxed) && self.broken.load(Ordering::Relaxed)
    }
}
