//! The numbers of plans by outcome, and lists of plans, in words.

use crate::api::Outcome;
use crate::machine::ids::PlanId;
use crate::machine::limits::NAMED_IDS_MAX;

/// The numbers of plans by outcome.
#[derive(Debug, Default)]
pub struct PlanTally {
    pub pending: usize,
    pub accepted: usize,
    pub not_running: usize,
    pub rejected: usize,
    pub unknown: usize,
    pub expired: usize,
    pub withdrawn: usize,
}

// === impl PlanTally ===

impl PlanTally {
    pub fn of(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes {
            *match outcome {
                Outcome::Pending => &mut tally.pending,
                Outcome::Accepted => &mut tally.accepted,
                Outcome::NotRunning => &mut tally.not_running,
                Outcome::Rejected => &mut tally.rejected,
                Outcome::Unknown => &mut tally.unknown,
                Outcome::Expired => &mut tally.expired,
                Outcome::Withdrawn => &mut tally.withdrawn,
            } += 1;
        }
        tally
    }

    /// The plans that are stopped.
    pub fn good(&self) -> usize {
        self.accepted + self.not_running
    }

    /// The plans whose stop has ended without success.
    pub fn bad(&self) -> usize {
        self.rejected + self.unknown + self.expired
    }

    /// Such as "2 accepted, 1 rejected"; "none" if the plans of the stop were all removed from the run.
    pub fn text(&self) -> String {
        let parts = [
            (self.pending, "pending"),
            (self.accepted, "accepted"),
            (self.not_running, "not running"),
            (self.rejected, "rejected"),
            (self.unknown, "unknown"),
            (self.expired, "expired"),
            (self.withdrawn, "taken back before they were sent"),
        ];
        let parts: Vec<_> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }
}

/// The subject of a sentence about these plans, such as "plan 77" or "plans 1, 2, 3, 4, 5 and 10 more".
pub fn plans_by_name(ids: &[PlanId]) -> String {
    let named: Vec<_> = ids.iter().take(NAMED_IDS_MAX).map(ToString::to_string).collect();
    let noun = if ids.len() == 1 { "plan" } else { "plans" };
    match ids.len().saturating_sub(NAMED_IDS_MAX) {
        0 => format!("{noun} {}", named.join(", ")),
        more => format!("{noun} {} and {more} more", named.join(", ")),
    }
}

/// The verb of a sentence about them.
pub fn was_or_were(ids: &[PlanId]) -> &'static str {
    if ids.len() == 1 { "was" } else { "were" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_five_plans_are_named_and_the_others_counted() {
        let named = |ids: &[i64]| plans_by_name(&ids.iter().copied().map(PlanId).collect::<Vec<_>>());
        let rows: [(&[i64], &str); 4] = [
            (&[77], "plan 77"),
            (&[1, 2], "plans 1, 2"),
            (&[1, 2, 3, 4, 5], "plans 1, 2, 3, 4, 5"),
            (&[9, 8, 7, 6, 5, 4, 3], "plans 9, 8, 7, 6, 5 and 2 more"),
        ];
        for (ids, expected) in rows {
            assert_eq!(named(ids), expected);
        }
    }
}
