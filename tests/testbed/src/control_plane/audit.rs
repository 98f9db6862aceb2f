//! The API server's audit log, read back as entries to be counted.
//!
//! It tells who asked for what and what came of it, which no client can fake: a test that wants to know how
//! many times the operator wrote a status counts here.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// How much of each request is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditLevel {
    /// Nothing: for measurements.
    Off,
    /// The user, the verb, the object, the time and the answer's code.
    #[default]
    Metadata,
    /// The same, and the body of the request.
    Request,
}

/// One request. A watch is listed once it has begun, all others once they have been answered.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// `create`, `get`, `list`, `watch`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Such as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    pub user_agent: String,
    pub uri: String,
    /// The plural name; empty for a request that is about no resource, such as `/version`.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    /// Empty for lists and for objects that are named by the server.
    pub name: String,
    pub code: u16,
    /// When the request came in.
    pub time: Timestamp,
    /// The request's body, at [`AuditLevel::Request`].
    pub body: Option<Value>,
}

/// A policy for the API server. Its own requests to itself and health checks are left out.
pub(super) fn policy(level: AuditLevel) -> String {
    let level = match level {
        AuditLevel::Off => "None",
        AuditLevel::Metadata => "Metadata",
        AuditLevel::Request => "Request",
    };
    format!(
        "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: [\"system:apiserver\"]
- level: None
  nonResourceURLs: [\"/healthz*\", \"/livez*\", \"/readyz*\"]
- level: {level}
"
    )
}

/// Reads the log; empty if there is none yet.
pub(super) fn read(path: &Path) -> Result<Vec<AuditEntry>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(format!("failed to read {}", path.display()))(error)),
    }
}

fn parse(text: &str) -> Result<Vec<AuditEntry>, Error> {
    // The log is being written to: a last line without an end is not complete yet.
    let complete = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    for line in complete.lines() {
        let event: Event = serde_json::from_str(line)
            .map_err(|source| Error::Json { what: format!("the audit log's line {line}"), source })?;
        let answered = event.stage == "ResponseComplete" || event.stage == "Panic";
        // A watch is told of when it starts, and again when it ends.
        if (answered || event.verb == "watch") && seen.insert(event.audit_id.clone()) {
            entries.push(AuditEntry::from(event));
        }
    }
    Ok(entries)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(rename = "requestURI")]
    uri: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: Timestamp,
    request_object: Option<Value>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

// === impl AuditEntry ===

impl AuditEntry {
    /// Whether it asked for a change, whatever came of it.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

impl From<Event> for AuditEntry {
    fn from(event: Event) -> AuditEntry {
        let ObjectRef { resource, subresource, namespace, name } = event.object_ref;
        AuditEntry {
            verb: event.verb,
            user: event.user.username,
            user_agent: event.user_agent,
            uri: event.uri,
            resource,
            subresource,
            namespace,
            name,
            code: event.response_status.code,
            time: event.request_received_timestamp,
            body: event.request_object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, stage: &str, verb: &str) -> String {
        format!(
            r#"{{"auditID":"{id}","stage":"{stage}","verb":"{verb}","requestURI":"/x","user":{{"username":"jane"}},"responseStatus":{{"code":200}},"requestReceivedTimestamp":"2026-01-02T03:04:05.000006Z"}}"#
        ) + "\n"
    }

    #[test]
    fn a_watch_counts_once_and_a_half_written_line_not_yet() {
        let text = [
            line("a", "ResponseStarted", "watch"),
            line("b", "ResponseComplete", "patch"),
            line("a", "ResponseComplete", "watch"),
            line("c", "ResponseComplete", "get").split_at(40).0.to_owned(),
        ]
        .concat();
        let verbs: Vec<_> =
            parse(&text).expect("the lines are whole").into_iter().map(|entry| entry.verb).collect();
        assert_eq!(verbs, ["watch", "patch"]);
    }
}
