//! Watches: a consistent list, then every change, as inputs of the machine in the order in which they happened.
//!
//! ```text
//!        +--------------- 410, a silent watch, an error -------------+
//!        v                                                           |
//!   ListBegan -> pages of the list -> ListDone -> watch, opened again from where it ended
//! ```
//!
//! A loop of our own rather than kube's `watcher()`: the machine has to know of a list before it is requested, a 410
//! on opening must lead to a new list, and a connection that has died silently must be noticed in seconds. One task a
//! kind, so that a kind that may not be read delays nothing else.

use std::time::{Duration, Instant};

use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use kube::Resource;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::call::{self, NoReply};
use super::decode;
use crate::api::{TestPlanRun, TestiniumGateway};
use crate::stop::{Input, Kind};
use crate::telemetry::{Health, Metrics};

/// What is watched of one kind.
#[derive(Clone, Debug)]
pub struct Scope {
    pub kind: Kind,
    /// All of them if empty.
    pub namespaces: Vec<String>,
    /// All objects if empty.
    pub label_selector: String,
}

/// Objects a page: more cost memory, fewer cost time.
const PAGE: u32 = 100;
/// The API server ends a watch after this long, with a bookmark before: so its silence is noticed soon.
const PERIOD: Duration = Duration::from_secs(15);
/// How long a watch may be silent beyond its period.
const GRACE: Duration = Duration::from_secs(5);
/// A page of a list that takes longer is not coming.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// Opening a watch is answered at once, or not at all.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Watches without any sign of life, after which the version they start from is not believed.
const SILENT_MAX: u32 = 2;
/// A line of a watch is one object, and the API server takes none above 3 MiB.
const LINE_BYTES_MAX: usize = 8 << 20;

/// Why a list or watch ended.
#[derive(Debug)]
enum Ended {
    /// The versions known here are of no use any more.
    Expired,
    Failed(String),
    /// Nobody listens.
    Closed,
}

