//! The rights to patch runs and to write their statuses in all namespaces, without which no finalizer is put on.
//!
//! When a namespace is torn down, a right that was granted in it alone may go before the finalizer of a run does. So the
//! API server is asked for the rights in all namespaces, at the beginning of each term and every few minutes after that.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Resource;
use kube::api::PostParams;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::request::{self, Reply};
use super::resource;
use crate::api::GROUP;
use crate::machine::{Input, Kind};

/// Asks, and tells each answer that is another one than before. It never ends by itself, as a watch.
pub async fn tell_rights(client: kube::Client, inputs: mpsc::Sender<Input>) {
    let (mut pause, mut known) = (RETRY_FIRST, None);
    loop {
        match ask_for_both(&client).await {
            Ok(may_patch) if known != Some(may_patch) => {
                known = Some(may_patch);
                if !may_patch {
                    tracing::info!(
                        "there is no right to patch runs and to write their statuses in all namespaces: \
                         spec.deletionPolicy Stop is not in effect"
                    );
                }
                // Only a term that is over takes no inputs.
                let _ = inputs.send(Input::MayPatchRuns(may_patch)).await;
            }
            Ok(_) => {}
            Err(why) => tracing::warn!(why, "failed to ask for rights in all namespaces"),
        }
        sleep(if known.is_some() { PERIOD } else { pause }).await;
        pause = RETRY_MAX.min(pause * 2);
    }
}

async fn ask_for_both(client: &kube::Client) -> Result<bool, String> {
    Ok(ask(client, "patch", None).await? && ask(client, "update", Some("status")).await?)
}

async fn ask(client: &kube::Client, verb: &str, subresource: Option<&str>) -> Result<bool, String> {
    let resource = resource::of(Kind::Runs);
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some(resource.plural.to_string()),
                verb: Some(verb.to_owned()),
                subresource: subresource.map(str::to_owned),
                // No namespace stands for all of them.
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let body = serde_json::to_vec(&review).map_err(|error| error.to_string())?;
    let path = SelfSubjectAccessReview::url_path(&(), None);
    let request = kube::core::Request::new(path)
        .create(&PostParams::default(), body)
        .map_err(|error| error.to_string())?;
    let reply = request::send(client, request, LIMIT).await.map_err(|why| why.to_string())?;
    answer(&reply)
}

/// Who may not even ask has no such right.
fn answer(reply: &Reply) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        allowed: bool,
    }
    match reply.status {
        200..=299 => {
            let review: Review = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
            Ok(review.status.allowed)
        }
        403 => Ok(false),
        _ => Err(reply.message()),
    }
}

/// How often they are asked for again: a right that was missing comes with an upgrade, or late after the start.
const PERIOD: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(5);
/// The first and the longest pause after an answer that says nothing.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_one() {
        let rows = [
            (201, r#"{"status":{"allowed":true}}"#, Ok(true)),
            (201, r#"{"status":{"allowed":false,"denied":true}}"#, Ok(false)),
            (201, r#"{"status":{}}"#, Ok(false)),
            (403, r#"{"message":"no"}"#, Ok(false)),
            (500, r#"{"message":"no"}"#, Err("no".to_owned())),
        ];
        for (status, body, expected) in rows {
            assert_eq!(answer(&Reply::made_of(status, body)), expected, "{status} {body}");
        }
        assert!(answer(&Reply::made_of(201, "{}")).is_err(), "a review without a status says nothing");
    }
}
