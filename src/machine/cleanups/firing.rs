//! One time at which a rule runs: a list in pages, and the writes of each page.
//!
//! ```text
//!   scan: every page, to learn which plans are needed and which runs carry the mark     (rules that stop)
//!   act:  a page -> its writes -> the next page -> ... -> done
//!            ^                                       |
//!            +--- a pause, if some met a conflict ---+
//! ```
//!
//! Nothing is kept but the present page and the plans that must not be stopped. A run that was written meanwhile, or whose
//! write has failed, is judged anew by the next pass, so a firing that is begun again by another leader does what is left
//! to do: the marks tell which runs this time has stopped already.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::machine::backoff::Backoff;
use crate::machine::cleanups::judge::{Fate, Spared, SparedPlans, judge, needs_its_plans};
use crate::machine::cleanups::rule::Rule;
use crate::machine::effect::{MetadataChange, Target};
use crate::machine::ids::{ObjectKey, PageSerial, RunKey};
use crate::machine::input::{RunsPage, WriteResult};
use crate::machine::limits::{
    CLEANUP_NAMES_MAX, CLEANUP_PASSES_MAX, CLEANUP_REFUSALS_MAX, CLEANUP_RETRY_FIRST, CLEANUP_RETRY_MAX,
    SPARED_PLANS_MAX,
};
use crate::machine::outbox::What;
use crate::machine::time::{Millis, Now};
use crate::machine::view::Candidate;

/// A time at which a rule runs.
#[derive(Clone, Debug)]
pub struct Firing {
    /// The scheduled time, or the one at which it was told to run at once.
    pub time: Timestamp,
    /// The moment at which it began.
    pub began: Millis,
    pub step: Step,
    pub counts: Counts,
    /// Names of the first runs that were stopped or deleted.
    pub names: Vec<String>,
    pub spared_names: Vec<String>,
    /// What went wrong.
    pub why: Option<String>,
    mark: String,
    is_scan: bool,
    next_page: Option<String>,
    spared: SparedPlans,
    /// Runs that count towards the most that the rule allows.
    used: u64,
    /// Runs that carried the mark when the pass began.
    marked: u64,
    /// Runs of this pass that are to be judged anew.
    again: i64,
    /// Runs of this pass for which the rule allows no more.
    left: i64,
    /// Runs that the API server has refused to have written.
    refused: BTreeSet<RunKey>,
    /// The runs of the present page that are being written.
    writes: BTreeMap<RunKey, (Target, Cleaned)>,
    /// Passes and lists that did not succeed.
    failures: u8,
}

/// What a firing waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The next page is to be asked for.
    Ready,
    Listing(PageSerial),
    Writing,
    Resting(Millis),
    Done,
}

/// The figures that status tells.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    pub matched: i64,
    pub stopped: i64,
    pub deleted: i64,
    pub spared: i64,
    pub failed: i64,
}

/// The change that a firing makes of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cleaned {
    Stopped,
    Deleted,
}

const RETRY: Backoff = Backoff { initial: CLEANUP_RETRY_FIRST, max: CLEANUP_RETRY_MAX };

// === impl Firing ===

impl Firing {
    /// Begins. `deleted`: runs that an earlier leader is known to have deleted at this time.
    pub fn new(name: &str, time: Timestamp, rule: &Rule, deleted: i64, now: Millis) -> Self {
        let mut firing = Self {
            time,
            began: now,
            step: Step::Ready,
            counts: Counts { deleted, ..Counts::default() },
            names: Vec::new(),
            spared_names: Vec::new(),
            why: None,
            mark: format!("{name}/{time}"),
            is_scan: rule.stops(),
            next_page: None,
            spared: SparedPlans::default(),
            used: 0,
            marked: 0,
            again: 0,
            left: 0,
            refused: BTreeSet::new(),
            writes: BTreeMap::new(),
            failures: 0,
        };
        firing.begin_pass();
        firing
    }

