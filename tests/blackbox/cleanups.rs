//! Cleanup rules as a whole: the binary that ships, under the rights and policies that ship.

use std::time::Duration;

use serde_json::{Value, json};
use testinium_testbed::kubectl::{Kubectl, wait_until};
use testinium_testbed::launcher;
use testinium_testbed::pages::blocks;
use testinium_testbed::terminal::Terminal;

use crate::annotations::leave_out;
use crate::choices::create;
use crate::cluster::{Namespace, cleanup, cluster, ok, page, run};
use crate::operator::{SOON, Stage, condition, outcomes};

/// A stage with an operator that follows rules.
fn stage() -> Stage {
    let mut stage = Stage::prepare_accepting(json!({}));
    start(&mut stage);
    stage
}

fn start(stage: &mut Stage) {
    stage.start_operator_with(&["--cleanup", "--allow-gateway-cidr=127.0.0.0/8"], &[]);
}

/// Applies a run of this plan with the label `load: heavy`, and more in its metadata.
fn heavy(stage: &Stage, name: &str, plan: i64, metadata: Value) {
    let mut object = run(name, json!({"plans": [plan]}));
    object["metadata"]["labels"] = json!({"load": "heavy"});
    for (field, value) in metadata.as_object().into_iter().flatten() {
        for (key, value) in value.as_object().into_iter().flatten() {
            object["metadata"][field][key] = value.clone();
        }
    }
    stage.namespace.apply(&object);
}

fn rule(stage: &Stage, name: &str, spec: Value) {
    stage.namespace.apply(&cleanup(name, spec));
}

/// Runs a rule at once, and waits for the end. Yields what it did.
#[track_caller]
fn run_now(stage: &Stage, name: &str, value: &str) -> Value {
    let annotation = format!("testinium.io/run-now={value}");
    stage.namespace.run(&["annotate", "tpc", name, "--overwrite", &annotation]);
    ok(wait_until(&format!("{name} to run"), SOON, || {
        let status = status(stage, name);
        let is_done = status["observedRunNow"] == value && status["lastRun"]["completionTime"].is_string();
        if is_done { Ok(status["lastRun"].clone()) } else { Err(format!("{status}\n{}", stage.log())) }
    }))
}

fn status(stage: &Stage, name: &str) -> Value {
    ok(stage.namespace.kubectl.get_json(&["tpc", name]))["status"].clone()
}

