//! What became of the runs, counted and told.

use std::collections::BTreeSet;
use std::fmt;

use crate::api::{FINALIZER, Outcome};
use crate::kubernetes::HeldRun;
use crate::machine::RunKey;

/// Runs that are named, at most: more would hide what they have in common.
const NAMED_MAX: usize = 10;

/// The count of the runs that had the finalizer.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The cluster has no definition of runs.
    pub(super) not_served: bool,
    pub(super) released: usize,
    /// Of those that are released: were being deleted, and not all of their plans are known to be stopped.
    unstopped: usize,
    left: Left,
}

/// The runs that still have the finalizer.
#[derive(Debug, Default)]
pub struct Left {
    count: usize,
    /// The first ones, each with the reason.
    named: Vec<(RunKey, String)>,
}

// === impl Tally ===

impl Tally {
    /// The finalizer is off this run.
    pub(super) fn released(&mut self, run: &HeldRun) {
        self.released += 1;
        self.unstopped += usize::from(run.is_being_deleted && !is_stopped(run));
    }

    /// The finalizer could not be taken off this run.
    pub(super) fn left(&mut self, run: RunKey, why: String) {
        self.left.count += 1;
        if self.left.named.len() < NAMED_MAX {
            self.left.named.push((run, why));
        }
    }

    /// The sentences for people. `dry_run`: nothing was done.
    pub(super) fn report(&self, dry_run: bool) -> String {
        if self.released == 0 && self.left.count == 0 {
            return match self.not_served {
                true => "the cluster has no definition of TestPlanRuns: nothing to do".to_owned(),
                false => format!("no TestPlanRun has the finalizer {FINALIZER}: nothing to do"),
            };
        }
        let (took, were) = if dry_run { ("would take", "are") } else { ("took", "were") };
        format!(
            "{took} the finalizer {FINALIZER} off {}\n{} of them {were} being deleted with plans that are not known to be \
             stopped; this command stops nothing at Testinium, so these may go on running",
            runs(self.released),
            self.unstopped
        )
    }

    /// Fails if a run still has the finalizer.
    pub(super) fn complete(self) -> Result<(), Left> {
        if self.left.count == 0 { Ok(()) } else { Err(self.left) }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} still with the finalizer {FINALIZER}:", runs(self.count))?;
        for (run, why) in &self.named {
            write!(f, "\n  {run}: {why}")?;
        }
        match self.count - self.named.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

fn runs(count: usize) -> String {
    if count == 1 { "1 TestPlanRun".to_owned() } else { format!("{count} TestPlanRuns") }
}

/// Whether every plan is on record as stopped, or as not running.
fn is_stopped(run: &HeldRun) -> bool {
    let words = [Outcome::Accepted, Outcome::NotRunning].map(<&str>::from);
    let stopped: BTreeSet<i64> = run
        .outcomes
        .iter()
        .filter(|(_, outcome)| words.contains(&outcome.as_str()))
        .map(|(id, _)| *id)
        .collect();
    run.plans.as_ref().is_some_and(|plans| plans.iter().all(|plan| stopped.contains(plan)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_stopped_only_if_every_plan_is_on_record_as_stopped() {
        let rows = [
            ("all of them", Some(vec![1, 2]), &[(1, "Accepted"), (2, "NotRunning")][..], true),
            ("one is pending", Some(vec![1, 2]), &[(1, "Accepted"), (2, "Pending")], false),
            ("one is not told of", Some(vec![1, 2]), &[(1, "Accepted")], false),
            ("one was rejected", Some(vec![1]), &[(1, "Rejected")], false),
            ("a word of another version", Some(vec![1]), &[(1, "Perhaps")], false),
            ("nothing is known", None, &[(1, "Accepted")], false),
        ];
        for (name, plans, outcomes, expected) in rows {
            assert_eq!(is_stopped(&HeldRun::made_of("n", true, plans, outcomes)), expected, "{name}");
        }
    }

    #[test]
    fn the_report_counts_those_whose_plans_may_go_on() {
        let mut tally = Tally::default();
        tally.released(&HeldRun::made_of("kept", false, Some(vec![1]), &[]));
        tally.released(&HeldRun::made_of("stopped", true, Some(vec![1]), &[(1, "Accepted")]));
        tally.released(&HeldRun::made_of("unstopped", true, Some(vec![1]), &[]));
        let report = tally.report(false);
        assert!(
            report.starts_with("took the finalizer testinium.io/stop off 3 TestPlanRuns\n1 of them were "),
            "{report}"
        );
        assert!(tally.report(true).starts_with("would take the finalizer testinium.io/stop off 3"));
        assert!(tally.complete().is_ok());
    }

    #[test]
    fn where_there_is_nothing_to_do_the_report_says_why() {
        let no_run = Tally::default().report(false);
        assert_eq!(no_run, "no TestPlanRun has the finalizer testinium.io/stop: nothing to do");
        let no_definition = Tally { not_served: true, ..Tally::default() }.report(false);
        assert_eq!(no_definition, "the cluster has no definition of TestPlanRuns: nothing to do");
    }

    #[test]
    fn the_first_ten_that_are_left_are_named_with_the_reason() {
        let mut tally = Tally::default();
        for index in 0..12 {
            tally.left(RunKey::new("qa", format!("run-{index}")), "you may not".to_owned());
        }
        let said = tally.complete().expect_err("runs are left").to_string();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 12, "{said}");
        assert_eq!(lines[0], "12 TestPlanRuns still with the finalizer testinium.io/stop:");
        assert_eq!((lines[1], lines[11]), ("  qa/run-0: you may not", "  and 2 more"));
    }
}
