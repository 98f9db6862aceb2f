//! The policy `stop-verb`, which is installed by choice: who may stop is a right of its own.
//!
//! `editor` may write runs and may not stop; `stopper` may do both. Both are real ServiceAccounts.

use serde_json::{Value, json};
use testinium_testbed::kubectl::{Kubectl, Output, wait_until};
use testinium_testbed::launcher;

use crate::choices::{
    MAY_WRITE, account, annotations, choose, create, namespace_that_only, namespace_with, patch, refused,
    taken,
};
use crate::cluster::{Namespace, cleanup, cluster, ok, run};
use crate::operator::{SOON, Stage};

const CHOICE: &str = "stop-verb";
const MAY_STOP: [&str; 3] = ["testinium-edit", "testinium-view", "testinium-stop"];
const POLICY: &str = "ValidatingAdmissionPolicy 'testinium-stop-verb'";

/// A namespace in which the policy is in force, and the two accounts.
struct Guarded {
    namespace: Namespace,
    editor: Kubectl,
    stopper: Kubectl,
    /// The editor's name.
    name: String,
}

impl Guarded {
    fn prepare() -> Self {
        let namespace = namespace_with(CHOICE);
        let (editor, name) = account(&namespace, "editor", &MAY_WRITE);
        let (stopper, _) = account(&namespace, "stopper", &MAY_STOP);
        wait_until_in_force(&editor);
        Self { namespace, editor, stopper, name }
    }

    /// The sentence says which field it is about, whose right is missing, where, and what to do.
    #[track_caller]
    fn refused(&self, what: &str, output: &Output, field: &str) {
        let (name, namespace) = (&self.name, &self.namespace.name);
        let words = [
            POLICY,
            "orbidden",
            &format!("to set {field} is to stop test plans"),
            &format!(
                "needs the verb \"stop\" on testplanruns, and {name} lacks it in namespace \"{namespace}\""
            ),
            "ask whoever administers the namespace to bind the ClusterRole testinium-stop",
        ];
        refused(what, output, &words);
    }
}

/// A policy takes a moment after it was applied.
fn wait_until_in_force(editor: &Kubectl) {
    ok(wait_until("the policy is in force", SOON, || {
        let output = create(editor, &run("probe", json!({"plans": [1], "stopped": true})));
        if output.stderr.contains(POLICY) { Ok(()) } else { Err(format!("{output:?}")) }
    }));
}

/// The runs that are changed below, by whoever may do anything.
fn prepare_runs(namespace: &Namespace) {
    let mut annotated = run("annotated", json!({"plans": [1]}));
    annotated["metadata"]["annotations"] = json!({"testinium.io/stop": "1"});
    let mut taken_back = run("taken-back", json!({"plans": [1]}));
    taken_back["metadata"]["annotations"] = json!({"testinium.io/stop": "No "});
    for object in [
        run("plain", json!({"plans": [1]})),
        run("stopped", json!({"plans": [1], "stopped": true, "reason": "x"})),
        run("dated", json!({"plans": [1], "activeDeadlineSeconds": 1000})),
        run("passed", json!({"plans": [1], "activeDeadlineSeconds": 1000})),
        run("under-way", json!({"plans": [1]})),
        run("over", json!({"plans": [1]})),
        run("orphan", json!({"plans": [1], "deletionPolicy": "Orphan"})),
        run("stops", json!({"plans": [1], "deletionPolicy": "Stop"})),
        annotated,
        taken_back,
    ] {
        namespace.apply(&object);
    }
    for (name, stop) in [
        ("passed", json!({"observedDeadline": "2026-01-01T00:00:00Z"})),
        ("under-way", json!({"trigger": "Annotation"})),
        ("over", json!({"trigger": "Annotation", "completionTime": "2026-01-01T00:00:00Z"})),
    ] {
        let status = json!({"status": {"stop": stop}}).to_string();
        namespace.run(&["patch", "tpr", name, "--subresource=status", "--type=merge", "--patch", &status]);
    }
}

fn spec(spec: Value) -> Value {
    json!({ "spec": spec })
}

