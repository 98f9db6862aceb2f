//! Decoding: the bytes of one object in, a view or the reason why there is none out.
//!
//! Pure. A broken object is a value, never an error of the list or watch that brought it, and a panic in here counts
//! as one broken object.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::metadata::{Identity, Lean, Meta, Whole, marks};
use super::notes::{self, Notes};
use super::values::canonical;
use crate::api::TestPlanRunSpec;
use crate::machine::{
    CleanupView, GatewayView, Input, Key, Kind, ObjectKey, ObjectView, RunView, Uid, Version,
};
use crate::text::bounded;

/// The result of decoding one object's bytes.
#[derive(Debug, PartialEq)]
pub enum Decoded<V> {
    /// The object.
    Seen(Box<V>),
    /// The object is known by name, but its content can't be read. The text names the field and what was expected.
    Unreadable { key: Key, uid: Uid, version: Version, why: String },
    /// The object is not even known by name. Only the log can tell of it.
    Nameless(String),
}

/// A TestPlanRun from its JSON.
pub fn run(json: &[u8]) -> Decoded<RunView> {
    contained(json, |known, meta, spec: TestPlanRunSpec, status| {
        let (stopped_set, annotation_set) = (meta.stopped_set(), meta.annotation_set());
        let (gateway_set, plans_set, written) = (meta.gateway_set(), meta.plans_set(), meta.written());
        let (retry_set, deadline_set, cleanup_set) =
            (meta.retry_set(), meta.deadline_set(), meta.cleanup_set());
        let policy_set = meta.policy_set();
        let annotations = meta.annotations.unwrap_or_default();
        RunView {
            key: known.key.into(),
            uid: known.uid,
            version: known.version,
            generation: meta.generation,
            stop_annotation: annotations.stop.map(canonical),
            retry_annotation: annotations.retry.map(canonical),
            cleanup_annotation: annotations.cleanup.map(canonical),
            requested_by: annotations.requested_by.map(canonical),
            reconcile_annotation: annotations.reconcile.map(canonical),
            restored: meta.labels.and_then(|labels| labels.restored),
            keep_until: annotations.keep_until.map(canonical),
            deleted: meta.deletion_timestamp,
            finalizers: meta.finalizers.unwrap_or_default(),
            marks: spec.ttl_seconds_after_finished.map(|_| Box::new(marks(json))),
            created: meta.creation_timestamp,
            written,
            spec,
            status,
            stopped_set,
            annotation_set,
            gateway_set,
            plans_set,
            retry_set,
            deadline_set,
            cleanup_set,
            policy_set,
        }
    })
}

/// A TestiniumGateway from its JSON.
pub fn gateway(json: &[u8]) -> Decoded<GatewayView> {
    contained(json, |known, meta, spec, status| GatewayView {
        key: known.key.into(),
        uid: known.uid,
        version: known.version,
        generation: meta.generation,
        reconcile_annotation: meta.annotations.unwrap_or_default().reconcile.map(canonical),
        spec,
        status,
    })
}

/// A TestPlanCleanup from its JSON.
pub fn cleanup(json: &[u8]) -> Decoded<CleanupView> {
    contained(json, |known, meta, spec, status| CleanupView {
        key: known.key.into(),
        uid: known.uid,
        version: known.version,
        generation: meta.generation,
        run_now: meta.annotations.unwrap_or_default().run_now.map(canonical),
        restored: meta.labels.and_then(|labels| labels.restored),
        created: meta.creation_timestamp,
        spec,
        status,
    })
}

/// The name and uid of an object, which is all that is needed of one that was deleted.
pub fn identity(json: &[u8]) -> Result<(Key, Uid), String> {
    let lean: Lean<'_> = serde_json::from_slice(json).map_err(|error| plain(&error))?;
    parse::<Identity<'_>>("metadata", lean.metadata).map(|identity| identity.names())
}

/// The version that a reply to a write, or a bookmark, tells.
pub(super) fn written_version(json: &[u8]) -> Option<Version> {
    #[derive(Deserialize)]
    struct Written<'a> {
        #[serde(borrow)]
        metadata: Metadata<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata<'a> {
        #[serde(borrow)]
        resource_version: Cow<'a, str>,
    }
    let written: Written<'_> = serde_json::from_slice(json).ok()?;
    version(&written.metadata.resource_version)
}

/// Tells whether a bookmark says that a streamed list is complete.
pub(super) fn ends_list(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Bookmark {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default)]
        annotations: Annotations,
    }
    #[derive(Default, Deserialize)]
    struct Annotations {
        #[serde(default, rename = "k8s.io/initial-events-end")]
        end: String,
    }
    serde_json::from_slice(json).is_ok_and(|bookmark: Bookmark| bookmark.metadata.annotations.end == "true")
}

/// A resourceVersion as the number that it is by contract.
pub(super) fn version(text: &str) -> Option<Version> {
    text.parse().ok().map(Version)
}

/// The identity of an object, checked.
struct Known {
    key: Key,
    uid: Uid,
    version: Version,
}

