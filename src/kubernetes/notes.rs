//! The operator's own notes: statuses, which another version of it, or anybody with the right to, may have written.
//!
//! They are read tolerantly and apart from the spec, so that no status makes an object unreadable, which would make it
//! deaf to stops. A word that is not known counts as unknown, and a field that can't be read as absent. The exceptions are
//! fields that say something by being there: without them a stop would begin anew, or would go on that was taken back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::api::{
    Condition, GatewayUsed, Outcome, PlanStatus, StopStatus, TestPlanCleanupStatus, TestPlanRunStatus,
    TestiniumGatewayStatus, Trigger,
};
use crate::text::bounded;

/// A status. Each of its fields may be absent.
pub(super) trait Notes: DeserializeOwned + Default {
    /// Mends the parts of it that can be mended.
    fn mend(status: &mut Value);
}

/// The longest word of another version that is kept.
const WORD_BYTES_MAX: usize = 128;

/// The status of an object, as far as it can be read.
pub(super) fn read<T: Notes>(raw: &RawValue) -> T {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| {
        let mut status = serde_json::from_str(raw.get()).unwrap_or_default();
        T::mend(&mut status);
        retain_readable::<T>(&mut status, &Map::new());
        serde_json::from_value(status).unwrap_or_default()
    })
}

impl Notes for TestPlanRunStatus {
    fn mend(status: &mut Value) {
        retain_items(status, "plans", mend_plan);
        retain_items(status, "conditions", |condition| reads::<Condition>(condition));
        if let Some(stop) = status.get_mut("stop") {
            mend_stop(stop);
        }
    }
}

impl Notes for TestiniumGatewayStatus {
    fn mend(status: &mut Value) {
        retain_items(status, "conditions", |condition| reads::<Condition>(condition));
    }
}

impl Notes for TestPlanCleanupStatus {
    fn mend(status: &mut Value) {
        retain_items(status, "conditions", |condition| reads::<Condition>(condition));
    }
}

/// An outcome that is not known is `Unknown`, with its word as the reason: the plan has an outcome, so it is not sent
/// again, and it is not called stopped. Without an id it is no plan.
fn mend_plan(plan: &mut Value) -> bool {
    let Value::Object(fields) = plan else { return false };
    if !fields.get("id").is_some_and(Value::is_i64) {
        return false;
    }
    let outcome = fields.get("outcome").unwrap_or(&Value::Null);
    if !reads::<Outcome>(outcome) {
        let word = outcome.as_str().map(|word| bounded(word.to_owned(), WORD_BYTES_MAX));
        fields.extend(word.map(|word| ("reason".to_owned(), word.into())));
        fields.insert("outcome".to_owned(), "Unknown".into());
    }
    let bare = Map::from_iter([("id".to_owned(), 1.into()), ("outcome".to_owned(), "Unknown".into())]);
    retain_readable::<PlanStatus>(plan, &bare);
    true
}

/// A stop stands if it stood, is complete if it was complete, and stays taken back. A deadline that had passed by then
/// has passed. A trigger that is not known is an event, as the annotation is: it asks once.
fn mend_stop(stop: &mut Value) {
    let Value::Object(fields) = stop else { return };
    if is_unreadable::<Trigger>(fields, "trigger") {
        fields.insert("trigger".to_owned(), "Annotation".into());
    }
    let asked = fields.get("requestTime").filter(|time| reads::<Time>(time)).cloned();
    let some_time = asked.unwrap_or_else(|| "1970-01-01T00:00:00Z".into());
    for name in ["completionTime", "withdrawnTime", "observedDeadline", "observedDeletion"] {
        if is_unreadable::<Time>(fields, name) {
            fields.insert(name.to_owned(), some_time.clone());
        }
    }
    if let Some(gateway) = fields.get_mut("gateway").filter(|gateway| !reads::<GatewayUsed>(gateway)) {
        *gateway = json!({"name": gateway.get("name")});
    }
    retain_readable::<StopStatus>(stop, &Map::new());
}

/// Whether a field is there, and can't be read.
fn is_unreadable<T: DeserializeOwned>(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name).is_some_and(|value| !value.is_null() && !reads::<T>(value))
}

fn retain_items(status: &mut Value, name: &str, keep: impl FnMut(&mut Value) -> bool) {
    if let Some(Value::Array(items)) = status.get_mut(name) {
        items.retain_mut(keep);
    }
}

