//! The deadline of a run: its creation plus `spec.activeDeadlineSeconds`. When it has passed, the run's plans are
//! stopped, whatever `spec.stopped` says.
//!
//! A deadline is an event, so it asks once. The latest one that has passed is remembered in
//! `status.stop.observedDeadline`, whether or not it found a plan to stop: neither a restart nor a clock that goes back
//! has it ask again, and only a later deadline asks anew (rule 12 of `docs/requests.md`). The spec is not written.
//!
//! Whether it has passed is told by the API server's time, which is what the wall clock of the machine says. A run that
//! waits for its deadline is parked, and is read anew when that has come (R6): the deadline may have been moved, or the
//! clock set back meanwhile, and then the run is parked again.

use jiff::{SignedDuration, Timestamp};

use crate::machine::view::RunView;

/// The deadlines of a run that are known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Deadlines {
    /// The deadline that the spec names, as it was last seen in this term.
    pub named: Option<Timestamp>,
    /// The latest deadline that has passed.
    pub passed: Option<Timestamp>,
}

// === impl Deadlines ===

impl Deadlines {
    /// The same memory with the deadline that this object names.
    pub fn seen_in(self, view: &RunView) -> Self {
        Self { named: deadline_of(view), ..self }
    }

    /// The deadline that is still to pass. A deadline no later than one that has passed never does.
    pub fn to_come(&self) -> Option<Timestamp> {
        self.named.filter(|named| Some(*named) > self.passed)
    }

    /// Whether the named deadline has passed by now, and was not known to have.
    pub fn passes(&self, now: Timestamp) -> bool {
        self.to_come().is_some_and(|deadline| deadline <= now)
    }

    /// Whether the spec names a deadline that asks for nothing any more.
    pub fn is_spent(&self) -> bool {
        self.named.is_some() && self.to_come().is_none()
    }

    /// From now on the named deadline counts as passed.
    pub fn spend(&mut self) {
        self.passed = self.named.max(self.passed);
    }
}

/// The deadline that an object names. It counts from the object's creation, whether an operator was there or not.
pub fn deadline_of(view: &RunView) -> Option<Timestamp> {
    let seconds = view.spec.active_deadline_seconds?;
    view.created?.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// The time at which the deadline of an object asks for a stop: a deadline that was set when it had passed already asks
/// from its setting on (rule 11).
pub fn asked_by_deadline(view: &RunView) -> Option<Timestamp> {
    let set = view.deadline_set.as_ref().and_then(|set| set.time);
    deadline_of(view).max(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::checks::fixtures::{self, wall};
    use crate::machine::view::FieldSet;

    fn view(seconds: Option<i64>) -> RunView {
        let mut view = fixtures::run("team", "nightly", vec![1]);
        (view.created, view.spec.active_deadline_seconds) = (Some(wall(0)), seconds);
        view
    }

    #[test]
    fn rule_12_a_deadline_counts_from_the_creation() {
        assert_eq!(deadline_of(&view(Some(60))), Some(wall(60_000)));
        assert_eq!(deadline_of(&view(None)), None, "no deadline");
        assert_eq!(deadline_of(&view(Some(i64::MAX))), None, "beyond any time");
        let undated = RunView { created: None, ..view(Some(60)) };
        assert_eq!(deadline_of(&undated), None, "an object that does not tell its creation");
    }

    #[test]
    fn rule_11_a_deadline_asks_from_the_later_of_its_instant_and_its_setting_on() {
        let set = |time| Some(FieldSet { manager: "kubectl-patch".to_owned(), time });
        let asked = |deadline_set| asked_by_deadline(&RunView { deadline_set, ..view(Some(60)) });
        assert_eq!(asked(None), Some(wall(60_000)), "nobody owns the field");
        assert_eq!(asked(set(None)), Some(wall(60_000)), "its owner has no time");
        assert_eq!(asked(set(Some(wall(5_000)))), Some(wall(60_000)), "set before");
        assert_eq!(asked(set(Some(wall(90_000)))), Some(wall(90_000)), "set when it had passed");
    }

    #[test]
    fn rule_12_only_a_later_deadline_than_any_that_has_passed_is_to_come() {
        let rows = [
            ("no deadline", None, None, None, false),
            ("the first one, in time", Some(10), None, Some(10), false),
            ("the first one, too late", Some(5), None, Some(5), true),
            ("at its very instant", Some(7), None, Some(7), true),
            ("the one that has passed", Some(5), Some(5), None, false),
            ("an earlier one", Some(3), Some(5), None, false),
            ("a later one that has passed too", Some(6), Some(5), Some(6), true),
            ("a later one", Some(9), Some(5), Some(9), false),
        ];
        let at = |seconds: Option<u64>| seconds.map(|seconds| wall(seconds * 1_000));
        for (name, named, passed, to_come, passes) in rows {
            let mut deadlines = Deadlines { named: at(named), passed: at(passed) };
            assert_eq!((deadlines.to_come(), deadlines.passes(wall(7_000))), (at(to_come), passes), "{name}");
            assert_eq!(deadlines.is_spent(), named.is_some() && to_come.is_none(), "{name}");
            deadlines.spend();
            assert_eq!((deadlines.to_come(), deadlines.passed), (None, at(named.max(passed))), "{name}");
        }
    }
}
