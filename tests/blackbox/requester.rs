//! The policy `requester`, which is installed by choice: it writes down who asks for a stop, and nobody else writes there.
//!
//! `jane` and `mallory` are real ServiceAccounts that may write runs. Kubernetes 1.36 and later has such policies.

use serde_json::{Value, json};
use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::kubectl::{Kubectl, wait_until};
use testinium_testbed::operator::install;

use crate::choices::{
    MAY_WRITE, account, annotations, choose, create, has_mutating_policies, namespace_with, refused, taken,
};
use crate::cluster::{Namespace, cleanup, ok, repository, run};
use crate::events::note;
use crate::operator::{SOON, Stage};

const CHOICE: &str = "requester";
const STAMP: &str = "testinium.io/stop-requested-by";
const STOP: &str = "testinium.io/stop";

/// A namespace in which the policy is in force, and two accounts with their names.
struct Stamped {
    namespace: Namespace,
    jane: (Kubectl, String),
    mallory: (Kubectl, String),
}

impl Stamped {
    /// None where the cluster has no such policies.
    fn prepare() -> Option<Self> {
        if !has_mutating_policies() {
            return None;
        }
        let namespace = namespace_with(CHOICE);
        let jane = account(&namespace, "jane", &MAY_WRITE);
        let mallory = account(&namespace, "mallory", &MAY_WRITE);
        wait_until_in_force(&jane.0);
        Some(Self { namespace, jane, mallory })
    }

    /// What the annotation of a run says.
    fn stamp(&self, name: &str) -> Option<String> {
        let run = ok(self.namespace.kubectl.get_json(&["tpr", name]));
        run["metadata"]["annotations"][STAMP].as_str().map(str::to_owned)
    }

    /// A run that jane has stopped.
    fn stopped_by_jane(&self, name: &str) {
        self.namespace.apply(&run(name, json!({"plans": [1]})));
        merge(&self.jane.0, name, &json!({"spec": {"stopped": true}}));
        assert_eq!(self.stamp(name).as_ref(), Some(&self.jane.1));
    }
}

/// A policy takes a moment after it was applied.
fn wait_until_in_force(kubectl: &Kubectl) {
    ok(wait_until("the policy is in force", SOON, || {
        let output = create(kubectl, &run("probe", json!({"plans": [1], "stopped": true})));
        if output.stdout.contains(STAMP) { Ok(()) } else { Err(format!("{output:?}")) }
    }));
}

#[track_caller]
fn merge(kubectl: &Kubectl, name: &str, patch: &Value) {
    let output = ok(kubectl.run(&["patch", "tpr", name, "--type=merge", "--patch", &patch.to_string()]));
    taken(&patch.to_string(), &output);
}

#[test]
fn an_older_kubernetes_says_that_it_has_no_such_policies() {
    if has_mutating_policies() {
        return;
    }
    let namespace = Namespace::create();
    let folder = repository("deploy/manifests/requester");
    let output = ok(namespace.kubectl.run(&["apply".as_ref(), "--kustomize".as_ref(), folder.as_os_str()]));
    refused("an older Kubernetes", &output, &["no matches for kind \"MutatingAdmissionPolicy\""]);
}

