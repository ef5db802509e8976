//! The coarse beat at which sessions tell their numbers. Floor 1.
//!
//! A timer for each session would cost more than all that it counts. Who has something to tell joins, and is woken once at
//! the next beat.

use std::{
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::Waker,
    time::Duration,
};

/// The number of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat(NonZeroU32);

impl Beat {
    /// How many beats ago that one was.
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.get().wrapping_sub(earlier.0.get())
    }
}

#[derive(Debug, Default)]
pub struct Sweep {
    beat: AtomicU32,
    waiting: Mutex<Vec<Waker>>,
}

impl Sweep {
    /// The present beat.
    #[inline]
    pub fn beat(&self) -> Beat {
        // after a century of seconds two beats share a number
        Beat(NonZeroU32::MIN.saturating_add(self.beat.load(Ordering::Relaxed)))
    }

    /// Wakes at the next beat, once.
    pub fn join(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(waker.clone());
    }

    pub(super) fn strike(&self) {
        let woken = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            self.beat.fetch_add(1, Ordering::Relaxed);
            std::mem::take(&mut *waiting)
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

/// How long numbers may wait to be seen.
pub(super) const BEAT: Duration = Duration::from_secs(1);
