//! The end of a run's object: its deletion after the TTL, and its finalizer, which holds a deletion up.

use jiff::Timestamp;

use crate::api::Outcome;
use crate::machine::effect::FinalizerChange;
use crate::machine::ids::PlanId;
use crate::machine::limits::TELLS_FOR;
use crate::machine::runs::plan::PlanState;
use crate::machine::runs::run::Run;
use crate::machine::runs::ttl::{Ttl, ttl_of};
use crate::machine::time::{Millis, Now};
use crate::machine::view::RunView;

// === impl Run ===

impl Run {
    /// Takes in when the object may be deleted, and whether a deletion has to wait.
    pub(in crate::machine) fn look_at_object(&mut self, view: &RunView, now: Now) {
        self.look_at_ttl(view, now);
        self.finalizer.observe(view, self.observed.deletion, now);
        self.due = [self.due, self.finalizer.refused_until].into_iter().flatten().min();
    }

    /// The object stays for as long as anything is left to stop.
    fn look_at_ttl(&mut self, view: &RunView, now: Now) {
        let Ttl { over_at, kept_for } = ttl_of(view);
        let is_finished = self.is_stop_requested() && self.unasked.is_empty() && self.all_settled();
        (self.ends_at, self.kept_for) = (over_at.filter(|_| is_finished), kept_for);
        self.deletion_asked = false;
        // A time that has come is acted on now, and not waited for.
        let to_come = self.ends_at.filter(|at| *at > now.wall);
        self.due = [self.due, to_come].into_iter().flatten().min();
    }

    /// Whether its object may be deleted now: all that its status has to say is written, and its TTL is over.
    pub fn is_over(&self, now: Now) -> bool {
        self.is_written() && self.ends_at.is_some_and(|at| at <= now.wall)
    }

    /// The change of the finalizer that is due. It goes only after the outcome of every plan was written.
    pub fn finalizer_change(&self) -> Option<FinalizerChange> {
        self.finalizer.change(|| !self.unwritten && self.statement.is_none() && self.all_settled())
    }

    /// Whether its deletion waits for plans that are still to be stopped.
    pub fn holds_deletion(&self) -> bool {
        self.finalizer.holds() && !self.all_settled()
    }

    /// The moment from which on its deletion does not wait for plans any longer.
    fn held_until(&self) -> Option<Millis> {
        self.finalizer.until.filter(|_| self.holds_deletion())
    }

    /// The moment from which on its deletion does not even wait until status tells.
    fn overdue_at(&self) -> Option<Millis> {
        self.finalizer.until.filter(|_| !self.finalizer.is_overdue).map(|until| until + TELLS_FOR)
    }

    /// The next moment at which its deletion waits no longer for something.
    pub fn deletion_at(&self) -> Option<Millis> {
        self.held_until().or_else(|| self.overdue_at())
    }

    /// Whether its deletion waits for plans and has waited for long enough.
    pub fn has_waited_in_vain(&self, now: Millis) -> bool {
        self.held_until().is_some_and(|until| until <= now)
    }

    /// Takes in that its deletion has waited for long enough until status tells.
    pub fn look_at_overdue(&mut self, now: Millis) {
        self.finalizer.is_overdue |= self.overdue_at().is_some_and(|at| at <= now);
    }

    /// Gives up what is left to be stopped, so that the object may go. A call under way is waited for only if there
    /// is time. Yields the plans that are given up, and of them those that waited for a call.
    pub fn let_go(&mut self, has_time: bool) -> (Vec<Outcome>, Vec<PlanId>) {
        let (mut given_up, mut queued) = (Vec::new(), Vec::new());
        // From now on no call is repeated, so one that is under way and fails is the last.
        self.finalizer.gave_up = true;
        for plan in self.plans.iter_mut().filter(|plan| !plan.is_settled()) {
            if plan.is_queued() {
                queued.push(plan.id);
            } else if has_time {
                continue;
            } else {
                // Its answer will come too late.
                plan.maybe_stopped = true;
            }
            let settled = plan.let_go();
            given_up.push(settled.outcome);
            plan.state = PlanState::Settled(settled);
        }
        self.dirty |= !given_up.is_empty();
        self.unwritten |= !given_up.is_empty();
        (given_up, queued)
    }

    /// The API server does not let the finalizer be put on, so the policy is not in effect, which status tells.
    pub fn finalizer_refused(&mut self, again: Timestamp) {
        self.finalizer.refused_until = Some(again);
        self.due = [self.due, Some(again)].into_iter().flatten().min();
        self.dirty = true;
    }
}
