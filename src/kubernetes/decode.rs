//! Decoding: the bytes of one object in, a view or the reason why there is none out.
//!
//! Pure. A broken object is a value, never an error of the list or watch that brought it, and a panic in here counts
//! as one broken object.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::lean::{Identity, Lean, Meta};
use crate::api::{TestPlanRunSpec, TestPlanRunStatus, TestiniumGatewaySpec, TestiniumGatewayStatus};
use crate::stop::{GatewayView, Input, Key, RunView, Uid, Version};

/// What became of one object's bytes.
#[derive(Debug, PartialEq)]
pub enum Decoded<V> {
    /// The object.
    Seen(Box<V>),
    /// It is known which object it is, but not what it says. The text names the field and what was expected.
    Unreadable { key: Key, uid: Uid, version: Version, why: String },
    /// Not even which object it is. Nothing can be said about it but in the log.
    Nameless(String),
}

/// A TestPlanRun from its JSON.
pub fn run(json: &[u8]) -> Decoded<RunView> {
    contained(json, |identity, meta, lean| {
        let (stopped_set, annotation_set) = (meta.stopped_set(), meta.annotation_set());
        let annotations = meta.annotations.unwrap_or_default();
        Ok(RunView {
            key: identity.key,
            uid: identity.uid,
            version: identity.version,
            generation: meta.generation,
            stop_annotation: annotations.stop,
            requested_by: annotations.requested_by,
            reconcile_annotation: annotations.reconcile,
            restored: meta.labels.is_some_and(|labels| labels.restored.is_some()),
            spec: required::<TestPlanRunSpec>("spec", lean.spec)?,
            status: optional::<TestPlanRunStatus>("status", lean.status)?,
            stopped_set,
            annotation_set,
        })
    })
}

/// A TestiniumGateway from its JSON.
pub fn gateway(json: &[u8]) -> Decoded<GatewayView> {
    contained(json, |identity, meta, lean| {
        Ok(GatewayView {
            key: identity.key,
            uid: identity.uid,
            version: identity.version,
            generation: meta.generation,
            reconcile_annotation: meta.annotations.unwrap_or_default().reconcile,
            spec: required::<TestiniumGatewaySpec>("spec", lean.spec)?,
            status: optional::<TestiniumGatewayStatus>("status", lean.status)?,
        })
    })
}

/// Which object it is: all that is needed of one that was deleted.
pub fn identity(json: &[u8]) -> Result<(Key, Uid), String> {
    let lean: Lean<'_> = serde_json::from_slice(json).map_err(|error| plain(&error))?;
    let identity: Identity<'_> = parse("metadata", lean.metadata)?;
    Ok((Key::new(identity.namespace, identity.name), identity.uid.into()))
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

/// Whether a bookmark says that a streamed list is complete.
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

/// Cuts a text to at most `bytes`, at a character boundary, so that nobody's words fill a status or the log.
pub(super) fn bounded(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes.saturating_sub(ELLIPSIS.len())));
        text.push_str(ELLIPSIS);
    }
    text
}

/// Which object it is, checked.
struct Known {
    key: Key,
    uid: Uid,
    version: Version,
}

fn contained<V>(
    json: &[u8],
    build: impl FnOnce(Known, Meta<'_>, &Lean<'_>) -> Result<V, String>,
) -> Decoded<V> {
    // What a panic leaves behind is dropped with the closure: nothing outside can see it half done.
    catch_unwind(AssertUnwindSafe(|| decode(json, build)))
        .unwrap_or_else(|_| unreadable(json, "decoding it panicked".to_owned()))
}

fn decode<V>(json: &[u8], build: impl FnOnce(Known, Meta<'_>, &Lean<'_>) -> Result<V, String>) -> Decoded<V> {
    let lean: Lean<'_> = match serde_json::from_slice(json) {
        Ok(lean) => lean,
        Err(error) => return Decoded::Nameless(plain(&error)),
    };
    // In one go if all is well; which object it is can be read even where the rest is odd.
    let meta = parse::<Meta<'_>>("metadata", lean.metadata);
    let identity = match &meta {
        Ok(meta) => meta.identity(),
        Err(_) => match parse("metadata", lean.metadata) {
            Ok(identity) => identity,
            Err(why) => return Decoded::Nameless(why),
        },
    };
    let (key, uid) = (Key::new(&*identity.namespace, &*identity.name), Uid::from(&*identity.uid));
    let version = version(&identity.resource_version);
    let known = version.ok_or_else(|| {
        format!("metadata.resourceVersion: {:?}, expected a decimal number", identity.resource_version)
    });
    let view =
        known.and_then(|version| build(Known { key: key.clone(), uid: uid.clone(), version }, meta?, &lean));
    match view {
        Ok(view) => Decoded::Seen(Box::new(view)),
        Err(why) => Decoded::Unreadable {
            key,
            uid,
            version: version.unwrap_or_default(),
            why: bounded(why, WHY_BYTES_MAX),
        },
    }
}

fn unreadable<V>(json: &[u8], why: String) -> Decoded<V> {
    match identity(json) {
        Ok((key, uid)) => Decoded::Unreadable { key, uid, version: Version::default(), why },
        Err(_) => Decoded::Nameless(why),
    }
}

fn required<T: DeserializeOwned>(field: &str, raw: Option<&RawValue>) -> Result<T, String> {
    parse(field, raw.ok_or_else(|| format!("{field}: missing, expected an object"))?)
}

fn optional<T: DeserializeOwned + Default>(field: &str, raw: Option<&RawValue>) -> Result<T, String> {
    raw.map_or_else(|| Ok(T::default()), |raw| parse(field, raw))
}

fn parse<'a, T: Deserialize<'a>>(field: &str, raw: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| {
        // Keeping track of the path costs, so only what has failed is parsed with it.
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

/// The error without its line and column: positions in a response mean nothing to whoever wrote the object.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

// === impl Decoded ===

impl Decoded<RunView> {
    /// What to tell the machine; nothing of an object that can't be named.
    pub fn into_input(self) -> Option<Input> {
        match self {
            Self::Seen(view) => Some(Input::RunSeen(view)),
            Self::Unreadable { key, uid, version, why } => Some(Input::RunUnreadable(key, uid, version, why)),
            Self::Nameless(why) => log_nameless("TestPlanRun", &why),
        }
    }
}

impl Decoded<GatewayView> {
    /// What to tell the machine; nothing of an object that can't be named.
    pub fn into_input(self) -> Option<Input> {
        match self {
            Self::Seen(view) => Some(Input::GatewaySeen(view)),
            Self::Unreadable { key, uid, version, why } => {
                Some(Input::GatewayUnreadable(key, uid, version, why))
            }
            Self::Nameless(why) => log_nameless("TestiniumGateway", &why),
        }
    }
}

fn log_nameless(kind: &str, why: &str) -> Option<Input> {
    tracing::error!(kind, why, "skipped an object without a readable name");
    None
}

/// Room for a path of fields and a sentence; the whole ends up in an event, whose limit is 1024.
const WHY_BYTES_MAX: usize = 300;

const ELLIPSIS: &str = "...";

#[cfg(test)]
mod tests;