/// Drops the fields of an object that can't be read. `bare`: the fields that a `T` can't be without.
fn retain_readable<T: DeserializeOwned>(object: &mut Value, bare: &Map<String, Value>) {
    if let Value::Object(fields) = object {
        fields.retain(|name, value| {
            let mut alone = bare.clone();
            alone.insert(name.clone(), value.clone());
            serde_json::from_value::<T>(Value::Object(alone)).is_ok()
        });
    }
}

fn reads<T: DeserializeOwned>(value: &Value) -> bool {
    T::deserialize(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: &Value) -> TestPlanRunStatus {
        let raw = RawValue::from_string(value.to_string()).expect("it is JSON");
        read(&raw)
    }

    #[test]
    fn an_outcome_of_another_version_is_final_and_no_success() {
        for (odd, reason) in [
            (json!("Confirmed"), Some("Confirmed")),
            (json!(7), None),
            (json!(null), None),
            (json!({}), None),
        ] {
            let told =
                status(&json!({"plans": [{"id": 1, "outcome": odd}, {"id": 2, "outcome": "Accepted"}]}));
            let plans: Vec<_> =
                told.plans.iter().map(|plan| (plan.id, plan.outcome, plan.reason.as_deref())).collect();
            assert_eq!(plans, [(1, Outcome::Unknown, reason), (2, Outcome::Accepted, None)]);
        }
        let long = status(&json!({"plans": [{"id": 1, "outcome": "x".repeat(100_000)}]}));
        assert!(long.plans[0].reason.as_ref().is_some_and(|word| word.len() <= WORD_BYTES_MAX));
    }

    #[test]
    fn a_stop_keeps_its_state_whatever_else_is_odd() {
        let stop = |field: &str, value: Value| {
            let mut stop = json!({"trigger": "Spec", "requestTime": "2026-01-02T03:04:05Z", "observedStopped": true,
                "attempts": 1, "gateway": {"name": "eu"}});
            stop[field] = value;
            status(&json!({ "stop": stop })).stop.expect("the stop stands")
        };
        for odd in [json!("Confirmation"), json!(7), json!([])] {
            assert_eq!(stop("trigger", odd).trigger, Some(Trigger::Annotation));
        }
        for odd in [json!("noon"), json!(7), json!({})] {
            let (complete, withdrawn) =
                (stop("completionTime", odd.clone()), stop("withdrawnTime", odd.clone()));
            assert!(complete.completion_time.is_some() && complete.completion_time == complete.request_time);
            assert!(withdrawn.withdrawn_time.is_some() && withdrawn.withdrawn_time == withdrawn.request_time);
            let past = stop("observedDeadline", odd.clone());
            assert!(past.observed_deadline.is_some() && past.observed_deadline == past.request_time);
            let undated = stop("requestTime", odd);
            assert_eq!((undated.trigger, undated.request_time), (Some(Trigger::Spec), None));
        }
        let gateway = stop("gateway", json!({"kind": 7, "name": "eu"})).gateway.expect("the gateway");
        assert_eq!(gateway.name, "eu");
        assert_eq!(stop("gateway", json!("eu")).gateway, None);
        let odd = stop("attempts", json!("many"));
        assert_eq!(
            (odd.trigger, odd.observed_stopped, odd.attempts),
            (Some(Trigger::Spec), Some(true), None)
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_out_alone() {
        let time = "2026-01-02T03:04:05Z";
        let good = json!({"type": "Ready", "status": "True", "reason": "A", "message": "", "lastTransitionTime": time});
        let bad: Vec<_> = (0..100).map(|id| json!({"id": id.to_string(), "outcome": "Accepted"})).collect();
        let mut plans = vec![json!({"id": 1, "outcome": "Accepted", "message": {}}), json!(3)];
        plans.extend(bad);
        let told = status(&json!({
            "observedGeneration": 3, "summary": 5, "startTime": "yesterday", "plans": plans,
            "conditions": [{"type": "Stopped", "status": "True", "reason": "A", "message": ""}, good],
        }));
        assert_eq!((told.observed_generation, told.summary, told.start_time), (Some(3), None, None));
        assert_eq!(told.plans.iter().map(|plan| plan.id).collect::<Vec<_>>(), [1]);
        assert_eq!(told.conditions.iter().map(|told| told.type_.as_str()).collect::<Vec<_>>(), ["Ready"]);
    }

    #[test]
    fn a_status_of_another_type_is_none() {
        for odd in [json!("done"), json!([]), json!(7), json!(true)] {
            assert_eq!(status(&odd), TestPlanRunStatus::default(), "{odd}");
        }
    }
}
