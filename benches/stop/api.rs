//! Requests to the API server, as bare as they can be: bytes out, bytes in, over kept connections.
//!
//! The harness and the floors talk through this. It uses the client that the operator uses, so that what a figure has
//! over its floor is the operator's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http::{Method, Request};
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;

/// Where the runs of a namespace are.
pub fn runs(namespace: &str) -> String {
    format!("/apis/testinium.io/v1alpha1/namespaces/{namespace}/testplanruns")
}

/// Requests at a time: more gain nothing at the API server, neither for patches nor for status writes.
pub const CLIENTS: usize = 16;

const FIELD_MANAGER: &str = "fieldManager=bench";

/// The part of a run that is needed here. Strings are borrowed: none of them is ever escaped.
#[derive(Debug, Deserialize)]
pub struct Run<'a> {
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
    #[serde(default)]
    pub spec: Spec,
    #[serde(borrow, default)]
    pub status: Status<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    #[serde(default)]
    pub name: &'a str,
    #[serde(default)]
    pub namespace: &'a str,
    #[serde(default)]
    pub uid: &'a str,
    #[serde(default)]
    pub resource_version: &'a str,
}

#[derive(Debug, Default, Deserialize)]
pub struct Spec {
    #[serde(default)]
    pub plans: Vec<i64>,
    #[serde(default)]
    pub stopped: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Status<'a> {
    #[serde(borrow, default)]
    pub conditions: Vec<Condition<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct Condition<'a> {
    #[serde(rename = "type")]
    pub type_: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
}

/// A whole list.
#[derive(Debug, Deserialize)]
pub struct List<'a> {
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
    #[serde(borrow)]
    pub items: Vec<Run<'a>>,
}

/// How a run stands, by its condition Stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// The operator has not written anything yet, or is at it.
    Open,
    NotRequested,
    Stopped,
}

// === impl Run ===

impl Run<'_> {
    pub fn standing(&self) -> Standing {
        match self.status.conditions.iter().find(|condition| condition.type_ == "Stopped") {
            Some(Condition { status: "True", .. }) => Standing::Stopped,
            Some(Condition { reason: "NotRequested", .. }) => Standing::NotRequested,
            _ => Standing::Open,
        }
    }

    pub fn wants_stopping(&self) -> bool {
        self.spec.stopped == Some(true) && self.standing() != Standing::Stopped
    }
}

/// Sends a request, reads the whole answer, and fails unless it is a success.
pub async fn send(client: &kube::Client, request: Request<Vec<u8>>) -> Result<Vec<u8>, Failure> {
    let what = format!("{} {}", request.method(), request.uri());
    let response = client.send(request.map(Body::from)).await.map_err(|error| format!("{what}: {error}"))?;
    let status = response.status();
    let body = response.into_body().collect_bytes().await.map_err(|error| format!("{what}: {error}"))?;
    if !status.is_success() {
        return Err(format!("{what}: HTTP {status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(body.into())
}

pub async fn get(client: &kube::Client, path: &str) -> Result<Vec<u8>, Failure> {
    send(client, Request::get(path).body(Vec::new())?).await
}

pub async fn create(client: &kube::Client, namespace: &str, run: &Value) -> Result<(), Failure> {
    let uri = format!("{}?{FIELD_MANAGER}", runs(namespace));
    send(client, body(Method::POST, &uri, "application/json", run.to_string().into_bytes())?).await.map(drop)
}

/// Asks for a stop.
pub async fn stop(client: &kube::Client, namespace: &str, name: &str) -> Result<(), Failure> {
    patch(client, namespace, name, r#"{"spec":{"stopped":true}}"#.to_owned()).await
}

/// Asks for a stop by annotation, once more for each value.
pub async fn ask(client: &kube::Client, namespace: &str, name: &str, value: usize) -> Result<(), Failure> {
    let text = format!(r#"{{"metadata":{{"annotations":{{"testinium.io/stop":"at {value}"}}}}}}"#);
    patch(client, namespace, name, text).await
}

async fn patch(client: &kube::Client, namespace: &str, name: &str, patch: String) -> Result<(), Failure> {
    let uri = format!("{}/{name}?{FIELD_MANAGER}", runs(namespace));
    let body = body(Method::PATCH, &uri, "application/merge-patch+json", patch.into_bytes())?;
    send(client, body).await.map(drop)
}

/// Writes a status that is JSON already, in the cheapest way there is.
pub async fn put_status(client: &kube::Client, of: &Metadata<'_>, status: &str) -> Result<(), Failure> {
    let Metadata { name, namespace, uid, resource_version } = of;
    let text = format!(
        r#"{{"apiVersion":"testinium.io/v1alpha1","kind":"TestPlanRun","metadata":{{"name":"{name}","namespace":"{namespace}","uid":"{uid}","resourceVersion":"{resource_version}"}},"status":{status}}}"#
    );
    let uri = format!("{}/{name}/status?{FIELD_MANAGER}", runs(namespace));
    send(client, body(Method::PUT, &uri, "application/json", text.into_bytes())?).await.map(drop)
}

/// Does `work` for every number below `count`, [`CLIENTS`] at a time. Yields when the last one was done.
pub async fn each<F>(
    count: usize,
    work: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Result<Instant, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send,
{
    let (next, work) = (Arc::new(AtomicUsize::new(0)), Arc::new(work));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS.min(count) {
        let (next, work) = (next.clone(), work.clone());
        workers.spawn(async move {
            loop {
                match next.fetch_add(1, Ordering::Relaxed) {
                    index if index < count => work(index).await?,
                    _ => return Ok::<_, Failure>(Instant::now()),
                }
            }
        });
    }
    let mut last = Instant::now();
    while let Some(ended) = workers.join_next().await {
        last = ended??;
    }
    Ok(last)
}

fn body(method: Method, uri: &str, content_type: &str, body: Vec<u8>) -> Result<Request<Vec<u8>>, Failure> {
    Ok(Request::builder().method(method).uri(uri).header("content-type", content_type).body(body)?)
}
