//! The policy `annotations`: what the operator could otherwise say only later, in an event.

use jiff::Timestamp;
use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;

use crate::choices::{create, patch, refused, taken};
use crate::cluster::{Namespace, cleanup, ok, run};
use crate::operator::SOON;

const POLICY: &str = "ValidatingAdmissionPolicy 'testinium-annotations'";

/// Label of namespaces that the policy leaves out, as if it were not installed.
const LEFT_OUT: &str = "without-annotations-policy";

/// Leaves this namespace out of the policy: what is refused there has to be survived where no policy is.
pub(crate) fn leave_out(namespace: &Namespace) {
    let selector = json!({"spec": {"matchResources": {"namespaceSelector": {
        "matchExpressions": [{"key": LEFT_OUT, "operator": "DoesNotExist"}],
    }}}});
    let binding =
        ["patch", "validatingadmissionpolicybinding", "testinium-annotations", "--type=merge", "--patch"];
    namespace.run(&[&binding[..], &[&selector.to_string()]].concat());
    namespace.run(&["label", "namespace", &namespace.name, &format!("{LEFT_OUT}=")]);
    ok(wait_until("the namespace is left out", SOON, || {
        let output = create(&namespace.kubectl, &with("testinium.io/keep-until", "next week"));
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    }));
}

/// A namespace in which the policy is in force: it takes a moment after it was applied.
fn guarded_namespace() -> Namespace {
    let namespace = Namespace::create();
    ok(wait_until("the policy is in force", SOON, || {
        let output = create(&namespace.kubectl, &with("testinium.io/keep-until", "next week"));
        if output.stderr.contains(POLICY) { Ok(()) } else { Err(format!("{output:?}")) }
    }));
    namespace
}

fn with(annotation: &str, value: &str) -> Value {
    let mut object = run("new", json!({"plans": [1]}));
    object["metadata"]["annotations"] = json!({annotation: value});
    object
}

fn annotate(annotation: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {annotation: value}}})
}

/// No value is taken that the operator can't read: it would keep the run for ever.
#[test]
fn a_run_is_kept_until_a_time_that_the_operator_can_read() {
    let namespace = guarded_namespace();
    namespace.apply(&run("nightly", json!({"plans": [1]})));
    let keep = "testinium.io/keep-until";
    for value in [
        "2026-12-31T18:00:00Z",
        "2026-12-31T18:00:00.5Z",
        "2026-12-31T18:00:00.123456789+03:00",
        "2028-02-29T23:59:59-11:30",
        "2020-01-01T00:00:00Z",
        " 2026-12-31T18:00:00Z ",
    ] {
        taken(value, &patch(&namespace.kubectl, "nightly", &annotate(keep, value)));
        taken(value, &create(&namespace.kubectl, &with(keep, value)));
        assert!(value.trim().parse::<Timestamp>().is_ok(), "the operator can't read {value}");
    }
    let long = "9".repeat(100);
    for value in [
        "next week",
        "",
        "2026-12-31",
        "2026-12-31T18:00:00",
        "2026-12-31T18:00Z",
        "2026-12-31 18:00:00Z",
        "2026-12-31T24:00:00Z",
        "2026-12-31T18:60:00Z",
        "2026-02-30T18:00:00Z",
        "2027-02-29T18:00:00Z",
        "2026-13-01T18:00:00Z",
        "2026-12-31T18:00:00+3",
        "2026-12-31T18:00:00Z\n2026-12-31T18:00:00Z",
        &long,
    ] {
        let sentence = "write a date and a time with its zone, such as 2026-12-31T18:00:00Z or 2026-12-31T18:00:00+03:00";
        // A text of several lines is not shown, and a long one not as a whole.
        let shown: String = value.chars().take(40).collect();
        let shown = if value.contains('\n') { String::new() } else { format!(", not \"{shown}\"") };
        let words = [POLICY, &format!("{keep}: {sentence}{shown}")];
        refused(value, &patch(&namespace.kubectl, "nightly", &annotate(keep, value)), &words);
        refused(value, &create(&namespace.kubectl, &with(keep, value)), &words);
    }
    taken(
        "removed",
        &patch(&namespace.kubectl, "nightly", &json!({"metadata": {"annotations": {keep: null}}})),
    );
}

/// As much as the status remembers whole, so that a script can wait for the value that it has written.
#[test]
fn what_asks_for_something_is_no_longer_than_a_status_remembers() {
    let namespace = guarded_namespace();
    namespace.apply(&run("nightly", json!({"plans": [1]})));
    // Bytes count, and not letters.
    let (most, more) = ("\u{15f}".repeat(150), format!("{}x", "\u{15f}".repeat(150)));
    let words = |annotation: &str| format!("{annotation}: write at most 300 bytes, such as the time");
    for annotation in ["testinium.io/stop", "testinium.io/retry"] {
        taken(annotation, &patch(&namespace.kubectl, "nightly", &annotate(annotation, &most)));
        taken(annotation, &create(&namespace.kubectl, &with(annotation, &most)));
        let words = words(annotation);
        refused(
            annotation,
            &patch(&namespace.kubectl, "nightly", &annotate(annotation, &more)),
            &[POLICY, &words],
        );
        refused(annotation, &create(&namespace.kubectl, &with(annotation, &more)), &[POLICY, &words]);
    }
    let rule = |value: &str| {
        let mut rule = cleanup("sweep", json!({}));
        rule["metadata"]["annotations"] = json!({"testinium.io/run-now": value});
        rule
    };
    taken("run-now", &create(&namespace.kubectl, &rule(&most)));
    refused("run-now", &create(&namespace.kubectl, &rule(&more)), &[POLICY, &words("testinium.io/run-now")]);
    let note = "x".repeat(2000);
    taken("another", &create(&namespace.kubectl, &with("note", &note)));
}

/// A run from before the policy is in nobody's way.
#[test]
fn a_value_that_was_there_before_refuses_nobodys_change_of_something_else() {
    let namespace = Namespace::create();
    leave_out(&namespace);
    let keep = "testinium.io/keep-until";
    let long = "x".repeat(301);
    let mut object = with(keep, "next week");
    object["metadata"]["annotations"]["testinium.io/stop"] = json!(long);
    namespace.apply(&object);
    namespace.run(&["label", "namespace", &namespace.name, &format!("{LEFT_OUT}-")]);
    ok(wait_until("the policy is in force", SOON, || {
        let output = patch(&namespace.kubectl, "new", &annotate(keep, "in two weeks"));
        if output.stderr.contains(POLICY) { Ok(()) } else { Err(format!("{output:?}")) }
    }));
    for change in [
        annotate("note", "x"),
        json!({"spec": {"stopped": true, "reason": "x"}}),
        json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/hold"]}}),
        annotate(keep, "2026-12-31T18:00:00Z"),
        annotate("testinium.io/stop", "1"),
        json!({"metadata": {"annotations": {keep: null, "testinium.io/stop": null}}}),
    ] {
        taken(&change.to_string(), &patch(&namespace.kubectl, "new", &change));
    }
    taken("delete", &ok(namespace.kubectl.run(&["delete", "tpr", "new", "--wait=false"])));
}
