//! One request to the Kubernetes API: with a time limit, and without a second try.
//!
//! The client itself waits for ever for an answer, so nothing here talks to it but through a limit.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::Request;
use kube::client::Body;
use serde::Deserialize;
use tokio::time::timeout;

use super::clock;
use crate::machine::Millis;
use crate::retry_after::retry_after;
use crate::text::{LINE_BYTES_MAX, bounded, error_line};

/// The name of this operator in managedFields.
pub(super) const FIELD_MANAGER: &str = "testinium-operator";

/// Its name where it writes for a cleanup rule.
pub(super) const CLEANUP_FIELD_MANAGER: &str = "testinium-cleanup";

/// The answer of the API server. It may hold a Secret, so it can't be shown.
pub(super) struct Reply {
    pub(super) status: u16,
    retry_after: Option<Millis>,
    pub(super) body: Vec<u8>,
}

/// The reason for which there was no answer.
#[derive(Debug)]
pub(super) enum NoReply {
    Timeout(Duration),
    Broken(String),
}

/// Sends a request and reads the answer to its end.
pub(super) async fn send(
    client: &kube::Client,
    request: Request<Vec<u8>>,
    limit: Duration,
) -> Result<Reply, NoReply> {
    let answer = async {
        let response = client.send(request.map(Body::from)).await?;
        clock::hear(response.headers());
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let body = response.into_body().collect_bytes().await?.into();
        Ok(Reply { status, retry_after, body })
    };
    match timeout(limit, answer).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(NoReply::broken(&error)),
        Err(_) => Err(NoReply::Timeout(limit)),
    }
}

/// The part of a Status that is worth something.
#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    retry_after_seconds: Option<u64>,
    #[serde(default)]
    causes: Vec<Cause>,
}

/// One of several things that are wrong with a request.
#[derive(Debug, Deserialize)]
struct Cause {
    /// The field that it is about.
    #[serde(default)]
    field: String,
}

/// The longest wait that the API server can impose: longer ones come from a mistake, and stops are urgent.
const RETRY_AFTER_MAX: Millis = Millis(30_000);

// === impl Reply ===

impl Reply {
    #[cfg(test)]
    pub(super) fn made_of(status: u16, body: &str) -> Self {
        Self { status, retry_after: None, body: body.into() }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the request itself is not at fault: the token has expired, or the server has no time.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.status, 401 | 408 | 425 | 429 | 500..)
    }

    /// The API server's own sentence on the failure. A body that is not its Status may be a proxy's page.
    pub(super) fn message(&self) -> String {
        match self.parsed().message {
            message if message.is_empty() => format!("the Kubernetes API answered HTTP {}", self.status),
            message => bounded(message, LINE_BYTES_MAX),
        }
    }

    /// Tells whether the API server finds something wrong with this field of the request.
    pub(super) fn blames(&self, field: &str) -> bool {
        let details = self.parsed().details;
        details.is_some_and(|details| details.causes.iter().any(|cause| cause.field == field))
    }

    /// Whether the object is larger than the datastore takes: in the words of etcd, or of the connection to it.
    pub(super) fn says_too_large(&self) -> bool {
        let message = self.parsed().message;
        ["etcdserver: request is too large", "message larger than max"]
            .iter()
            .any(|words| message.contains(words))
    }

    /// The time to wait before another try, if the API server names one.
    pub(super) fn retry_after(&self) -> Option<Millis> {
        let seconds = self.parsed().details.and_then(|details| details.retry_after_seconds);
        let of_body = seconds.map(|seconds| Millis(seconds.saturating_mul(1000)));
        let delay = self.retry_after.max(of_body).filter(|delay| *delay > Millis(0))?;
        Some(delay.min(RETRY_AFTER_MAX))
    }

    fn parsed(&self) -> Status {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

// === impl NoReply ===

impl NoReply {
    pub(super) fn broken(error: &kube::Error) -> Self {
        Self::Broken(error_line(error))
    }
}

impl fmt::Display for NoReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(limit) => {
                write!(f, "the Kubernetes API did not answer within {} s", limit.as_secs())
            }
            Self::Broken(text) => write!(f, "the Kubernetes API could not be reached: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_wait_counts_but_not_beyond_its_limit() {
        let details = |seconds: u64| format!(r#"{{"details": {{"retryAfterSeconds": {seconds}}}}}"#);
        let rows = [
            ("none", None, "{}".to_owned(), None),
            ("header", Some(3), "Too many requests".to_owned(), Some(3000)),
            ("details", None, details(4), Some(4000)),
            ("both", Some(1), details(4), Some(4000)),
            ("zero is none", Some(0), details(0), None),
            ("a day", Some(86_400), details(1), Some(30_000)),
            ("beyond any number", Some(u64::MAX), String::new(), Some(30_000)),
            ("details of another shape", None, r#"{"details": {"retryAfterSeconds": "4"}}"#.to_owned(), None),
        ];
        for (name, retry_after, body, expected) in rows {
            let retry_after = retry_after.map(|seconds: u64| Millis(seconds.saturating_mul(1000)));
            let reply = Reply { status: 429, retry_after, body: body.into_bytes() };
            assert_eq!(reply.retry_after(), expected.map(Millis), "{name}");
        }
    }

    #[test]
    fn a_field_is_blamed_by_a_status_alone() {
        let blames =
            |body: &str| Reply { status: 422, retry_after: None, body: body.into() }.blames("metadata.uid");
        assert!(blames(r#"{"details": {"causes": [{"field": "spec"}, {"field": "metadata.uid"}]}}"#));
        assert!(!blames(r#"{"details": {"causes": [{"field": "spec", "message": "metadata.uid"}]}}"#));
        assert!(!blames("metadata.uid"));
    }

    #[test]
    fn only_a_status_is_quoted() {
        let reply = |body: &str| Reply { status: 403, retry_after: None, body: body.into() }.message();
        assert_eq!(reply(r#"{"kind":"Status","message":"no"}"#), "no");
        assert_eq!(reply("<html>secret</html>"), "the Kubernetes API answered HTTP 403");
        assert_eq!(reply(r#"{"message":""}"#), "the Kubernetes API answered HTTP 403");
        assert!(reply(&format!(r#"{{"message":"{}"}}"#, "x".repeat(9000))).len() <= LINE_BYTES_MAX);
    }
}
