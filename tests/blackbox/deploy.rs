//! The manifests in `deploy/`: what they allow, and that a cluster with strict rules takes them.

use serde_json::json;

use crate::choices::create;
use crate::cluster::{cluster, ok};

const OPERATOR: &str = "system:serviceaccount:testinium-system:testinium-operator";

/// Whether RBAC allows it to the operator in this namespace.
fn may(verb: &str, resource: &str, namespace: &str) -> bool {
    // To kubectl, what follows the slash is an object's name.
    let (resource, subresource) =
        resource.strip_suffix("/status").map_or((resource, ""), |resource| (resource, "status"));
    let what = ["auth", "can-i", verb, resource, "--subresource", subresource];
    let who = ["--as", OPERATOR, "--namespace", namespace, "--quiet"];
    ok(cluster().kubectl().run(&[&what[..], &who[..]].concat())).status.success()
}

#[test]
fn the_operator_may_do_what_it_does() {
    for (verb, resource) in [
        ("get", "testplanruns"),
        ("list", "testplanruns"),
        ("watch", "testplanruns"),
        ("watch", "testiniumgateways"),
        ("update", "testplanruns/status"),
        ("update", "testiniumgateways/status"),
        ("watch", "testplancleanups"),
        ("update", "testplancleanups/status"),
        // Which the policies of bounds.yaml bound.
        ("patch", "testplanruns"),
        ("delete", "testplanruns"),
        ("cleanup", "testplanruns"),
        // Which the policy stop-verb asks for, where somebody has chosen it.
        ("stop", "testplanruns"),
        ("get", "secrets"),
        ("get", "configmaps"),
        ("create", "events.events.k8s.io"),
    ] {
        assert!(may(verb, resource, "default"), "{verb} {resource}");
    }
    for verb in ["get", "update"] {
        assert!(may(verb, "leases/testinium-operator", "testinium-system"), "{verb} leases");
    }
    assert!(may("create", "leases", "testinium-system"));
}

#[test]
fn the_operator_may_do_nothing_else() {
    for (verb, resource) in [
        ("list", "secrets"),
        ("watch", "secrets"),
        ("list", "configmaps"),
        ("update", "testplanruns"),
        ("create", "testplanruns"),
        ("deletecollection", "testplanruns"),
        ("update", "testplancleanups"),
        ("patch", "testplancleanups"),
        ("update", "testiniumgateways"),
        // An event is made once, and never changed.
        ("patch", "events.events.k8s.io"),
        ("get", "leases"),
        ("get", "pods"),
        ("list", "namespaces"),
        ("*", "*"),
    ] {
        assert!(!may(verb, resource, "default"), "{verb} {resource}");
    }
    assert!(!may("update", "leases/another", "testinium-system"));
}

#[test]
fn the_pod_passes_the_restricted_pod_security_standard() {
    let kubectl = cluster().kubectl().in_namespace("testinium-system");
    let deployment = ok(kubectl.get_json(&["deployment", "testinium-operator"]));
    let mut template = deployment["spec"]["template"].clone();
    template["apiVersion"] = json!("v1");
    template["kind"] = json!("Pod");
    template["metadata"]["name"] = json!("probe");
    let output = create(&kubectl, &template);
    assert!(output.status.success(), "{}", output.stderr);
    // So that the standard is known to be enforced at all.
    template["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let output = create(&kubectl, &template);
    assert!(output.stderr.contains("violates PodSecurity \"restricted"), "{}", output.stderr);
}

#[test]
fn whoever_may_edit_a_namespace_may_write_runs_in_it() {
    let roles = ok(cluster().kubectl().get_json(&["clusterroles", "testinium-edit", "testinium-view"]));
    for (role, target) in [(0, "edit"), (1, "view")] {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{target}");
        assert_eq!(roles["items"][role]["metadata"]["labels"][label], "true");
    }
}
