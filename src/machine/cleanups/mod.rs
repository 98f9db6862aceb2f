//! Cleanups: rules that stop or delete runs when their schedules fire.
//!
//! ```text
//! schedule due -> a page of runs -> the fate of each -> marks and deletions (outbox) -> the next page -> status
//! ```
//!
//! An owner like the others: it takes observations of rules, pages of runs and the ends of writes, and returns
//! [`CleanupDemand`]s. It shares the outbox with runs and gateways, and nothing else: a run that it marks is stopped
//! because the watch shows the mark, as it would show a person's annotation.

mod cleanup;
mod cron;
mod demand;
mod firing;
mod judge;
mod rule;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::demand::{CleanupDemand, CleanupResult};

use self::cleanup::Cleanup;
use self::firing::{Cleaned, Firing, Step};
use crate::api::EventReason;
use crate::machine::backoff::chance;
use crate::machine::effect::{Event, Target, WriteBody};
use crate::machine::fair_queue::FairQueue;
use crate::machine::ids::{CleanedRun, CleanupKey, PageSerial, RunKey, Uid, Version};
use crate::machine::input::{RunsPage, WriteResult};
use crate::machine::limits::PAGES_MAX;
use crate::machine::list::{Extent, Lists};
use crate::machine::time::{Millis, Now};
use crate::machine::timers::Timers;
use crate::machine::view::CleanupView;

/// All cleanup rules.
#[derive(Clone, Debug, Default)]
pub struct Cleanups {
    by_key: BTreeMap<CleanupKey, Box<Cleanup>>,
    timers: Timers<CleanupKey>,
    lists: Lists,
    /// The rules whose pages are being listed, those that are gone meanwhile included: a page takes memory until it has
    /// come.
    pages: BTreeMap<PageSerial, CleanupKey>,
    /// The rules that wait for their next page. Namespaces take turns.
    waiting: FairQueue<Arc<str>, CleanupKey>,
    next_page: u64,
    seed: u64,
}

// === impl Cleanups ===

