//! The objects that one watch brings, and the requests for them.

use http::Request;

use super::ended::Ended;
use crate::kubernetes::resource;
use crate::machine::Extent;

/// The objects that one watch brings.
#[derive(Clone, Debug)]
pub struct Scope {
    pub extent: Extent,
    /// The labels of the objects that are watched; an empty selector means all objects.
    pub label_selector: String,
}

// === impl Scope ===

impl Scope {
    /// The path of its collection.
    pub fn path(&self) -> String {
        resource::of(self.extent.kind).path(self.extent.namespace.as_deref())
    }

    /// A GET of this collection.
    pub(super) fn request(&self, mut query: Vec<(&str, String)>) -> Result<Request<Vec<u8>>, Ended> {
        if !self.label_selector.is_empty() {
            query.push(("labelSelector", self.label_selector.clone()));
        }
        get(&self.path(), query)
    }

    /// A GET of one object that need not be there, which the API server answers once it has reached this version.
    pub(super) fn probe(&self, version: &str) -> Result<Request<Vec<u8>>, Ended> {
        let namespace = self.extent.namespace.as_deref().unwrap_or("default");
        let collection = resource::of(self.extent.kind).path(Some(namespace));
        get(&format!("{collection}/none"), vec![("resourceVersion", version.to_owned())])
    }
}

fn get(path: &str, query: Vec<(&str, String)>) -> Result<Request<Vec<u8>>, Ended> {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    Request::get(format!("{path}?{query}"))
        .body(Vec::new())
        .map_err(|error| Ended::Failed(format!("failed to put a query into a request: {error}")))
}
