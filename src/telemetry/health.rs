//! The health of the operator: whether it is alive, and whether it is ready.
//!
//! Alive means that its main loop turns; the kubelet restarts a pod that isn't. Ready means that it sees the cluster;
//! a standby that waits for the Lease is ready too, or a rolling update could never finish; but only while it can read
//! the Lease, since one that can't will never lead. A restart repairs no
//! broken watch, so that one only costs readiness. A namespace that may not be read, beside others that may, costs not
//! even that: it is missing for itself, and the others are served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::machine::Kind;

/// The main loop turns every few seconds even when nothing happens; this much later, it hangs.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// The Lease is looked at every second or two, and a watch that ends is opened again within seconds; this much later,
/// something is in its way.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// Watches that one answer names, at most.
const NAMED_MAX: usize = 5;

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
    /// The Lease, if there is one to stand for.
    lease: Option<Lease>,
    /// All watches, by their paths.
    watches: BTreeMap<String, Watch>,
}

/// How the Lease was last looked at.
#[derive(Debug, Default)]
struct Lease {
    /// When it was last read, and written if it was to be.
    handled: Option<Instant>,
    /// The latest reason for which it could not be since.
    failed: Option<String>,
}

/// How one watch works.
#[derive(Debug)]
struct Watch {
    kind: Kind,
    /// There was a list.
    is_listed: bool,
    /// Since when it has failed, and the latest reason.
    broken: Option<(Instant, String)>,
    /// The latest reason is a right that is missing.
    is_forbidden: bool,
}