impl Cleanups {
    /// `seed`: jitter is drawn from it.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub fn list_began(&mut self, extent: &Extent) {
        self.lists.of_extent(extent).began();
    }

    /// Ends a list: the rules of its extent that it did not bring are gone.
    pub fn list_ended(&mut self, extent: &Extent, demands: &mut Vec<CleanupDemand>) {
        let list = self.lists.of_extent(extent);
        list.ended();
        let serial = list.serial;
        let is_stale =
            |cleanup: &Cleanup| extent.covers(&cleanup.view.key.namespace) && cleanup.listed_in != serial;
        let stale =
            self.by_key.values().filter(|cleanup| is_stale(cleanup)).map(|cleanup| cleanup.view.key.clone());
        let stale: Vec<_> = stale.collect();
        stale.iter().for_each(|key| self.gone(key, None, demands));
    }

    /// Takes in a rule that a watch or a list shows.
    pub fn observe(&mut self, view: CleanupView, now: Now, demands: &mut Vec<CleanupDemand>) {
        let (key, serial) = (view.key.clone(), self.lists.of(&view.key.namespace).serial);
        if self.by_key.get(&key).is_some_and(|known| known.view.uid != view.uid) {
            self.gone(&key, None, demands);
        }
        match self.by_key.get_mut(&key) {
            Some(cleanup) => {
                cleanup.listed_in = serial;
                // An echo of the past says nothing. A later list can't be older, unless the datastore has gone back.
                if view.version < cleanup.view.version && serial <= cleanup.version_list {
                    return;
                }
                cleanup.version_list = serial;
                if let Some(ended) = cleanup.observe(view, now) {
                    drop_writes(&key, ended, demands);
                }
            }
            None => {
                let mut cleanup = Cleanup::new(view, now);
                (cleanup.listed_in, cleanup.version_list) = (serial, serial);
                self.by_key.insert(key.clone(), Box::new(cleanup));
            }
        }
        self.go_on(&key, now, demands);
    }

    /// A rule is gone, or can't be read.
    pub fn gone(&mut self, key: &CleanupKey, uid: Option<&Uid>, demands: &mut Vec<CleanupDemand>) {
        let Some(cleanup) = self.by_key.get(key) else { return };
        if uid.is_some_and(|uid| *uid != cleanup.view.uid) {
            return;
        }
        let Some(mut cleanup) = self.by_key.remove(key) else { return };
        self.timers.set(key, &mut cleanup.timer, None);
        self.waiting.remove(&key.namespace, key);
        if let Some(firing) = cleanup.firing.take() {
            drop_writes(key, firing, demands);
        }
        demands.push(CleanupDemand::Forgotten(key.clone()));
    }

    /// A page of runs has come, or none.
    pub fn listed(&mut self, serial: PageSerial, page: RunsPage, now: Now, demands: &mut Vec<CleanupDemand>) {
        let Some(key) = self.pages.remove(&serial) else { return };
        let chance = chance(self.seed, &key, serial.0);
        if let Some(cleanup) = self.by_key.get_mut(&key)
            && let Cleanup { firing: Some(firing), rule, .. } = &mut **cleanup
            && firing.step == Step::Listing(serial)
        {
            for (run, what) in firing.page(page, rule, now, chance) {
                demands.push(CleanupDemand::Write(Box::new(CleanedRun { cleanup: key.clone(), run }), what));
            }
            self.go_on(&key, now, demands);
        }
        self.list_next(demands);
    }

    /// The write of a run has ended.
    pub fn wrote(
        &mut self,
        of: &CleanedRun,
        result: WriteResult,
        now: Now,
        demands: &mut Vec<CleanupDemand>,
    ) {
        let CleanedRun { cleanup: key, run } = of;
        let chance = chance(self.seed, run, self.next_page);
        let Some(cleanup) = self.by_key.get_mut(key) else { return };
        let Some(firing) = &mut cleanup.firing else { return };
        if let Some((change, target)) = firing.wrote(run, result, now, chance) {
            let (time, reason) = (firing.time, cleanup.rule.reason.clone());
            demands.push(CleanupDemand::Tell(cleaned(&key.name, time, change, target, reason)));
            let result = match change {
                Cleaned::Stopped => CleanupResult::Stopped,
                Cleaned::Deleted => CleanupResult::Deleted,
            };
            demands.push(CleanupDemand::Counted(result, 1));
        }
        self.go_on(key, now, demands);
    }

    /// Looks at the rules whose time has come.
    pub fn run_timers(&mut self, now: Now, demands: &mut Vec<CleanupDemand>) {
        while let Some(key) = self.timers.next_due(now.mono) {
            if let Some(cleanup) = self.by_key.get_mut(&key) {
                cleanup.timer = None;
                // Whether its status is due is decided anew.
                cleanup.status_at = cleanup.status_at.filter(|at| *at > now.mono);
                if let Some(firing) = &mut cleanup.firing {
                    firing.wake(now.mono);
                }
                self.go_on(&key, now, demands);
            }
        }
    }

    pub fn wake_at(&self) -> Option<Millis> {
        self.timers.wake_at()
    }

    /// The object of a run that is to be written, as it was listed.
    pub fn run_target(&self, of: &CleanedRun) -> Option<Target> {
        self.by_key.get(&of.cleanup)?.firing.as_ref()?.target(&of.run)
    }

    // === statuses ===

    /// The moment from which on a rule's status is to be written, if it is to be.
    pub fn status_due(&self, key: &CleanupKey, now: Now) -> Option<Millis> {
        self.by_key.get(key)?.status_due(now)
    }

    /// Sets the moment at which a rule's status falls due.
    pub fn arm_status(&mut self, key: &CleanupKey, at: Option<Millis>, now: Now) {
        if let Some(cleanup) = self.by_key.get_mut(key) {
            cleanup.status_at = at;
            self.arm(key, now);
        }
    }

    /// Begins to write the status of a rule, unless it says what it should.
    pub fn state(&mut self, key: &CleanupKey, now: Now) -> Option<(Target, WriteBody)> {
        let cleanup = self.by_key.get_mut(key)?;
        let status = cleanup.status(now);
        if status == cleanup.view.status {
            return None;
        }
        cleanup.writing = Some(status.clone());
        Some((cleanup.target(), WriteBody::CleanupStatus(Arc::new(status))))
    }

    /// The write of a status has ended.
    pub fn stated(&mut self, key: &CleanupKey, result: WriteResult, now: Now) {
        let Some(cleanup) = self.by_key.get_mut(key) else { return };
        cleanup.wrote_at = Some(now.mono);
        cleanup.version_list = self.lists.of(&key.namespace).serial;
        let written = cleanup.writing.take();
        if let (WriteResult::Done(version), Some(status)) = (result, written)
            && version > cleanup.view.version
        {
            (cleanup.view.version, cleanup.view.status) = (version, status);
        }
    }

    pub fn target(&self, key: &CleanupKey) -> Option<Target> {
        self.by_key.get(key).map(|cleanup| cleanup.target())
    }

    pub fn version_of(&self, key: &CleanupKey) -> Option<Version> {
        self.by_key.get(key).map(|cleanup| cleanup.view.version)
    }

    // === the way of a firing ===

    /// Goes on with a rule as far as it can go by itself.
    fn go_on(&mut self, key: &CleanupKey, now: Now, demands: &mut Vec<CleanupDemand>) {
        let Some(cleanup) = self.by_key.get_mut(key) else { return };
        demands.extend(cleanup.consider(now).map(CleanupDemand::Tell));
        if let Some(firing) = cleanup.firing.take_if(|firing| firing.step == Step::Done) {
            end(cleanup, &firing, now, demands);
            // Another time may have come meanwhile.
            demands.extend(cleanup.consider(now).map(CleanupDemand::Tell));
        }
        if cleanup.firing.as_ref().is_some_and(|firing| firing.step == Step::Ready) {
            self.waiting.put(&key.namespace, key.clone());
        }
        if let Some(firing) = cleanup.firing.take() {
            cleanup.told(&firing, None, None);
            cleanup.firing = Some(firing);
        }
        self.arm(key, now);
        demands.push(CleanupDemand::Reschedule(key.clone()));
        self.list_next(demands);
    }

    /// Asks for the pages that rules wait for, as many at a time as memory allows.
    fn list_next(&mut self, demands: &mut Vec<CleanupDemand>) {
        while self.pages.len() < PAGES_MAX
            && let Some(key) = self.waiting.next()
        {
            let Some(cleanup) = self.by_key.get_mut(&key) else { continue };
            let Cleanup { firing, rule, view, .. } = &mut **cleanup;
            // An edit may have ended it meanwhile.
            let Some(firing) = firing.as_mut().filter(|firing| firing.step == Step::Ready) else { continue };
            self.next_page += 1;
            let serial = PageSerial(self.next_page);
            self.pages.insert(serial, key.clone());
            let (namespace, selector) = (view.key.namespace.clone(), rule.selector.clone());
            demands.push(CleanupDemand::List { serial, namespace, selector, next: firing.list(serial) });
        }
    }

    fn arm(&mut self, key: &CleanupKey, now: Now) {
        if let Some(cleanup) = self.by_key.get_mut(key) {
            let at = cleanup.wake_at(now);
            self.timers.set(key, &mut cleanup.timer, at);
        }
    }
}

