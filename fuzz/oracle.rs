//! What must be true of every reply's body, whatever its bytes. Shared by the fuzz target and by the test that runs
//! the kept corpus.

use serde_json::Value;
use testinium_operator::api::Outcome;
use testinium_operator::machine::gateways::verdict::{Verdict, verdict};
use testinium_operator::machine::{Answer, Body, PlanId, Reply};
use testinium_operator::testinium::{Secrets, envelope};

/// Panics if a promise is broken.
pub fn check(bytes: &[u8]) {
    let token = "tok-0123456789abcdef";
    for (status, secrets) in
        [(200, Secrets::new([token])), (200, Secrets::default()), (400, Secrets::default())]
    {
        let body = envelope::body(bytes, status == 200, &secrets);
        check_texts(&body);
        assert_eq!(matches!(body, Body::Envelope(_)), has_the_mark(bytes), "its form: {:?}", show(bytes));
        for plans in [&[PlanId(614)][..], &[PlanId(614), PlanId(615)]] {
            let answer = Answer::Reply(Reply { status, retry_after: None, body: body.clone() });
            for spoken in [false, true] {
                check_verdict(&verdict(&answer, plans, spoken), status, &body, bytes);
            }
        }
    }
    let quoted = envelope::body(bytes, true, &Secrets::new([token]));
    assert!(!format!("{quoted:?}").contains(token), "the token is quoted: {:?}", show(bytes));
}

/// No plan is stopped but by Testinium's own word, and no plan is given up by a word that is not.
fn check_verdict(verdict: &Verdict, status: u16, body: &Body, bytes: &[u8]) {
    let settled: Vec<_> = match verdict {
        Verdict::Settled(settled) => vec![settled.outcome],
        Verdict::Named(named) => named.iter().map(|(_, settled)| settled.outcome).collect(),
        Verdict::Split(_) | Verdict::Wait(_) => Vec::new(),
    };
    let own = matches!(body, Body::Envelope(_));
    for outcome in settled {
        match outcome {
            Outcome::Accepted => {
                assert!(status == 200 && is_known_and_clean(bytes), "accepted: {:?}", show(bytes));
            }
            Outcome::NotRunning => {
                assert!(own && says_one_of_the_words(bytes), "not running: {:?}", show(bytes));
            }
            _ => assert!(!matches!(body, Body::Other), "given up: {:?}", show(bytes)),
        }
    }
}

/// Whether any text of a body has a word in it that a plan which is not running can be told by: what is read as such
/// must hold at least that.
fn says_one_of_the_words(bytes: &[u8]) -> bool {
    let text = show(bytes).to_lowercase();
    ["running", "available", "\\u", "degil", "değil", "yor"].iter().any(|word| text.contains(word))
}

/// The mark of Testinium's form, told by other means than the parser's. Duplicate keys are for the parser to find.
fn has_the_mark(bytes: &[u8]) -> bool {
    if !envelope::is_unambiguous(bytes) {
        return false;
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let Ok(Value::Object(top)) = serde_json::from_slice(text) else { return false };
    let code = &top.get("result").cloned().unwrap_or_default()["code"];
    (top.contains_key("data") && top.contains_key("errors")) || code.is_i64() || code.is_u64()
}

fn check_texts(body: &Body) {
    let Body::Envelope(envelope) = body else { return };
    assert!(envelope.errors.len() <= 1001, "{} reported errors", envelope.errors.len());
    for error in &envelope.errors {
        for text in [&error.code, &error.message].into_iter().flatten() {
            assert!(text.len() <= 128 && !text.contains(char::is_control), "{text:?}");
        }
        assert!(error.plan.is_none_or(|plan| plan.0 > 0), "{error:?}");
    }
}

/// The documented envelope without errors, told by other means than the parser's.
fn is_known_and_clean(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let Ok(Value::Object(top)) = serde_json::from_slice(text) else { return false };
    let code = top.get("result").and_then(|result| result.get("code"));
    let errors = top.get("errors");
    let none =
        [Value::Null, false.into(), "".into(), Value::Array(Vec::new()), Value::Object(Default::default())];
    let is_success = |status: &Value| match status {
        Value::String(status) => status.eq_ignore_ascii_case("success"),
        _ => true,
    };
    (errors.is_some() || code.is_some())
        && errors.is_none_or(|errors| none.contains(errors))
        && code.is_none_or(|code| {
            code.is_null() || code.as_i64() == Some(0) || is_success(code) && code.is_string()
        })
        && top.get("status").is_none_or(is_success)
}

fn show(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
