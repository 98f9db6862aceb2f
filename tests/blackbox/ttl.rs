//! Runs that are deleted after their TTL, by the operator that ships, with the rights and under the policies that ship.

use serde_json::{Value, json};
use testinium_testbed::launcher;
use testinium_testbed::pages::blocks;

use crate::annotations::leave_out;
use crate::cluster::{cluster, ok, page, run};
use crate::operator::Stage;

/// A run that asks for its stop as it is made.
fn stopped(name: &str, ttl: i64) -> Value {
    run(name, json!({"plans": [1], "stopped": true, "ttlSecondsAfterFinished": ttl}))
}

fn skipped(stage: &Stage, name: &str) -> String {
    let status =
        stage.wait_for_status(name, "what keeps it", |status| status["stop"]["ttlSkipped"].is_string());
    status["stop"]["ttlSkipped"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_run_is_deleted_after_its_ttl_and_tells_its_end_before() {
    let stage = Stage::start();
    stage.namespace.apply(&stopped("nightly", 10));
    let status = stage.wait_for("nightly", "Accepted");
    let completed: jiff::Timestamp =
        status["stop"]["completionTime"].as_str().and_then(|time| time.parse().ok()).expect("a time");
    stage.wait_until_gone("nightly");
    let lived = jiff::Timestamp::now().duration_since(completed).as_secs();
    assert!(lived >= 10, "it was deleted {lived} s after its end");
}

#[test]
fn a_ttl_of_nothing_deletes_at_once_and_none_never() {
    let stage = Stage::start();
    stage.namespace.apply(&stopped("at-once", 0));
    stage.namespace.apply(&run("never", json!({"plans": [2], "stopped": true})));
    stage.wait_until_gone("at-once");
    stage.wait_for("never", "Accepted");
    assert!(stage.is_there("never"));
    assert_eq!(stage.calls().concat().len(), 2, "both were stopped");
}

#[test]
fn a_ttl_that_was_over_while_no_operator_ran_deletes_after_the_start() {
    let mut stage = Stage::start();
    stage.namespace.apply(&run("nightly", json!({"plans": [1], "stopped": true})));
    stage.wait_for("nightly", "Accepted");
    stage.stop_operator();
    stage.patch("nightly", r#"{"spec":{"ttlSecondsAfterFinished":0}}"#);
    stage.start_operator();
    stage.wait_until_gone("nightly");
}

#[test]
fn a_run_of_a_tool_and_one_that_is_to_be_kept_stay_and_say_why() {
    let stage = Stage::start();
    let mut of_argo = stopped("of-argo", 0);
    of_argo["metadata"]["annotations"] =
        json!({"argocd.argoproj.io/tracking-id": "app:testinium.io/TestPlanRun"});
    let mut of_helm = stopped("of-helm", 0);
    of_helm["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "nightly"});
    // The policy would refuse it.
    leave_out(&stage.namespace);
    let mut kept = stopped("kept", 0);
    kept["metadata"]["annotations"] = json!({"testinium.io/keep-until": "until Monday"});
    for object in [&of_argo, &of_helm, &kept] {
        stage.namespace.apply(object);
    }
    assert_eq!(skipped(&stage, "of-argo"), "the label or annotation argocd.argoproj.io/tracking-id");
    assert_eq!(skipped(&stage, "of-helm"), "the label or annotation meta.helm.sh/release-name");
    assert!(skipped(&stage, "kept").contains("keep-until"));
    stage.wait_for_event("of-argo", "TTLSkipped");
    stage.namespace.run(&["annotate", "tpr", "kept", "testinium.io/keep-until-"]);
    stage.wait_until_gone("kept");
    assert!(stage.is_there("of-argo") && stage.is_there("of-helm"));
}

/// Another policy may be tried, so each case has its own object.
#[test]
fn the_operators_own_account_deletes_nothing_but_what_is_over() {
    let stage = Stage::prepare();
    let kubeconfig = ok(launcher::kubeconfig(cluster()));
    let account = stage.namespace.kubectl.with_kubeconfig(&kubeconfig);
    let complete = json!({"stop": {"completionTime": "2026-01-02T03:04:05Z"}});
    let mut marked = run("marked", json!({"plans": [1], "ttlSecondsAfterFinished": 0}));
    marked["metadata"]["labels"] = json!({"kustomize.toolkit.fluxcd.io/name": "apps"});
    for (object, status, words) in [
        (
            run("running", json!({"plans": [1], "ttlSecondsAfterFinished": 0})),
            None,
            Some("only after its stop is complete"),
        ),
        (marked, Some(&complete), Some("would create again")),
        (run("over", json!({"plans": [1], "ttlSecondsAfterFinished": 0})), Some(&complete), None),
    ] {
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        stage.namespace.apply(&object);
        if let Some(status) = status {
            let patch = json!({ "status": status }).to_string();
            stage.namespace.run(&[
                "patch",
                "tpr",
                &name,
                "--subresource=status",
                "--type=merge",
                "-p",
                &patch,
            ]);
        }
        let output = ok(account.run(&["delete", "tpr", &name, "--wait=false"]));
        match words {
            Some(words) => {
                assert!(
                    !output.status.success() && output.stderr.contains(words),
                    "{name}: {}",
                    output.stderr
                );
                assert!(stage.is_there(&name));
            }
            None => assert!(output.status.success(), "{name}: {}", output.stderr),
        }
    }
}

#[test]
fn the_run_of_the_page_on_cleanup_is_one_that_goes_away() {
    let stage = Stage::start();
    let page = page("docs/cleanup.md");
    let example = blocks(&page, "yaml").next().expect("an example");
    ok(stage.namespace.kubectl.apply(example));
    stage.patch("from-ci", r#"{"spec":{"activeDeadlineSeconds":1,"ttlSecondsAfterFinished":0}}"#);
    stage.wait_until_gone("from-ci");
    assert_eq!(stage.calls(), [[614]], "its deadline has stopped it before");
}
