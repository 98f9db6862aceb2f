//! `TestiniumGateway`: where stops are sent, and with which credentials and limits.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// A TestiniumGateway says how to reach one Testinium site.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "testinium.io",
    version = "v1alpha1",
    kind = "TestiniumGateway",
    plural = "testiniumgateways",
    shortname = "tgw",
    category = "testinium",
    namespaced,
    status = "TestiniumGatewayStatus"
)]
#[serde(rename_all = "camelCase")]
pub struct TestiniumGatewaySpec {
    /// Address of the gateway; stops are sent to <url>/stop/execution.
    pub url: String,
    /// Allow an http address. The token then travels unencrypted: for tests only.
    #[serde(default, rename = "allowPlainHTTP", skip_serializing_if = "Option::is_none")]
    pub allow_plain_http: Option<bool>,
    /// How the operator authenticates; exactly one way.
    pub auth: Auth,
    /// Sent as the header X-Company-Id; some Testinium builds need it.
    #[serde(default, rename = "companyID", skip_serializing_if = "Option::is_none")]
    pub company_id: Option<String>,
    /// Private CA and client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How many plans share a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// What the gateway may be asked at most. Kept per origin of the url: of several gateways that share one, the
    /// smallest limits count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Seconds that one call may take, from connecting to the last byte; 30 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// How long to wait after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Hold every call, for maintenance. Runs that wait say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// How the operator authenticates; exactly one of the fields.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// A token from a Secret, sent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<BearerToken>,
    /// A login with user name and password (OAuth password grant).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordGrant>,
}

/// A token from a Secret.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BearerToken {
    /// The Secret in the gateway's namespace that holds the token.
    pub secret_ref: SecretKeyRef,
}

/// A key of a Secret.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in the Secret; "token" if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A login with user name and password.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordGrant {
    /// Address of the token endpoint, such as https://testinium.example.com/Testinium.RestApi/oauth/token.
    #[serde(rename = "tokenURL")]
    pub token_url: String,
    /// The Secret in the gateway's namespace with the keys username and password, and either clientId and
    /// clientSecret, or clientKey.
    pub secret_ref: SecretRef,
    /// Scope to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// A Secret.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: String,
}

/// Private CA and client certificate.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// CA certificates to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// Client certificate for mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretRef>,
}

/// Where the CA certificates are.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// Kind of the object: ConfigMap (if absent) or Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CaKind>,
    /// Name of the object, in the gateway's namespace.
    pub name: String,
    /// Key in the object; "ca.crt" if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Kind of the object that holds CA certificates.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CaKind {
    #[default]
    ConfigMap,
    Secret,
}

/// How many plans share a call.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Batching {
    /// Most plans in a call, 1 to 1000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_plans: Option<i64>,
    /// Milliseconds that a call waits for company while others are coming in; 50 if absent. The first call after a
    /// quiet spell never waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_milliseconds: Option<i64>,
}

/// What the gateway may be asked at most.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Calls a second; 10 if absent. Bursts hold one second's worth at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<i64>,
    /// Calls at a time; 2 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<i64>,
}

/// How long to wait after a failure: full-jitter exponential backoff.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Seconds of the first delay; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<i64>,
    /// Seconds of the longest delay; 300 if absent. Also the most that a Retry-After is honoured for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay_seconds: Option<i64>,
}

/// How the gateway stands.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestiniumGatewayStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, and Reconciling or Stalled while they matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
