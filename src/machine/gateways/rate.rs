//! A rate of calls: a quiet second is worth a second's calls at once.

use crate::machine::time::Millis;

/// The moment up to which the calls so far are paid off (the virtual scheduling form of a token bucket).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rate {
    /// In microseconds, so that a thousand calls a second have whole intervals.
    pub(in crate::machine) paid_until: u64,
}

// === impl Rate ===

impl Rate {
    /// The moment at which the next call may begin at this rate.
    pub fn free_at(self, calls_per_second: u64) -> Millis {
        let burst = 1_000_000 - interval(calls_per_second);
        Millis(self.paid_until.saturating_sub(burst).div_ceil(1000))
    }

    /// Counts a call that begins.
    pub fn spend(&mut self, calls_per_second: u64, now: Millis) {
        self.paid_until = self.paid_until.max(now.0 * 1000) + interval(calls_per_second);
    }
}

/// Microseconds between two calls.
fn interval(calls_per_second: u64) -> u64 {
    1_000_000 / calls_per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls that may begin at this moment.
    fn burst(rate: &mut Rate, per_second: u64, now: u64) -> usize {
        let mut count = 0;
        while rate.free_at(per_second) <= Millis(now) {
            rate.spend(per_second, Millis(now));
            count += 1;
        }
        count
    }

    #[test]
    fn a_quiet_second_is_worth_a_seconds_calls() {
        let mut rate = Rate::default();
        for (now, expected) in [(10_000, 4), (10_249, 0), (10_250, 1), (20_000, 4)] {
            assert_eq!(burst(&mut rate, 4, now), expected, "at {now}");
        }
    }

    #[test]
    fn a_rate_that_changes_does_not_forget_what_was_called() {
        let mut rate = Rate::default();
        assert_eq!(burst(&mut rate, 2, 10_000), 2);
        assert_eq!(burst(&mut rate, 4, 10_000), 0, "the calls of before are not paid yet");
        assert_eq!(burst(&mut rate, 4, 11_000), 4);
    }
}