    /// Begins to ask for the next page. Yields where it begins.
    pub fn list(&mut self, serial: PageSerial) -> Option<String> {
        self.step = Step::Listing(serial);
        self.next_page.take()
    }

    /// The object of a run that is being written.
    pub fn target(&self, run: &RunKey) -> Option<Target> {
        self.writes.get(run).map(|(target, _)| target.clone())
    }

    /// The runs that are being written.
    pub fn into_writes(self) -> impl Iterator<Item = RunKey> {
        self.writes.into_keys()
    }

    /// A page has come, or none. Yields the writes that follow.
    pub fn page(&mut self, page: RunsPage, rule: &Rule, now: Now, chance: u64) -> Vec<(RunKey, What)> {
        let (runs, unreadable) = match page {
            RunsPage::Page { runs, unreadable, next } => {
                self.next_page = next;
                (runs, unreadable)
            }
            RunsPage::Failed { why, retry_after } => {
                self.list_failed(why, retry_after, now, chance);
                return Vec::new();
            }
        };
        let mut writes = Vec::new();
        for run in &runs {
            match self.is_scan {
                true => self.scan(run, rule),
                false => writes.extend(self.act(run, rule).map(|what| (run.key.clone(), what))),
            }
        }
        if !self.is_scan {
            for run in unreadable {
                self.counts.matched += 1;
                self.spare(&run, Spared::Unreadable);
            }
        }
        self.go_on(now, chance);
        writes
    }

    /// A write has ended. Yields the change that it has made, and the object.
    pub fn wrote(
        &mut self,
        run: &RunKey,
        result: WriteResult,
        now: Now,
        chance: u64,
    ) -> Option<(Cleaned, Target)> {
        let (target, change) = self.writes.remove(run)?;
        let is_done = match result {
            WriteResult::Done(_) => {
                self.count(change, run);
                true
            }
            WriteResult::Gone => false,
            WriteResult::Conflict | WriteResult::Failed { .. } => {
                self.again += 1;
                false
            }
            WriteResult::Refused(status) => {
                self.used = self.used.saturating_sub(1);
                self.why.get_or_insert_with(|| {
                    format!("the API server refuses the write of run \"{}\" with HTTP {status}", run.name)
                });
                self.refused.insert(run.clone());
                false
            }
        };
        self.go_on(now, chance);
        is_done.then_some((change, target))
    }

    /// Goes on if the pause is over.
    pub fn wake(&mut self, now: Millis) {
        if matches!(self.step, Step::Resting(until) if until <= now) {
            self.step = Step::Ready;
        }
    }

    fn begin_pass(&mut self) {
        let Counts { matched: _, stopped: _, deleted, spared: _, failed: _ } = self.counts;
        self.used = self.marked.saturating_add(u64::try_from(deleted).unwrap_or(0));
        // Those that are deleted are not listed again.
        self.counts = Counts { matched: deleted, deleted, ..Counts::default() };
        (self.again, self.left, self.marked) = (0, 0, 0);
        self.spared_names.clear();
        self.step = Step::Ready;
    }

    fn scan(&mut self, run: &Candidate, rule: &Rule) {
        if needs_its_plans(run, rule, self.time) {
            self.spared.add(run);
        }
        self.marked += u64::from(run.mark.as_deref() == Some(&self.mark));
    }

