//! Everything that lists and watches of one scope have in common: opening a stream, and telling the machine of objects.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::ended::Ended;
use super::scope::Scope;
use super::stream::Stream;
use crate::kubernetes::request::NoReply;
use crate::kubernetes::{clock, decode, resource};
use crate::machine::{Input, ObjectKey, Version};
use crate::telemetry::Health;

/// Opening a watch is answered at once, or not at all.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Reads one scope, and tells the machine of it.
pub(super) struct Watcher<'a> {
    pub(super) client: &'a kube::Client,
    pub(super) scope: &'a Scope,
    /// The path of the scope.
    pub(super) path: String,
    pub(super) inputs: &'a mpsc::Sender<Input>,
    pub(super) health: &'a Health,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    type_: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// The error that a watch reports as its last line.
#[derive(Default, Deserialize)]
struct Failure {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

// === impl Watcher ===

impl Watcher<'_> {
    /// Opens a watch; else yields the status of the answer.
    pub(super) async fn open(&self, query: Vec<(&str, String)>) -> Result<Result<Stream, u16>, Ended> {
        let request = self.scope.request(query)?.map(kube::client::Body::from);
        match timeout(OPEN_LIMIT, self.client.send(request)).await {
            Ok(Ok(response)) => {
                clock::hear(response.headers());
                match response.status().as_u16() {
                    200 => Ok(Ok(Stream::new(response.into_body()))),
                    status => Ok(Err(status)),
                }
            }
            Ok(Err(error)) => Err(Ended::Failed(NoReply::broken(&error).to_string())),
            Err(_) => Err(Ended::Failed(NoReply::Timeout(OPEN_LIMIT).to_string())),
        }
    }

    /// Hands an event on; `version` moves along. Yields whether it was the last one of a streamed list.
    pub(super) async fn event(&self, line: &[u8], version: &mut String) -> Result<bool, Ended> {
        let event: Event<'_> = serde_json::from_slice(line)
            .map_err(|error| Ended::Failed(format!("a watch could not be read: {error}")))?;
        let object = event.object.get().as_bytes();
        if event.type_ == "ERROR" {
            let failure: Failure = serde_json::from_slice(object).unwrap_or_default();
            return Err(match failure.code {
                410 => Ended::Expired,
                _ => Ended::Failed(format!("a watch ended: {}", failure.message)),
            });
        }
        let newer = match event.type_ {
            "ADDED" | "MODIFIED" => self.seen(object).await?,
            "DELETED" => {
                self.gone(object).await?;
                decode::written_version(object)
            }
            _ => decode::written_version(object),
        };
        if let Some(newer) = newer {
            *version = newer.0.to_string();
        }
        Ok(event.type_ == "BOOKMARK" && decode::ends_list(object))
    }

    /// Tells of an object. Yields its version.
    pub(super) async fn seen(&self, object: &[u8]) -> Result<Option<Version>, Ended> {
        let input = resource::of(self.scope.extent.kind).decode(object);
        let version = match &input {
            Some(Input::Seen(view)) => Some(view.version()),
            // The version may be the only part that can be read of a broken object.
            _ => decode::written_version(object),
        };
        if let Some(input) = input {
            self.tell(input).await?;
        }
        Ok(version)
    }

    async fn gone(&self, object: &[u8]) -> Result<(), Ended> {
        match decode::identity(object) {
            Ok((key, uid)) => {
                let input = Input::Gone(ObjectKey::of_kind(self.scope.extent.kind, key), uid);
                self.tell(input).await
            }
            // A list will show that it is gone.
            Err(why) => Err(Ended::Failed(format!("a deleted object could not be read: {why}"))),
        }
    }

    /// Notes that the watch does not work, if it failed.
    pub(super) fn note(&self, ended: &Ended) {
        match ended {
            Ended::Failed(why) => self.health.watch_failed(&self.path, why, Instant::now()),
            Ended::Forbidden(why) => self.health.watch_forbidden(&self.path, why, Instant::now()),
            Ended::Expired | Ended::Closed => {}
        }
    }

    pub(super) async fn tell(&self, input: Input) -> Result<(), Ended> {
        self.inputs.send(input).await.map_err(|_| Ended::Closed)
    }
}
