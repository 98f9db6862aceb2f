//! Writes to objects, and the read of a single run.
//!
//! A status is written by a PUT of its subresource, whose body holds identity, uid, resourceVersion and status alone:
//! that is the cheapest way. Metadata is written by a merge patch, and an object deleted with preconditions. Each names
//! uid and version, so that it can't hit an object that was made anew under the same name, nor a newer version.

use std::time::Duration;

use http::HeaderValue;
use http::header::ACCEPT;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use serde::Serialize;
use serde_json::json;

use super::decode::{self, Decoded};
use super::request::{self, CLEANUP_FIELD_MANAGER, FIELD_MANAGER, NoReply, Reply};
use super::resource;
use crate::api::CLEANUP_ANNOTATION;
use crate::machine::{Kind, MetadataChange, RunKey, RunView, Target, Version, WriteBody, WriteResult};
use crate::seldom::Seldom;

/// Writes to an object. A write that finds another object of that name, or a newer version, changes nothing.
pub async fn write(client: &kube::Client, to: &Target, body: &WriteBody) -> WriteResult {
    match request_of(to, body) {
        Ok(mut request) => {
            request.headers_mut().insert(ACCEPT, METADATA_ALONE);
            let result = request::send(client, request, LIMIT).await;
            log_failure(to, body, &result);
            match body {
                WriteBody::Deletion => classify_deletion(&result, to.version),
                WriteBody::RunStatus(_)
                | WriteBody::GatewayStatus(_)
                | WriteBody::CleanupStatus(_)
                | WriteBody::Metadata(_) => classify(&result),
            }
        }
        Err(why) => {
            tracing::error!(kind = ?to.key.kind(), object = %to.key, why, "failed to put a write into a request");
            WriteResult::Refused(400)
        }
    }
}

/// Reads one run, as it is now: from the datastore, not from a cache that may lag. None if it is gone or can't be read.
pub async fn read_run(client: &kube::Client, key: &RunKey) -> Option<Box<RunView>> {
    let path = resource::of(Kind::Runs).path(Some(&key.namespace));
    let Ok(request) = Request::new(path).get(&key.name, &GetParams::default()) else {
        return None;
    };
    let why = match request::send(client, request, LIMIT).await {
        Ok(reply) if reply.is_success() || reply.status == 404 => {
            if UNREAD.is_over(&key.namespace, &key.name) {
                tracing::info!(run = %key, "a run can be read again");
            }
            return seen(&reply);
        }
        Ok(reply) => reply.message(),
        Err(why) => why.to_string(),
    };
    if let Some(left_out) = UNREAD.is_due(&key.namespace, &key.name, &why) {
        tracing::warn!(run = %key, why, left_out, "failed to read a run");
    }
    None
}

fn seen(reply: &Reply) -> Option<Box<RunView>> {
    if !reply.is_success() {
        return None;
    }
    match decode::run(&reply.body) {
        Decoded::Seen(view) => Some(view),
        Decoded::Unreadable { .. } | Decoded::Nameless(_) => None,
    }
}

/// An object as a PUT of its status needs it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WithStatus<'a, S> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    status: &'a S,
}

/// The identity of an object, and the version that is replaced.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    resource_version: &'a str,
}

fn request_of(to: &Target, body: &WriteBody) -> Result<http::Request<Vec<u8>>, String> {
    match body {
        WriteBody::RunStatus(status) => put_status(to, &**status),
        WriteBody::GatewayStatus(status) => put_status(to, &**status),
        WriteBody::CleanupStatus(status) => put_status(to, &**status),
        WriteBody::Metadata(change) => patch_metadata(to, change),
        WriteBody::Deletion => delete(to),
    }
}