#[test]
fn who_asks_for_a_stop_or_ends_one_or_sets_one_off_for_later_needs_the_verb() {
    let guarded = Guarded::prepare();
    prepare_runs(&guarded.namespace);
    let (stopped, deadline) = ("spec.stopped", "spec.activeDeadlineSeconds");
    let policy = "spec.deletionPolicy";
    let (stop, retry) = ("the annotation testinium.io/stop", "the annotation testinium.io/retry");
    let plans = "spec.plans or spec.gatewayRef of a run that is, or will be, stopped";
    for (name, change, field) in [
        ("plain", spec(json!({"stopped": true})), stopped),
        ("plain", spec(json!({"stopped": true, "plans": [1, 2], "activeDeadlineSeconds": 60})), stopped),
        // It may take back a stop that an annotation has asked for.
        ("annotated", spec(json!({"stopped": false})), stopped),
        ("stopped", spec(json!({"stopped": false})), stopped),
        ("plain", annotations(json!({"testinium.io/stop": "1"})), stop),
        ("annotated", annotations(json!({"testinium.io/stop": "2"})), stop),
        ("annotated", annotations(json!({"testinium.io/stop": "no"})), stop),
        ("plain", annotations(json!({"testinium.io/retry": "1"})), retry),
        (
            "plain",
            annotations(json!({"testinium.io/cleanup": "sweep/2026-11-27T22:00:00Z"})),
            "the annotation testinium.io/cleanup",
        ),
        ("plain", spec(json!({"activeDeadlineSeconds": 60})), deadline),
        ("dated", spec(json!({"activeDeadlineSeconds": 999})), deadline),
        // It would pass, and ask, a second time.
        ("passed", spec(json!({"activeDeadlineSeconds": 31_536_000})), deadline),
        ("stopped", spec(json!({"plans": [1, 2]})), plans),
        ("stopped", spec(json!({"plans": [2], "stopped": null})), plans),
        ("dated", spec(json!({"plans": [2]})), plans),
        ("dated", spec(json!({"plans": [2], "activeDeadlineSeconds": null})), plans),
        ("dated", spec(json!({"gatewayRef": {"name": "other"}})), plans),
        ("annotated", spec(json!({"plans": [1, 2]})), plans),
        // A stop that is under way goes on without what has asked for it.
        (
            "annotated",
            json!({"metadata": {"annotations": {"testinium.io/stop": null}}, "spec": {"plans": [1, 2]}}),
            plans,
        ),
        ("under-way", spec(json!({"plans": [1, 2]})), plans),
        ("plain", spec(json!({"deletionPolicy": "Stop"})), policy),
        ("orphan", spec(json!({"deletionPolicy": "Stop"})), policy),
        ("stops", spec(json!({"plans": [1, 2]})), plans),
        ("stops", spec(json!({"plans": [1, 2], "deletionPolicy": "Orphan"})), plans),
    ] {
        let what = format!("{name} {change}");
        guarded.refused(&what, &patch(&guarded.editor, name, &change), field);
        taken(&what, &patch(&guarded.stopper, name, &change));
        taken(&what, &patch(&guarded.namespace.kubectl, name, &change));
    }
}

#[test]
fn what_asks_for_nothing_is_anybodys() {
    let guarded = Guarded::prepare();
    prepare_runs(&guarded.namespace);
    let everywhere = [
        spec(json!({"reason": "another"})),
        spec(json!({"stopDeadlineSeconds": 60, "ttlSecondsAfterFinished": 60})),
        // A field that is removed is no opinion.
        spec(json!({"stopped": null, "activeDeadlineSeconds": null})),
        annotations(json!({"testinium.io/stop": null, "testinium.io/retry": ""})),
        annotations(json!({"note": "x", "testinium.io/keep-until": "2099-01-01T00:00:00Z"})),
        annotations(json!({"reconcile.fluxcd.io/requestedAt": "1"})),
        json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/hold"]}}),
        json!({}),
    ];
    let names = [
        "plain",
        "stopped",
        "dated",
        "passed",
        "under-way",
        "over",
        "orphan",
        "stops",
        "annotated",
        "taken-back",
    ];
    let of_all = names.iter().flat_map(|name| everywhere.iter().map(|change| (*name, change.clone())));
    let some = [
        ("plain", spec(json!({"plans": [1, 2], "gatewayRef": {"name": "other"}}))),
        ("over", spec(json!({"plans": [1, 2]}))),
        ("taken-back", spec(json!({"plans": [1, 2]}))),
        // Later is not sooner.
        ("dated", spec(json!({"activeDeadlineSeconds": 1001}))),
        ("orphan", spec(json!({"deletionPolicy": null, "plans": [1, 2]}))),
        ("stops", spec(json!({"deletionPolicy": "Orphan"}))),
        ("stops", spec(json!({"deletionPolicy": "Stop", "reason": "x"}))),
    ];
    for (name, change) in of_all.chain(some) {
        taken(&format!("{name} {change}"), &patch(&guarded.editor, name, &change));
    }
    // What is there already, in other words.
    let stopped = run("stopped", json!({"plans": [1], "stopped": true, "reason": "x"})).to_string();
    for arguments in [&["replace", "--filename=-"][..], &["apply", "--filename=-"]] {
        taken(&arguments.join(" "), &ok(guarded.editor.run_with_input(arguments, &stopped)));
    }
    // As the collectors of garbage and namespaces do: a finalizer goes, and then the object.
    guarded.namespace.run(&[
        "patch",
        "tpr",
        "stopped",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":["example.com/hold"]}}"#,
    ]);
    taken("delete", &ok(guarded.editor.run(&["delete", "tpr", "--all", "--wait=false"])));
    let free = r#"{"metadata":{"finalizers":null}}"#;
    taken("free", &ok(guarded.editor.run(&["patch", "tpr", "stopped", "--type=merge", "--patch", free])));
    assert_eq!(ok(guarded.namespace.kubectl.get_json(&["tpr"]))["items"], json!([]));
}

