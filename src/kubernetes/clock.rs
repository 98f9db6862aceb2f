//! The API server's time, as its answers tell it.
//!
//! Times in objects are the API server's, so what is compared with them must be, too: a node whose clock is wrong would
//! stop a run before its deadline, or never. Each answer has a `Date`; from there on the monotonic clock counts, so a
//! clock of the node that jumps changes nothing. A `Date` is cut to whole seconds. Where the node's clock agrees with it
//! to the second, that clock tells the rest; else the time is rather too early than too late, by less than a second and
//! the way of the answer: then a deadline waits a moment, and none fires before its time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::DATE;
use jiff::Timestamp;

/// A clock that goes by what it hears.
#[derive(Debug)]
pub(super) struct Clock {
    heard: Mutex<Option<Heard>>,
}

/// A time, and when by the monotonic clock it was that time.
#[derive(Clone, Copy, Debug)]
struct Heard {
    time: SystemTime,
    at: Instant,
}

/// The clock of the API server that this process talks to.
static API_SERVER: Clock = Clock::new();

/// A `Date` that is further back than this shows that the API server's clock was set back, or that another one answers.
const SET_BACK: Duration = Duration::from_secs(2);

/// A second of an API server's clock and one of ours differ by less than one part in so many.
const DRIFT: u32 = 1_000;

/// The present by the API server's clock; by that of the node while nothing is known of the other.
pub fn now() -> Timestamp {
    let told = API_SERVER.now(Instant::now()).and_then(|time| Timestamp::try_from(time).ok());
    told.unwrap_or_else(Timestamp::now)
}

/// An answer of the API server has just come.
pub(super) fn hear(headers: &HeaderMap) {
    let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    if let Some(date) = date {
        API_SERVER.hear(date, SystemTime::now(), Instant::now());
    }
}

// === impl Clock ===

impl Clock {
    const fn new() -> Self {
        Self { heard: Mutex::new(None) }
    }

    fn now(&self, at: Instant) -> Option<SystemTime> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.and_then(|heard| heard.carried_to(at))
    }

    /// Takes in a `Date`. `local`: the node's own time.
    fn hear(&self, date: SystemTime, local: SystemTime, at: Instant) {
        let rest = local.duration_since(date).ok().filter(|rest| *rest < Duration::from_secs(1));
        let told = date + rest.unwrap_or_default();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two times that agree the later one is closer, since both are rather too early.
        let before = heard.and_then(|before| {
            let lag = at.saturating_duration_since(before.at) / DRIFT;
            before.carried_to(at)?.checked_sub(lag)
        });
        let time = before.filter(|before| *before < told + SET_BACK).map_or(told, |before| before.max(told));
        *heard = Some(Heard { time, at });
    }
}

// === impl Heard ===

impl Heard {
    fn carried_to(self, at: Instant) -> Option<SystemTime> {
        self.time.checked_add(at.saturating_duration_since(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds since some whole second of the API server's clock.
    fn time(millis: i64) -> SystemTime {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let by = Duration::from_millis(millis.unsigned_abs());
        if millis < 0 { start - by } else { start + by }
    }

    /// The clock after these answers: the true time at which each came, and how far the node's clock was ahead. Yields
    /// by how many milliseconds it is ahead of the API server's.
    fn ahead(answers: &[(i64, i64)], now: i64) -> i64 {
        let (clock, start) = (Clock::new(), Instant::now());
        let at = |millis: i64| start + Duration::from_millis(millis.unsigned_abs());
        for (millis, skew) in answers {
            clock.hear(time(millis.div_euclid(1000) * 1000), time(millis + skew), at(*millis));
        }
        let told = clock.now(at(now)).expect("something was heard");
        match told.duration_since(time(now)) {
            Ok(ahead) => ahead.as_millis() as i64,
            Err(behind) => -(behind.duration().as_millis() as i64),
        }
    }

    #[test]
    fn the_nodes_clock_counts_where_it_agrees_to_the_second() {
        assert_eq!(ahead(&[(1_700, 0)], 1_700), 0);
        assert_eq!(ahead(&[(1_700, 0)], 60_000), 0, "the monotonic clock goes on");
        assert_eq!(ahead(&[(1_200, 300)], 2_000), 300);
    }

    #[test]
    fn a_clock_of_the_node_that_is_wrong_or_jumps_is_not_believed() {
        for skew in [3_600_000, -3_600_000, 1_500, -1_500] {
            assert_eq!(ahead(&[(1_700, skew)], 5_000), -700, "{skew}: rather too early");
        }
        assert_eq!(ahead(&[(1_700, 0), (3_900, 7_200_000)], 3_900), -2, "a jump ahead");
        assert_eq!(ahead(&[(1_700, 0), (3_900, -7_200_000)], 3_900), -2, "a jump back");
    }

    #[test]
    fn the_closest_of_several_answers_counts_and_is_trusted_less_as_time_goes_on() {
        let wrong = 3_600_000;
        assert_eq!(ahead(&[(1_900, wrong), (3_050, wrong)], 3_050), -50);
        assert_eq!(ahead(&[(3_050, wrong), (4_900, wrong)], 4_900), -51);
        assert_eq!(ahead(&[(0, wrong), (600_500, wrong)], 600_500), -500, "another second by then");
    }

    #[test]
    fn an_api_server_whose_clock_is_set_is_followed() {
        let (clock, start) = (Clock::new(), Instant::now());
        for jump in [-60_000, -3_000, 60_000, 3_000] {
            let second = start + Duration::from_secs(1);
            clock.hear(time(0), time(0), start);
            clock.hear(time(1_000 + jump), time(1_000), second);
            assert_eq!(clock.now(second), Some(time(1_000 + jump)), "by {jump} ms");
        }
    }

    #[test]
    fn an_answer_without_a_date_tells_nothing() {
        let clock = Clock::new();
        assert_eq!(clock.now(Instant::now()), None);
        hear(&HeaderMap::new());
        let by_node = Timestamp::now();
        assert!(now().duration_since(by_node).abs() < jiff::SignedDuration::from_secs(5));
    }
}
