//! The scale of a Deployment, and the Helm release that it belongs to.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::json;

use super::failure::{Failure, find, found};
use super::request::{self, FIELD_MANAGER};

/// The Helm release of a Deployment: none if it has been applied in another way. Nothing if there is no Deployment.
pub async fn helm_release(
    client: &kube::Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Option<String>>, Failure> {
    let deployment = find::<Deployment>(client, collection(namespace), "Deployment", name, LIMIT).await?;
    Ok(deployment.map(|deployment| deployment.metadata.annotations.release))
}

/// Scales a Deployment to 0. Yields whether there is such a Deployment.
pub async fn scale_to_zero(client: &kube::Client, namespace: &str, name: &str) -> Result<bool, Failure> {
    let patch = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let request = Request::new(collection(namespace))
        .patch_subresource("scale", name, &params, &patch)
        .map_err(|error| Failure::for_good(error.to_string()))?;
    let reply = request::send(client, request, LIMIT).await?;
    Ok(found(reply)?.is_some())
}

fn collection(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments")
}

#[derive(Deserialize)]
struct Deployment {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
struct Annotations {
    /// Helm puts it on all that it installs.
    #[serde(default, rename = "meta.helm.sh/release-name")]
    release: Option<String>,
}

/// A write takes milliseconds; one that takes this long has met a server or network in trouble, and is safe to repeat.
const LIMIT: Duration = Duration::from_secs(10);
