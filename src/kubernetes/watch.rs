//! Watches: a consistent list, then every change, as inputs of the machine in the order in which they happened.
//!
//! ```text
//!        +----------- 410, a silent watch, an error -----------+
//!        v                                                     |
//!   ListBegan -> the list -> ListDone -> watch, opened again from where it ended
//! ```
//!
//! A list comes as a stream, which is several times faster than pages and holds one object at a time; in pages where
//! the API server can't (it is off in Kubernetes 1.33, and for seconds after a CRD was changed).
//!
//! A loop of our own rather than kube's `watcher()`: the machine has to know of a list before it is requested, a 410
//! on opening must lead to a new list, and a connection that has died silently must be noticed in seconds. One task a
//! kind, so that a kind that may not be read delays nothing else.

mod stream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use http::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use self::stream::Stream;
use super::decode;
use super::request::{self, NoReply};
use super::resource;
use crate::machine::{Input, Kind, ObjectKey, Version};
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
/// What of a list takes longer to come is not coming.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// The API server ends a list that is streamed after this long.
const STREAM_LIMIT: Duration = Duration::from_secs(600);
/// Opening a watch is answered at once, or not at all.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Watches without any sign of life, after which the version they start from is not believed.
const SILENT_MAX: u32 = 2;

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
    let watcher = Watcher {
        client: &client,
        scope: &scope,
        inputs: &inputs,
        health: &health,
        in_pages: AtomicBool::new(false),
    };
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
    /// A streamed list broke off, so the next one is asked for in pages.
    in_pages: AtomicBool,
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
        if !self.in_pages.swap(false, Ordering::Relaxed) {
            // What has come of a stream that breaks off can't be told from what is there: the list has to begin anew.
            let streamed = self.stream_list(path).await;
            let streamed = streamed.inspect_err(|_| self.in_pages.store(true, Ordering::Relaxed))?;
            if let Some(version) = streamed {
                return Ok(version);
            }
        }
        self.page_list(path).await
    }

    /// None if the API server would not begin.
    async fn stream_list(&self, path: &str) -> Result<Option<String>, Ended> {
        let query = vec![
            ("watch", "true".to_owned()),
            ("allowWatchBookmarks", "true".to_owned()),
            ("timeoutSeconds", STREAM_LIMIT.as_secs().to_string()),
            // As new as the datastore itself; 0 would be as old as whatever the server has.
            ("resourceVersion", String::new()),
            ("resourceVersionMatch", "NotOlderThan".to_owned()),
            ("sendInitialEvents", "true".to_owned()),
        ];
        let Ok(Ok(mut stream)) = self.open(path, query).await else { return Ok(None) };
        let mut version = String::new();
        loop {
            let Some(line) = stream.line(LIST_LIMIT).await.map_err(Ended::Failed)? else {
                return Err(Ended::Failed("a list ended before it was complete".to_owned()));
            };
            if self.event(line, &mut version).await? {
                return Ok(Some(version));
            }
        }
    }

    async fn page_list(&self, path: &str) -> Result<String, Ended> {
        let mut next = None;
        loop {
            // Without a resourceVersion, a list is as new as the datastore itself.
            let mut query = vec![("limit", PAGE.to_string())];
            query.extend(next.take().map(|next| ("continue", next)));
            let reply = request::send(self.client, self.request(path, query)?, LIST_LIMIT)
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
        let mut stream = match self.open(path, query).await? {
            Ok(stream) => stream,
            Err(410) => return Err(Ended::Expired),
            Err(status) => return Err(Ended::Failed(format!("a watch was answered with HTTP {status}"))),
        };
        let opened = Instant::now();
        loop {
            let left = (PERIOD + GRACE).saturating_sub(opened.elapsed());
            let Some(line) = stream.line(left).await.map_err(Ended::Failed)? else { return Ok(()) };
            self.event(line, version).await?;
            self.health.watch_works(path);
        }
    }

    /// Opens a watch; else yields the status of the answer.
    async fn open(&self, path: &str, query: Vec<(&str, String)>) -> Result<Result<Stream, u16>, Ended> {
        let request = self.request(path, query)?.map(kube::client::Body::from);
        match timeout(OPEN_LIMIT, self.client.send(request)).await {
            Ok(Ok(response)) => match response.status().as_u16() {
                200 => Ok(Ok(Stream::new(response.into_body()))),
                status => Ok(Err(status)),
            },
            Ok(Err(error)) => Err(Ended::Failed(NoReply::broken(&error).to_string())),
            Err(_) => Err(Ended::Failed(NoReply::Timeout(OPEN_LIMIT).to_string())),
        }
    }

    /// Hands an event on; `version` moves along. Yields whether it was the last one of a streamed list.
    async fn event(&self, line: &[u8], version: &mut String) -> Result<bool, Ended> {
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
    async fn seen(&self, object: &[u8]) -> Result<Option<Version>, Ended> {
        let input = resource::of(self.scope.kind).decode(object);
        let version = match &input {
            Some(Input::Seen(view)) => Some(view.version()),
            // Of an object that could not be read, the version may be all that can.
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
                let input = Input::Gone(ObjectKey::of_kind(self.scope.kind, key), uid);
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
        let resource = resource::of(self.scope.kind).plural;
        format!(
            "the Kubernetes API does not serve {resource}.testinium.io: apply its CustomResourceDefinition, or wait \
             until it is established"
        )
    }

    fn paths(&self) -> Vec<String> {
        let resource = resource::of(self.scope.kind);
        if self.scope.namespaces.is_empty() {
            return vec![resource.path(None)];
        }
        self.scope.namespaces.iter().map(|namespace| resource.path(Some(namespace))).collect()
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
