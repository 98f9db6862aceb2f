//! What others write into a run: how much of it is remembered, and how much is believed.

use serde_json::json;

use crate::annotations::leave_out;
use crate::operator::{Stage, outcomes};

/// An annotation may be longer than a status may be. The stop is made once, and status remembers it all the same.
#[test]
fn a_value_of_a_hundred_thousand_characters_asks_once() {
    let mut stage = Stage::start_accepting(json!({}));
    // The policy would refuse it.
    leave_out(&stage.namespace);
    stage.run("nightly", &[1]);
    let value = "x".repeat(100_000);
    stage.namespace.run(&["annotate", "tpr", "nightly", &format!("testinium.io/stop={value}")]);
    let status = stage.wait_for("nightly", "Accepted");
    let handled = status["stop"]["lastHandledRequest"].as_str().unwrap_or_default().to_owned();
    assert!(handled.len() <= 300 && handled.starts_with("xxx") && handled.contains("~sha256:"), "{handled}");

    stage.kill_operator();
    stage.start_operator();
    stage.run("another", &[2]);
    stage.stop("another");
    stage.wait_for("another", "Accepted");
    assert_eq!(stage.calls(), [[1], [2]], "the value is known after a restart");

    stage.namespace.run(&[
        "annotate",
        "tpr",
        "nightly",
        "--overwrite",
        &format!("testinium.io/stop={}y", &value[1..]),
    ]);
    stage.wait_for_calls(3);
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted"]);
}

/// Whoever may edit a run may write anybody's name into its annotations.
#[test]
fn who_asked_is_believed_only_where_the_flag_says_so() {
    for (flag, expected) in [(None, json!(null)), (Some("--trust-requested-by"), json!("mallory"))] {
        let stage = Stage::prepare_accepting(json!({}));
        let flags: Vec<_> = ["--leader-elect=false"].into_iter().chain(flag).collect();
        let _operator = stage.spawn("operator.log", &flags);
        stage.run("nightly", &[1]);
        let patch = json!({"metadata": {"annotations": {"testinium.io/stop-requested-by": "mallory"}},
            "spec": {"stopped": true}});
        stage.patch("nightly", &patch.to_string());
        let status = stage.wait_for("nightly", "Accepted");
        assert_eq!(status["stop"]["requestedBy"], expected, "{flag:?}");
    }
}
