//! Reasons of events and of plans: closed sets of words that scripts match on, so they are part of the API.
//!
//! The word is the name of the variant. Each is explained to users in `docs/messages.md`.

use strum::{IntoStaticStr, VariantArray};

/// The reason of an event.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, PartialEq, VariantArray)]
pub enum EventReason {
    /// The stop has ended, and Testinium has accepted it, apart from plans that were not running.
    StopAccepted,
    /// The stop has ended, and no plan was running.
    StopNotNeeded,
    /// The stop has ended, and only some of the plans are stopped.
    PartiallyStopped,
    /// The stop has ended, and no plan is stopped.
    StopFailed,
    /// The stop was given up at its deadline.
    StopExpired,
    /// The stop waits for its gateway.
    GatewayUnavailable,
    /// The deadline of the run has passed, and its plans are to be stopped.
    DeadlinePassed,
    /// The run is being deleted, and its plans are to be stopped before.
    StopBeforeDeletion,
    /// The deletion policy of the run is not in effect.
    DeletionSkipped,
    /// A plan was answered in a way that says nothing of it, at a gateway that is well, and is asked for again.
    PlanAskedAgain,
    /// The run was deleted before its stop had ended.
    StopAbandoned,
    /// The stop was taken back by a person, or ended because the run names another gateway.
    StopWithdrawn,
    /// The stop was taken back by a program, such as a GitOps controller.
    StopReverted,
    /// The stop goes on although what asked for it was removed.
    StopContinues,
    /// The annotation says no, but `spec.stopped` still asks for the stop.
    StopNotWithdrawn,
    /// Two programs set `spec.stopped` to different values in turn.
    StopContested,
    /// The annotation that asks for a stop is empty, which asks for nothing.
    InvalidAnnotation,
    /// The run was restored from a backup, so the stop that it carries is not repeated.
    Restored,
    /// The run is not deleted after its TTL, because something would create it again or asks to keep it.
    TTLSkipped,
    /// The API server refuses to delete the run after its TTL.
    DeletionRefused,
    /// The object can't be read, such as one whose spec was written under an earlier schema.
    Unreadable,
    /// The API server refuses the status of the run.
    StatusRefused,
    /// A cleanup rule has asked for the stop of the run.
    CleanupStops,
    /// A cleanup rule has deleted the run.
    CleanupDeletes,
    /// A cleanup rule could not do all that it was to do.
    CleanupIncomplete,
    /// A schedule of a cleanup rule was missed, and is skipped.
    ScheduleMissed,
}

/// The reason of a plan's outcome, where that is not a success. A status that another version of the operator has
/// written may hold other words.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, PartialEq, VariantArray)]
pub enum PlanReason {
    /// The stop was sent, but no answer came: the plan may be stopped or not.
    NoAnswer,
    /// The stop could not be delivered before its deadline.
    DeadlineExceeded,
    /// The run was being deleted, and its object could not wait for the stop any longer.
    ObjectDeleted,
    /// The gateway's answer is not one that Testinium documents.
    UnrecognizedAnswer,
    /// The gateway refused the plan with an error that has no word of its own here.
    GatewayError,
    /// The gateway refused the plan with HTTP 400.
    InvalidRequest,
    /// The gateway refused the plan with HTTP 403.
    Forbidden,
    /// The gateway refused the plan with HTTP 404.
    NotFound,
    /// The gateway refused the plan with HTTP 409.
    Conflict,
    /// The gateway refused the plan with HTTP 410.
    Gone,
    /// The gateway refused the plan with HTTP 413.
    TooLarge,
    /// The gateway refused the plan with HTTP 422.
    Unprocessable,
}

// === impl EventReason ===

impl EventReason {
    /// The word that users read.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

// === impl PlanReason ===

impl PlanReason {
    /// The word that users read.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../docs/messages.md");

    /// The words of the table under a heading: what stands in the first column in code style.
    fn explained(heading: &str) -> Vec<&'static str> {
        let section = PAGE.split(&format!("\n## {heading}\n")).nth(1).expect("the page has this section");
        let section = section.split("\n## ").next().unwrap_or_default();
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
    }

    #[test]
    fn the_page_explains_each_reason_of_an_event() {
        let words: Vec<_> = EventReason::VARIANTS.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(explained("The reasons of events"), words);
    }

    #[test]
    fn the_page_on_cleanup_says_what_to_do_at_each_reason() {
        const CLEANUP: &str = include_str!("../../docs/cleanup.md");
        let rows = CLEANUP.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let words: Vec<_> = rows.filter(|word| word.starts_with(char::is_uppercase)).collect();
        assert_eq!(words, crate::api::reason::OF_CLEANUPS);
    }

    #[test]
    fn the_page_explains_each_reason_of_a_plan() {
        let words: Vec<_> = PlanReason::VARIANTS.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(explained("The reasons of plans"), words);
    }
}