/// Lists and watches one kind until nobody listens.
pub async fn watch(
    client: kube::Client,
    scope: Scope,
    inputs: mpsc::Sender<Input>,
    health: Health,
    metrics: Metrics,
) {
    let mut pause = BACKOFF_FIRST;
    let mut told = None;
    let watcher = Watcher { client: &client, scope: &scope, inputs: &inputs, health: &health };
    loop {
        let began = Instant::now();
        let ended = match watcher.list().await {
            Ok(versions) => {
                told = None;
                let ended = watcher.follow(versions).await;
                if let Ended::Failed(why) = &ended {
                    tracing::warn!(kind = ?scope.kind, why, "a watch broke; listing again");
                }
                ended
            }
            Err(Ended::Failed(why)) => {
                if told.as_ref() != Some(&why) {
                    tracing::warn!(kind = ?scope.kind, why, "failed to list");
                    if inputs.send(Input::ListFailed(scope.kind, why.clone())).await.is_err() {
                        return;
                    }
                    told = Some(why.clone());
                }
                Ended::Failed(why)
            }
            Err(ended) => ended,
        };
        // What has worked for a while is tried again at once, or nearly: only what fails again and again has to wait.
        if began.elapsed() > PERIOD {
            pause = BACKOFF_FIRST;
        }
        match ended {
            Ended::Closed => return,
            Ended::Expired if pause == BACKOFF_FIRST => {}
            Ended::Expired | Ended::Failed(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(BACKOFF_MAX);
        metrics.watch_restarted(scope.kind);
    }
}

struct Watcher<'a> {
    client: &'a kube::Client,
    scope: &'a Scope,
    inputs: &'a mpsc::Sender<Input>,
    health: &'a Health,
}

/// A page of a list. Its items are taken one by one: a broken one is not the list's error.
#[derive(Deserialize)]
struct Page<'a> {
    metadata: PageMeta,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    type_: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// What an error in a watch says.
#[derive(Default, Deserialize)]
struct Failure {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

// === impl Watcher ===

impl Watcher<'_> {
    /// Lists every namespace. Yields from where each is to be watched.
    async fn list(&self) -> Result<Vec<(String, String)>, Ended> {
        self.tell(Input::ListBegan(self.scope.kind)).await?;
        let mut versions = Vec::new();
        for path in self.paths() {
            let listed = self.list_path(&path).await;
            let version = listed.inspect_err(|ended| self.note(&path, ended))?;
            versions.push((path, version));
        }
        self.tell(Input::ListDone(self.scope.kind)).await?;
        Ok(versions)
    }

    async fn list_path(&self, path: &str) -> Result<String, Ended> {
        let mut next = None;
        loop {
            // Without a resourceVersion, a list is as new as the datastore itself.
            let mut query = vec![("limit", PAGE.to_string())];
            query.extend(next.take().map(|next| ("continue", next)));
            let reply = call::send(self.client, self.request(path, query)?, LIST_LIMIT)
                .await
                .map_err(|why: NoReply| Ended::Failed(why.to_string()))?;
            match reply.status {
                410 => return Err(Ended::Expired),
                404 => return Err(Ended::Failed(self.not_served())),
                _ if !reply.is_success() => return Err(Ended::Failed(reply.message())),
                _ => {}
            }
            let page: Page<'_> = serde_json::from_slice(&reply.body)
                .map_err(|error| Ended::Failed(format!("the list could not be read: {error}")))?;
            for item in &page.items {
                self.seen(item.get().as_bytes()).await?;
            }
            match page.metadata.next.filter(|next| !next.is_empty()) {
                Some(more) => next = Some(more),
                None => return Ok(page.metadata.resource_version),
            }
        }
    }

    /// Watches every namespace until one of them can't go on: then all are listed anew.
    async fn follow(&self, versions: Vec<(String, String)>) -> Ended {
        let mut watches: futures::stream::FuturesUnordered<_> =
            versions.into_iter().map(|(path, version)| self.follow_path(path, version)).collect();
        watches.next().await.unwrap_or(Ended::Closed)
    }

    async fn follow_path(&self, path: String, mut version: String) -> Ended {
        let mut silent = 0;
        loop {
            let before = version.clone();
            if let Err(ended) = self.watch_once(&path, &mut version).await {
                self.note(&path, &ended);
                return ended;
            }
            self.health.watch_works(&path);
            silent = if version == before { silent + 1 } else { 0 };
            if silent >= SILENT_MAX {
                // A watch from a version that the server has not reached says nothing, not even that.
                return Ended::Expired;
            }
        }
    }

    /// One watch, from `version` until the API server ends it. `version` moves along.
    async fn watch_once(&self, path: &str, version: &mut String) -> Result<(), Ended> {
        let query = vec![
            ("watch", "true".to_owned()),
            ("allowWatchBookmarks", "true".to_owned()),
            ("timeoutSeconds", PERIOD.as_secs().to_string()),
            ("resourceVersion", version.clone()),
        ];
        let request = self.request(path, query)?.map(kube::client::Body::from);
        let response = match timeout(OPEN_LIMIT, self.client.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Ended::Failed(NoReply::broken(&error).to_string())),
            Err(_) => return Err(Ended::Failed(NoReply::Timeout(OPEN_LIMIT).to_string())),
        };
        match response.status().as_u16() {
            200 => {}
            410 => return Err(Ended::Expired),
            status => return Err(Ended::Failed(format!("a watch was answered with HTTP {status}"))),
        }
        let mut body = response.into_body();
        let mut lines = Lines::default();
        let opened = Instant::now();
        loop {
            let left = (PERIOD + GRACE).saturating_sub(opened.elapsed());
            let frame = match timeout(left, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(Ended::Failed(format!("a watch broke: {error}"))),
                Err(_) => return Err(Ended::Failed("a watch went silent".to_owned())),
            };
            let Ok(data) = frame.into_data() else { continue };
            lines.push(&data);
            while let Some(line) = lines.next() {
                self.event(line, version).await?;
                self.health.watch_works(path);
            }
            if lines.len() > LINE_BYTES_MAX {
                return Err(Ended::Failed("a watch sent a line without end".to_owned()));
            }
        }
    }

    async fn event(&self, line: &[u8], version: &mut String) -> Result<(), Ended> {
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
        match event.type_ {
            "ADDED" | "MODIFIED" => self.seen(object).await?,
            "DELETED" => self.gone(object).await?,
            _ => {}
        }
        if let Some(newer) = decode::written_version(object) {
            *version = newer.0.to_string();
        }
        Ok(())
    }

    async fn seen(&self, object: &[u8]) -> Result<(), Ended> {
        let input = match self.scope.kind {
            Kind::Runs => decode::run(object).into_input(),
            Kind::Gateways => decode::gateway(object).into_input(),
        };
        match input {
            Some(input) => self.tell(input).await,
            None => Ok(()),
        }
    }

    async fn gone(&self, object: &[u8]) -> Result<(), Ended> {
        match decode::identity(object) {
            Ok((key, uid)) => {
                let input = match self.scope.kind {
                    Kind::Runs => Input::RunGone(key, uid),
                    Kind::Gateways => Input::GatewayGone(key, uid),
                };
                self.tell(input).await
            }
            // A list will show that it is gone.
            Err(why) => Err(Ended::Failed(format!("a deleted object could not be read: {why}"))),
        }
    }

    fn note(&self, path: &str, ended: &Ended) {
        if let Ended::Failed(_) = ended {
            self.health.watch_failed(path, Instant::now());
        }
    }

    async fn tell(&self, input: Input) -> Result<(), Ended> {
        self.inputs.send(input).await.map_err(|_| Ended::Closed)
    }

    /// The API server itself says no more than that there is no such page.
    fn not_served(&self) -> String {
        let resource = match self.scope.kind {
            Kind::Runs => TestPlanRun::plural(&()),
            Kind::Gateways => TestiniumGateway::plural(&()),
        };
        format!(
            "the Kubernetes API does not serve {resource}.testinium.io: apply its CustomResourceDefinition, or wait \
             until it is established"
        )
    }

    fn paths(&self) -> Vec<String> {
        let path = |namespace| match self.scope.kind {
            Kind::Runs => TestPlanRun::url_path(&(), namespace),
            Kind::Gateways => TestiniumGateway::url_path(&(), namespace),
        };
        if self.scope.namespaces.is_empty() {
            return vec![path(None)];
        }
        self.scope.namespaces.iter().map(|namespace| path(Some(namespace.as_str()))).collect()
    }

    fn request(&self, path: &str, mut query: Vec<(&str, String)>) -> Result<Request<Vec<u8>>, Ended> {
        if !self.scope.label_selector.is_empty() {
            query.push(("labelSelector", self.scope.label_selector.clone()));
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        Request::get(format!("{path}?{query}"))
            .body(Vec::new())
            .map_err(|error| Ended::Failed(format!("failed to put a list into a request: {error}")))
    }
}

/// The lines of a stream, as they become whole.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    /// What of the buffer has been taken. It is let go when more arrives, not line by line.
    taken: usize,
}

impl Lines {
    fn push(&mut self, data: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(data);
    }

    fn next(&mut self) -> Option<&[u8]> {
        let start = self.taken;
        let length = self.buffer[start..].iter().position(|byte| *byte == b'\n')?;
        self.taken = start + length + 1;
        Some(&self.buffer[start..start + length])
    }

    /// What is not a whole line yet.
    fn len(&self) -> usize {
        self.buffer.len() - self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let whole = b"{\"a\":1}\n{\"b\":2}\n";
        for size in 1..=whole.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in whole.chunks(size) {
                lines.push(piece);
                while let Some(line) = lines.next() {
                    found.push(line.to_vec());
                }
            }
            assert_eq!(found, [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()], "in pieces of {size}");
            assert_eq!(lines.len(), 0);
        }
    }
}
