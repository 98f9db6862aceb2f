//! The part of a kind that is watched, and the requests for it.

use http::Request;

use super::ended::Ended;
use crate::kubernetes::resource;
use crate::machine::Kind;

/// The objects of one kind that are watched.
#[derive(Clone, Debug)]
pub struct Scope {
    pub kind: Kind,
    /// The namespaces that are watched; an empty list means all of them.
    pub namespaces: Vec<String>,
    /// The labels of the objects that are watched; an empty selector means all objects.
    pub label_selector: String,
}

// === impl Scope ===

impl Scope {
    /// The paths of its collections: one for each namespace, or one for all of them.
    pub(super) fn paths(&self) -> Vec<String> {
        let resource = resource::of(self.kind);
        if self.namespaces.is_empty() {
            return vec![resource.path(None)];
        }
        self.namespaces.iter().map(|namespace| resource.path(Some(namespace))).collect()
    }

    /// A GET of one of these collections.
    pub(super) fn request(
        &self,
        path: &str,
        mut query: Vec<(&str, String)>,
    ) -> Result<Request<Vec<u8>>, Ended> {
        if !self.label_selector.is_empty() {
            query.push(("labelSelector", self.label_selector.clone()));
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        Request::get(format!("{path}?{query}"))
            .body(Vec::new())
            .map_err(|error| Ended::Failed(format!("failed to put a list into a request: {error}")))
    }
}
