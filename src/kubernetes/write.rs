//! Status writes, and the read of a single run.
//!
//! A write is a PUT of the status subresource whose body holds identity, uid, resourceVersion and status alone: the
//! cheapest way there is, and the uid makes sure that it can't hit an object that was made anew under the same name.

use std::time::Duration;

use http::HeaderValue;
use http::header::ACCEPT;
use kube::Resource;
use kube::api::{GetParams, PostParams};
use kube::core::Request;
use serde::Serialize;

use super::call::{self, FIELD_MANAGER, NoReply, Reply};
use super::decode::{self, Decoded};
use crate::api::{TestPlanRun, TestPlanRunStatus, TestiniumGateway, TestiniumGatewayStatus};
use crate::machine::{RunKey, RunView, Target, WriteResult};

/// Writes the status of a run.
pub async fn write_run_status(client: &kube::Client, to: &Target, status: &TestPlanRunStatus) -> WriteResult {
    write_status::<TestPlanRun, _>(client, to, status).await
}

/// Writes the status of a gateway.
pub async fn write_gateway_status(
    client: &kube::Client,
    to: &Target,
    status: &TestiniumGatewayStatus,
) -> WriteResult {
    write_status::<TestiniumGateway, _>(client, to, status).await
}

/// Reads one run, as it is now: from the datastore, not from a cache that may lag. None if it is gone or can't be read.
pub async fn read_run(client: &kube::Client, key: &RunKey) -> Option<Box<RunView>> {
    let path = TestPlanRun::url_path(&(), Some(&key.namespace));
    let Ok(request) = Request::new(path).get(&key.name, &GetParams::default()) else {
        return None;
    };
    match call::send(client, request, LIMIT).await {
        Ok(reply) if reply.is_success() => match decode::run(&reply.body) {
            Decoded::Seen(view) => Some(view),
            Decoded::Unreadable { .. } | Decoded::Nameless(_) => None,
        },
        Ok(reply) if reply.status == 404 => None,
        Ok(reply) => {
            tracing::warn!(run = %key, why = reply.message(), "failed to read a run");
            None
        }
        Err(why) => {
            tracing::warn!(run = %key, %why, "failed to read a run");
            None
        }
    }
}

/// An object as a PUT of its status needs it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a, S> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    status: &'a S,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    resource_version: &'a str,
}

async fn write_status<K, S>(client: &kube::Client, to: &Target, status: &S) -> WriteResult
where
    K: Resource<DynamicType = ()>,
    S: Serialize + Sync,
{
    let body = Body {
        api_version: &K::api_version(&()),
        kind: &K::kind(&()),
        metadata: Metadata {
            name: &to.key.name,
            namespace: &to.key.namespace,
            uid: &to.uid,
            resource_version: &to.version.0.to_string(),
        },
        status,
    };
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let request = serde_json::to_vec(&body).map_err(|error| error.to_string()).and_then(|body| {
        Request::new(K::url_path(&(), Some(&to.key.namespace)))
            .replace_subresource("status", &to.key.name, &params, body)
            .map_err(|error| error.to_string())
    });
    match request {
        Ok(mut request) => {
            request.headers_mut().insert(ACCEPT, METADATA_ALONE);
            let result = call::send(client, request, LIMIT).await;
            log_failure(&K::kind(&()), to, &result);
            classify(&result)
        }
        Err(why) => {
            tracing::error!(kind = %K::kind(&()), object = %to.key, why, "failed to put a status into a request");
            WriteResult::Refused(400)
        }
    }
}

/// All that is read of a reply is the version. Whoever can't cut it down sends the whole object.
const METADATA_ALONE: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json",
);

fn classify(result: &Result<Reply, NoReply>) -> WriteResult {
    let Ok(reply) = result else { return WriteResult::Failed { retry_after: None } };
    match reply.status {
        // A reply without a version was cut off: whether it was written shows when the same is tried again.
        200..=299 => match decode::written_version(&reply.body) {
            Some(version) => WriteResult::Done(version),
            None => WriteResult::Failed { retry_after: None },
        },
        404 => WriteResult::Gone,
        409 => WriteResult::Conflict,
        // Nothing is wrong with what was written: the token has expired, or the server has no time.
        401 | 408 | 425 | 429 => WriteResult::Failed { retry_after: reply.retry_after() },
        400..=499 => WriteResult::Refused(reply.status),
        _ => WriteResult::Failed { retry_after: reply.retry_after() },
    }
}

/// Conflicts and deleted objects are daily business; the rest is for whoever runs the cluster.
fn log_failure(kind: &str, to: &Target, result: &Result<Reply, NoReply>) {
    match result {
        Ok(reply) if reply.is_success() || matches!(reply.status, 404 | 409) => {}
        Ok(reply) => {
            tracing::warn!(kind, object = %to.key, why = reply.message(), "failed to write a status")
        }
        Err(why) => tracing::warn!(kind, object = %to.key, %why, "failed to write a status"),
    }
}

/// A write takes 2 ms; one that takes this long has met a server or network in trouble, and is safe to repeat.
const LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Millis, Version};

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
            (400, "", WriteResult::Refused(400)),
            (401, "", failed(None)),
            (403, "", WriteResult::Refused(403)),
            (404, "", WriteResult::Gone),
            (405, "", WriteResult::Refused(405)),
            (409, "", WriteResult::Conflict),
            (413, "", WriteResult::Refused(413)),
            (422, "", WriteResult::Refused(422)),
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
    fn the_body_holds_identity_and_status_alone() {
        let status = TestPlanRunStatus { summary: Some("1/1".into()), ..TestPlanRunStatus::default() };
        let body = Body {
            api_version: "testinium.io/v1alpha1",
            kind: "TestPlanRun",
            metadata: Metadata { name: "n", namespace: "ns", uid: "u", resource_version: "7" },
            status: &status,
        };
        assert_eq!(
            serde_json::to_value(&body).expect("JSON"),
            serde_json::json!({
                "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
                "metadata": {"name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "7"},
                "status": {"summary": "1/1"},
            })
        );
    }
}
