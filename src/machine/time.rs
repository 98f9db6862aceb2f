//! Time, as it comes in with each turn: the machine never reads a clock.
//!
//! **R24.** Two clocks. Delays and deadlines count by the monotonic clock, which never jumps. Each owner keeps ordered
//! sets of moments with the names of those who wait for them, and an entry that fires is decided anew. A time of day,
//! which is that of a run's deadline, is compared with the wall clock at least once in `CLOCK_CHECK`: that clock is the
//! API server's, and when it says that the time has come, it is asked again with the run that is read then. At the deadline of
//! a stop the plans that wait for a call are given up; a plan in a call is decided by that call, and given up if it
//! brings no verdict.
//! Tests: `h18_deadline_passes_with_the_call_in_flight`, `h19_wall_clock_jumps_and_restart`,
//! `plans_are_given_up_at_their_deadline`, `a_clock_that_jumps_is_noticed_within_a_minute`,
//! `a_clock_that_jumps_for_a_moment_loses_nobody`, `a_deadline_fires_by_the_clock_of_its_reading`,
//! `a_call_in_flight_past_its_deadline_wakes_nobody`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Milliseconds on a clock that never jumps, counted from any fixed moment.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Millis(pub u64);

impl Millis {
    /// A number of seconds; a negative one counts as none.
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

/// The present, as the operator has read it from its clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For delays.
    pub mono: Millis,
    /// By the API server's clock, as far as its answers tell it, which may be set at any time. Only for what is written
    /// into an object or read from one.
    pub wall: Timestamp,
}

// === impl Now ===

impl Now {
    /// The moment at which to look at the wall clock for a time of day, given in milliseconds since 1970: when it comes if
    /// the clock goes on as it does, but no later than after `most`, since the clock may be set.
    pub fn look_for(self, time: i64, most: Millis) -> Millis {
        let left = time.saturating_sub(self.wall.as_millisecond());
        self.mono + Millis(u64::try_from(left).unwrap_or(0)).min(most)
    }
}

/// A time in a sentence for people.
pub fn in_words(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time as Kubernetes writes it, in whole seconds: a finer one would never equal itself once read back.
pub fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
