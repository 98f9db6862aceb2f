//! Requests of commands that end, and the reason for which one has not done what it was for.
//!
//! The machine is told of failures in words of its own. A command has nobody to hand them to but its caller.

use std::time::Duration;

use kube::api::GetParams;
use kube::core::Request;
use serde::de::DeserializeOwned;

use super::request::{self, NoReply, Reply};

/// A request that has failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    pub why: String,
    /// Another try may succeed, after this time at the earliest.
    pub again_after: Option<Duration>,
}

/// Reads one object of a collection. None if there is no such object. `kind`: for the text of an error.
pub(super) async fn find<T: DeserializeOwned>(
    client: &kube::Client,
    collection: String,
    kind: &str,
    name: &str,
    limit: Duration,
) -> Result<Option<T>, Failure> {
    let request = Request::new(collection).get(name, &GetParams::default());
    let request = request.map_err(|error| Failure::for_good(error.to_string()))?;
    let Some(reply) = found(request::send(client, request, limit).await?)? else { return Ok(None) };
    let object = serde_json::from_slice(&reply.body);
    object.map(Some).map_err(|error| Failure::for_good(format!("the {kind} could not be read: {error}")))
}

/// What an answer says of an object: none if there is no such object.
pub(super) fn found(reply: Reply) -> Result<Option<Reply>, Failure> {
    match reply.status {
        404 => Ok(None),
        _ if reply.is_success() => Ok(Some(reply)),
        _ => Err(Failure::of(&reply)),
    }
}

// === impl Failure ===

impl Failure {
    /// What an answer says that is no success.
    pub(super) fn of(reply: &Reply) -> Self {
        let delay = reply.retry_after().map(|delay| Duration::from_millis(delay.0));
        Self { why: reply.message(), again_after: reply.may_pass().then(|| delay.unwrap_or_default()) }
    }

    /// A request that another try will not mend.
    pub(super) fn for_good(why: String) -> Self {
        Self { why, again_after: None }
    }
}

impl From<NoReply> for Failure {
    fn from(why: NoReply) -> Self {
        Self { why: why.to_string(), again_after: Some(Duration::ZERO) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_worth_another_try() {
        let rows = [
            (401, "", Some(0)),
            (403, "", None),
            (404, "", None),
            (409, "", None),
            (422, "", None),
            (429, r#"{"details":{"retryAfterSeconds":2}}"#, Some(2)),
            (500, "", Some(0)),
            (503, "", Some(0)),
        ];
        for (status, body, seconds) in rows {
            let failure = Failure::of(&Reply::made_of(status, body));
            assert_eq!(failure.again_after, seconds.map(Duration::from_secs), "{status}");
        }
        let refused = Failure::of(&Reply::made_of(403, r#"{"message":"you may not"}"#));
        assert_eq!(refused.why, "you may not");
        assert!(Failure::from(NoReply::Timeout(Duration::from_secs(1))).again_after.is_some());
    }
}
