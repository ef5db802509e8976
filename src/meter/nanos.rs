//! A length of time in eight bytes. Floor 1.

use std::{ops::AddAssign, time::Duration};

/// Nanoseconds, up to five centuries: half of a [`Duration`], of which a session would hold a dozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(u64);

impl Nanos {
    pub const ZERO: Self = Self(0);

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    pub const fn as_secs_f64(self) -> f64 {
        self.as_duration().as_secs_f64()
    }

    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// How often `other`, which is not zero, goes into it.
    pub const fn per(self, other: Self) -> u64 {
        self.0 / if other.is_zero() { 1 } else { other.0 }
    }

    /// One of so many equal parts; of none it is the whole.
    #[must_use]
    pub const fn shared(self, parts: u64) -> Self {
        Self(self.0 / if parts == 0 { 1 } else { parts })
    }

    #[must_use]
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

/// Microseconds, up to 71 minutes: what the kernel measures paths in. A longer time is as good as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros(u32);

impl From<Nanos> for Micros {
    fn from(nanos: Nanos) -> Self {
        Self(u32::try_from(nanos.0 / 1000).unwrap_or(u32::MAX))
    }
}

impl From<Micros> for Nanos {
    fn from(micros: Micros) -> Self {
        Self(u64::from(micros.0) * 1000)
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, more: Self) {
        self.0 = self.0.saturating_add(more.0);
    }
}
