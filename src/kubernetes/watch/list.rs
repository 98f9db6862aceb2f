//! Lists: all objects of a scope as they are now, as a stream or in pages.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ended::Ended;
use super::scope::Scope;
use super::watcher::Watcher;
use crate::kubernetes::request::{self, NoReply};
use crate::kubernetes::resource;
use crate::machine::Input;

/// The number of objects in a page: more cost memory, fewer cost time.
const PAGE: u32 = 100;
/// A part of a list that takes longer to come is not coming.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// The API server ends a list that is streamed after this long.
const STREAM_LIMIT: Duration = Duration::from_secs(600);

/// Lists one scope, again and again.
pub(super) struct Lister<'a> {
    watcher: &'a Watcher<'a>,
    /// A streamed list broke off, so the next one is asked for in pages.
    in_pages: bool,
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

// === impl Lister ===

impl<'a> Lister<'a> {
    pub(super) fn new(watcher: &'a Watcher<'a>) -> Self {
        Self { watcher, in_pages: false }
    }

    /// Lists all. Yields the version from which it is to be watched.
    pub(super) async fn list(&mut self) -> Result<String, Ended> {
        let extent = &self.watcher.scope.extent;
        self.watcher.tell(Input::ListBegan(extent.clone())).await?;
        let version = self.list_all().await.inspect_err(|ended| self.watcher.note(ended))?;
        self.watcher.tell(Input::ListDone(extent.clone())).await?;
        self.watcher.health.watch_listed(&self.watcher.path);
        Ok(version)
    }

    async fn list_all(&mut self) -> Result<String, Ended> {
        if !std::mem::take(&mut self.in_pages) {
            // A stream that breaks off does not tell which objects are missing: the list has to begin anew.
            let streamed = self.stream_list().await;
            let streamed = streamed.inspect_err(|_| self.in_pages = true)?;
            if let Some(version) = streamed {
                return Ok(version);
            }
        }
        self.page_list().await
    }

    /// Lists by a stream. Yields nothing if the API server would not begin one.
    async fn stream_list(&self) -> Result<Option<String>, Ended> {
        let query = vec![
            ("watch", "true".to_owned()),
            ("allowWatchBookmarks", "true".to_owned()),
            ("timeoutSeconds", STREAM_LIMIT.as_secs().to_string()),
            // An empty version means a list as new as the datastore itself; 0 would mean one from the server's cache.
            ("resourceVersion", String::new()),
            ("resourceVersionMatch", "NotOlderThan".to_owned()),
            ("sendInitialEvents", "true".to_owned()),
        ];
        let Ok(Ok(mut stream)) = self.watcher.open(query).await else { return Ok(None) };
        let mut version = String::new();
        loop {
            let Some(line) = stream.line(LIST_LIMIT).await.map_err(Ended::Failed)? else {
                return Err(Ended::Failed("a list ended before it was complete".to_owned()));
            };
            if self.watcher.event(line, &mut version).await? {
                return Ok(Some(version));
            }
        }
    }

    async fn page_list(&self) -> Result<String, Ended> {
        let mut next = None;
        loop {
            // Without a resourceVersion, a list is as new as the datastore itself.
            let mut query = vec![("limit", PAGE.to_string())];
            query.extend(next.take().map(|next| ("continue", next)));
            let reply = request::send(self.watcher.client, self.watcher.scope.request(query)?, LIST_LIMIT)
                .await
                .map_err(|why: NoReply| Ended::Failed(why.to_string()))?;
            match reply.status {
                410 => return Err(Ended::Expired),
                403 => return Err(Ended::Forbidden(reply.message())),
                404 => return Err(Ended::Failed(not_served(self.watcher.scope))),
                _ if !reply.is_success() => return Err(Ended::Failed(reply.message())),
                _ => {}
            }
            let page: Page<'_> = serde_json::from_slice(&reply.body)
                .map_err(|error| Ended::Failed(format!("the list could not be read: {error}")))?;
            for item in &page.items {
                self.watcher.seen(item.get().as_bytes()).await?;
            }
            match page.metadata.next.filter(|next| !next.is_empty()) {
                Some(more) => next = Some(more),
                None => return Ok(page.metadata.resource_version),
            }
        }
    }
}

/// The API server itself says no more than that there is no such page.
fn not_served(scope: &Scope) -> String {
    let resource = resource::of(scope.extent.kind).plural;
    format!(
        "the Kubernetes API does not serve {resource}.testinium.io: apply its CustomResourceDefinition, or wait \
         until it is established"
    )
}
