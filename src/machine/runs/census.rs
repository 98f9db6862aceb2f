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
    /// The time since the oldest stop that has not ended was asked for.
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
            let age = run.request.as_ref().map(|request| request.asked.age(now));
            census.oldest = census.oldest.max(age);
        }
        census
    }
}
