//! The deletion of a run whose `spec.deletionPolicy` is Stop: its plans are stopped before its object goes.
//!
//! A finalizer holds the object up meanwhile (rule 17 of `docs/requests.md`). It is put on when the run is first seen, and
//! only where the operator may patch runs in all namespaces: when a namespace is torn down, a right that was granted in
//! it alone may go before the finalizer does, and then nobody could take that off. Without the finalizer a deletion asks
//! for nothing, and the operator learns of it when the object is gone.
//!
//! Like a deadline, a deletion is an event: it asks once, for the plans that the present stop has neither stopped nor is
//! working on. `status.stop.observedDeletion` remembers that, with the time at which an operator first saw it, from which
//! on the object is held for `HOLDS_FOR` at most. The finalizer is taken off
//!
//! - once every plan has its outcome and status tells it;
//! - if the policy is set to Orphan;
//! - at the end of that time, or if nothing can be sent: there is no gateway, no credential, or the gateway is suspended.
//!   What was not sent by then is given up as Expired, which status tells before the object goes;
//! - `TELLS_FOR` after that, even if the API server takes no status.
//!
//! "No gateway" and "no credential" count only where nothing is remembered of them in this process, for a namespace is
//! torn down in one sweep, in no order.
//! Tests: `rule_17_*` here and in `src/machine/checks/scenarios/deletions.rs`; the model's
//! `a_deletion_is_held_until_its_plans_are_stopped_in_every_order`; `tests/blackbox/deletions.rs`.

use jiff::Timestamp;
use strum::{IntoStaticStr, VariantArray};

use crate::api::{DeletionPolicy, FINALIZER};
use crate::machine::effect::FinalizerChange;
use crate::machine::limits::{HOLDS_FOR, HOLDS_FOR_LEAST};
use crate::machine::runs::ttl::was_over_before;
use crate::machine::time::{Millis, Now};
use crate::machine::view::RunView;

/// How a run's object is held against its deletion.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Finalizer {
    /// `spec.deletionPolicy` is Stop.
    pub is_wanted: bool,
    /// It is on the object.
    pub is_on: bool,
    /// The object's other finalizers.
    pub others: Box<[Box<str>]>,
    /// Whether the operator may put it on; none while that is not known.
    pub may_put: Option<bool>,
    /// The API server has refused to have it put on, and is asked again then.
    pub refused_until: Option<Timestamp>,
    /// The object is being deleted.
    pub is_deleted: bool,
    /// The deletion waits for plans to be stopped and told, until then at most.
    pub until: Option<Millis>,
    /// The deletion has waited for long enough, or in vain: what is left is given up.
    pub gave_up: bool,
    /// It waits no longer, not even until status tells.
    pub is_overdue: bool,
    /// Status tells that the API server has refused it.
    pub is_refusal_told: bool,
}

/// The reasons for which the policy is not in effect.
const NO_RIGHT: &str = "the operator may not patch testplanruns in all namespaces, and so might be unable to take its finalizer off again";
const REFUSED: &str =
    "the API server refuses the finalizer testinium.io/stop; the operator tries it again every five minutes";

/// Why a deletion does not wait any longer although plans are left to be stopped.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, PartialEq, VariantArray)]
pub enum LetGo {
    /// There is no gateway, no credential, or the gateway is suspended.
    NothingToSend,
    /// It has waited for as long as it may.
    TimeOver,
}

// === impl Finalizer ===

impl Finalizer {
    /// Takes in the object as it now is. `seen`: when its deletion was first seen, if that asks or has asked.
    pub fn observe(&mut self, view: &RunView, seen: Option<Timestamp>, now: Now) {
        let (ours, others): (Vec<_>, Vec<_>) = view.finalizers.iter().partition(|name| *name == FINALIZER);
        self.is_wanted = view.spec.deletion_policy == Some(DeletionPolicy::Stop);
        self.is_on = !ours.is_empty();
        self.others = others.into_iter().map(|name| name.as_str().into()).collect();
        self.is_deleted = view.deleted.is_some();
        self.refused_until = self.refused_until.filter(|until| *until > now.wall);
        // What has nothing to be stopped waits until that is told.
        let seen = waits_for_stop(view).then(|| seen.unwrap_or(now.wall));
        self.until = seen.map(|seen| self.until.unwrap_or_else(|| held_until(seen, now)));
        self.gave_up &= self.holds();
        self.is_overdue &= self.holds();
        let told = view.status.stop.as_ref().and_then(|stop| stop.deletion_skipped.as_deref());
        self.is_refusal_told = told == Some(REFUSED);
    }

    /// Whether the deletion of the object waits until plans are stopped.
    pub fn holds(&self) -> bool {
        self.until.is_some()
    }

    /// Whether the present plans are worth another call.
    pub fn has_time(&self, now: Millis) -> bool {
        !self.gave_up && self.until.is_none_or(|until| now < until)
    }

