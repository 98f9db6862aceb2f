//! `deploy/manifests` is the chart, rendered with its defaults for those who have no Helm.

use std::fs;

use serde_json::Value;

use crate::render::{NAMESPACE, RELEASE, objects, ok, repository, template, title};

/// The files, each made of the template of that name. The others are written by hand.
const FILES: [&str; 4] = ["bounds.yaml", "gateway-credentials.yaml", "operator.yaml", "rbac.yaml"];

/// The command that makes them anew.
const COMMAND: &str = "UPDATE=1 cargo test --test chart manifests";

/// What the chart makes of one template, as a file.
fn file(name: &str) -> String {
    let rendered = ok(template(RELEASE, &["--show-only", &format!("templates/{name}")]).success());
    // Helm's own lines tell which template a document is of, and no more; empty ones come from what is switched off.
    let lines = rendered.lines().filter(|line| !line.starts_with("# Source: ") && !line.trim().is_empty());
    let text: String = lines.map(|line| format!("{}\n", line.trim_end())).collect();
    format!("# Rendered from deploy/chart by {COMMAND}\n{}", text.trim_start_matches("---\n"))
}

#[test]
fn the_manifests_are_what_the_chart_renders() {
    for name in FILES {
        let path = repository("deploy/manifests").join(name);
        let current = file(name);
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
    let mut of_files: Vec<Value> = FILES.iter().flat_map(|name| objects(&file(name))).collect();
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