fn put_status<S: Serialize>(to: &Target, status: &S) -> Result<http::Request<Vec<u8>>, String> {
    let resource = resource::of(to.key.kind());
    let body = WithStatus {
        api_version: &resource.api_version,
        kind: &resource.kind,
        metadata: Metadata {
            name: &to.key.name,
            namespace: &to.key.namespace,
            uid: &to.uid,
            resource_version: &to.version.0.to_string(),
        },
        status,
    };
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    collection(to)
        .replace_subresource("status", &to.key.name, &params, body)
        .map_err(|error| error.to_string())
}

/// A merge patch that names uid and version, so that it fails on another object, or a newer one.
pub(super) fn patch_metadata(to: &Target, change: &MetadataChange) -> Result<http::Request<Vec<u8>>, String> {
    let mut metadata = json!({ "uid": *to.uid, "resourceVersion": to.version.0.to_string() });
    match change {
        MetadataChange::Finalizers(finalizers) => metadata["finalizers"] = json!(finalizers),
        MetadataChange::Annotations(annotations) => metadata["annotations"] = json!(annotations),
        MetadataChange::CleanupMark(mark) => metadata["annotations"] = json!({ CLEANUP_ANNOTATION: mark }),
    }
    let manager = match change {
        MetadataChange::Finalizers(_) | MetadataChange::Annotations(_) => FIELD_MANAGER,
        // Status tells by it who has asked for the stop.
        MetadataChange::CleanupMark(_) => CLEANUP_FIELD_MANAGER,
    };
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    collection(to).patch(&to.key.name, &params, &patch).map_err(|error| error.to_string())
}

fn delete(to: &Target) -> Result<http::Request<Vec<u8>>, String> {
    let preconditions =
        Preconditions { uid: Some(to.uid.to_string()), resource_version: Some(to.version.0.to_string()) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    collection(to).delete(&to.key.name, &params).map_err(|error| error.to_string())
}

fn collection(to: &Target) -> Request {
    Request::new(resource::of(to.key.kind()).path(Some(&to.key.namespace)))
}

/// The version is the only part that is read of a reply. A server that can't cut the reply down sends the whole object.
const METADATA_ALONE: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json",
);

pub(super) fn classify(result: &Result<Reply, NoReply>) -> WriteResult {
    let Ok(reply) = result else { return WriteResult::Failed { retry_after: None } };
    match reply.status {
        // A reply without a version was cut off. The next try shows whether the write was made.
        200..=299 => match decode::written_version(&reply.body) {
            Some(version) => WriteResult::Done(version),
            None => WriteResult::Failed { retry_after: None },
        },
        404 => WriteResult::Gone,
        409 => WriteResult::Conflict,
        // A patch that names another uid is refused as one that would change it.
        422 if reply.blames("metadata.uid") => WriteResult::Conflict,
        400..=499 if !reply.may_pass() => WriteResult::Refused(reply.status),
        // etcd, or the connection to it, has a limit for an object. It will not grow.
        500..=599 if reply.says_too_large() => WriteResult::Refused(reply.status),
        _ => WriteResult::Failed { retry_after: reply.retry_after() },
    }
}

/// A deletion that was accepted. Its reply is the object or a Status, which need not tell a version; nothing is written
/// to the object after it.
fn classify_deletion(result: &Result<Reply, NoReply>, known: Version) -> WriteResult {
    match result {
        Ok(reply) if reply.is_success() => {
            WriteResult::Done(decode::written_version(&reply.body).unwrap_or(known))
        }
        other => classify(other),
    }
}

/// Conflicts and deleted objects are daily business; the rest is for the people who run the cluster.
fn log_failure(to: &Target, body: &WriteBody, result: &Result<Reply, NoReply>) {
    let kind = to.key.kind();
    let what = match body {
        WriteBody::RunStatus(_) | WriteBody::GatewayStatus(_) | WriteBody::CleanupStatus(_) => "status",
        WriteBody::Metadata(_) => "metadata",
        WriteBody::Deletion => "deletion",
    };
    let namespace = &*to.key.namespace;
    let name = format_args!("{kind:?} {} {what}", to.key.name);
    let why = match result {
        Ok(reply) if reply.is_success() => {
            if FAILED.is_over(namespace, name) {
                tracing::info!(?kind, object = %to.key, what, "wrote at last");
            }
            return;
        }
        Ok(reply) if matches!(reply.status, 404 | 409) => return,
        Ok(reply) => reply.message(),
        Err(why) => why.to_string(),
    };
    if let Some(left_out) = FAILED.is_due(namespace, &name.to_string(), &why) {
        tracing::warn!(?kind, object = %to.key, what, why, left_out, "failed to write");
    }
}

