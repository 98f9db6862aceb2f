//! The watched kinds: for each, its place in the API, and how one of its objects is decoded. There is no other place
//! that tells kinds apart.

use std::borrow::Cow;

use kube::Resource as ApiResource;

use super::decode;
use crate::api::{TestPlanCleanup, TestPlanRun, TestiniumGateway};
use crate::machine::{Input, Kind};

/// A kind in the Kubernetes API.
pub(super) struct Resource {
    pub(super) kind: Cow<'static, str>,
    pub(super) api_version: Cow<'static, str>,
    pub(super) plural: Cow<'static, str>,
    path: fn(Option<&str>) -> String,
    decode: fn(&[u8]) -> Option<Input>,
}

/// The entry of a kind.
pub(super) fn of(kind: Kind) -> Resource {
    match kind {
        Kind::Runs => entry::<TestPlanRun>(|json| decode::run(json).into_input()),
        Kind::Gateways => entry::<TestiniumGateway>(|json| decode::gateway(json).into_input()),
        Kind::Cleanups => entry::<TestPlanCleanup>(|json| decode::cleanup(json).into_input()),
    }
}

// === impl Resource ===

impl Resource {
    /// The path of its collection, in one namespace or in all.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        (self.path)(namespace)
    }

    /// An object from its JSON, as the machine is told of it; nothing of an object that can't be named.
    pub(super) fn decode(&self, json: &[u8]) -> Option<Input> {
        (self.decode)(json)
    }
}

fn entry<K: ApiResource<DynamicType = ()>>(decode: fn(&[u8]) -> Option<Input>) -> Resource {
    Resource {
        kind: K::kind(&()),
        api_version: K::api_version(&()),
        plural: K::plural(&()),
        path: |namespace| K::url_path(&(), namespace),
        decode,
    }
}