    /// The change that is due. `is_told`: whether every plan has its outcome, and status tells it. That takes a look at
    /// every plan, so only a deletion that waits asks for it.
    pub fn change(&self, is_told: impl FnOnce() -> bool) -> Option<FinalizerChange> {
        let may_put = self.may_put == Some(true) && self.refused_until.is_none();
        match (self.is_deleted, self.is_on) {
            (false, false) if self.is_wanted && may_put => Some(FinalizerChange::PutOn),
            (false, true) if !self.is_wanted => Some(FinalizerChange::TakeOff),
            (true, true) if !self.holds() || self.is_overdue || is_told() => Some(FinalizerChange::TakeOff),
            (false | true, false | true) => None,
        }
    }

    /// Whether the object goes with it: it was the last one.
    pub fn is_gone(&self) -> bool {
        self.is_deleted && !self.is_on && self.others.is_empty()
    }

    /// Whether it is not known yet if the finalizer may be put on.
    pub fn waits_for_rights(&self) -> bool {
        self.is_wanted && !self.is_on && !self.is_deleted && self.may_put.is_none()
    }

    /// Why the policy is not in effect.
    pub fn skipped(&self) -> Option<&'static str> {
        match (self.may_put, self.refused_until) {
            _ if !self.is_wanted || self.is_on || self.is_deleted => None,
            (Some(false), _) => Some(NO_RIGHT),
            // While it is tried once more, status does not say otherwise.
            (_, refused) if refused.is_some() || self.is_refusal_told => Some(REFUSED),
            (None | Some(true), _) => None,
        }
    }

    /// The finalizers that the object is to have after a change.
    pub fn after(&self, change: FinalizerChange) -> Vec<String> {
        let ours = (change == FinalizerChange::PutOn).then(|| FINALIZER.to_owned());
        self.others.iter().map(|name| name.to_string()).chain(ours).collect()
    }
}

/// Whether the deletion of an object begins to ask for a stop. `seen`: when it was seen before.
pub fn deletion_begins(view: &RunView, seen: Option<Timestamp>) -> bool {
    let is_wanted = view.spec.deletion_policy == Some(DeletionPolicy::Stop);
    seen.is_none() && is_wanted && waits_for_stop(view)
}

/// Whether a deletion that begins asks for plans. After the end of a TTL the stop is over and done with.
pub fn deletion_asks(view: &RunView) -> bool {
    view.deleted.is_some_and(|deleted| !was_over_before(view, deleted))
}

/// Whether an object that is being deleted has the finalizer, and nobody says that it need not wait. A policy that is
/// removed says nothing (rule 7).
fn waits_for_stop(view: &RunView) -> bool {
    let has_finalizer = view.finalizers.iter().any(|name| name == FINALIZER);
    view.deleted.is_some() && has_finalizer && view.spec.deletion_policy != Some(DeletionPolicy::Orphan)
}