#[test]
fn whoever_asks_for_a_stop_is_written_down_in_whatever_way_they_ask() {
    let Some(stage) = Stamped::prepare() else { return };
    let (jane, name) = &stage.jane;
    let stopped = |run_: &str| run(run_, json!({"plans": [1], "stopped": true})).to_string();
    for (run_, arguments) in [
        ("applied", &["apply", "--filename=-"][..]),
        ("applied-by-server", &["apply", "--server-side", "--filename=-"]),
        ("created", &["create", "--filename=-"]),
    ] {
        taken(run_, &ok(jane.run_with_input(arguments, &stopped(run_))));
        assert_eq!(stage.stamp(run_).as_ref(), Some(name), "{run_}");
    }
    for (run_, arguments) in [
        ("applied-later", &["apply", "--filename=-"][..]),
        ("applied-by-server-later", &["apply", "--server-side", "--force-conflicts", "--filename=-"]),
        ("replaced", &["replace", "--filename=-"]),
    ] {
        stage.namespace.apply(&run(run_, json!({"plans": [1]})));
        assert_eq!(stage.stamp(run_), None, "{run_}: nobody has asked yet");
        taken(run_, &ok(jane.run_with_input(arguments, &stopped(run_))));
        assert_eq!(stage.stamp(run_).as_ref(), Some(name), "{run_}");
    }
    for (run_, arguments) in [
        ("patched", &["--type=json", r#"--patch=[{"op":"add","path":"/spec/stopped","value":true}]"#][..]),
        ("merged", &["--type=merge", r#"--patch={"spec":{"stopped":true}}"#]),
        (
            "without-annotations",
            &["--type=merge", r#"--patch={"spec":{"stopped":true},"metadata":{"annotations":null}}"#],
        ),
    ] {
        stage.namespace.apply(&run(run_, json!({"plans": [1]})));
        taken(run_, &ok(jane.run(&[&["patch", "tpr", run_], arguments].concat())));
        assert_eq!(stage.stamp(run_).as_ref(), Some(name), "{run_}");
    }
    stage.namespace.apply(&run("annotated", json!({"plans": [1]})));
    taken("annotate", &ok(jane.run(&["annotate", "tpr", "annotated", "testinium.io/stop=1"])));
    assert_eq!(stage.stamp("annotated").as_ref(), Some(name));

    // The next one who asks takes the place of the one before.
    let (mallory, other) = &stage.mallory;
    taken("again", &ok(mallory.run(&["annotate", "tpr", "merged", "testinium.io/stop=1"])));
    assert_eq!(stage.stamp("merged").as_ref(), Some(other));
}

#[test]
fn nobody_writes_another_name() {
    let Some(stage) = Stamped::prepare() else { return };
    let (mallory, own_name) = &stage.mallory;
    let (_, jane) = &stage.jane;
    // Where nobody has asked, there is no name, whoever writes one.
    let mut forged = run("new", json!({"plans": [1]}));
    forged["metadata"]["annotations"] = json!({STAMP: jane, "note": "x"});
    taken("create", &ok(mallory.run_with_input(&["create", "--filename=-"], &forged.to_string())));
    assert_eq!(stage.stamp("new"), None);
    merge(mallory, "new", &annotations(json!({STAMP: jane})));
    assert_eq!(stage.stamp("new"), None);
    taken("annotate", &ok(mallory.run(&["annotate", "tpr", "new", &format!("{STAMP}={jane}")])));
    assert_eq!(stage.stamp("new"), None);
    let note = &ok(stage.namespace.kubectl.get_json(&["tpr", "new"]))["metadata"]["annotations"]["note"];
    assert_eq!(note, "x", "other annotations stay");
    // With a stop of their own it is their own name.
    for (name, change) in [
        ("by-spec", json!({"spec": {"stopped": true}, "metadata": {"annotations": {STAMP: jane}}})),
        ("by-annotation", annotations(json!({STAMP: jane, STOP: "1"}))),
    ] {
        stage.namespace.apply(&run(name, json!({"plans": [1]})));
        merge(mallory, name, &change);
        assert_eq!(stage.stamp(name).as_ref(), Some(own_name), "{name}");
    }
    let mut object = run("whole", json!({"plans": [1], "stopped": true}));
    object["metadata"]["annotations"] = json!({STAMP: jane});
    taken("create", &ok(mallory.run_with_input(&["create", "--filename=-"], &object.to_string())));
    assert_eq!(stage.stamp("whole").as_ref(), Some(own_name));
    // Nobody gets rid of a name either, or puts another in its place.
    stage.stopped_by_jane("nightly");
    let unnamed = run("nightly", json!({"plans": [1], "stopped": true})).to_string();
    let mut renamed = run("nightly", json!({"plans": [1], "stopped": true}));
    renamed["metadata"]["annotations"] = json!({STAMP: own_name});
    let renamed = renamed.to_string();
    for (arguments, input) in [
        (
            &["patch", "tpr", "nightly", "--type=merge", r#"--patch={"metadata":{"annotations":null}}"#][..],
            "",
        ),
        (&["annotate", "tpr", "nightly", "--overwrite", "testinium.io/stop-requested-by=mallory"], ""),
        (&["annotate", "tpr", "nightly", "testinium.io/stop-requested-by-"], ""),
        (&["replace", "--filename=-"], &unnamed),
        (&["replace", "--filename=-"], &renamed),
        (&["apply", "--server-side", "--force-conflicts", "--field-manager=m", "--filename=-"], &renamed),
        (&["apply", "--server-side", "--force-conflicts", "--field-manager=m", "--filename=-"], &unnamed),
    ] {
        taken(&arguments.join(" "), &ok(mallory.run_with_input(arguments, input)));
        assert_eq!(stage.stamp("nightly").as_ref(), Some(jane), "{arguments:?}");
    }
    // Nor by the way of a status, for which somebody might have the right.
    let status = r#"{"metadata":{"annotations":{"testinium.io/stop-requested-by":"mallory"}},"status":{"summary":"1/1"}}"#;
    stage.namespace.run(&[
        "patch",
        "tpr",
        "nightly",
        "--subresource=status",
        "--type=merge",
        "--patch",
        status,
    ]);
    assert_eq!(stage.stamp("nightly").as_ref(), Some(jane));
}

/// Each value as the operator takes it: whoever takes a stop back, or says nothing, is not the one who has asked.
#[test]
fn only_a_request_for_a_stop_is_stamped() {
    let Some(stage) = Stamped::prepare() else { return };
    let (mallory, own_name) = &stage.mallory;
    stage.stopped_by_jane("nightly");
    let by_jane = stage.stamp("nightly");
    for change in [
        json!({"spec": {"plans": [1, 2], "reason": "x", "activeDeadlineSeconds": 60}}),
        json!({"spec": {"stopped": true}}),
        json!({"spec": {"stopped": null}}),
        json!({"spec": {"stopped": false}}),
        annotations(json!({"testinium.io/retry": "1", "testinium.io/cleanup": "a/b", "note": "x"})),
    ] {
        merge(mallory, "nightly", &change);
        assert_eq!(stage.stamp("nightly"), by_jane, "{change}");
    }
    let quiet = ["no", "No", " OFF\t", "false", "none", "0", "", "  ", "\u{a0}no\u{2003}", "\n0\r\n"];
    let asking = ["1", "nope", "yes", "\u{200b}no", "00", "n\u{f6}", "~"];
    for (value, is_asking) in
        quiet.map(|value| (value, false)).into_iter().chain(asking.map(|value| (value, true)))
    {
        merge(mallory, "nightly", &annotations(json!({STOP: value})));
        let expected = if is_asking { Some(own_name) } else { by_jane.as_ref() };
        assert_eq!(stage.stamp("nightly").as_ref(), expected, "{value:?}");
        merge(&stage.jane.0, "nightly", &annotations(json!({STOP: "by jane"})));
        assert_eq!(stage.stamp("nightly"), by_jane);
    }
    merge(mallory, "nightly", &annotations(json!({STOP: null})));
    assert_eq!(stage.stamp("nightly"), by_jane, "a removal asks for nothing");
}

/// A tool that applies what is in Git neither owns the annotation nor fights it.
#[test]
fn the_name_belongs_to_no_field_manager() {
    let Some(stage) = Stamped::prepare() else { return };
    let declared = run("nightly", json!({"plans": [1]})).to_string();
    let apply = ["apply", "--server-side", "--field-manager=gitops", "--filename=-"];
    ok(ok(stage.namespace.kubectl.run_with_input(&apply, &declared)).success());
    taken("stop", &ok(stage.jane.0.run(&["annotate", "tpr", "nightly", "testinium.io/stop=1"])));
    ok(ok(stage.namespace.kubectl.run_with_input(&apply, &declared)).success());
    assert_eq!(stage.stamp("nightly").as_ref(), Some(&stage.jane.1));
    let fields =
        ["get", "tpr", "nightly", "--output=jsonpath={.metadata.managedFields}", "--show-managed-fields"];
    let owned = stage.namespace.run(&fields);
    assert!(owned.contains("f:testinium.io/stop\"") && !owned.contains(STAMP), "{owned}");
}

/// The status and the event of a run, after this change by jane, with this flag of the operator.
fn told(stage: &Stage, log: &str, flags: &[&str], name: &str, change: &dyn Fn()) -> (Value, String) {
    let flags: Vec<_> =
        ["--leader-elect=false", "--cleanup"].into_iter().chain(flags.iter().copied()).collect();
    let _operator = stage.spawn(log, &flags);
    change();
    let status = stage.wait_for(name, "Accepted");
    let event = stage.wait_for_event(name, "StopAccepted");
    (status["stop"].clone(), note(&event))
}

#[test]
fn the_operator_names_the_user_for_spec_and_annotation_and_only_if_it_is_told_to_believe() {
    if !has_mutating_policies() {
        return;
    }
    let stage = Stage::prepare_accepting(json!({}));
    choose(&stage.namespace, CHOICE);
    let (jane, name) = account(&stage.namespace, "jane", &MAY_WRITE);
    wait_until_in_force(&jane);
    let trust = &["--trust-requested-by"][..];
    let heavy = |run_: &str| {
        let mut object = run(run_, json!({"plans": [1]}));
        object["metadata"]["labels"] = json!({"load": run_});
        stage.namespace.apply(&object);
    };
    let by_spec = |run_: &str| merge(&jane, run_, &json!({"spec": {"stopped": true}}));
    let by_annotation = |run_: &str| merge(&jane, run_, &annotations(json!({STOP: "because of jane"})));
    let asked_by = format!("asked for by \"{name}\",");

    for (run_, trigger, flags, ask) in [
        ("spec", "Spec", trust, &by_spec as &dyn Fn(&str)),
        ("annotation", "Annotation", trust, &by_annotation),
        ("spec-unbelieved", "Spec", &[][..], &by_spec),
        ("annotation-unbelieved", "Annotation", &[][..], &by_annotation),
    ] {
        heavy(run_);
        let (stop, note) = told(&stage, &format!("{run_}.log"), flags, run_, &|| ask(run_));
        assert_eq!(stop["trigger"], trigger);
        let believed = !flags.is_empty();
        assert_eq!(stop["requestedBy"], if believed { json!(name) } else { Value::Null }, "{run_}: {stop}");
        assert_eq!(note.contains(&asked_by), believed, "{note}");
        assert!(stop["fieldManager"].is_string(), "the program is told either way: {stop}");
    }
    // Nobody has asked for what a deadline or a rule stops, even if somebody has asked for another stop before.
    for (run_, trigger) in [("deadline", "Deadline"), ("rule", "Cleanup")] {
        heavy(run_);
        by_spec(run_);
        merge(&jane, run_, &json!({"spec": {"stopped": false}}));
        let (stop, note) = told(&stage, &format!("{run_}.log"), trust, run_, &|| {
            if trigger == "Deadline" {
                merge(&jane, run_, &json!({"spec": {"activeDeadlineSeconds": 1}}));
            } else {
                let mut rule = cleanup("sweep", json!({"selector": {"matchLabels": {"load": run_}}}));
                rule["metadata"]["annotations"] = json!({"testinium.io/run-now": "1"});
                stage.namespace.apply(&rule);
            }
        });
        assert_eq!(stop["trigger"], trigger);
        assert_eq!(stop["requestedBy"], Value::Null, "{stop}");
        assert!(!note.contains("asked for by"), "{note}");
    }
}

/// An API server that has just started does not know the definitions well enough for a policy that changes objects. It
/// refuses what the policy looks at for some seconds, and nothing else: a stop is neither lost nor taken without a name.
#[test]
fn an_api_server_that_has_just_started_takes_no_stop_without_a_name() {
    if !has_mutating_policies() {
        return;
    }
    let mut plane = ok(ControlPlane::start(Options::default()));
    let kubectl = plane.kubectl();
    ok(install(&kubectl));
    let folder = repository("deploy/manifests/requester");
    ok(ok(kubectl.run(&["apply".as_ref(), "--kustomize".as_ref(), folder.as_os_str()])).success());
    wait_until_in_force(&kubectl);
    ok(plane.kill_api_server());
    ok(plane.start_api_server());
    ok(wait_until("a run that asks for nothing is taken", SOON, || {
        let output = create(&kubectl, &run("rests", json!({"plans": [1]})));
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    }));
    ok(wait_until("a stop is taken", SOON, || {
        let output = create(&kubectl, &run("stops", json!({"plans": [1], "stopped": true})));
        if output.status.success() {
            assert!(output.stdout.contains(STAMP), "{}", output.stdout);
            return Ok(());
        }
        assert!(output.stderr.contains("Kind=TestPlanRun not found. There can be a delay"), "{output:?}");
        Err(output.stderr)
    }));
}
