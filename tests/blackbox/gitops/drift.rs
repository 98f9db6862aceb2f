//! Drift: what the operator and people write, seen by tools that apply what Git has at every interval.
//!
//! Flux applies by its own library, which first asks whether there is a difference. Argo CD does what `kubectl apply` and
//! `kubectl diff` do in its name, from the client or, if an application asks for that, on the server.

use serde_json::{Value, json};
use testinium_testbed::control_plane::Version;
use testinium_testbed::kubectl::Output;
use testinium_testbed::tools::Tool;

use crate::cluster::{cluster, ok, run};
use crate::operator::{Stage, condition};

/// A tool, and the name of the run that it has.
#[derive(Clone, Copy, Debug)]
enum Manager {
    Flux,
    ArgoCd,
    ArgoCdOnServer,
}

use Manager::{ArgoCd, ArgoCdOnServer, Flux};

const ALL: [Manager; 3] = [Flux, ArgoCd, ArgoCdOnServer];

// === impl Manager ===

impl Manager {
    fn name(self) -> &'static str {
        match self {
            Flux => "of-flux",
            ArgoCd => "of-argocd",
            ArgoCdOnServer => "of-argocd-on-server",
        }
    }

    /// A plan of its own, so that calls are told apart.
    fn plan(self) -> i64 {
        match self {
            Flux => 1,
            ArgoCd => 2,
            ArgoCdOnServer => 3,
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            ArgoCdOnServer => {
                &["--field-manager=argocd-controller", "--server-side", "--force-conflicts", "--filename=-"]
            }
            Flux | ArgoCd => &["--field-manager=argocd-controller", "--filename=-"],
        }
    }

    /// The run, with this in its spec.
    fn object(self, stage: &Stage, spec: &Value) -> Value {
        let mut object = run(self.name(), json!({"plans": [self.plan()]}));
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        object["metadata"]["namespace"] = json!(stage.namespace.name);
        if !matches!(self, Flux) {
            object["metadata"]["annotations"] =
                json!({"argocd.argoproj.io/tracking-id": "plans:testinium.io/TestPlanRun"});
        }
        object
    }

    /// What happens at an interval.
    #[track_caller]
    fn apply(self, stage: &Stage, spec: &Value) {
        let object = self.object(stage, spec);
        if matches!(self, Flux) {
            flux("apply", &[object]);
        } else {
            let arguments = [&["apply"], self.flags()].concat();
            ok(kubectl(stage, &arguments, &object).success());
        }
    }

    /// Whether what Git has differs from what is there, for the tool.
    #[track_caller]
    fn sees_drift(self, stage: &Stage, spec: &Value) -> bool {
        assert!(!matches!(self, Flux), "Flux looks and applies at once");
        let arguments = [&["diff"], self.flags()].concat();
        let output = kubectl(stage, &arguments, &self.object(stage, spec));
        match output.status.code() {
            Some(0) => false,
            Some(1) if output.stdout.contains("+++") => true,
            _ => panic!("{output:?}"),
        }
    }

    /// Asserts that the tool finds nothing to do, and does nothing when its interval comes.
    #[track_caller]
    fn assert_in_sync(self, stage: &Stage, spec: &Value) {
        let before = whole(stage, self.name());
        match self {
            Flux => assert_eq!(flux("apply", &[self.object(stage, spec)]), ["unchanged"]),
            ArgoCd | ArgoCdOnServer => {
                assert!(!self.sees_drift(stage, spec), "{self:?}");
                self.apply(stage, spec);
            }
        }
        assert_eq!(whole(stage, self.name()), before, "{self:?} has written");
    }

    fn calls(self, stage: &Stage) -> usize {
        stage.calls().concat().iter().filter(|plan| **plan == self.plan()).count()
    }
}

/// What Flux did to each object.
#[track_caller]
fn flux(what: &str, objects: &[Value]) -> Vec<String> {
    let kubeconfig = cluster().kubeconfig();
    let done = ok(Tool::Flux.ask(&[what], &json!({"kubeconfig": kubeconfig, "objects": objects})));
    done.as_array().into_iter().flatten().map(|done| done.as_str().unwrap_or_default().to_owned()).collect()
}

fn kubectl(stage: &Stage, arguments: &[&str], object: &Value) -> Output {
    ok(stage.namespace.kubectl.run_with_input(arguments, &object.to_string()))
}

fn get(stage: &Stage, name: &str) -> Value {
    ok(stage.namespace.kubectl.get_json(&["tpr", name]))
}

