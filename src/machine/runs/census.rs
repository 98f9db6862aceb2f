//! How many runs wait, for what, and for how long: for metrics.
//!
//! It is a walk over all records, so it is made every few seconds, and not at every turn.

use std::collections::BTreeMap;

use crate::machine::runs::Runs;
use crate::machine::time::{Millis, Now};
use crate::machine::wait_reason::WaitReason;

/// The runs that wait.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Census {
    /// By the reason that their statuses tell. Runs that are being stopped, or of which nothing is told yet, are not in
    /// it.
    pub waiting: BTreeMap<WaitReason, usize>,
    /// The time since the stop of a plan was asked for, of the one that has waited for the longest.
    pub oldest: Option<Millis>,
}

// === impl Runs ===

impl Runs {
    pub fn census(&self, now: Now) -> Census {
        let mut census = Census::default();
        for (_, run) in self.iter().filter(|(_, run)| run.is_stop_requested() && !run.all_settled()) {
            if let Some(Some(cause)) = run.published {
                *census.waiting.entry(cause.reason).or_default() += 1;
            }
            let pending = run.plans.iter().filter(|plan| !plan.is_settled());
            let age = pending.filter_map(|plan| run.asked_of(plan)).map(|asked| asked.age(now)).max();
            census.oldest = census.oldest.max(age);
        }
        census
    }
}
