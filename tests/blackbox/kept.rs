//! The search for secrets in everything that operators have said and written.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::Value;
use testinium_testbed::oracles::secrets_told;

use crate::cluster::{Namespace, ok};

/// Keys of a Secret that hold nothing secret.
const PUBLIC: [&str; 3] = ["ca.crt", "tls.crt", "client-id"];
/// Words that the simulator hands out at a login, and words of proxies and other services.
const NEVER: [&str; 5] = ["issued-token-", "refresh-token-", "Bearer ", "Basic ", "proxy.example.com"];
/// The shortest secret that is searched for. Shorter ones would be found by chance.
const LEAST: usize = 8;

/// Panics if a secret of the namespace is in its other objects, in what its operators have logged, or in their metrics.
pub(crate) fn assert_kept(namespace: &Namespace, log: &str, metrics: &str) {
    let all = ok(namespace.kubectl.get_json(&["secrets,testinium,events.events.k8s.io"]));
    let items = all["items"].as_array().cloned().unwrap_or_default();
    let (secrets, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item["kind"] == "Secret");
    let objects: String = others.iter().map(operators_part).collect();
    let told = BTreeMap::from([("a log", log), ("metrics", metrics), ("an object", &objects)]);
    let secrets: Vec<String> = secrets.iter().flat_map(values).collect();
    for (place, text) in told {
        let found = secrets_told(text, secrets.iter().map(String::as_str));
        assert!(found.is_empty(), "{place}: {}:\n{text}", found.join(", "));
        for word in NEVER {
            assert!(!text.contains(word), "{word:?} is in {place}:\n{text}");
        }
    }
}

/// The part of an object that the operator may have written: a spec is the user's own.
fn operators_part(object: &Value) -> String {
    let mut object = object.clone();
    object["spec"] = Value::Null;
    object["metadata"]["annotations"] = Value::Null;
    object.to_string()
}

/// Every secret word of a Secret: its values, and the lines of those that are keys.
fn values(secret: &Value) -> Vec<String> {
    let data = secret["data"].as_object().into_iter().flatten();
    let secret = data.filter(|(key, _)| !PUBLIC.contains(&key.as_str()));
    let decoded = secret.filter_map(|(_, value)| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    });
    let lines = decoded.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.len() >= LEAST && !line.starts_with("-----")).collect()
}
