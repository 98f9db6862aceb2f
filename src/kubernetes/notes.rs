//! The operator's own notes: statuses, which another version of it, or anybody with the right to, may have written.
//!
//! They are read tolerantly and apart from the spec. What this version can't read is left out, so that no status makes an
//! object unreadable, which would make it deaf to stops.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use serde_path_to_error::Segment;
use strum::VariantArray;

use crate::api::{Outcome, TestPlanRunStatus, TestiniumGatewayStatus, Trigger};

/// A status, with the meaning of words that this version does not know.
pub(super) trait Notes: DeserializeOwned + Default {
    /// Puts a word that this version knows in the place of each one that it does not.
    fn translate(_: &mut Value) {}
}

/// The most parts that are left out one by one. A status that is wrong in more places is left out as a whole.
const PARTS_MAX: usize = 32;

/// The status of an object, as far as it can be read.
pub(super) fn read<T: Notes>(raw: &RawValue) -> T {
    if let Ok(status) = serde_json::from_str(raw.get()) {
        return status;
    }
    let Ok(mut value) = serde_json::from_str::<Value>(raw.get()) else { return T::default() };
    T::translate(&mut value);
    for _ in 0..PARTS_MAX {
        let path = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(status) => return status,
            Err(error) => error.path().clone(),
        };
        if !remove(&mut value, path.iter()) {
            break;
        }
    }
    T::default()
}

/// Removes what is at a path: a field, or an item of a list. Tells whether there was such a part.
fn remove<'a>(value: &mut Value, path: impl Iterator<Item = &'a Segment>) -> bool {
    let steps: Vec<_> =
        path.filter(|step| !matches!(step, Segment::Enum { .. } | Segment::Unknown)).collect();
    let Some((last, way)) = steps.split_last() else { return false };
    let mut parent = Some(value);
    for step in way {
        parent = parent.and_then(|value| match step {
            Segment::Seq { index } => value.get_mut(index),
            Segment::Map { key } => value.get_mut(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
    }
    match (parent, last) {
        (Some(Value::Array(items)), Segment::Seq { index }) if *index < items.len() => {
            items.remove(*index);
            true
        }
        (Some(Value::Object(fields)), Segment::Map { key }) => fields.remove(key).is_some(),
        _ => false,
    }
}

impl Notes for TestPlanRunStatus {
    /// An outcome that this version does not know is `Unknown`, with its word as the reason: the plan has an outcome, so
    /// it is not sent again, and it is not called stopped. A trigger that is not known is an event, as the annotation is:
    /// a stop that stands.
    fn translate(status: &mut Value) {
        let known: BTreeSet<&'static str> = Outcome::VARIANTS.iter().map(Into::into).collect();
        for plan in status.get_mut("plans").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(word) = plan.get("outcome").and_then(Value::as_str).map(str::to_owned) else { continue };
            if !known.contains(word.as_str()) {
                let outcome: &'static str = Outcome::Unknown.into();
                plan["outcome"] = outcome.into();
                plan["reason"] = word.into();
            }
        }
        let trigger = status.get_mut("stop").and_then(|stop| stop.get_mut("trigger"));
        if let Some(trigger) = trigger.filter(|trigger| trigger.is_string())
            && serde_json::from_value::<Trigger>(trigger.clone()).is_err()
        {
            *trigger = "Annotation".into();
        }
    }
}

impl Notes for TestiniumGatewayStatus {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(value: &Value) -> TestPlanRunStatus {
        let raw = RawValue::from_string(value.to_string()).expect("it is JSON");
        read(&raw)
    }

    #[test]
    fn a_word_of_another_version_is_an_outcome_that_is_not_known() {
        let told =
            status(&json!({"plans": [{"id": 1, "outcome": "Confirmed"}, {"id": 2, "outcome": "Accepted"}],
            "stop": {"trigger": "Deadline", "attempts": 2}}));
        let plans: Vec<_> =
            told.plans.iter().map(|plan| (plan.id, plan.outcome, plan.reason.as_deref())).collect();
        assert_eq!(plans, [(1, Outcome::Unknown, Some("Confirmed")), (2, Outcome::Accepted, None)]);
        let stop = told.stop.expect("the stop stands");
        assert_eq!((stop.trigger, stop.attempts), (Some(Trigger::Annotation), Some(2)));
    }

    #[test]
    fn what_cannot_be_read_is_left_out_alone() {
        let time = "2026-01-02T03:04:05Z";
        let good = json!({"type": "Ready", "status": "True", "reason": "A", "message": "", "lastTransitionTime": time});
        let told = status(&json!({
            "observedGeneration": 3, "summary": 5, "startTime": "yesterday",
            "plans": [{"id": 1, "outcome": "Accepted", "message": {}}, {"id": "two", "outcome": "Accepted"}, 3,
                      {"id": 4, "outcome": 4}],
            "stop": {"trigger": "Spec", "observedStopped": "yes", "attempts": 1},
            "conditions": [{"type": "Stopped", "status": "True", "reason": "A", "message": ""}, good],
        }));
        assert_eq!((told.observed_generation, told.summary, told.start_time), (Some(3), None, None));
        assert_eq!(told.plans.iter().map(|plan| plan.id).collect::<Vec<_>>(), [1]);
        let stop = told.stop.expect("the stop stands");
        assert_eq!((stop.trigger, stop.observed_stopped), (Some(Trigger::Spec), None));
        assert_eq!(told.conditions.iter().map(|told| told.type_.as_str()).collect::<Vec<_>>(), ["Ready"]);
    }

    #[test]
    fn a_status_of_another_type_is_none() {
        for odd in [json!("done"), json!([]), json!(7), json!(true)] {
            assert_eq!(status(&odd), TestPlanRunStatus::default(), "{odd}");
        }
        let many: Vec<_> = (0..100).map(|id| json!({"id": id.to_string(), "outcome": "Accepted"})).collect();
        assert_eq!(status(&json!({ "plans": many })), TestPlanRunStatus::default());
    }
}
