//! The rule that `deploy/argocd/argocd-cm.yaml` has the scripts that lie beside it, in the layout that Argo CD itself has.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::root;

/// The command that makes it anew.
const COMMAND: &str = "UPDATE=1 cargo test --test house_rules argocd";

const KINDS: [&str; 3] = ["TestPlanCleanup", "TestPlanRun", "TestiniumGateway"];

/// What a person may do to a run.
const ACTIONS: [&str; 2] = ["stop", "retry"];

/// The patch for Argo CD's ConfigMap.
fn patch(scripts: &Path) -> String {
    let read =
        |name: &str| fs::read_to_string(scripts.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut text = format!(
        "# Made of the scripts in resource_customizations by {COMMAND}\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\ndata:\n"
    );
    let mut add = |key: String, script: &str| {
        // Writing to a String can't fail.
        let _ = write!(text, "  resource.customizations.{key}: |\n{}", indented(script, 4));
    };
    for kind in KINDS {
        add(format!("health.testinium.io_{kind}"), &read(&format!("{kind}/health.lua")));
    }
    let discovery = indented(&read("TestPlanRun/actions/discovery.lua"), 2);
    let mut actions = format!("discovery.lua: |\n{discovery}definitions:\n");
    for action in ACTIONS {
        let script = indented(&read(&format!("TestPlanRun/actions/{action}/action.lua")), 4);
        let _ = write!(actions, "- name: {action}\n  action.lua: |\n{script}");
    }
    add("actions.testinium.io_TestPlanRun".to_owned(), &actions);
    text
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

#[test]
fn the_patch_for_argocd_has_the_scripts_that_lie_beside_it() {
    let folder = root().join("deploy/argocd");
    let current = patch(&folder.join("resource_customizations/testinium.io"));
    let path = folder.join("argocd-cm.yaml");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &current).expect("it can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == current, "deploy/argocd/argocd-cm.yaml is out of date; refresh it: {COMMAND}");
}

/// The health of each kind is read by the same rules.
#[test]
fn all_kinds_for_argocd_have_one_script_for_their_health() {
    let folder = root().join("deploy/argocd/resource_customizations/testinium.io");
    let [first, rest @ ..] =
        KINDS.map(|kind| fs::read_to_string(folder.join(kind).join("health.lua")).expect("it is there"));
    assert!(rest.iter().all(|other| *other == first));
}
