//! Time as the machine is told it: it never reads a clock.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Milliseconds on a clock that never jumps, counted from any fixed moment.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Millis(pub u64);

impl Millis {
    /// A number of seconds; what is negative counts as none.
    pub fn from_secs(seconds: i64) -> Self {
        Self(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
    }

    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::ops::Add for Millis {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// The present, as the shell read it from its clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For delays.
    pub mono: Millis,
    /// Only for what is written into an object or read from one.
    pub wall: Timestamp,
}

/// A time as Kubernetes writes it, in whole seconds: a finer one would never equal itself once read back.
pub fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