fn contained<'a, Spec, Status, V>(
    json: &'a [u8],
    view: impl FnOnce(Known, Meta<'a>, Spec, Status) -> V,
) -> Decoded<V>
where
    Spec: DeserializeOwned,
    Status: Notes,
{
    // The closure is dropped with everything that a panic leaves half done: nothing outside can see it.
    catch_unwind(AssertUnwindSafe(|| decode(json, view)))
        .unwrap_or_else(|_| unreadable(json, "decoding it panicked".to_owned()))
}

fn decode<'a, Spec, Status, V>(
    json: &'a [u8],
    view: impl FnOnce(Known, Meta<'a>, Spec, Status) -> V,
) -> Decoded<V>
where
    Spec: DeserializeOwned,
    Status: Notes,
{
    // An object is read in one go if it is well formed; else part by part, to tell its name and what is wrong.
    let whole = serde_json::from_slice::<Whole<'a, Spec, Status>>(json).or_else(|_| by_parts(json));
    let Whole { metadata, spec, status } = match whole {
        Ok(whole) => whole,
        Err(broken) => return broken,
    };
    let identity = metadata.identity();
    match version(&identity.resource_version) {
        Some(version) => {
            let (key, uid) = identity.names();
            Decoded::Seen(Box::new(view(
                Known { key, uid, version },
                metadata,
                spec,
                status.unwrap_or_default(),
            )))
        }
        None => {
            let found = &identity.resource_version;
            broken(&identity, format!("metadata.resourceVersion: {found:?}, expected a decimal number"))
        }
    }
}

fn by_parts<'a, Spec, Status, V>(json: &'a [u8]) -> Result<Whole<'a, Spec, Status>, Decoded<V>>
where
    Spec: DeserializeOwned,
    Status: Notes,
{
    let lean: Lean<'_> = serde_json::from_slice(json).map_err(|error| Decoded::Nameless(plain(&error)))?;
    let identity: Identity<'_> = parse("metadata", lean.metadata).map_err(Decoded::Nameless)?;
    let parts = || {
        let metadata = parse("metadata", lean.metadata)?;
        let spec = lean.spec.ok_or_else(|| "spec: missing, expected an object".to_owned())?;
        let spec = parse("spec", spec)?;
        let status = lean.status.map(notes::read);
        Ok(Whole { metadata, spec, status })
    };
    parts().map_err(|why| broken(&identity, why))
}

fn broken<V>(identity: &Identity<'_>, why: String) -> Decoded<V> {
    let (key, uid) = identity.names();
    let version = version(&identity.resource_version).unwrap_or_default();
    Decoded::Unreadable { key, uid, version, why: bounded(why, WHY_BYTES_MAX) }
}

fn unreadable<V>(json: &[u8], why: String) -> Decoded<V> {
    match identity(json) {
        Ok((key, uid)) => Decoded::Unreadable { key, uid, version: Version::default(), why },
        Err(_) => Decoded::Nameless(why),
    }
}

fn parse<'a, T: Deserialize<'a>>(field: &str, raw: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| {
        // Keeping track of the path costs, so only a part that has failed is parsed with it.
        let mut json = serde_json::Deserializer::from_str(raw.get());
        match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Err(located) => match located.path().to_string().as_str() {
                "." => format!("{field}: {}", plain(located.inner())),
                path => format!("{field}.{path}: {}", plain(located.inner())),
            },
            Ok(_) => format!("{field}: {}", plain(&error)),
        }
    })
}

/// The error without its line and column: positions in a response mean nothing to the person who wrote the object.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

// === impl Decoded ===

impl Decoded<RunView> {
    /// The input for the machine; there is none for an object that can't be named.
    pub fn into_input(self) -> Option<Input> {
        self.of_kind(Kind::Runs, ObjectView::Run)
    }
}

impl Decoded<GatewayView> {
    /// The input for the machine; there is none for an object that can't be named.
    pub fn into_input(self) -> Option<Input> {
        self.of_kind(Kind::Gateways, ObjectView::Gateway)
    }
}

impl Decoded<CleanupView> {
    /// The input for the machine; there is none for an object that can't be named.
    pub fn into_input(self) -> Option<Input> {
        self.of_kind(Kind::Cleanups, ObjectView::Cleanup)
    }
}

impl<V> Decoded<V> {
    fn of_kind(self, kind: Kind, view: impl FnOnce(Box<V>) -> ObjectView) -> Option<Input> {
        match self {
            Self::Seen(seen) => Some(Input::Seen(view(seen))),
            Self::Unreadable { key, uid, version, why } => {
                Some(Input::Unreadable(ObjectKey::of_kind(kind, key), uid, version, why))
            }
            Self::Nameless(why) => {
                tracing::error!(?kind, why, "skipped an object without a readable name");
                None
            }
        }
    }
}

/// Room for a path of fields and a sentence; the whole ends up in an event, whose limit is 1024.
const WHY_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests;