/// The objects of which the log says that a write has failed.
static FAILED: Seldom = Seldom::new();

/// The runs of which the log says that they could not be read.
static UNREAD: Seldom = Seldom::new();

/// A write takes 2 ms; one that takes this long has met a server or network in trouble, and is safe to repeat.
const LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;
    use crate::api::{TestPlanRunStatus, TestiniumGatewayStatus};
    use crate::machine::{GatewayKey, Millis, ObjectKey};

    #[test]
    fn an_answer_says_who_has_to_act() {
        let failed =
            |seconds: Option<u64>| WriteResult::Failed { retry_after: seconds.map(|s| Millis(s * 1000)) };
        let rows = [
            (
                200,
                r#"{"metadata":{"resourceVersion":"12","name":"x"},"spec":{}}"#,
                WriteResult::Done(Version(12)),
            ),
            (201, r#"{"metadata":{"resourceVersion":"12"}}"#, WriteResult::Done(Version(12))),
            (200, r#"{"metadata":{"resourceVersion":"x"}}"#, failed(None)),
            (200, r#"{"metadata":{"#, failed(None)),
            (301, "", failed(None)),
            (
                500,
                r#"{"kind":"Status","message":"etcdserver: request is too large"}"#,
                WriteResult::Refused(500),
            ),
            (
                500,
                r#"{"message":"rpc error: code = ResourceExhausted desc = trying to send message larger than max (2100000 vs. 2097152)"}"#,
                WriteResult::Refused(500),
            ),
            (500, r#"{"message":"etcdserver: request timed out"}"#, failed(None)),
            (400, "", WriteResult::Refused(400)),
            (401, "", failed(None)),
            (403, "", WriteResult::Refused(403)),
            (404, "", WriteResult::Gone),
            (405, "", WriteResult::Refused(405)),
            (409, "", WriteResult::Conflict),
            (413, "", WriteResult::Refused(413)),
            (422, "", WriteResult::Refused(422)),
            (422, r#"{"details":{"causes":[{"field":"metadata.uid"}]}}"#, WriteResult::Conflict),
            (429, r#"{"details":{"retryAfterSeconds":2}}"#, failed(Some(2))),
            (500, "", failed(None)),
            (503, r#"{"details":{"retryAfterSeconds":3600}}"#, failed(Some(30))),
            (504, "", failed(None)),
        ];
        for (status, body, expected) in rows {
            assert_eq!(classify(&Ok(Reply::made_of(status, body))), expected, "{status} {body}");
        }
        assert_eq!(classify(&Err(NoReply::Timeout(LIMIT))), failed(None));
    }

    #[test]
    fn a_deletion_needs_no_version_in_its_answer() {
        let known = Version(7);
        let rows = [
            (200, r#"{"kind":"Status","status":"Success"}"#, WriteResult::Done(known)),
            (200, r#"{"metadata":{"resourceVersion":"12"}}"#, WriteResult::Done(Version(12))),
            (404, "", WriteResult::Gone),
            (409, "", WriteResult::Conflict),
            (500, "", WriteResult::Failed { retry_after: None }),
        ];
        for (status, body, expected) in rows {
            let answer = Ok(Reply::made_of(status, body));
            assert_eq!(classify_deletion(&answer, known), expected, "{status} {body}");
        }
    }

    /// Method, path, content type and body of the request for a write to version 7 of a run or a gateway.
    fn made(key: ObjectKey, body: &WriteBody) -> (String, String, String, serde_json::Value) {
        let to = Target { key, uid: "u".into(), version: Version(7) };
        let request = request_of(&to, body).expect("a request");
        let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.to_str().expect("text"));
        let content_type = content_type.unwrap_or_default().to_owned();
        let query = request.uri().query().unwrap_or_default();
        let manager = match body {
            WriteBody::Metadata(MetadataChange::CleanupMark(_)) => Some("testinium-cleanup"),
            WriteBody::Deletion => None,
            WriteBody::RunStatus(_)
            | WriteBody::GatewayStatus(_)
            | WriteBody::CleanupStatus(_)
            | WriteBody::Metadata(_) => Some("testinium-operator"),
        };
        let named = query.split('&').find_map(|part| part.strip_prefix("fieldManager="));
        assert_eq!(named, manager, "{query}");
        let json = serde_json::from_slice(request.body()).expect("a body of JSON");
        (request.method().to_string(), request.uri().path().to_owned(), content_type, json)
    }

    #[test]
    fn a_status_is_put_with_identity_and_status_alone() {
        let status = TestPlanRunStatus { summary: Some("1/1".into()), ..TestPlanRunStatus::default() };
        let (method, path, _, body) =
            made(ObjectKey::Run(RunKey::new("ns", "n")), &WriteBody::RunStatus(status.into()));
        let expected = "/apis/testinium.io/v1alpha1/namespaces/ns/testplanruns/n/status";
        assert_eq!((method.as_str(), path.as_str()), ("PUT", expected));
        assert_eq!(
            body,
            json!({
                "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
                "metadata": {"name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "7"},
                "status": {"summary": "1/1"},
            })
        );

        let status = TestiniumGatewayStatus { observed_generation: Some(3), ..Default::default() };
        let (_, path, _, body) =
            made(ObjectKey::Gateway(GatewayKey::new("ns", "n")), &WriteBody::GatewayStatus(status.into()));
        assert_eq!(path, "/apis/testinium.io/v1alpha1/namespaces/ns/testiniumgateways/n/status");
        assert_eq!(
            (&body["kind"], &body["status"]["observedGeneration"]),
            (&json!("TestiniumGateway"), &json!(3))
        );
    }

    #[test]
    fn metadata_is_patched_in_part_and_names_uid_and_version() {
        let annotations = [("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)].into();
        let rows = [
            (MetadataChange::Finalizers(vec!["x/y".to_owned()]), json!({"finalizers": ["x/y"]})),
            (MetadataChange::Finalizers(Vec::new()), json!({"finalizers": []})),
            (MetadataChange::Annotations(annotations), json!({"annotations": {"a": "1", "b": null}})),
            (
                MetadataChange::CleanupMark("nightly/1".to_owned()),
                json!({"annotations": {"testinium.io/cleanup": "nightly/1"}}),
            ),
        ];
        for (change, mut metadata) in rows {
            let body = WriteBody::Metadata(change);
            let (method, path, content_type, patch) = made(ObjectKey::Run(RunKey::new("ns", "n")), &body);
            let expected = "/apis/testinium.io/v1alpha1/namespaces/ns/testplanruns/n";
            assert_eq!((method.as_str(), path.as_str()), ("PATCH", expected));
            assert_eq!(content_type, "application/merge-patch+json");
            metadata["uid"] = json!("u");
            metadata["resourceVersion"] = json!("7");
            assert_eq!(patch, json!({"metadata": metadata}));
        }
    }

    #[test]
    fn a_deletion_names_uid_and_version() {
        let (method, path, _, body) = made(ObjectKey::Run(RunKey::new("ns", "n")), &WriteBody::Deletion);
        let expected = "/apis/testinium.io/v1alpha1/namespaces/ns/testplanruns/n";
        assert_eq!((method.as_str(), path.as_str()), ("DELETE", expected));
        assert_eq!(body["preconditions"], json!({"uid": "u", "resourceVersion": "7"}));
    }
}
