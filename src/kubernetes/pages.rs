//! Lists of runs in pages, for those that read a page once and keep none of it.

use std::time::Duration;

use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;

use super::resource;
use crate::machine::{Kind, PAGE_RUNS};

/// A page of many large runs takes a while.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// Which runs are listed.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// In one namespace, or in all.
    pub namespace: Option<&'a str>,
    /// The labels of the runs; an empty selector means all.
    pub label_selector: &'a str,
    /// The one run of this name.
    pub name: Option<&'a str>,
}

/// A page as it is sent. A run that can't be read must not be an error of its page, so `T` demands no more than what every
/// run has.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

// === impl Listed ===

impl Listed<'_> {
    /// The request for a page. `next`: where it begins; none for the first one.
    pub(super) fn page(&self, next: Option<&str>) -> Result<http::Request<Vec<u8>>, String> {
        let mut params = ListParams::default().labels(self.label_selector).limit(PAGE_RUNS);
        if let Some(name) = self.name {
            params = params.fields(&format!("metadata.name={name}"));
        }
        if let Some(next) = next {
            params = params.continue_token(next);
        }
        let path = resource::of(Kind::Runs).path(self.namespace);
        Request::new(path).list(&params).map_err(|error| error.to_string())
    }
}

// === impl Page ===

impl<T> Page<T> {
    /// Its items, and where the next page begins; none after the last one.
    pub(super) fn into_parts(self) -> (Vec<T>, Option<String>) {
        (self.items, Some(self.metadata.next).filter(|next| !next.is_empty()))
    }
}