/// The moment until which the deletion waits that was first seen at this time. An operator that comes late tries at
/// least one call.
fn held_until(seen: Timestamp, now: Now) -> Millis {
    let waited = now.wall.duration_since(seen).as_millis();
    let waited = Millis(u64::try_from(waited).unwrap_or(0));
    now.mono + HOLDS_FOR.saturating_sub(waited).max(HOLDS_FOR_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::checks::fixtures::{self, wall};

    fn view(policy: Option<DeletionPolicy>, finalizers: &[&str], deleted: bool) -> RunView {
        let mut view = fixtures::run("team", "nightly", vec![1]);
        view.spec.deletion_policy = policy;
        view.finalizers = finalizers.iter().map(|name| (*name).to_owned()).collect();
        view.deleted = deleted.then(|| wall(60_000));
        view
    }

    fn now(mono: u64) -> Now {
        Now { mono: Millis(mono), wall: wall(mono) }
    }

    const STOP: Option<DeletionPolicy> = Some(DeletionPolicy::Stop);
    const ORPHAN: Option<DeletionPolicy> = Some(DeletionPolicy::Orphan);

    #[test]
    fn rule_17_the_finalizer_is_put_on_and_taken_off_in_these_situations() {
        use FinalizerChange::{PutOn, TakeOff};
        let (ours, other) = ([FINALIZER], ["example.com/x"]);
        let rows = [
            ("no policy", None, &[][..], false, true, None),
            ("the policy Orphan", ORPHAN, &other, false, true, None),
            (
                "deleted without a stop to wait for, and something is to be told",
                None,
                &ours,
                true,
                false,
                None,
            ),
            ("the policy Stop", STOP, &[], false, true, Some(PutOn)),
            ("beside another one", STOP, &other, false, true, Some(PutOn)),
            ("it is on", STOP, &ours, false, true, None),
            ("the policy went back", ORPHAN, &ours, false, true, Some(TakeOff)),
            ("the policy was removed", None, &ours, false, true, Some(TakeOff)),
            ("deleted without it", STOP, &other, true, true, None),
            ("deleted, and all is told", STOP, &ours, true, true, Some(TakeOff)),
            ("deleted, and something is left", STOP, &ours, true, false, None),
            ("deleted, and Orphan", ORPHAN, &ours, true, false, Some(TakeOff)),
            ("deleted without a policy ever, and all is told", None, &ours, true, true, Some(TakeOff)),
        ];
        for (name, policy, finalizers, deleted, is_told, expected) in rows {
            let view = view(policy, finalizers, deleted);
            let mut finalizer = Finalizer { may_put: Some(true), ..Finalizer::default() };
            let seen = deletion_begins(&view, None).then(|| wall(60_000));
            finalizer.observe(&view, seen, now(60_000));
            assert_eq!(finalizer.change(|| is_told), expected, "{name}");
        }
    }

    #[test]
    fn rule_17_without_the_right_in_all_namespaces_it_is_never_put_on() {
        for (may_put, waits, skipped) in [(None, true, false), (Some(false), false, true)] {
            let mut finalizer = Finalizer { may_put, ..Finalizer::default() };
            finalizer.observe(&view(STOP, &[], false), None, now(0));
            assert_eq!(finalizer.change(|| true), None);
            assert_eq!((finalizer.waits_for_rights(), finalizer.skipped().is_some()), (waits, skipped));
            finalizer.observe(&view(ORPHAN, &[FINALIZER], false), None, now(0));
            assert_eq!(
                finalizer.change(|| true),
                Some(FinalizerChange::TakeOff),
                "it is taken off all the same"
            );
        }
    }

    #[test]
    fn a_finalizer_that_is_refused_is_tried_again_when_its_pause_is_over() {
        let mut finalizer = Finalizer { may_put: Some(true), ..Finalizer::default() };
        finalizer.refused_until = Some(wall(60_000));
        for (at, expected) in [(59_000, None), (60_000, Some(FinalizerChange::PutOn))] {
            finalizer.observe(&view(STOP, &[], false), None, now(at));
            assert_eq!(
                (finalizer.change(|| true), finalizer.skipped().is_none()),
                (expected, expected.is_some())
            );
        }
    }

    #[test]
    fn rule_17_what_can_not_be_told_holds_nothing_up_for_ever() {
        let mut finalizer = Finalizer::default();
        finalizer.observe(&view(STOP, &[FINALIZER], true), None, now(60_000));
        assert_eq!(finalizer.change(|| false), None);
        finalizer.is_overdue = true;
        assert_eq!(finalizer.change(|| false), Some(FinalizerChange::TakeOff));
    }

    #[test]
    fn other_finalizers_stay_in_their_order() {
        let mut finalizer = Finalizer::default();
        finalizer.observe(&view(STOP, &["a/b", FINALIZER, "foregroundDeletion"], false), None, now(0));
        assert_eq!(finalizer.after(FinalizerChange::TakeOff), ["a/b", "foregroundDeletion"]);
        finalizer.observe(&view(STOP, &["a/b", "c/d"], false), None, now(0));
        assert_eq!(finalizer.after(FinalizerChange::PutOn), ["a/b", "c/d", FINALIZER]);
    }

    #[test]
    fn rule_17_a_deletion_begins_once_and_goes_on_without_a_policy() {
        let seen = Some(wall(60_000));
        assert!(deletion_begins(&view(STOP, &[FINALIZER], true), None));
        for (name, view, seen) in [
            ("it was seen before", view(STOP, &[FINALIZER], true), seen),
            ("nothing holds it", view(STOP, &[], true), None),
            ("nobody asks for that", view(None, &[FINALIZER], true), None),
            ("it is not being deleted", view(STOP, &[FINALIZER], false), None),
        ] {
            assert!(!deletion_begins(&view, seen), "{name}");
        }
        let mut finalizer = Finalizer::default();
        finalizer.observe(&view(None, &[FINALIZER], true), seen, now(60_000));
        assert!(finalizer.holds(), "a policy that is removed takes nothing back");
        finalizer.observe(&view(ORPHAN, &[FINALIZER], true), seen, now(60_000));
        assert!(!finalizer.holds());
    }

    #[test]
    fn rule_17_an_object_is_held_for_300_seconds_from_its_first_sight_and_for_one_call_at_least() {
        let deleted = view(STOP, &[FINALIZER], true);
        let rows = [
            ("seen now", 100, 100, 390),
            ("seen by an earlier process", 100, 250, 390),
            ("it was seen so long ago that the time is over", 100, 4_000, 4_015),
            ("a clock that has gone back", 500, 100, 390),
        ];
        for (name, seen, at, until) in rows {
            let mut finalizer = Finalizer::default();
            finalizer.observe(&deleted, Some(wall(seen * 1_000)), now(at * 1_000));
            assert_eq!(finalizer.until, Some(Millis(until * 1_000)), "{name}");
            assert!(
                finalizer.has_time(Millis(until * 1_000 - 1)) && !finalizer.has_time(Millis(until * 1_000))
            );
            finalizer.observe(&deleted, Some(wall(seen * 1_000)), now(at * 1_000 + 7_000));
            assert_eq!(finalizer.until, Some(Millis(until * 1_000)), "{name}: a later look changes nothing");
        }
    }
}
