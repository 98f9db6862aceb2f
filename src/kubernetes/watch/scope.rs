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
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        Request::get(format!("{}?{query}", self.path()))
            .body(Vec::new())
            .map_err(|error| Ended::Failed(format!("failed to put a list into a request: {error}")))
    }
}