#[test]
fn a_new_run_that_will_be_stopped_needs_the_verb() {
    let guarded = Guarded::prepare();
    let with = |annotations: Value| {
        let mut object = run("new", json!({"plans": [1]}));
        object["metadata"]["annotations"] = annotations;
        object
    };
    for (object, field) in [
        (run("new", json!({"plans": [1], "stopped": true})), "spec.stopped"),
        (
            run("new", json!({"plans": [1], "activeDeadlineSeconds": 31_536_000})),
            "spec.activeDeadlineSeconds",
        ),
        (run("new", json!({"plans": [1], "deletionPolicy": "Stop"})), "spec.deletionPolicy"),
        (with(json!({"testinium.io/stop": "1"})), "the annotation testinium.io/stop"),
        (with(json!({"testinium.io/retry": "1"})), "the annotation testinium.io/retry"),
        (with(json!({"testinium.io/cleanup": "a/b"})), "the annotation testinium.io/cleanup"),
    ] {
        let what = object.to_string();
        guarded.refused(&what, &create(&guarded.editor, &object), field);
        taken(&what, &create(&guarded.stopper, &object));
        let mut unnamed = object;
        unnamed["metadata"]["name"] = Value::Null;
        unnamed["metadata"]["generateName"] = json!("some-");
        guarded.refused("generateName", &create(&guarded.editor, &unnamed), field);
        taken("generateName", &create(&guarded.stopper, &unnamed));
    }
    for object in [
        run("new", json!({"plans": [1, 2], "gatewayRef": {"name": "other"}})),
        run("new", json!({"plans": [1], "stopped": false, "ttlSecondsAfterFinished": 60})),
        with(json!({"testinium.io/stop": "", "testinium.io/keep-until": "2099-01-01T00:00:00Z"})),
    ] {
        taken(&object.to_string(), &create(&guarded.editor, &object));
    }
}

#[test]
fn it_does_not_matter_how_a_stop_is_asked_for() {
    let guarded = Guarded::prepare();
    guarded.namespace.apply(&run("nightly", json!({"plans": [1]})));
    let object = run("nightly", json!({"plans": [1], "stopped": true})).to_string();
    for arguments in [
        &["apply", "--filename=-"][..],
        &["apply", "--server-side", "--force-conflicts", "--filename=-"],
        &["replace", "--filename=-"],
    ] {
        let output = ok(guarded.editor.run_with_input(arguments, &object));
        guarded.refused(&arguments.join(" "), &output, "spec.stopped");
    }
    let json_patch = r#"[{"op": "add", "path": "/spec/stopped", "value": true}]"#;
    let output = ok(guarded.editor.run(&["patch", "tpr", "nightly", "--type=json", "--patch", json_patch]));
    guarded.refused("a JSON patch", &output, "spec.stopped");
    let output = ok(guarded.editor.run(&["annotate", "tpr", "--all", "testinium.io/stop=1"]));
    guarded.refused("annotate", &output, "the annotation testinium.io/stop");
    let now = ok(guarded.namespace.kubectl.get_json(&["tpr", "nightly"]));
    assert_eq!(now["spec"], json!({"plans": [1], "gatewayRef": {"name": "default"}}));
}

/// The verb can be granted for single runs, as every verb can.
#[test]
fn the_verb_may_be_granted_for_one_run() {
    let guarded = Guarded::prepare();
    for name in ["mine", "other"] {
        guarded.namespace.apply(&run(name, json!({"plans": [1]})));
    }
    let namespace = &guarded.namespace;
    // `kubectl create role` takes no verb that it does not know.
    namespace.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "mine"},
        "rules": [{"apiGroups": ["testinium.io"], "resources": ["testplanruns"], "resourceNames": ["mine"], "verbs": ["stop"]}],
    }));
    namespace.run(&[
        "create",
        "rolebinding",
        "mine",
        "--role=mine",
        &format!("--serviceaccount={}:editor", namespace.name),
    ]);
    let stop = spec(json!({"stopped": true}));
    ok(wait_until("the right is seen", SOON, || {
        let output = patch(&guarded.editor, "mine", &stop);
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    }));
    guarded.refused("other", &patch(&guarded.editor, "other", &stop), "spec.stopped");
}