impl Health {
    /// Alive as of now, and not ready yet.
    pub fn new(now: Instant) -> Self {
        let unready = Some("starting".to_owned());
        Self {
            state: Arc::new(Mutex::new(State {
                last_beat: now,
                unready,
                lease: None,
                watches: BTreeMap::new(),
            })),
        }
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

    /// There is a Lease to stand for: this process is not ready unless it can read it.
    pub fn stands_for_lease(&self) {
        self.lock().lease.get_or_insert_default();
    }

    /// The Lease was read, and written if it was to be.
    pub fn lease_handled(&self, now: Instant) {
        self.lock().lease = Some(Lease { handled: Some(now), failed: None });
    }

    /// The Lease could not be read or written.
    pub fn lease_failed(&self, why: &str) {
        self.lock().lease.get_or_insert_default().failed = Some(why.to_owned());
    }

    /// These are watched from now on: nothing has been listed yet.
    pub fn watches_began(&self, watches: impl IntoIterator<Item = (Kind, String)>) {
        let begun = |kind| Watch { kind, is_listed: false, broken: None, is_forbidden: false };
        self.lock().watches = watches.into_iter().map(|(kind, path)| (path, begun(kind))).collect();
    }

    /// The watch of this path has failed. Since when counts, not when last: a watch that fails in ever new ways is
    /// broken all the time.
    pub fn watch_failed(&self, path: &str, why: &str, now: Instant) {
        self.watch_broke(path, why, false, now);
    }

    /// The same, for want of a right.
    pub fn watch_forbidden(&self, path: &str, why: &str, now: Instant) {
        self.watch_broke(path, why, true, now);
    }

    /// The list of this path is complete.
    pub fn watch_listed(&self, path: &str) {
        if let Some(watch) = self.lock().watches.get_mut(path) {
            watch.is_listed = true;
        }
    }

    /// The watch of this path has brought something. That it could be opened is not enough.
    pub fn watch_works(&self, path: &str) {
        if let Some(watch) = self.lock().watches.get_mut(path) {
            (watch.broken, watch.is_forbidden) = (None, false);
        }
    }

    /// Nothing is watched any more.
    pub fn watches_ended(&self) {
        self.lock().watches.clear();
    }

    fn watch_broke(&self, path: &str, why: &str, is_forbidden: bool, now: Instant) {
        if let Some(watch) = self.lock().watches.get_mut(path) {
            let since = watch.broken.take().map_or(now, |(since, _)| since);
            (watch.broken, watch.is_forbidden) = (Some((since, why.to_owned())), is_forbidden);
        }
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
        wrong.extend(state.lease.as_ref().and_then(|lease| lease.lacks(now)));
        let watches = state.what_watches_lack(now);
        let more = watches.len().saturating_sub(NAMED_MAX);
        wrong.extend(watches.into_iter().take(NAMED_MAX));
        wrong.extend((more > 0).then(|| format!("and {more} more")));
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No holder can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn what_watches_lack(&self, now: Instant) -> Vec<String> {
        // A right that is missing everywhere is another matter.
        let may_be_missing =
            |kind| self.watches.values().any(|watch| watch.kind == kind && !watch.is_forbidden);
        let counted =
            self.watches.iter().filter(|(_, watch)| !watch.is_forbidden || !may_be_missing(watch.kind));
        counted.filter_map(|(path, watch)| watch.lacks(path, now)).collect()
    }
}

// === impl Lease ===

impl Lease {
    fn lacks(&self, now: Instant) -> Option<String> {
        let why = self.failed.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let Some(handled) = self.handled else {
            return Some(format!("the Lease has not been read yet{why}"));
        };
        let gap = now.saturating_duration_since(handled);
        (gap > LONGEST_GAP).then(|| format!("the Lease has not been read for {} s{why}", gap.as_secs()))
    }
}

// === impl Watch ===

impl Watch {
    fn lacks(&self, path: &str, now: Instant) -> Option<String> {
        match &self.broken {
            None => (!self.is_listed).then(|| format!("listing {path}")),
            Some((_, why)) if !self.is_listed => Some(format!("listing {path}: {why}")),
            Some((since, why)) => {
                let gap = now.saturating_duration_since(*since);
                (gap > LONGEST_GAP)
                    .then(|| format!("the watch of {path} has not worked for {} s: {why}", gap.as_secs()))
            }
        }
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
    fn a_standby_is_ready_while_it_can_read_the_lease() {
        let start = Instant::now();
        let health = Health::new(start);
        health.set_ready(true, "");
        health.stands_for_lease();
        assert_eq!(health.ready(start), Err("the Lease has not been read yet".to_owned()));
        health.lease_failed("no right");
        assert_eq!(health.ready(start), Err("the Lease has not been read yet: no right".to_owned()));
        health.lease_handled(start);
        health.lease_failed("no answer");
        assert_eq!(health.ready(at(start, 30)), Ok(()));
        let wrong = "the Lease has not been read for 31 s: no answer";
        assert_eq!(health.ready(at(start, 31)), Err(wrong.to_owned()));
        health.lease_handled(at(start, 31));
        assert_eq!(health.ready(at(start, 60)), Ok(()));
    }

    /// Ready but for these watches, none of which has listed.
    fn watching(start: Instant, watches: &[(Kind, &str)]) -> Health {
        let health = Health::new(start);
        health.watches_began(watches.iter().map(|(kind, path)| (*kind, (*path).to_owned())));
        health.set_ready(true, "");
        health
    }

    #[test]
    fn readiness_says_everything_that_is_wrong_in_one_line() {
        let start = Instant::now();
        let health = watching(start, &[(Kind::Runs, "/runs"), (Kind::Gateways, "/gateways")]);
        health.set_ready(false, "starting");
        assert_eq!(health.ready(start), Err("starting; listing /gateways; listing /runs".to_owned()));
        health.watch_listed("/runs");
        health.watch_failed("/runs", "no", start);
        health.watch_failed("/runs", "no, not yet", at(start, 20));
        health.watch_failed("/gateways", "no such page", start);
        health.beat(at(start, 31));
        let wrong = "starting; listing /gateways: no such page; the watch of /runs has not worked for 31 s: no, not yet";
        assert_eq!(health.ready(at(start, 31)), Err(wrong.to_owned()));
        health.set_ready(true, "");
        health.watch_works("/runs");
        health.watch_listed("/gateways");
        health.watch_works("/gateways");
        assert_eq!(health.ready(at(start, 31)), Ok(()));
    }

    #[test]
    fn a_namespace_that_may_not_be_read_costs_the_others_nothing() {
        let start = Instant::now();
        let health =
            watching(start, &[(Kind::Runs, "/a"), (Kind::Runs, "/b"), (Kind::Gateways, "/gateways")]);
        health.watch_listed("/gateways");
        health.watch_forbidden("/b", "no right", start);
        assert_eq!(health.ready(start), Err("listing /a".to_owned()));
        health.watch_listed("/a");
        assert_eq!(health.ready(at(start, 40)), Ok(()));
        health.watch_forbidden("/a", "no right either", start);
        let wrong = "the watch of /a has not worked for 40 s: no right either; listing /b: no right";
        assert_eq!(health.ready(at(start, 40)), Err(wrong.to_owned()), "nothing is served");
        health.watch_works("/a");
        health.watch_failed("/b", "no answer", at(start, 40));
        assert_eq!(
            health.ready(at(start, 40)),
            Err("listing /b: no answer".to_owned()),
            "this one may be mended"
        );
    }

    #[test]
    fn of_many_watches_that_do_not_work_some_are_named_and_all_are_counted() {
        let start = Instant::now();
        let health = Health::new(start);
        health.watches_began((1..=8).map(|number| (Kind::Runs, format!("/{number}"))));
        health.set_ready(true, "");
        let wrong = "listing /1; listing /2; listing /3; listing /4; listing /5; and 3 more";
        assert_eq!(health.ready(start), Err(wrong.to_owned()));
    }

    #[test]
    fn a_watch_that_is_soon_opened_again_costs_nothing() {
        let start = Instant::now();
        let health = watching(start, &[(Kind::Gateways, "/gateways")]);
        health.watch_listed("/gateways");
        health.watch_failed("/gateways", "no", start);
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
