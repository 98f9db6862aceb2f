//! The objects that random histories begin with.

use super::{MAX_IN_FLIGHT, MAX_PLANS};
use crate::api::{TestiniumGatewaySpec, TestiniumGatewayStatus};
use crate::stop::{GatewayView, Key, RunView, Version, fixtures};

/// A run whose stop never expires within a history.
pub(super) fn run(namespace: &str, name: &str, plans: Vec<i64>) -> RunView {
    let mut run = fixtures::run(namespace, name, plans);
    run.spec.stop_deadline_seconds = Some(600_000);
    run
}

pub(super) fn gateway(namespace: &str) -> GatewayView {
    let spec: TestiniumGatewaySpec = serde_json::from_value(serde_json::json!({
        "url": format!("https://{namespace}.example.com"),
        "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
        "batching": {"maxPlans": MAX_PLANS},
        "limits": {"maxInFlight": MAX_IN_FLIGHT, "requestsPerSecond": 1000},
        "retry": {"maxDelaySeconds": 5},
    }))
    .expect("a valid gateway");
    GatewayView {
        key: Key::new(namespace, "default"),
        uid: format!("{namespace}-gateway").into(),
        version: Version(1),
        generation: 1,
        reconcile_annotation: None,
        spec,
        status: TestiniumGatewayStatus::default(),
    }
}
