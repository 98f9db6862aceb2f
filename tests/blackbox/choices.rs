//! Policies that are installed by choice: each is in force in the namespaces of its own tests alone.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use testinium_testbed::kubectl::{Kubectl, Output, wait_until};

use crate::cluster::{Namespace, cluster, ok, repository};
use crate::operator::SOON;

/// What people have who may write runs, and no more.
pub(crate) const MAY_WRITE: [&str; 2] = ["testinium-edit", "testinium-view"];

/// Label of the namespaces in which a choice is in force.
const CHOSEN: &str = "chosen-policy";

/// A new namespace in which the policies of this folder of `deploy/manifests` are in force as soon as they are noticed.
pub(crate) fn namespace_with(choice: &str) -> Namespace {
    let namespace = Namespace::create();
    choose(&namespace, choice);
    namespace
}

/// Puts the policies of this folder in force in the namespace.
pub(crate) fn choose(namespace: &Namespace, choice: &str) {
    static APPLIED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut applied = APPLIED.lock().unwrap_or_else(PoisonError::into_inner);
    if !applied.iter().any(|other| other == choice) {
        let mut items = objects(choice);
        for binding in items.iter_mut().filter(|item| is_binding(item)) {
            binding["spec"]["matchResources"] = selector(choice);
        }
        namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
        applied.push(choice.to_owned());
    }
    namespace.run(&["label", "namespace", &namespace.name, &format!("{CHOSEN}={choice}")]);
}

/// The same namespaces' bindings with other actions, under a name of their own.
pub(crate) fn namespace_that_only(actions: &[&str], choice: &str) -> Namespace {
    let namespace = namespace_with(choice);
    let label = format!("{choice}-{}", actions.join("-").to_lowercase());
    let mut bindings: Vec<_> = objects(choice).into_iter().filter(is_binding).collect();
    for binding in &mut bindings {
        binding["metadata"]["name"] =
            json!(format!("{}-{label}", binding["spec"]["policyName"].as_str().unwrap_or_default()));
        binding["spec"]["validationActions"] = json!(actions);
        binding["spec"]["matchResources"] = selector(&label);
    }
    namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": bindings}));
    namespace.run(&["label", "namespace", &namespace.name, "--overwrite", &format!("{CHOSEN}={label}")]);
    namespace
}

fn selector(value: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {CHOSEN: value}}})
}

fn is_binding(object: &Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| kind.ends_with("PolicyBinding"))
}

/// The objects that ship for a choice.
fn objects(choice: &str) -> Vec<Value> {
    let path = repository(&format!("deploy/manifests/{choice}/{choice}.yaml"));
    let text = std::fs::read_to_string(path).expect("it ships");
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).expect("it is YAML");
    all.into_iter().filter(|object| !object.is_null()).collect()
}

/// Whether this cluster has policies that change objects: Kubernetes 1.36 and later.
pub(crate) fn has_mutating_policies() -> bool {
    let group = "--api-group=admissionregistration.k8s.io";
    let known = ok(ok(cluster().kubectl().run(&["api-resources", group, "--output=name"])).success());
    known.lines().any(|name| name.starts_with("mutatingadmissionpolicies."))
}

/// A ServiceAccount of the namespace with these ClusterRoles in it, and its name as the API server has it.
pub(crate) fn account(namespace: &Namespace, name: &str, roles: &[&str]) -> (Kubectl, String) {
    let rbac = "rbac.authorization.k8s.io";
    let mut items = vec![json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})];
    items.extend(roles.iter().map(|role| {
        json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": format!("{name}-{role}")},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace.name}],
        })
    }));
    namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    let kubeconfig = ok(cluster().kubeconfig_for_service_account(&namespace.name, name));
    let kubectl = namespace.kubectl.with_kubeconfig(&kubeconfig);
    // The API server takes a moment to see a new role.
    for role in roles {
        let verb = match *role {
            "testinium-edit" => "patch",
            "testinium-view" => "list",
            "testinium-stop" => "stop",
            other => panic!("which verb tells of {other}?"),
        };
        ok(wait_until(&format!("{name} may {verb}"), SOON, || {
            let answer = ok(kubectl.run(&["auth", "can-i", "--quiet", verb, "testplanruns.testinium.io"]));
            if answer.status.success() { Ok(()) } else { Err(format!("{answer:?}")) }
        }));
    }
    (kubectl, format!("system:serviceaccount:{}:{name}", namespace.name))
}

/// Would be created, and how, or not: nothing is stored.
pub(crate) fn create(kubectl: &Kubectl, object: &Value) -> Output {
    let arguments = ["create", "--dry-run=server", "--output=json", "--filename=-"];
    ok(kubectl.run_with_input(&arguments, &object.to_string()))
}

/// Would be patched, or not: nothing is stored.
pub(crate) fn patch(kubectl: &Kubectl, name: &str, patch: &Value) -> Output {
    let patch = patch.to_string();
    ok(kubectl.run(&["patch", "tpr", name, "--type=merge", "--dry-run=server", "--patch", &patch]))
}

/// A patch of these annotations.
pub(crate) fn annotations(annotations: Value) -> Value {
    json!({"metadata": {"annotations": annotations}})
}

#[track_caller]
pub(crate) fn taken(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {output:?}");
}

/// It must be refused with each of these words.
#[track_caller]
pub(crate) fn refused(what: &str, output: &Output, words: &[&str]) {
    assert!(!output.status.success(), "{what}: {output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "{what}: \"{word}\" is missing in {}", output.stderr);
    }
}
