//! The reason for which a token endpoint refused a login, in words of our own.
//!
//! A login sends the whole credential, and an endpoint may quote any of it, in ways that nobody can list. So users are
//! told nothing of its answer but the code of the error, and that only if it is one of those published.

use serde_json::Value;

use super::json;

/// The code with which a token endpoint refuses.
#[derive(Debug, PartialEq)]
pub(super) struct Code {
    /// The code with what it means, if it is one that is published.
    pub told: Option<String>,
    /// Whether it is of the login: another try with the same Secret would end the same way, and could lock the account.
    pub refuses: bool,
}

/// The code of an answer; none if it has none. A word that only looks like one of OAuth's counts as well, but is not
/// told: sites have codes of their own, such as for an account that is locked.
pub(super) fn code(body: &[u8]) -> Option<Code> {
    let answer = json::parse(body)?;
    if let Some((code, told)) = published(&answer, DEPTH_MAX) {
        return Some(Code { told: Some(told), refuses: !TRANSIENT.contains(&code) });
    }
    let error = answer.get("error")?.as_str()?;
    let is_code = error.contains('_') && error.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_code.then_some(Code { told: None, refuses: true })
}

/// The fields that hold the code: in the answers of Testinium and of OAuth it is an `error`, a `code`, or in a list of
/// `errors`.
const FIELDS: [&str; 5] = ["error", "errors", "code", "errorcode", "result"];

const DEPTH_MAX: usize = 4;

fn published(value: &Value, depth: usize) -> Option<(&'static str, String)> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => known(text),
        Value::Array(items) => items.iter().take(1).find_map(|item| published(item, depth)),
        Value::Object(fields) => FIELDS.iter().find_map(|name| {
            let of_name = fields.iter().filter(|(key, _)| json::plain(key) == *name);
            of_name.take(1).find_map(|(_, value)| published(value, depth))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The code as published, never as it was received. Testinium writes those of OAuth in capitals.
fn known(text: &str) -> Option<(&'static str, String)> {
    let (known, meaning) = CODES.iter().find(|(code, _)| code.eq_ignore_ascii_case(text))?;
    let capitals = text.starts_with(|c: char| c.is_ascii_uppercase());
    let code = if capitals { known.to_ascii_uppercase() } else { (*known).to_owned() };
    Some((known, format!("{code}: {meaning}")))
}

/// Codes of an endpoint in trouble: they say nothing of the login, which is tried again.
const TRANSIENT: [&str; 4] =
    ["server_error", "temporarily_unavailable", "slow_down", "internal_server_error"];

/// The codes of OAuth (RFC 6749, 6750, 8628, 8707), of OpenID Connect, and of Testinium.
const CODES: [(&str, &str); 20] = [
    ("invalid_request", "the request is malformed or misses something"),
    ("invalid_client", "the client's id, secret or key is wrong"),
    ("invalid_grant", "the user name or password is wrong, or the account is locked"),
    ("unauthorized_client", "the client may not log in with a user name and password"),
    ("unsupported_grant_type", "logins with a user name and password are not offered"),
    ("invalid_scope", "spec.auth.password.scope is unknown, malformed or not granted"),
    ("access_denied", "the user name or password is wrong, or the account may not log in"),
    ("server_error", "the token endpoint has met an error"),
    ("temporarily_unavailable", "the token endpoint is overloaded or being maintained"),
    ("invalid_token", "a token is wrong or has expired"),
    ("insufficient_scope", "spec.auth.password.scope is not enough"),
    ("invalid_target", "the token is asked for the wrong place"),
    ("slow_down", "logins come too often"),
    ("expired_token", "a token has expired"),
    ("login_required", "a person must log in"),
    ("interaction_required", "a person must log in"),
    ("consent_required", "a person must consent"),
    ("account_selection_required", "a person must choose an account"),
    ("unauthorized", "the credentials are missing or wrong"),
    ("internal_server_error", "the token endpoint has met an error"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_published_code_is_told() {
        for (body, expected) in [
            (r#"{"error": "invalid_grant", "error_description": "5ecret"}"#, Some("invalid_grant: ")),
            (r#"{"error": "ACCESS_DENIED", "error_description": "5ecret"}"#, Some("ACCESS_DENIED: ")),
            (r#"{"error": "Invalid_Client"}"#, Some("INVALID_CLIENT: ")),
            (r#"{"data": null, "errors": [{"code": "UNAUTHORIZED", "message": "5ecret"}]}"#, Some("UNAUTH")),
            (r#"{"errors": ["INTERNAL_SERVER_ERROR"]}"#, Some("INTERNAL_SERVER_ERROR: ")),
            (r#"{"error": {"code": "invalid_scope"}}"#, Some("invalid_scope: ")),
            (r#"{"result": {"code": "SERVER_ERROR"}}"#, Some("SERVER_ERROR: ")),
            (r#"{"error": "5ecret_grant"}"#, None),
            (r#"{"error": "invalid_grant 5ecret"}"#, None),
            (r#"{"status": 403, "error": "Forbidden", "path": "/oauth/token"}"#, None),
            (r#"{"message": "invalid_grant"}"#, None),
            (r#"{"error": 5, "code": 7}"#, None),
            (r#"{"error": {"error": {"error": {"error": "invalid_grant"}}}}"#, None),
            (r#"{"error": "invalid_grant", "error": "5ecret"}"#, None),
            ("invalid_grant", None),
            ("", None),
        ] {
            let told = code(body.as_bytes()).and_then(|code| code.told);
            match (&told, expected) {
                (Some(told), Some(begin)) => {
                    assert!(told.starts_with(begin) && !told.contains("5ecret"), "{body}: {told}")
                }
                _ => assert_eq!(told.as_deref(), expected, "{body}"),
            }
        }
    }

    #[test]
    fn only_a_code_of_the_login_refuses() {
        for (body, refuses) in [
            (r#"{"error": "invalid_grant"}"#, Some(true)),
            (r#"{"error": "ACCESS_DENIED"}"#, Some(true)),
            (r#"{"errors": "UNAUTHORIZED"}"#, Some(true)),
            (r#"{"error": "account_locked"}"#, Some(true)),
            (r#"{"error": "temporarily_unavailable"}"#, Some(false)),
            (r#"{"error": "INTERNAL_SERVER_ERROR"}"#, Some(false)),
            (r#"{"error": "Forbidden"}"#, None),
            (r#"{"error": "Bad Gateway", "status": 502}"#, None),
            (r#"{"message": "no access"}"#, None),
            (r#"{"error": 5}"#, None),
            ("<html>invalid_grant</html>", None),
            ("", None),
        ] {
            assert_eq!(code(body.as_bytes()).map(|code| code.refuses), refuses, "{body}");
        }
    }
}