/// The run with its managed fields, and the version that each write changes.
///
/// On older API servers without both: there a write of a status makes other managers lose their labels and annotations,
/// and the next apply on the server gives them back, which changes nothing else.
fn whole(stage: &Stage, name: &str) -> Value {
    let mut run = ok(stage.namespace.kubectl.get_json(&["tpr", name, "--show-managed-fields"]));
    if cluster().version() < Version::V1_36 {
        let metadata = run["metadata"].as_object_mut().expect("metadata");
        metadata.retain(|field, _| field != "managedFields" && field != "resourceVersion");
    }
    run
}

/// What a person types, by the field manager that is advised.
fn patch_as_advised(stage: &Stage, name: &str, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    let manager = "--field-manager=testinium";
    stage.namespace.run(&["patch", "tpr", name, "--type=merge", manager, "--patch", &patch]);
}

fn annotate_by(stage: &Stage, name: &str, value: &str, manager: &[&str]) {
    let value = format!("testinium.io/stop={value}");
    stage.namespace.run(&[&["annotate", "tpr", name, "--overwrite", &value], manager].concat());
}

#[test]
fn a_stop_in_git_is_made_once_whatever_is_applied_again_and_again() {
    let stage = Stage::start_accepting(json!({}));
    for manager in ALL {
        manager.apply(&stage, &json!({}));
        stage.wait_for(manager.name(), "NotRequested");
        manager.assert_in_sync(&stage, &json!({}));
        // So that a difference is known to be seen at all.
        if !matches!(manager, Flux) {
            assert!(manager.sees_drift(&stage, &json!({"stopped": true})));
        }
        manager.apply(&stage, &json!({"stopped": true}));
        stage.wait_for(manager.name(), "Accepted");
        manager.assert_in_sync(&stage, &json!({"stopped": true}));
    }
    stage.catch_up();
    assert_eq!(ALL.map(|manager| manager.calls(&stage)), [1; 3]);
    for manager in ALL {
        manager.apply(&stage, &json!({"stopped": false}));
        stage.wait_for(manager.name(), "NotRequested");
        manager.assert_in_sync(&stage, &json!({"stopped": false}));
        manager.apply(&stage, &json!({"stopped": true}));
        stage.wait_for(manager.name(), "Accepted");
    }
    assert_eq!(ALL.map(|manager| manager.calls(&stage)), [2; 3], "false and then true asks once more");
}

#[test]
fn a_stop_by_annotation_is_no_drift_and_no_interval_takes_it_back() {
    let stage = Stage::start_accepting(json!({}));
    let git = json!({"stopped": false});
    for manager in ALL {
        manager.apply(&stage, &git);
        stage.wait_for(manager.name(), "NotRequested");
        annotate_by(&stage, manager.name(), "now", &["--field-manager=testinium"]);
        stage.wait_for(manager.name(), "Accepted");
        manager.assert_in_sync(&stage, &git);
        assert_eq!(get(&stage, manager.name())["metadata"]["annotations"]["testinium.io/stop"], "now");
    }
    // Whoever leaves the manager out has it taken over by Flux; the stop stays, though.
    annotate_by(&stage, Flux.name(), "again", &[]);
    stage.wait_for_status(Flux.name(), "again", |status| status["stop"]["lastHandledRequest"] == "again");
    // On an older API server the status that was written meanwhile has made kubectl lose its annotation.
    let takes_over = cluster().version() >= Version::V1_36;
    let done = if takes_over { "configured" } else { "unchanged" };
    assert_eq!(flux("apply", &[Flux.object(&stage, &git)]), [done]);
    assert_eq!(
        get(&stage, Flux.name())["metadata"]["annotations"]["testinium.io/stop"].is_null(),
        takes_over
    );
    stage.catch_up();
    stage.wait_for(Flux.name(), "Accepted");
    Flux.assert_in_sync(&stage, &git);
    assert_eq!(ALL.map(|manager| manager.calls(&stage)), [2, 1, 1]);
}

#[test]
fn a_deadline_in_git_stops_once_and_leaves_the_spec_as_git_has_it() {
    let stage = Stage::start_accepting(json!({}));
    let git = json!({"stopped": false, "activeDeadlineSeconds": 2});
    for manager in ALL {
        manager.apply(&stage, &git);
    }
    for manager in ALL {
        let status = stage.wait_for(manager.name(), "Accepted");
        assert_eq!(status["stop"]["trigger"], "Deadline");
        assert_eq!(get(&stage, manager.name())["spec"]["stopped"], false);
        manager.assert_in_sync(&stage, &git);
    }
    stage.catch_up();
    assert_eq!(ALL.map(|manager| manager.calls(&stage)), [1; 3]);
}

