//! Objects that several tests begin with.

use jiff::Timestamp;

use crate::api::{
    TestPlanCleanupStatus, TestPlanRunSpec, TestPlanRunStatus, TestiniumGatewaySpec, TestiniumGatewayStatus,
};
use crate::machine::{CleanupKey, CleanupView, GatewayKey, GatewayView, RunKey, RunView, Version};

/// A run that nobody has asked anything of yet.
pub(in crate::machine) fn run(namespace: &str, name: &str, plans: Vec<i64>) -> RunView {
    RunView {
        key: RunKey::new(namespace, name),
        uid: format!("{namespace}-{name}").into(),
        version: Version(1),
        generation: 1,
        stop_annotation: None,
        retry_annotation: None,
        cleanup_annotation: None,
        requested_by: None,
        reconcile_annotation: None,
        restored: None,
        keep_until: None,
        deleted: None,
        finalizers: Vec::new(),
        marks: None,
        created: None,
        written: None,
        spec: TestPlanRunSpec {
            plans,
            stopped: None,
            reason: None,
            gateway_ref: None,
            active_deadline_seconds: None,
            stop_deadline_seconds: None,
            ttl_seconds_after_finished: None,
            deletion_policy: None,
        },
        status: TestPlanRunStatus::default(),
        stopped_set: None,
        annotation_set: None,
        gateway_set: None,
        plans_set: None,
        retry_set: None,
        deadline_set: None,
        cleanup_set: None,
        policy_set: None,
    }
}

/// The gateway "default" of a namespace.
pub(in crate::machine) fn gateway(namespace: &str) -> GatewayView {
    GatewayView { uid: format!("{namespace}-gateway").into(), ..gateway_named(namespace, "default") }
}

/// A gateway of a namespace.
pub(in crate::machine) fn gateway_named(namespace: &str, name: &str) -> GatewayView {
    let spec: TestiniumGatewaySpec = serde_json::from_value(serde_json::json!({
        "url": format!("https://{namespace}.example.com"),
        "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
        "batching": {"maxPlans": 4},
        "limits": {"maxInFlight": 2, "requestsPerSecond": 1000},
        "retry": {"maxDelaySeconds": 5},
    }))
    .expect("a valid gateway");
    GatewayView {
        key: GatewayKey::new(namespace, name),
        uid: format!("{namespace}-{name}").into(),
        version: Version(1),
        generation: 1,
        reconcile_annotation: None,
        spec,
        status: TestiniumGatewayStatus::default(),
    }
}

/// A cleanup rule that stops what is labelled, at its schedule.
pub(in crate::machine) fn cleanup(namespace: &str, schedule: &str) -> CleanupView {
    let spec = serde_json::json!({
        "schedule": schedule, "action": "Stop", "selector": {"matchLabels": {"load": "heavy"}},
    });
    CleanupView {
        key: CleanupKey::new(namespace, "sweep"),
        uid: format!("{namespace}-sweep").into(),
        version: Version(1),
        generation: 1,
        run_now: None,
        restored: None,
        created: Some(wall(0)),
        spec: serde_json::from_value(spec).expect("a valid rule"),
        status: TestPlanCleanupStatus::default(),
    }
}

/// The wall clock of a test whose monotonic one says this.
pub(in crate::machine) fn wall(mono: u64) -> Timestamp {
    let start = Timestamp::from_second(1_800_000_000).expect("a valid time");
    start + jiff::SignedDuration::from_millis(i64::try_from(mono).expect("a small time"))
}
