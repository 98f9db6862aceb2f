//! The health of the operator: whether it is alive, and whether it is ready.
//!
//! Alive means that its main loop turns; the kubelet restarts a pod that isn't. Ready means that it sees the cluster;
//! a standby that waits for the Lease is ready too, or a rolling update could never finish. A restart repairs no
//! broken watch, so that one only costs readiness.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The main loop turns every few seconds even when nothing happens; this much later, it hangs.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// A watch that ends is opened again within seconds; this much later, something is in its way.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// The health of this process. Clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    last_beat: Instant,
    /// The reason why the operator is not ready, if it is not.
    unready: Option<String>,
    /// Paths of the watches that do not work, and since when.
    broken: BTreeMap<String, Instant>,
}

impl Health {
    /// Alive as of now, and not ready yet.
    pub fn new(now: Instant) -> Self {
        let unready = Some("starting".to_owned());
        Self { state: Arc::new(Mutex::new(State { last_beat: now, unready, broken: BTreeMap::new() })) }
    }

    /// The main loop has turned. To be called at least every 30 s, while waiting for the Lease too.
    pub fn beat(&self, now: Instant) {
        let mut state = self.lock();
        state.last_beat = state.last_beat.max(now);
    }

    /// Sets whether the operator does its work, or stands by for it; `why` is shown while it does not.
    pub fn set_ready(&self, ready: bool, why: &str) {
        self.lock().unready = (!ready).then(|| why.to_owned());
    }

    /// The watch of this path has failed. Since when counts, not when last: a watch that fails in ever new ways is
    /// broken all the time.
    pub fn watch_failed(&self, path: &str, now: Instant) {
        self.lock().broken.entry(path.to_owned()).or_insert(now);
    }

    /// The watch of this path has brought something. That it could be opened is not enough.
    pub fn watch_works(&self, path: &str) {
        self.lock().broken.remove(path);
    }

    /// Nothing is watched any more.
    pub fn watches_ended(&self) {
        self.lock().broken.clear();
    }

    /// Tells whether the process is alive; an error says in one line why not.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        match now.saturating_duration_since(self.lock().last_beat) {
            pause if pause > LONGEST_TURN => {
                Err(format!("the main loop has not turned for {} s", pause.as_secs()))
            }
            _ => Ok(()),
        }
    }

    /// Tells whether the process is ready; an error says in one line why not.
    pub fn ready(&self, now: Instant) -> Result<(), String> {
        self.alive(now)?;
        let state = self.lock();
        let mut wrong: Vec<String> = state.unready.iter().cloned().collect();
        for (path, since) in &state.broken {
            let gap = now.saturating_duration_since(*since);
            if gap > LONGEST_GAP {
                wrong.push(format!("the watch of {path} has not worked for {} s", gap.as_secs()));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No holder can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_loop_that_has_stood_for_a_minute_is_dead_until_it_turns_again() {
        let start = Instant::now();
        let health = Health::new(start);
        assert_eq!(health.alive(at(start, 60)), Ok(()));
        assert_eq!(health.alive(at(start, 61)), Err("the main loop has not turned for 61 s".to_owned()));
        health.beat(at(start, 61));
        assert_eq!(health.alive(at(start, 100)), Ok(()));
    }

    #[test]
    fn a_late_beat_never_sets_the_clock_back() {
        let start = Instant::now();
        let health = Health::new(start);
        health.beat(at(start, 50));
        health.beat(at(start, 10));
        assert_eq!(health.alive(at(start, 100)), Ok(()));
    }

    #[test]
    fn readiness_says_everything_that_is_wrong_in_one_line() {
        let start = Instant::now();
        let health = Health::new(start);
        assert_eq!(health.ready(start), Err("starting".to_owned()));
        health.watch_failed("/runs", start);
        health.watch_failed("/runs", at(start, 20));
        health.set_ready(false, "testplanruns are not listed yet");
        health.beat(at(start, 31));
        let wrong = "testplanruns are not listed yet; the watch of /runs has not worked for 31 s";
        assert_eq!(health.ready(at(start, 31)), Err(wrong.to_owned()));
        health.set_ready(true, "");
        health.watch_works("/runs");
        assert_eq!(health.ready(at(start, 31)), Ok(()));
    }

    #[test]
    fn a_watch_that_is_soon_opened_again_costs_nothing() {
        let start = Instant::now();
        let health = Health::new(start);
        health.set_ready(true, "");
        health.watch_failed("/gateways", start);
        assert_eq!(health.ready(at(start, 30)), Ok(()));
        assert!(health.ready(at(start, 31)).is_err());
        assert_eq!(health.alive(at(start, 31)), Ok(()));
        health.watches_ended();
        assert_eq!(health.ready(at(start, 31)), Ok(()), "a standby watches nothing");
    }

    #[test]
    fn the_dead_are_not_ready() {
        let start = Instant::now();
        let health = Health::new(start);
        health.set_ready(true, "");
        assert!(health.ready(at(start, 61)).is_err());
    }
}
