//! The fault proxy before a real API server, between it and kubectl.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use testinium_testbed::control_plane::ControlPlane;
use testinium_testbed::faults::{self, Break, Fault, Outcome, Proxy, Verb, When};
use testinium_testbed::kubectl::Kubectl;

/// Long enough for a busy machine, short enough for a person to wait.
const LIMIT: Duration = Duration::from_secs(30);

/// A proxy, and a kubectl that comes through it as a ServiceAccount that may do anything to
/// `namespace`'s ConfigMaps.
fn start(namespace: &str) -> (Proxy, Kubectl) {
    let plane = ControlPlane::shared();
    let admin = plane.kubectl();
    let run = |arguments: &[&str]| admin.run(arguments).unwrap().success().unwrap();
    run(&["create", "namespace", namespace]);
    run(&["create", "serviceaccount", "tester", "--namespace", namespace]);
    let account = format!("--serviceaccount={namespace}:tester");
    // The roles that Kubernetes brings are filled by a controller that does not run here.
    run(&["create", "role", "tester", "--verb=*", "--resource=configmaps", "--namespace", namespace]);
    run(&["create", "rolebinding", "tester", "--role=tester", &account, "--namespace", namespace]);

    let upstream_ca_pem = Some(plane.ca().unwrap());
    let config = faults::Config { upstream_ca_pem, tls: true, ..faults::Config::new(&plane.url()) };
    let proxy = Proxy::start(config).unwrap();
    let original = plane.kubeconfig_for_service_account(namespace, "tester").unwrap();
    let kubeconfig = original.with_file_name(format!("{namespace}-proxied.kubeconfig"));
    std::fs::write(&kubeconfig, proxy.kubeconfig(&std::fs::read_to_string(original).unwrap()).unwrap())
        .unwrap();
    (proxy, admin.with_kubeconfig(&kubeconfig).in_namespace(namespace))
}

/// A `kubectl` that runs beside the test, and ends with it.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn kubectl_works_through_the_proxy_and_is_on_record() {
    let (proxy, kubectl) = start("proxied");
    let run = |arguments: &[&str]| kubectl.run(arguments).unwrap().success().unwrap();
    run(&["create", "configmap", "one", "--from-literal=greeting=merhaba"]);
    assert_eq!(run(&["get", "configmap", "one", "--output=jsonpath={.data.greeting}"]), "merhaba");
    let path = "/api/v1/namespaces/proxied/configmaps/one";
    let traffic = proxy.traffic();
    let get = traffic.iter().find(|exchange| exchange.path == path).unwrap();
    assert_eq!((get.verb, get.status, get.outcome), (Some(Verb::Get), Some(200), Outcome::Complete));
    assert!(get.authorized);

    proxy.rule(When::always().verb(Verb::Patch).path(path), Fault::reject(409));
    let refused =
        kubectl.run(&["patch", "configmap", "one", "--patch", r#"{"data":{"greeting":"x"}}"#]).unwrap();
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("Conflict"), "{}", refused.stderr);
    assert_eq!(run(&["get", "configmap", "one", "--output=jsonpath={.data.greeting}"]), "merhaba");
}

#[test]
fn watch_through_the_proxy_brings_each_event_at_once_and_freezes_when_told() {
    let (proxy, kubectl) = start("proxied-watch");
    let mut command = kubectl.command(&["get", "configmaps", "--watch", "--output=name", "--field-selector"]);
    command.arg("metadata.name=one").stdout(Stdio::piped());
    let mut child = Beside(command.spawn().unwrap());
    let mut names = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let watch = When::always().verb(Verb::Watch);
    let open = |traffic: &[faults::Exchange]| {
        traffic.iter().any(|exchange| exchange.verb == Some(Verb::Watch) && exchange.status == Some(200))
    };
    proxy.wait_for_blocking(open, LIMIT).unwrap();

    // Through the other door, so that the proxy's traffic is the watch alone.
    let admin = ControlPlane::shared().kubectl().in_namespace("proxied-watch");
    let run = |arguments: &[&str]| admin.run(arguments).unwrap().success().unwrap();
    run(&["create", "configmap", "one"]);
    assert_eq!(names.next().unwrap().unwrap(), "configmap/one");

    proxy.break_open(watch.clone(), Break::Freeze);
    run(&["label", "configmap", "one", "a=b"]);
    proxy.break_open(watch, Break::Cut);
    // A frozen watch stays frozen; only its client can end it.
    assert!(child.0.try_wait().unwrap().is_none());
    drop(child);
    let given_up = |traffic: &[faults::Exchange]| {
        traffic.iter().any(|exchange| exchange.lines == 1 && exchange.outcome == Outcome::Abandoned)
    };
    proxy.wait_for_blocking(given_up, LIMIT).unwrap();
}