/// A firing has ended.
fn end(cleanup: &mut Cleanup, firing: &Firing, now: Now, demands: &mut Vec<CleanupDemand>) {
    cleanup.told(firing, None, Some(now));
    let counts = firing.counts;
    for (result, count) in [(CleanupResult::Spared, counts.spared), (CleanupResult::Failed, counts.failed)] {
        demands.push(CleanupDemand::Counted(result, u64::try_from(count).unwrap_or(0)));
    }
    if let Some(why) = &firing.why {
        let text = format!("the cleanup of {} could not do all that it was to do: {why}", firing.time);
        demands.push(CleanupDemand::Tell(cleanup.warning(EventReason::CleanupIncomplete, text)));
    }
}

fn drop_writes(key: &CleanupKey, firing: Firing, demands: &mut Vec<CleanupDemand>) {
    demands.extend(
        firing
            .into_writes()
            .map(|run: RunKey| CleanupDemand::DropWrite(Box::new(CleanedRun { cleanup: key.clone(), run }))),
    );
}

/// The event of a run that was stopped or deleted.
fn cleaned(
    rule: &str,
    time: jiff::Timestamp,
    change: Cleaned,
    target: Target,
    given: Option<String>,
) -> Event {
    let Target { key: about, uid, version: _ } = target;
    let (reason, message) = match change {
        Cleaned::Stopped => (
            EventReason::CleanupStops,
            format!("the cleanup rule \"{rule}\" asks for the stop of this run, at its time {time}"),
        ),
        Cleaned::Deleted => (
            EventReason::CleanupDeletes,
            format!(
                "the cleanup rule \"{rule}\" has deleted this run, all of whose plans were stopped, at its time {time}"
            ),
        ),
    };
    Event { about, uid, warning: false, reason, message, given }
}

#[cfg(test)]
#[path = "cleanups_tests.rs"]
mod tests;
