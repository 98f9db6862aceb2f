//! A cleanup rule, as its spec says it, parsed once.

use jiff::SignedDuration;

use crate::api::{CleanupAction, LabelOperator, LabelRequirement, RunSelector, TestPlanCleanupSpec};
use crate::machine::cleanups::schedule::{Schedule, ScheduleError};

/// A rule that can be followed, but perhaps for its schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub schedule: Result<Schedule, ScheduleError>,
    /// The label selector, as a list takes it.
    pub selector: String,
    pub action: CleanupAction,
    pub older_than: SignedDuration,
    /// Most runs that are stopped or deleted at one time.
    pub max: u64,
    pub is_dry: bool,
    pub is_suspended: bool,
    pub starting_deadline: SignedDuration,
    pub reason: Option<String>,
}

/// The defaults of the schema's descriptions.
const MAX_PER_RUN: i64 = 100;
const STARTING_DEADLINE_SECONDS: i64 = 600;

// === impl Rule ===

impl Rule {
    pub fn of(spec: &TestPlanCleanupSpec) -> Self {
        let TestPlanCleanupSpec {
            schedule,
            time_zone,
            selector,
            older_than_seconds,
            action,
            dry_run,
            max_per_run,
            suspend,
            starting_deadline_seconds,
            reason,
        } = spec;
        let selector = selector_text(selector);
        let schedule = Schedule::parse(schedule, time_zone.as_deref());
        // The schema refuses it; an object of another schema must not clean up everything.
        let nothing =
            || ScheduleError::Invalid("spec.selector is empty, and would select every run".to_owned());
        Self {
            schedule: if selector.is_empty() { Err(nothing()) } else { schedule },
            selector,
            action: *action,
            older_than: SignedDuration::from_secs(older_than_seconds.unwrap_or(0).max(0)),
            max: u64::try_from(max_per_run.unwrap_or(MAX_PER_RUN)).unwrap_or(0),
            is_dry: dry_run.unwrap_or(false),
            is_suspended: suspend.unwrap_or(false),
            starting_deadline: SignedDuration::from_secs(
                starting_deadline_seconds.unwrap_or(STARTING_DEADLINE_SECONDS),
            ),
            reason: reason.clone(),
        }
    }

    /// Whether it asks for stops.
    pub fn stops(&self) -> bool {
        match self.action {
            CleanupAction::Stop | CleanupAction::StopThenDelete => true,
            CleanupAction::Delete => false,
        }
    }
}

fn selector_text(selector: &RunSelector) -> String {
    let RunSelector { match_labels, match_expressions } = selector;
    let labels = match_labels.iter().map(|(name, value)| format!("{name}={value}"));
    let expressions = match_expressions.iter().map(requirement_text);
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

fn requirement_text(requirement: &LabelRequirement) -> String {
    let LabelRequirement { key, operator, values } = requirement;
    let values = values.join(",");
    match operator {
        LabelOperator::In => format!("{key} in ({values})"),
        LabelOperator::NotIn => format!("{key} notin ({values})"),
        LabelOperator::Exists => key.clone(),
        LabelOperator::DoesNotExist => format!("!{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(spec: serde_json::Value) -> Rule {
        Rule::of(&serde_json::from_value(spec).expect("a spec"))
    }

    #[test]
    fn a_selector_is_that_of_kubectl() {
        let rule = rule(serde_json::json!({
            "schedule": "@daily", "action": "Stop",
            "selector": {
                "matchLabels": {"load": "heavy", "a.example.com/b": ""},
                "matchExpressions": [
                    {"key": "team", "operator": "In", "values": ["qa", "dev"]},
                    {"key": "tier", "operator": "NotIn", "values": ["prod"]},
                    {"key": "x", "operator": "Exists"},
                    {"key": "y", "operator": "DoesNotExist"},
                ],
            },
        }));
        assert_eq!(rule.selector, "a.example.com/b=,load=heavy,team in (qa,dev),tier notin (prod),x,!y");
    }

    #[test]
    fn defaults_are_those_of_the_schema_and_an_empty_selector_selects_nothing() {
        let spec = serde_json::json!({"schedule": "@daily", "action": "Delete", "selector": {"matchLabels": {"a": "b"}}});
        let first = rule(spec.clone());
        let numbers = (first.max, first.older_than.as_secs(), first.starting_deadline.as_secs());
        assert_eq!(numbers, (100, 0, 600));
        assert!(!first.is_dry && !first.is_suspended && !first.stops() && first.schedule.is_ok());
        let mut empty = spec;
        empty["selector"] = serde_json::json!({});
        assert!(matches!(rule(empty).schedule, Err(ScheduleError::Invalid(why)) if why.contains("empty")));
    }
}
