//! Events, which people read in `kubectl describe`: they go through a bounded queue that never delays anything.
//!
//! Each event is an object of its own, made once: it tells of a change, and no change is told twice.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as KubernetesEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use super::event_queue::EventQueue;
use super::resource;
use crate::machine::Event;
use crate::telemetry::Metrics;
use crate::text::{bounded, error_line};

/// The queue of events, from the side of those who hand them in. Clones share it.
#[derive(Clone, Debug)]
pub struct Events {
    queue: Arc<Mutex<EventQueue>>,
    /// It rings when there is something in the queue.
    bell: mpsc::Sender<()>,
    metrics: Metrics,
}

/// The number of events that are written at once: as many as people wait for.
const BURST: u32 = 20;
/// The time between two events after that, so that the API server's capacity goes to status writes, which cost as much.
const PACE: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(5);
/// The longest name of an object that stands in the name of its event; the limit of the whole is 253.
const NAME_CHARS_MAX: usize = 200;
/// The API server's limit is 1024.
const NOTE_BYTES_MAX: usize = 1000;

/// The pace of events: quiet times are saved up, so that a burst may be written at once later.
struct Pace {
    paid_until: Instant,
}

// === impl Pace ===

impl Pace {
    /// The time at which the next event may be written.
    fn next(&mut self, now: Instant) -> Instant {
        self.paid_until = self.paid_until.max(now) + PACE;
        self.paid_until.checked_sub(PACE * BURST).map_or(now, |at| at.max(now))
    }
}

// === impl Events ===

impl Events {
    /// A queue, and the task that empties it, which ends when the last clone is gone and all is written.
    pub fn new(client: kube::Client, metrics: Metrics) -> (Self, impl Future<Output = ()>) {
        let (bell, rung) = mpsc::channel(1);
        let queue = Arc::<Mutex<EventQueue>>::default();
        (Self { queue: queue.clone(), bell, metrics }, write_all(client, queue, rung))
    }

    pub fn tell(&self, event: Event, now: Timestamp) {
        // The reason that a person has given may hold anything. It is in the object, for those who may read that.
        tracing::info!(object = %event.about, reason = event.reason.as_str(), note = event.message, "event");
        let dropped = self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(event, now);
        if dropped {
            self.metrics.event_dropped();
        }
        // A bell that rings already need not be rung again.
        let _ = self.bell.try_send(());
    }
}

async fn write_all(client: kube::Client, queue: Arc<Mutex<EventQueue>>, mut bell: mpsc::Receiver<()>) {
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "testinium-operator".to_owned());
    let mut pace = Pace { paid_until: Instant::now() };
    let mut count = 0_u64;
    let mut failing = false;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some((event, time)) = next else {
            match bell.recv().await {
                Some(()) => continue,
                None => return,
            }
        };
        // At the end of the process there are no status writes that the pace would make room for, and little time.
        if !bell.is_closed() {
            sleep_until(pace.next(Instant::now()).into()).await;
        }
        count += 1;
        let api: Api<KubernetesEvent> = Api::namespaced(client.clone(), &event.about.namespace);
        let event = kubernetes_event(event, time, &instance, count);
        let failed = match timeout(LIMIT, api.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error_line(&error)),
            Err(_) => Some("no answer in time".to_owned()),
        };
        // The failure is logged once, not once for each event.
        if let Some(why) = failed.as_ref().filter(|_| !failing) {
            tracing::warn!(why, "failed to write an event; stops are not affected");
        }
        failing = failed.is_some();
    }
}

fn kubernetes_event(event: Event, time: Timestamp, instance: &str, count: u64) -> KubernetesEvent {
    let resource = resource::of(event.about.kind());
    let namespace = event.about.namespace.to_string();
    let name = beginning_of(&event.about.name);
    let given = event.given.map(|given| format!("; it was asked for because: {given}")).unwrap_or_default();
    let note = event.message + &given;
    KubernetesEvent {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}{count:x}", time.as_microsecond())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version: Some(resource.api_version.into_owned()),
            kind: Some(resource.kind.into_owned()),
            namespace: Some(namespace),
            name: Some(event.about.name.to_string()),
            uid: Some(event.uid.to_string()),
            ..ObjectReference::default()
        }),
        event_time: Some(MicroTime(time)),
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(event.reason.as_str().to_owned()),
        action: Some("StopPlans".to_owned()),
        note: Some(bounded(note, NOTE_BYTES_MAX)),
        reporting_controller: Some("testinium.io/operator".to_owned()),
        reporting_instance: Some(instance.chars().take(128).collect()),
        ..KubernetesEvent::default()
    }
}

/// The beginning of an object's name. What follows it begins with a dot, so it must end as a part of a name may.
fn beginning_of(name: &str) -> &str {
    let end = name.char_indices().nth(NAME_CHARS_MAX).map_or(name.len(), |(end, _)| end);
    name[..end].trim_end_matches(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_written_at_once_and_the_rest_at_its_pace() {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut pace = Pace { paid_until: start };
        let mut now = start;
        let waits: Vec<_> = (0..BURST + 2)
            .map(|_| {
                let at = pace.next(now);
                at - std::mem::replace(&mut now, at)
            })
            .collect();
        let (burst, rest) = waits.split_at(BURST as usize);
        assert!(burst.iter().all(Duration::is_zero), "{waits:?}");
        assert_eq!(rest, [PACE, PACE]);
        now += PACE * 3;
        assert_eq!(
            [(); 4].map(|()| pace.next(now) - now),
            [Duration::ZERO, Duration::ZERO, Duration::ZERO, PACE]
        );
    }

    #[test]
    fn the_name_of_an_event_is_one_whatever_the_name_of_its_object() {
        let cut = "x".repeat(199);
        for (name, expected) in [
            ("nightly".to_owned(), "nightly"),
            (format!("{cut}-y"), cut.as_str()),
            (format!("{cut}.y"), cut.as_str()),
            (format!("{}-.-y", &cut[..197]), &cut[..197]),
        ] {
            assert_eq!(beginning_of(&name), expected);
        }
        assert_eq!(beginning_of(&"x".repeat(253)).len(), NAME_CHARS_MAX);
    }
}