    /// Judges a run, and yields what is to be written of it.
    fn act(&mut self, run: &Candidate, rule: &Rule) -> Option<What> {
        let fate = judge(run, rule, self.time, &self.mark, &self.spared);
        self.counts.matched += i64::from(fate != Fate::NotMatched);
        let change = match fate {
            Fate::NotMatched | Fate::Nothing => return None,
            Fate::Marked => {
                self.marked += 1;
                self.count(Cleaned::Stopped, &run.key);
                return None;
            }
            Fate::Spare(why) => {
                self.spare(&run.key, why);
                return None;
            }
            Fate::Stop => Cleaned::Stopped,
            Fate::Delete => Cleaned::Deleted,
        };
        if self.refused.contains(&run.key) {
            return None;
        }
        if self.used >= rule.max || self.refused.len() >= CLEANUP_REFUSALS_MAX {
            self.left += 1;
            return None;
        }
        self.used += 1;
        if rule.is_dry {
            self.count(change, &run.key);
            return None;
        }
        let target =
            Target { key: ObjectKey::Run(run.key.clone()), uid: run.uid.clone(), version: run.version };
        self.writes.insert(run.key.clone(), (target, change));
        Some(match change {
            Cleaned::Stopped => What::Metadata(MetadataChange::CleanupMark(self.mark.clone())),
            Cleaned::Deleted => What::Deletion,
        })
    }

    fn count(&mut self, change: Cleaned, run: &RunKey) {
        match change {
            Cleaned::Stopped => self.counts.stopped += 1,
            Cleaned::Deleted => self.counts.deleted += 1,
        }
        let name = run.name.to_string();
        if self.names.len() < CLEANUP_NAMES_MAX && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    fn spare(&mut self, run: &RunKey, why: Spared) {
        self.counts.spared += 1;
        if self.spared_names.len() < CLEANUP_NAMES_MAX {
            self.spared_names.push(format!("{}: {}", run.name, why.text()));
        }
    }

    /// Goes on after a page, once its writes have ended.
    fn go_on(&mut self, now: Now, chance: u64) {
        if self.spared.count() > SPARED_PLANS_MAX {
            self.why = Some(format!(
                "nothing is stopped: the runs that are spared have more than {SPARED_PLANS_MAX} plans, more than can be \
                 kept in mind; select fewer runs"
            ));
            self.step = Step::Done;
        } else if !self.writes.is_empty() {
            self.step = Step::Writing;
        } else if self.next_page.is_some() {
            self.step = Step::Ready;
        } else if self.is_scan {
            self.is_scan = false;
            self.begin_pass();
        } else {
            self.end_pass(now, chance);
        }
    }

    fn end_pass(&mut self, now: Now, chance: u64) {
        // Those that are refused make room for others.
        let has_room = !self.refused.is_empty() && self.refused.len() < CLEANUP_REFUSALS_MAX && self.left > 0;
        if (self.again > 0 || has_room) && self.failures < CLEANUP_PASSES_MAX {
            self.failures += 1;
            self.marked = u64::try_from(self.counts.stopped).unwrap_or(0);
            self.begin_pass();
            self.step = Step::Resting(now.mono + RETRY.delay(self.failures, chance, None));
            return;
        }
        if self.again > 0 {
            self.why.get_or_insert_with(|| "some runs were written by others again and again".to_owned());
        }
        let refused = i64::try_from(self.refused.len()).unwrap_or(i64::MAX);
        self.counts.failed = self.again.saturating_add(refused);
        self.step = Step::Done;
    }

    /// A list that breaks off, or that is too old to go on with, begins anew.
    fn list_failed(&mut self, why: String, retry_after: Option<Millis>, now: Now, chance: u64) {
        self.failures += 1;
        self.next_page = None;
        if self.failures > CLEANUP_PASSES_MAX {
            self.counts.failed = self.counts.failed.max(1);
            self.why = Some(format!("the runs could not be listed: {why}"));
            self.step = Step::Done;
            return;
        }
        if self.is_scan {
            (self.spared, self.marked) = (SparedPlans::default(), 0);
        } else {
            self.marked = u64::try_from(self.counts.stopped).unwrap_or(0).max(self.marked);
            self.begin_pass();
        }
        self.step = Step::Resting(now.mono + RETRY.delay(self.failures, chance, retry_after));
    }
}

#[cfg(test)]
#[path = "firing_tests.rs"]
mod tests;
