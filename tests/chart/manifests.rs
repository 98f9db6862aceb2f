//! `deploy/manifests` is the chart, rendered with its defaults for those who have no Helm.

use std::fs;

use serde_json::Value;

use crate::render::{NAMESPACE, RELEASE, objects, ok, repository, template, title};

/// The files, each made of the template of that name. The others are written by hand.
const FILES: [&str; 5] =
    ["annotations.yaml", "bounds.yaml", "gateway-credentials.yaml", "operator.yaml", "rbac.yaml"];

/// What is chosen by itself: each has a folder of its name, and a template, and the value that renders it.
const CHOICES: [(&str, &str); 3] = [
    ("finalizer", "policies.finalizer=Enabled"),
    ("requester", "policies.requester=Enabled"),
    ("stop-verb", "policies.stopVerb.enabled=true"),
];

/// The command that makes them anew.
const COMMAND: &str = "UPDATE=1 cargo test --test chart manifests";

/// What the chart makes of one template with these arguments, as a file.
fn file(name: &str, arguments: &[&str]) -> String {
    let only = format!("templates/{name}");
    let rendered = ok(template(RELEASE, &[&["--show-only", &only], arguments].concat()).success());
    // Helm's own lines tell which template a document is of, and no more; empty ones come from what is switched off.
    let lines = rendered.lines().filter(|line| !line.starts_with("# Source: ") && !line.trim().is_empty());
    let text: String = lines.map(|line| format!("{}\n", line.trim_end())).collect();
    format!("# Rendered from deploy/chart by {COMMAND}\n{}", text.trim_start_matches("---\n"))
}

#[test]
fn the_manifests_are_what_the_chart_renders() {
    let files = FILES.map(|name| (name.to_owned(), file(name, &[])));
    let choices = CHOICES.map(|(name, value)| {
        (format!("{name}/{name}.yaml"), file(&format!("{name}.yaml"), &["--set", value]))
    });
    for (name, current) in files.into_iter().chain(choices) {
        let path = repository("deploy/manifests").join(&name);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &current).expect("it can be written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == current,
            "deploy/manifests/{name} is not what the chart renders; refresh it: {COMMAND}"
        );
    }
}

/// Whatever else becomes of the files: they and the chart's defaults are the same objects, none more and none less, but
/// for the definitions, which `deploy/manifests` takes from `crds`, the namespace, and what Helm makes for a moment when
/// it uninstalls.
#[test]
fn the_manifests_and_the_chart_are_the_same_objects() {
    let mut of_chart = objects(&ok(template(RELEASE, &["--no-hooks"]).success()));
    of_chart.retain(|object| object["kind"] != "CustomResourceDefinition");
    let read =
        |name: &str| fs::read_to_string(repository("deploy/manifests").join(name)).expect("it is there");
    let mut of_files: Vec<Value> = FILES.iter().flat_map(|name| objects(&file(name, &[]))).collect();
    for all in [&mut of_chart, &mut of_files] {
        all.sort_by_key(title);
    }
    let titles = |all: &[Value]| all.iter().map(title).collect::<Vec<_>>();
    assert_eq!(titles(&of_chart), titles(&of_files));
    assert_eq!(of_chart, of_files);
    let listed = read("Kustomization");
    for name in FILES.iter().chain(&["namespace.yaml", "../../crds"]) {
        assert!(listed.contains(&format!("- {name}\n")), "the Kustomization lacks {name}");
    }
    assert_eq!(objects(&read("namespace.yaml"))[0]["metadata"]["name"], NAMESPACE);
}

/// A choice is an addition: it changes nothing of what is there, and nothing of it is there without it.
#[test]
fn a_choice_adds_objects_and_changes_none() {
    let defaults = objects(&ok(template(RELEASE, &[]).success()));
    for (name, value) in CHOICES {
        let with = objects(&ok(template(RELEASE, &["--set", value]).success()));
        let mut added: Vec<_> = with.iter().filter(|object| !defaults.contains(object)).cloned().collect();
        assert_eq!(with.len() - added.len(), defaults.len(), "{name} takes away or changes an object");
        let mut of_folder = objects(&file(&format!("{name}.yaml"), &["--set", value]));
        let titles = |all: &[Value]| all.iter().map(title).collect::<std::collections::BTreeSet<_>>();
        assert!(titles(&of_folder).is_disjoint(&titles(&defaults)), "{name} has a name that is taken");
        for all in [&mut added, &mut of_folder] {
            all.sort_by_key(title);
        }
        assert_eq!(added, of_folder, "{name}");
        let path = repository("deploy/manifests").join(name).join("Kustomization");
        let listed = fs::read_to_string(path).expect("it is there");
        assert!(listed.contains(&format!("- {name}.yaml\n")), "{listed}");
    }
}