fn names(stage: &Stage) -> Vec<String> {
    let runs = ok(stage.namespace.kubectl.get_json(&["tpr"]));
    let items = runs["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_rule_stops_what_it_selects_and_says_who_it_was() {
    let stage = stage();
    heavy(&stage, "one", 1, json!({}));
    heavy(&stage, "two", 2, json!({}));
    stage.run("other", &[3]);
    rule(&stage, "sweep", json!({"reason": "no load tests at night"}));
    let last = run_now(&stage, "sweep", "1");
    assert_eq!((&last["matched"], &last["stopped"], &last["failed"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!(sorted_names(&last), ["one", "two"]);
    for (name, plan) in [("one", "1 Accepted"), ("two", "2 Accepted")] {
        let status = stage.wait_for(name, "Accepted");
        assert_eq!(outcomes(&status), [plan]);
        let stop = &status["stop"];
        assert_eq!(
            (&stop["trigger"], &stop["fieldManager"]),
            (&json!("Cleanup"), &json!("testinium-cleanup"))
        );
        let time = last["time"].as_str().expect("a time");
        assert_eq!(stop["reason"], format!("sweep/{time}"));
        let object = ok(stage.namespace.kubectl.get_json(&["tpr", name]));
        assert_eq!(object["metadata"]["annotations"]["testinium.io/cleanup"], format!("sweep/{time}"));
    }
    assert_eq!(
        condition(&stage.status("other"), "Stopped").map(|stopped| stopped["reason"].clone()),
        Some(json!("NotRequested"))
    );
    ok(wait_until("the events", SOON, || {
        let events = stage.namespace.run(&["get", "events", "--field-selector=reason=CleanupStops"]);
        let is_told = events.matches("no load tests at night").count() == 2;
        if is_told { Ok(()) } else { Err(events) }
    }));
    assert!(stage.metrics().contains("testinium_cleanup_runs_total{result=\"Stopped\"} 2"));
    let again = run_now(&stage, "sweep", "2");
    assert_eq!((&again["matched"], &again["stopped"]), (&json!(2), &json!(0)), "nothing is asked twice");
}

#[test]
fn a_schedule_fires_by_itself() {
    let stage = stage();
    heavy(&stage, "one", 1, json!({}));
    rule(&stage, "sweep", json!({"schedule": "* * * * *"}));
    let status = ok(wait_until("the schedule to fire", Duration::from_secs(90), || {
        let status = status(&stage, "sweep");
        let is_done = status["lastScheduleTime"].is_string() && status["lastRun"]["stopped"] == 1;
        if is_done { Ok(status) } else { Err(format!("{status}\n{}", stage.log())) }
    }));
    assert_eq!(status["lastRun"]["time"], status["lastScheduleTime"]);
    assert!(status["lastScheduleTime"].as_str().is_some_and(|time| time.ends_with(":00Z")), "{status}");
    assert!(status["nextScheduleTime"].as_str() > status["lastScheduleTime"].as_str(), "{status}");
    assert_eq!(condition(&status, "Ready").map(|ready| ready["status"].clone()), Some(json!("True")));
    stage.wait_for("one", "Accepted");
}

#[test]
fn a_dry_run_says_what_it_would_do_and_changes_nothing() {
    let stage = stage();
    heavy(&stage, "one", 1, json!({}));
    stage.wait_for("one", "NotRequested");
    let version = |stage: &Stage| {
        ok(stage.namespace.kubectl.get_json(&["tpr", "one"]))["metadata"]["resourceVersion"].clone()
    };
    let before = version(&stage);
    rule(&stage, "sweep", json!({"dryRun": true}));
    let last = run_now(&stage, "sweep", "1");
    assert_eq!(
        (&last["dryRun"], &last["stopped"], &last["names"]),
        (&json!(true), &json!(1), &json!(["one"]))
    );
    assert_eq!(version(&stage), before);
    assert!(stage.simulator.requests().is_empty());
}

#[test]
fn a_run_that_is_to_be_kept_is_spared_and_so_is_one_that_shares_its_plan() {
    let stage = stage();
    // The policy would refuse one of them.
    leave_out(&stage.namespace);
    heavy(&stage, "kept", 1, json!({"annotations": {"testinium.io/keep-until": "2099-01-01T00:00:00Z"}}));
    heavy(&stage, "odd", 2, json!({"annotations": {"testinium.io/keep-until": "next week"}}));
    heavy(&stage, "over", 3, json!({"annotations": {"testinium.io/keep-until": "2020-01-01T00:00:00Z"}}));
    heavy(&stage, "shares", 1, json!({}));
    rule(&stage, "sweep", json!({}));
    let last = run_now(&stage, "sweep", "1");
    assert_eq!((&last["matched"], &last["stopped"], &last["spared"]), (&json!(4), &json!(1), &json!(3)));
    assert_eq!(last["names"], json!(["over"]));
    let spared = json!([
        "kept: testinium.io/keep-until",
        "odd: testinium.io/keep-until",
        "shares: shares a plan with a run that is spared",
    ]);
    assert_eq!(last["sparedNames"], spared);
    stage.wait_for("over", "Accepted");
}

/// The runs that were stopped or deleted. They are written at once, and named as their writes end.
fn sorted_names(last: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        last["names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn only_runs_that_are_old_enough_are_matched_and_no_more_than_allowed() {
    let stage = stage();
    for plan in 1..=5 {
        heavy(&stage, &format!("run-{plan}"), plan, json!({}));
    }
    rule(&stage, "later", json!({"olderThanSeconds": 3600}));
    assert_eq!(run_now(&stage, "later", "1")["matched"], 0);
    rule(&stage, "some", json!({"maxPerRun": 2}));
    let last = run_now(&stage, "some", "1");
    assert_eq!((&last["matched"], &last["stopped"]), (&json!(5), &json!(2)));
    stage.wait_for("run-1", "Accepted");
    stage.wait_for("run-2", "Accepted");
    let last = run_now(&stage, "some", "2");
    assert_eq!(sorted_names(&last), ["run-3", "run-4"], "the next time takes the next ones");
}

#[test]
fn stopped_runs_are_deleted_and_never_those_that_somebody_would_create_again() {
    let stage = stage();
    heavy(&stage, "gone", 1, json!({}));
    heavy(&stage, "running", 2, json!({}));
    heavy(&stage, "flux", 3, json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}));
    for name in ["gone", "flux"] {
        stage.stop(name);
        stage.wait_for(name, "Accepted");
    }
    rule(&stage, "tidy", json!({"action": "Delete"}));
    let last = run_now(&stage, "tidy", "1");
    assert_eq!(
        (&last["deleted"], &last["spared"], &last["failed"]),
        (&json!(1), &json!(1), &json!(0)),
        "{}",
        stage.log()
    );
    assert_eq!(last["sparedNames"], json!(["flux: would be created again by what owns it"]));
    assert_eq!(names(&stage), ["flux", "running"]);
    rule(&stage, "tidy", json!({"action": "StopThenDelete"}));
    assert_eq!(run_now(&stage, "tidy", "2")["stopped"], 1);
    stage.wait_for("running", "Accepted");
    assert_eq!(run_now(&stage, "tidy", "3")["deleted"], 1);
    assert_eq!(names(&stage), ["flux"]);
}

#[test]
fn the_next_leader_goes_on_and_asks_no_run_twice() {
    let mut stage = stage();
    for plan in 1..=120 {
        let mut object = run(&format!("run-{plan:03}"), json!({"plans": [plan]}));
        object["metadata"]["labels"] = json!({"load": "heavy"});
        stage.namespace.apply(&object);
    }
    rule(&stage, "sweep", json!({"maxPerRun": 1000}));
    stage.namespace.run(&["annotate", "tpc", "sweep", "testinium.io/run-now=1"]);
    let marked = |stage: &Stage| {
        let runs = ok(stage.namespace.kubectl.get_json(&["tpr"]));
        let items = runs["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .filter(|item| item["metadata"]["annotations"]["testinium.io/cleanup"].is_string())
            .count()
    };
    ok(wait_until("some marks", SOON, || if marked(&stage) > 0 { Ok(()) } else { Err(stage.log()) }));
    stage.kill_operator();
    start(&mut stage);
    ok(wait_until("the rest", SOON * 2, || {
        let status = status(&stage, "sweep");
        let is_done = status["lastRun"]["completionTime"].is_string() && marked(&stage) == 120;
        if is_done { Ok(()) } else { Err(format!("{status}\n{}", stage.log())) }
    }));
    stage.wait_for("run-120", "Accepted");
    stage.wait_for("run-001", "Accepted");
}

#[test]
fn a_wrong_time_zone_is_told_in_status() {
    let stage = stage();
    rule(&stage, "sweep", json!({"timeZone": "Mars/Olympus"}));
    let ready = ok(wait_until("the status", SOON, || {
        let status = status(&stage, "sweep");
        condition(&status, "Ready").cloned().ok_or_else(|| format!("{status}\n{}", stage.log()))
    }));
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("UnknownTimeZone")));
    rule(&stage, "sweep", json!({"timeZone": "Europe/Istanbul"}));
    ok(wait_until("the time zone", SOON, || {
        let status = status(&stage, "sweep");
        let is_ready = condition(&status, "Ready").is_some_and(|ready| ready["status"] == "True");
        if is_ready && condition(&status, "Stalled").is_none() { Ok(()) } else { Err(status.to_string()) }
    }));
}

#[test]
fn without_its_flag_the_operator_follows_no_rule() {
    let mut stage = Stage::prepare_accepting(json!({}));
    stage.start_operator();
    heavy(&stage, "one", 1, json!({}));
    rule(&stage, "sweep", json!({}));
    stage.namespace.run(&["annotate", "tpc", "sweep", "testinium.io/run-now=1"]);
    stage.wait_for("one", "NotRequested");
    assert_eq!(status(&stage, "sweep"), json!({"observedGeneration": -1}));
}

// === rights ===

fn operator(namespace: &Namespace) -> Kubectl {
    namespace.kubectl.with_kubeconfig(&ok(launcher::kubeconfig(cluster())))
}

/// Tries it as the operator until the answer is that of the policy: it takes a moment after it was applied.
#[track_caller]
fn refused(kubectl: &Kubectl, arguments: &[&str], why: &str) {
    ok(wait_until(why, SOON, || {
        let output = ok(kubectl.run(arguments));
        let is_refused = !output.status.success() && output.stderr.contains(why);
        if is_refused { Ok(()) } else { Err(format!("{arguments:?}: {output:?}")) }
    }));
}

#[test]
fn the_operators_account_may_write_its_mark_and_nothing_else() {
    let namespace = Namespace::create();
    namespace.apply(&run("one", json!({"plans": [1]})));
    let operator = operator(&namespace);
    let patch =
        |patch: &'static str| ["patch", "tpr", "one", "--type=merge", "--dry-run=server", "--patch", patch];
    let own = "of the annotations of a TestPlanRun the operator sets testinium.io/cleanup and no other";
    for (change, why) in [
        (r#"{"spec":{"stopped":true}}"#, "never changes the spec"),
        (r#"{"metadata":{"labels":{"a":"b"}}}"#, "never changes labels"),
        (
            r#"{"metadata":{"finalizers":["a.example.com/b"]}}"#,
            "of the finalizers of a TestPlanRun the operator puts testinium.io/stop on and takes it off, and no other",
        ),
        (r#"{"metadata":{"annotations":{"testinium.io/stop":"1"}}}"#, own),
        (r#"{"metadata":{"annotations":{"testinium.io/keep-until":"2026-12-31T18:00:00Z"}}}"#, own),
        (
            r#"{"metadata":{"annotations":{"testinium.io/cleanup":"whatever"}}}"#,
            "to the name of a TestPlanCleanup and a time",
        ),
        (r#"{"metadata":{"managedFields":[{}]}}"#, "never empties managedFields"),
    ] {
        refused(&operator, &patch(change), why);
    }
    let mark = patch(r#"{"metadata":{"annotations":{"testinium.io/cleanup":"sweep/2026-11-27T22:00:00Z"}}}"#);
    ok(ok(operator.run(&mark)).success());
    let finalizer = patch(r#"{"metadata":{"finalizers":["testinium.io/stop"]}}"#);
    refused(&operator, &finalizer, "only if its spec.deletionPolicy is Stop");
    namespace.run(&["patch", "tpr", "one", "--type=merge", "-p", r#"{"spec":{"deletionPolicy":"Stop"}}"#]);
    ok(ok(operator.run(&finalizer)).success());
    namespace.run(&["annotate", "tpr", "one", "note=x"]);
    refused(&operator, &patch(r#"{"metadata":{"annotations":{"note":null}}}"#), "it removes none");
    let create =
        ok(operator
            .run_with_input(&["create", "--filename=-"], &run("two", json!({"plans": [1]})).to_string()));
    assert!(!create.status.success(), "{create:?}");
}

#[test]
fn the_operators_account_may_delete_only_what_is_stopped_and_nobody_creates_again() {
    let namespace = Namespace::create();
    let operator = operator(&namespace);
    let put = |name: &str, metadata: Value, is_stopped: bool| {
        let mut object = run(name, json!({"plans": [1]}));
        for (field, value) in metadata.as_object().into_iter().flatten() {
            object["metadata"][field] = value.clone();
        }
        namespace.apply(&object);
        if is_stopped {
            let status = r#"{"status":{"stop":{"trigger":"Spec","completionTime":"2026-01-01T00:00:00Z"}}}"#;
            namespace.run(&["patch", "tpr", name, "--subresource=status", "--type=merge", "--patch", status]);
        }
    };
    let delete = |name: &'static str| ["delete", "tpr", name, "--dry-run=server"];
    put("running", json!({}), false);
    refused(&operator, &delete("running"), "only after its stop is complete");
    put("flux", json!({"labels": {"helm.toolkit.fluxcd.io/name": "x"}}), true);
    refused(&operator, &delete("flux"), "would create again");
    put("argo", json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}), true);
    refused(&operator, &delete("argo"), "would create again");
    let owner =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "u", "controller": true}]);
    put("owned", json!({"ownerReferences": owner}), true);
    refused(&operator, &delete("owned"), "has a controller");
    let tool = run("tool", json!({"plans": [1]})).to_string();
    let arguments = ["apply", "--server-side", "--field-manager=helm", "--filename=-"];
    ok(ok(namespace.kubectl.run_with_input(&arguments, &tool)).success());
    let status = r#"{"status":{"stop":{"trigger":"Spec","completionTime":"2026-01-01T00:00:00Z"}}}"#;
    namespace.run(&["patch", "tpr", "tool", "--subresource=status", "--type=merge", "--patch", status]);
    refused(&operator, &delete("tool"), "a tool has written");
    put("free", json!({}), true);
    ok(ok(operator.run(&delete("free"))).success());
}

#[test]
fn whoever_writes_a_rule_must_be_allowed_to_do_what_it_does() {
    let namespace = Namespace::create();
    let rbac = "rbac.authorization.k8s.io";
    let role = |name: &str, verbs: Value| {
        json!([
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
            {"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": [
                {"apiGroups": ["testinium.io"], "resources": ["testplancleanups"], "verbs": ["*"]},
                {"apiGroups": ["testinium.io"], "resources": ["testplanruns"], "verbs": verbs},
            ]},
            {"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
             "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
             "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace.name}]},
        ])
    };
    let account = |name: &str, verbs: Value| {
        namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": role(name, verbs)}));
        let kubeconfig = ok(cluster().kubeconfig_for_service_account(&namespace.name, name));
        namespace.kubectl.with_kubeconfig(&kubeconfig)
    };
    let (reader, patcher, both) = (
        account("reader", json!(["get"])),
        account("patcher", json!(["get", "patch"])),
        account("both", json!(["get", "patch", "delete"])),
    );
    let (stops, deletes) =
        (r#"needs the verb "patch" on testplanruns"#, r#"needs the verb "delete" on testplanruns"#);
    for (who, action, why) in [
        (&reader, "Stop", Some(stops)),
        (&reader, "Delete", Some(deletes)),
        (&patcher, "Stop", None),
        (&patcher, "Delete", Some(deletes)),
        (&patcher, "StopThenDelete", Some(deletes)),
        (&both, "StopThenDelete", None),
        (&both, "Delete", None),
    ] {
        ok(wait_until(&format!("{action}: {why:?}"), SOON, || {
            let output = create(who, &cleanup("rule", json!({"action": action})));
            let is_as_said = match why {
                Some(why) => !output.status.success() && output.stderr.contains(why),
                None => output.status.success(),
            };
            if is_as_said { Ok(()) } else { Err(format!("{output:?}")) }
        }));
    }
    namespace.apply(&cleanup("rule", json!({})));
    refused(&reader, &["annotate", "tpc", "rule", "testinium.io/run-now=1"], stops);
    ok(ok(reader.run(&["label", "tpc", "rule", "a=b"])).success());
    ok(ok(patcher.run(&["annotate", "tpc", "rule", "testinium.io/run-now=1"])).success());
}

// === the page ===

#[test]
fn the_recipes_of_the_page_do_what_it_says() {
    let stage = stage();
    let page = page("docs/cleanup.md");
    let [rules, commands] = ["yaml", "sh"].map(|language| blocks(&page, language).collect::<Vec<_>>());
    assert_eq!((rules.len(), commands.len()), (6, 4), "each is tried below");
    // The first two are runs, which `tests/blackbox/ttl.rs` and `tests/blackbox/deletions.rs` try.
    let rules = &rules[2..];
    // The last one could fire meanwhile.
    for rule in &rules[..3] {
        ok(stage.namespace.kubectl.apply(rule));
    }
    for name in ["nightly", "heavy-2"] {
        heavy(&stage, name, if name == "nightly" { 1 } else { 2 }, json!({}));
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let terminal = ok(Terminal::new(cluster(), &stage.namespace.name, directory.path()));
    let shell = |commands: &str| ok(terminal.run(commands).and_then(|output| output.success()));
    // They are not four hours old.
    let found = shell(commands[0]);
    assert!(found.contains(r#""dryRun":true"#) && found.contains(r#""matched":0"#), "{found}");
    stage.namespace.run(&[
        "patch",
        "tpc",
        "nightly-sweep",
        "--type=merge",
        "-p",
        r#"{"spec":{"olderThanSeconds":0}}"#,
    ]);
    assert_eq!(run_now(&stage, "nightly-sweep", "2")["names"], json!(["heavy-2", "nightly"]));
    shell(commands[2]);
    assert_eq!(
        run_now(&stage, "nightly-sweep", "3")["sparedNames"],
        json!(["nightly: testinium.io/keep-until"])
    );
    shell(commands[3]);
    shell(commands[1]);
    assert_eq!(run_now(&stage, "nightly-sweep", "4")["names"], json!(["heavy-2"]));
    stage.wait_for("heavy-2", "Accepted");
    assert_eq!(run_now(&stage, "too-long", "1")["matched"], 0, "no run is eight hours old");
    assert_eq!(run_now(&stage, "tidy", "1")["matched"], 0, "no run is a week old");
    ok(stage.namespace.kubectl.apply(rules[3]));
    assert_eq!(run_now(&stage, "sweep", "1")["deleted"], 1);
    assert_eq!(names(&stage), ["nightly"]);
}
