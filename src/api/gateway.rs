//! `TestiniumGateway`: where stops are sent, and with which credentials and limits.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, rules};

/// Where stops are sent, and with which credentials and limits.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "testinium.io",
    version = "v1alpha1",
    kind = "TestiniumGateway",
    plural = "testiniumgateways",
    shortname = "tgw",
    category = "testinium",
    namespaced,
    status = "TestiniumGatewayStatus",
    doc = "A TestiniumGateway says how to reach one Testinium site.",
    printcolumn = r#"{"name": "URL", "type": "string", "jsonPath": ".spec.url",
        "description": "Address of the gateway"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status",
        "description": "Whether stops can be sent"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason",
        "description": "Why"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message",
        "description": "Why, in a sentence", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
        "description": "Time since the gateway was created"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!self.url.startsWith('http://') || self.?allowPlainHTTP.orValue(false)")
    .message("an http url sends the token unencrypted: write https://, or set allowPlainHTTP: true for a test")
    .field_path(".url"))]
#[x_kube(validation = Rule::new(
    "!self.auth.?password.tokenURL.orValue('').startsWith('http://') || self.?allowPlainHTTP.orValue(false)")
    .message("an http tokenURL sends the password unencrypted: write https://, or set allowPlainHTTP: true for a test")
    .field_path(".auth.password.tokenURL"))]
pub struct TestiniumGatewaySpec {
    /// Address of the gateway, such as https://testinium.example.com/Testinium.Gateway; stops are sent to
    /// <url>/stop/execution.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::url(), validation = rules::base_url())]
    pub url: String,
    /// Allow an http address. The token then travels unencrypted: for tests only.
    #[serde(default, rename = "allowPlainHTTP", skip_serializing_if = "Option::is_none")]
    pub allow_plain_http: Option<bool>,
    /// The way in which the operator authenticates; exactly one.
    pub auth: Auth,
    /// Sent as the header X-Company-Id; some Testinium builds need it. 1 to 128 printable ASCII characters.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[!-~]([ -~]*[!-~])?$')")
        .message("companyID is sent as a header: write printable ASCII characters, without spaces around them"))]
    #[serde(default, rename = "companyID", skip_serializing_if = "Option::is_none")]
    pub company_id: Option<String>,
    /// Private CA and client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The number of plans that share a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// Limits of the calls to this gateway. Gateways whose urls have the same origin (scheme, host and port) share a
    /// cap besides, which flags of the operator set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Seconds that one call may take, from connecting to the last byte: 1 to 300, 30 if absent.
    #[schemars(range(min = 1, max = 300))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// The pause after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Hold every call, for maintenance. Runs that wait say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// The way in which the operator authenticates; exactly one of the fields.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.bearerToken) != has(self.password)")
    .message("set exactly one of bearerToken (a token from a Secret) and password (a login)"))]
pub struct Auth {
    /// A token from a Secret, sent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<BearerToken>,
    /// A login with user name and password (OAuth password grant).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordGrant>,
}

/// A token from a Secret.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BearerToken {
    /// The Secret in the gateway's namespace that holds the token.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub secret_ref: SecretKeyRef,
}

/// A key of a Secret.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// Key in the Secret; "token" if absent.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::data_key())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A login with user name and password.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordGrant {
    /// Address of the token endpoint, such as https://testinium.example.com/Testinium.RestApi/oauth/token.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::url())]
    #[serde(rename = "tokenURL")]
    pub token_url: String,
    /// The Secret in the gateway's namespace with the keys username and password, and either clientId and
    /// clientSecret, or clientKey.
    pub secret_ref: SecretRef,
    /// Scope to ask for; none if absent.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// A Secret.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
}

/// Private CA and client certificate.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// CA certificates to trust instead of the system's.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// Client certificate for mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretRef>,
}

/// Where the CA certificates are.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// Kind of the object: ConfigMap (if absent) or Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CaKind>,
    /// Name of the object, in the gateway's namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// Key in the object; "ca.crt" if absent.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::data_key())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Kind of the object: ConfigMap (if absent) or Secret.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CaKind {
    #[default]
    ConfigMap,
    Secret,
}

/// The number of plans that share a call.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Batching {
    /// Most plans in a call: 1 to 1000, 100 if absent.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_plans: Option<i64>,
    /// Milliseconds that a call waits for company while others are coming in: 0 to 10000, 50 if absent. The first call
    /// after a quiet spell never waits.
    #[schemars(range(min = 0, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_milliseconds: Option<i64>,
}

/// Limits of the calls to the gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Calls a second: 1 to 1000, 10 if absent. Bursts hold one second's worth at most.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<i64>,
    /// Calls at a time: 1 to 64, 2 if absent.
    #[schemars(range(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<i64>,
}

/// The pause after a failure: full-jitter exponential backoff.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.?maxDelaySeconds.orValue(300) >= self.?initialDelaySeconds.orValue(1)")
    .message("maxDelaySeconds (300 if absent) must not be less than initialDelaySeconds: raise it or lower the other"))]
pub struct Retry {
    /// Seconds of the first delay: 1 to 300, 1 if absent.
    #[schemars(range(min = 1, max = 300))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<i64>,
    /// Seconds of the longest delay: 1 to 3600 and not less than initialDelaySeconds, 300 if absent. Also the most that
    /// a Retry-After is honoured for.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay_seconds: Option<i64>,
}

/// The state of the gateway.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
// Until the operator has written something, kstatus must not call an unseen object Current.
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct TestiniumGatewayStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, and Reconciling or Stalled while they matter.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