#[test]
fn a_patch_of_stopped_stays_where_git_says_nothing_of_it_and_is_reverted_where_git_says_false() {
    let stage = Stage::start_accepting(json!({}));
    for manager in ALL {
        manager.apply(&stage, &json!({}));
        stage.wait_for(manager.name(), "NotRequested");
        patch_as_advised(&stage, manager.name(), &json!({"stopped": true}));
        stage.wait_for(manager.name(), "Accepted");
        manager.assert_in_sync(&stage, &json!({}));
        // Now Git begins to say something of it, and heals what somebody patches.
        let git = json!({"stopped": false});
        manager.apply(&stage, &git);
        stage.wait_for(manager.name(), "NotRequested");
        patch_as_advised(&stage, manager.name(), &json!({"stopped": true}));
        stage.wait_for(manager.name(), "Accepted");
        manager.apply(&stage, &git);
        let status = stage.wait_for(manager.name(), "NotRequested");
        assert!(status["stop"]["withdrawnBy"] != "testinium", "{status}");
        stage.wait_for_event(manager.name(), "StopReverted");
        manager.assert_in_sync(&stage, &git);
    }
}

#[test]
fn two_managers_that_apply_different_fields_of_one_run_leave_each_other_alone() {
    let stage = Stage::start_accepting(json!({}));
    Flux.apply(&stage, &json!({}));
    let mut stop = Flux.object(&stage, &json!({"stopped": true}));
    stop["spec"].as_object_mut().expect("a spec").remove("plans");
    let arguments = ["apply", "--server-side", "--field-manager=incidents", "--filename=-"];
    // Without force: nothing of it is in conflict.
    ok(kubectl(&stage, &arguments, &stop).success());
    stage.wait_for(Flux.name(), "Accepted");
    Flux.assert_in_sync(&stage, &json!({}));
    let before = whole(&stage, Flux.name());
    ok(kubectl(&stage, &arguments, &stop).success());
    assert_eq!(whole(&stage, Flux.name()), before);
    // Applied without the field, the other manager's stop is removed, which takes nothing back.
    stop["spec"] = json!({});
    ok(kubectl(&stage, &arguments, &stop).success());
    assert!(get(&stage, Flux.name())["spec"]["stopped"].is_null());
    stage.catch_up();
    let status = stage.status(Flux.name());
    assert_eq!(condition(&status, "Stopped").expect("Stopped")["reason"], "Accepted", "{status}");
    assert_eq!(Flux.calls(&stage), 1);
}

#[test]
fn a_run_that_is_pruned_goes_and_what_was_not_sent_is_not_sent() {
    let stage = Stage::start_accepting(json!({"suspend": true}));
    let git = json!({"stopped": true});
    for manager in [Flux, ArgoCd] {
        manager.apply(&stage, &git);
        stage.wait_for(manager.name(), "Suspended");
    }
    assert_eq!(flux("prune", &[Flux.object(&stage, &git)]), ["deleted"]);
    // Argo CD deletes with a propagation policy, too.
    stage.namespace.run(&["delete", "tpr", ArgoCd.name(), "--cascade=foreground", "--wait=false"]);
    // There is no garbage collector here, which would take the finalizer of the foreground off.
    stage.patch(ArgoCd.name(), r#"{"metadata":{"finalizers":null}}"#);
    for manager in [Flux, ArgoCd] {
        stage.wait_until_gone(manager.name());
    }
    stage.gateway(json!({"suspend": false}));
    stage.settle("other", 9);
    assert_eq!(stage.calls(), [[9]]);
}

#[test]
fn a_ttl_deletes_no_run_that_flux_would_make_again() {
    let stage = Stage::start_accepting(json!({}));
    let git = json!({"stopped": true, "ttlSecondsAfterFinished": 0});
    Flux.apply(&stage, &git);
    let status = stage
        .wait_for_status(Flux.name(), "what keeps it", |status| status["stop"]["ttlSkipped"].is_string());
    let kept = status["stop"]["ttlSkipped"].as_str().unwrap_or_default();
    assert!(kept.starts_with("the label or annotation kustomize.toolkit.fluxcd.io/"), "{kept}");
    Flux.assert_in_sync(&stage, &git);
    assert_eq!(Flux.calls(&stage), 1);
}
