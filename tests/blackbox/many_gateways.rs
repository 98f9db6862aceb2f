//! More gateways than the process may open files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::page;
use testinium_testbed::process::free_port;

use crate::cluster::{OPERATOR, ok, site};
use crate::operator::{Stage, condition};

const GATEWAYS: usize = 1_500;
const FILES: usize = 1_024;

/// Each gateway has a run that is to be stopped when the process starts. Connections that nobody uses any more are
/// closed soon, so there are files left for the Lease, the probes and the next call.
#[test]
fn fifteen_hundred_gateways_fit_into_a_thousand_files() {
    let stage = Stage::prepare_accepting(json!({}));
    let namespace = stage.namespace.name.clone();
    stage.namespace.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "lease"},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}],
    }));
    stage.namespace.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "lease"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease"},
        "subjects": [{"kind": "ServiceAccount", "name": "testinium-operator", "namespace": "testinium-system"}],
    }));
    let path = |plural: &str| format!("/apis/testinium.io/v1alpha1/namespaces/{namespace}/{plural}");
    for number in 0..GATEWAYS {
        let name = format!("site-{number}");
        ok(site().client.create(&path("testiniumgateways"), &stage.gateway_named(&name, json!({}))));
        let spec = json!({"plans": [number + 1], "stopped": true, "gatewayRef": {"name": name}});
        ok(site().client.create(&path("testplanruns"), &crate::cluster::run(&name, spec)));
    }

    let files = tempfile::tempdir().expect("a temporary directory");
    let limited = files.path().join("operator");
    let script = format!("#!/bin/sh\nulimit -n {FILES} && exec {OPERATOR} \"$@\"\n");
    fs::write(&limited, script).expect("the script is written");
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o755)).expect("it may be run");
    let port = ok(free_port());
    let probes = format!("--health-probe-bind-address=127.0.0.1:{port}");
    let lease = format!("--lease-namespace={namespace}");
    let fast = "--origin-requests-per-second=1000";
    let launcher = stage.launcher(&["--leader-elect", &lease, &probes, fast]);
    let log = files.path().join("operator.log");
    let operator = ok(launcher.spawn(&limited, &log));
    let descriptors = format!("/proc/{}/fd", operator.pid());
    let (mut most, mut served) = (0, false);
    ok(wait_until("every run to be stopped", Duration::from_secs(180), || {
        most = most.max(fs::read_dir(&descriptors).map_or(0, Iterator::count));
        let alive = page(port, "/healthz").map(|(status, _)| status);
        served |= alive.is_ok();
        assert!(!served || alive.as_ref().is_ok_and(|status| *status == 200), "{alive:?} with {most} files");
        let runs = ok(site().client.list(&path("testplanruns")));
        let is_stopped = |run: &&serde_json::Value| {
            condition(&run["status"], "Stopped").is_some_and(|stopped| stopped["status"] == "True")
        };
        let stopped = runs.iter().filter(is_stopped).count();
        if stopped == GATEWAYS { Ok(()) } else { Err(format!("{stopped} are")) }
    }));
    assert!(served, "the probes were answered");
    let said = fs::read_to_string(&log).unwrap_or_default();
    assert!(most < FILES && !said.contains("Too many open files"), "{most} files:\n{said}");
    let lease = ok(stage.namespace.kubectl.get_json(&["lease", "testinium-operator"]));
    assert!(lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0) <= 1, "{lease}");
    assert!(!said.contains("lost the Lease"), "{said}");
}
