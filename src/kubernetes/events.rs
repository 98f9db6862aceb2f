//! Events: what a person reads in `kubectl describe`, from a bounded queue that never delays anything.
//!
//! Under a burst, events are dropped and counted: they are the first thing that an emergency can do without.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as KubernetesEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Resource};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::call::chain;
use crate::api::{TestPlanRun, TestiniumGateway};
use crate::stop::{Event, Kind};
use crate::telemetry::Metrics;

/// Where events are handed in. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<(Event, Timestamp)>,
    metrics: Metrics,
}

/// What a burst may hold: with the pace below, the last one is written ten seconds later.
const QUEUE: usize = 200;
/// One event each time, so that the API server's capacity goes to status writes.
const PACE: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(5);
/// The API server's limit is 1024.
const NOTE_BYTES_MAX: usize = 1000;

// === impl Events ===

impl Events {
    /// A queue, and the task that empties it, which ends when the last clone is gone.
    pub fn new(client: kube::Client, metrics: Metrics) -> (Self, impl Future<Output = ()>) {
        let (queue, events) = mpsc::channel(QUEUE);
        (Self { queue, metrics }, write_all(client, events))
    }

    pub fn tell(&self, event: Event, now: Timestamp) {
        tracing::info!(object = %event.key, reason = event.reason, note = event.message, "event");
        if self.queue.try_send((event, now)).is_err() {
            self.metrics.event_dropped();
        }
    }
}

async fn write_all(client: kube::Client, mut events: mpsc::Receiver<(Event, Timestamp)>) {
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "testinium-operator".to_owned());
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0_u64;
    let mut failing = false;
    while let Some((event, time)) = events.recv().await {
        pace.tick().await;
        count += 1;
        let api: Api<KubernetesEvent> = Api::namespaced(client.clone(), &event.key.namespace);
        let event = kubernetes_event(event, time, &instance, count);
        let failed = match timeout(LIMIT, api.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some("no answer in time".to_owned()),
        };
        // Said once, not once an event.
        if let Some(why) = failed.as_ref().filter(|_| !failing) {
            tracing::warn!(why, "failed to write an event; stops are not affected");
        }
        failing = failed.is_some();
    }
}

fn kubernetes_event(event: Event, time: Timestamp, instance: &str, count: u64) -> KubernetesEvent {
    let (kind, api_version) = match event.kind {
        Kind::Runs => (TestPlanRun::kind(&()), TestPlanRun::api_version(&())),
        Kind::Gateways => (TestiniumGateway::kind(&()), TestiniumGateway::api_version(&())),
    };
    let namespace = event.key.namespace.to_string();
    let name: String = event.key.name.chars().take(200).collect();
    KubernetesEvent {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}{count:x}", time.as_microsecond())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version: Some(api_version.into_owned()),
            kind: Some(kind.into_owned()),
            namespace: Some(namespace),
            name: Some(event.key.name.to_string()),
            uid: Some(event.uid.to_string()),
            ..ObjectReference::default()
        }),
        event_time: Some(MicroTime(time)),
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(event.reason.to_owned()),
        action: Some("StopPlans".to_owned()),
        note: Some(super::decode::bounded(event.message, NOTE_BYTES_MAX)),
        reporting_controller: Some("testinium.io/operator".to_owned()),
        reporting_instance: Some(instance.chars().take(128).collect()),
        ..KubernetesEvent::default()
    }
}