#[test]
fn a_cleanup_rule_is_no_way_around_the_verb() {
    let guarded = Guarded::prepare();
    let rule = |action: &str| cleanup("sweep", json!({ "action": action }));
    let words = |action: &str| {
        format!(
            "a TestPlanCleanup with action {action} stops test plans, which needs the verb \"stop\" on testplanruns, and \
             {} lacks it in namespace \"{}\": ask whoever administers the namespace to bind the ClusterRole testinium-stop",
            guarded.name, guarded.namespace.name
        )
    };
    let policy = "ValidatingAdmissionPolicy 'testinium-stop-verb-of-rules'";
    for action in ["Stop", "StopThenDelete"] {
        refused(action, &create(&guarded.editor, &rule(action)), &[policy, &words(action)]);
        taken(action, &create(&guarded.stopper, &rule(action)));
    }
    taken("Delete", &create(&guarded.editor, &rule("Delete")));
    guarded.namespace.apply(&rule("Stop"));
    let now = ["annotate", "tpc", "sweep", "testinium.io/run-now=1", "--dry-run=server"];
    refused("run-now", &ok(guarded.editor.run(&now)), &[policy, &words("Stop")]);
    taken("run-now", &ok(guarded.stopper.run(&now)));
    taken("a label", &ok(guarded.editor.run(&["label", "tpc", "sweep", "a=b"])));
}

/// It stops, cleans up and deletes under the policy as without it, and its account may write its own mark.
#[test]
fn the_operator_is_not_held_up() {
    let mut stage = Stage::prepare_accepting(json!({}));
    choose(&stage.namespace, CHOICE);
    let (editor, _) = account(&stage.namespace, "editor", &MAY_WRITE);
    let (stopper, _) = account(&stage.namespace, "stopper", &MAY_STOP);
    wait_until_in_force(&editor);
    stage.start_operator_with(&["--cleanup", "--allow-gateway-cidr=127.0.0.0/8"], &[]);
    let spec = json!({"plans": [1], "ttlSecondsAfterFinished": 0});
    taken(
        "by hand",
        &ok(editor.run_with_input(&["apply", "--filename=-"], &run("by-hand", spec).to_string())),
    );
    taken("by hand", &ok(stopper.run(&["annotate", "tpr", "by-hand", "testinium.io/stop=1"])));
    stage.wait_until_gone("by-hand");
    let mut heavy = run("by-rule", json!({"plans": [2]}));
    heavy["metadata"]["labels"] = json!({"load": "heavy"});
    stage.namespace.apply(&heavy);
    let mut rule = cleanup("sweep", json!({}));
    rule["metadata"]["annotations"] = json!({"testinium.io/run-now": "1"});
    taken("a rule", &ok(stopper.run_with_input(&["create", "--filename=-"], &rule.to_string())));
    let status = stage.wait_for("by-rule", "Accepted");
    assert_eq!(status["stop"]["trigger"], "Cleanup");
    assert_eq!(stage.calls(), [[1], [2]]);

    // Status is nobody's but the operator's, and no request for it is looked at.
    let account = stage.namespace.kubectl.with_kubeconfig(&ok(launcher::kubeconfig(cluster())));
    let status =
        ["patch", "tpr", "by-rule", "--subresource=status", "--type=merge", "-p", "{}", "--dry-run=server"];
    assert!(!ok(account.run(&status)).stderr.contains(POLICY));
}

/// For a cluster that wants to see first who would be refused.
#[test]
fn a_binding_that_warns_lets_the_stop_through_and_says_what_would_be_refused() {
    let namespace = namespace_that_only(&["Warn", "Audit"], CHOICE);
    let (editor, name) = account(&namespace, "editor", &MAY_WRITE);
    namespace.apply(&run("nightly", json!({"plans": [1]})));
    let words = format!("and {name} lacks it in namespace \"{}\"", namespace.name);
    ok(wait_until("the warning", SOON, || {
        let output = patch(&editor, "nightly", &spec(json!({"stopped": true})));
        let is_warned = output.status.success()
            && output
                .stderr
                .contains("Warning: Validation failed for ValidatingAdmissionPolicy 'testinium-stop-verb'")
            && output.stderr.contains(&words);
        if is_warned { Ok(()) } else { Err(format!("{output:?}")) }
    }));
}
