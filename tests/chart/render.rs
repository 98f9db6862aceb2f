//! What Helm renders, as values to look at.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use testinium_testbed::helm::Helm;
use testinium_testbed::kubectl::Output;
use testinium_testbed::{Error, chain};

/// The chart's folder.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/chart");

/// The name and the namespace with which `deploy/manifests` are rendered, and which the documents use.
pub(crate) const RELEASE: &str = "testinium";
pub(crate) const NAMESPACE: &str = testinium_testbed::launcher::NAMESPACE;

/// A Helm without a cluster.
pub(crate) fn helm() -> &'static Helm {
    static HELM: OnceLock<(TempDir, Helm)> = OnceLock::new();
    let made = HELM.get_or_init(|| {
        let home = tempfile::tempdir().expect("a temporary directory");
        let helm = ok(Helm::obtain(home.path()));
        (home, helm)
    });
    &made.1
}

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The value, or a panic with the whole chain of causes.
#[track_caller]
pub(crate) fn ok<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Runs `helm template` for a release with more arguments, whatever comes of it.
pub(crate) fn template(release: &str, arguments: &[&str]) -> Output {
    ok(helm().run(&[&["template", release, CHART, "--namespace", NAMESPACE], arguments].concat()))
}

/// The objects that are rendered with these values, as arguments of `--set-json`.
#[track_caller]
pub(crate) fn rendered(values: &[&str]) -> Vec<Value> {
    objects(&ok(template(RELEASE, &set(values)).success()))
}

/// What Helm says against these values; they must not be taken.
#[track_caller]
pub(crate) fn refusal(values: &[&str]) -> String {
    let output = template(RELEASE, &set(values));
    assert!(!output.status.success(), "{values:?} are taken");
    output.stderr
}

fn set<'a>(values: &[&'a str]) -> Vec<&'a str> {
    values.iter().flat_map(|value| ["--set-json", value]).collect()
}

/// The objects in a text of YAML documents.
#[track_caller]
pub(crate) fn objects(yaml: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    all.into_iter().filter(|object| !object.is_null()).collect()
}

/// The kind and the name of an object.
pub(crate) fn title(object: &Value) -> String {
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The one object of this kind.
#[track_caller]
pub(crate) fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    match of_kind(objects, kind)[..] {
        [object] => object,
        _ => panic!("there is not one {kind}: {:?}", objects.iter().map(title).collect::<Vec<_>>()),
    }
}

/// The operator's container.
#[track_caller]
pub(crate) fn container(objects: &[Value]) -> &Value {
    &only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}
