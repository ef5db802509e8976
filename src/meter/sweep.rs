//! The coarse beat at which sessions tell their numbers. Floor 1.
//!
//! A timer for each session would cost more than all that it counts. Who has something to tell joins, and is woken once at
//! the next beat.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::Waker,
    time::Duration,
};

#[derive(Debug, Default)]
pub struct Sweep {
    beat: AtomicU32,
    waiting: Mutex<Vec<Waker>>,
}

impl Sweep {
    /// The number of the present beat. When it differs from the one at which somebody joined, it is time to tell.
    #[inline]
    pub fn beat(&self) -> u32 {
        self.beat.load(Ordering::Relaxed)
    }

    /// Wakes at the next beat, once. Gives the present one.
    pub fn join(&self, waker: &Waker) -> u32 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(waker.clone());
        self.beat()
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
