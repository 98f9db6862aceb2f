//! The control plane itself: what every other black-box test stands on.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::kubectl::{Kubectl, wait_until};
use testinium_testbed::{Error, chain, kubernetes_version};

/// Far more than any step takes on an idle machine.
const LIMIT: Duration = Duration::from_secs(30);

fn start(options: Options) -> ControlPlane {
    ControlPlane::start(options).expect("the control plane starts")
}

fn with_namespace(plane: &ControlPlane, name: &str) -> Kubectl {
    plane
        .kubectl()
        .run(&["create", "namespace", name])
        .and_then(|output| output.success())
        .expect("a namespace");
    plane.kubectl().in_namespace(name)
}

fn create_config_map(kubectl: &Kubectl, name: &str) {
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name },
        "data": { "greeting": "merhaba" },
    });
    kubectl.apply(&manifest.to_string()).expect("a ConfigMap");
}

fn greeting(kubectl: &Kubectl, name: &str) -> String {
    let config_map = kubectl.get_json(&["configmap", name]).expect("the ConfigMap is there");
    config_map["data"]["greeting"].as_str().expect("it has its text").to_owned()
}

#[test]
fn kubectl_reads_back_what_it_created_and_both_tell_the_version_that_is_asked_for() {
    let plane = ControlPlane::shared();
    let kubectl = with_namespace(plane, "create-and-read");
    create_config_map(&kubectl, "one");
    assert_eq!(greeting(&kubectl, "one"), "merhaba");

    let versions = kubectl.run(&["version", "--output=json"]).and_then(|output| output.success());
    let versions: serde_json::Value =
        serde_json::from_str(&versions.expect("both tell their version")).expect("it is JSON");
    assert_eq!(kubernetes_version().expect("it is known"), plane.version());
    let told = versions["serverVersion"]["gitVersion"].as_str().unwrap_or_default();
    assert!(told.starts_with(&format!("v{}.", plane.version())), "{versions}");
    assert_eq!(versions["clientVersion"]["gitVersion"], told);
}

#[test]
fn a_service_account_may_do_what_rbac_allows_and_nothing_else() {
    let plane = ControlPlane::shared();
    let admin = with_namespace(plane, "rbac");
    create_config_map(&admin, "one");
    admin
        .apply(
            "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: reader, namespace: rbac}
",
        )
        .expect("the ServiceAccount and its role");
    let kubeconfig = plane.kubeconfig_for_service_account("rbac", "reader").expect("a token");
    let reader = plane.kubectl().with_kubeconfig(&kubeconfig);

    // The kubeconfig names the namespace. The authorizer learns of a new binding by a watch.
    wait_until("the binding to be in force", LIMIT, || reader.get_json(&["configmap", "one"]))
        .expect("it may get a ConfigMap");
    for refused in [&["get", "configmaps"][..], &["get", "secrets"], &["delete", "configmap", "one"]] {
        let output = reader.run(refused).expect("kubectl runs");
        assert!(!output.status.success(), "{refused:?} was allowed");
        let who = "Error from server (Forbidden)";
        assert!(output.stderr.contains(who), "{refused:?}: {}", output.stderr);
        assert!(output.stderr.contains("system:serviceaccount:rbac:reader"), "{}", output.stderr);
    }
}

#[tokio::test]
async fn without_credentials_only_health_is_told_and_without_the_ca_nobody_is_trusted() {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plane = ControlPlane::shared();
    let client = |trusted: Vec<reqwest::Certificate>| {
        reqwest::Client::builder().no_proxy().tls_certs_only(trusted).build().expect("a client")
    };
    let ca = reqwest::Certificate::from_pem(plane.ca().expect("it has a CA").as_bytes()).expect("it is PEM");
    let stranger = client(vec![ca]);

    let health = stranger.get(plane.url() + "/readyz").send().await.expect("it answers");
    assert_eq!(health.text().await.expect("it has a body"), "ok");
    let version = stranger.get(plane.url() + "/version").send().await.expect("it answers");
    assert_eq!(version.status(), 401);
    client(Vec::new()).get(plane.url() + "/readyz").send().await.expect_err("it is not trusted");
}

#[test]
fn the_audit_log_tells_each_write_once() {
    let plane = ControlPlane::shared();
    let kubectl = with_namespace(plane, "audited");
    create_config_map(&kubectl, "one");
    let patch = ["patch", "configmap", "one", "--patch={\"data\":{\"a\":\"b\"}}"];
    kubectl.run(&patch).and_then(|output| output.success()).expect("it is patched");
    assert!(!kubectl.run(&["get", "configmap", "absent"]).expect("kubectl runs").status.success());

    let entries = wait_until("the last request to be logged", LIMIT, || {
        let mut entries = plane.audit().map_err(|error| chain(&error))?;
        entries.retain(|entry| entry.namespace == "audited" && entry.resource == "configmaps");
        let last = entries.iter().any(|entry| entry.name == "absent");
        if last { Ok(entries) } else { Err(format!("{entries:?}")) }
    })
    .expect("it is logged");

    let writes: Vec<_> = entries.iter().filter(|entry| entry.is_write()).collect();
    let told: Vec<_> =
        writes.iter().map(|entry| (entry.verb.as_str(), entry.user.as_str(), entry.code)).collect();
    assert_eq!(told, [("create", "admin", 201), ("patch", "admin", 200)], "{entries:?}");
    assert!(writes[0].time < writes[1].time, "{writes:?}");
    let missed = entries.iter().find(|entry| entry.name == "absent").map(|entry| entry.code);
    assert_eq!(missed, Some(404));
}

#[test]
fn a_killed_api_server_comes_back_with_its_data_at_its_address() {
    let mut plane = start(Options::default());
    let kubectl = plane.kubectl();
    create_config_map(&kubectl, "one");
    let url = plane.url();

    plane.kill_api_server().expect("it can be killed");
    let refused = kubectl.run(&["get", "configmap", "one"]).expect("kubectl runs");
    assert!(refused.stderr.contains("refused"), "{}", refused.stderr);

    plane.start_api_server().expect("it starts again");
    assert_eq!(plane.url(), url);
    assert_eq!(greeting(&kubectl, "one"), "merhaba");
}

#[test]
fn a_paused_api_server_answers_nothing_until_it_is_resumed() {
    let mut plane = start(Options::default());
    let kubectl = plane.kubectl();
    plane.pause().expect("it can be paused");
    let silent = kubectl.run(&["get", "--raw=/readyz", "--request-timeout=1s"]).expect("kubectl runs");
    assert!(!silent.status.success(), "{}", silent.stdout);
    plane.resume().expect("it can be resumed");
    create_config_map(&kubectl, "one");
}

#[test]
fn two_that_start_at_once_know_nothing_of_each_other() {
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| start(Options::default()));
        (start(Options::default()), other.join().expect("it starts"))
    });
    assert_ne!(one.url(), other.url());
    create_config_map(&one.kubectl(), "one");
    let absent = other.kubectl().run(&["get", "configmap", "one"]).expect("kubectl runs");
    assert!(absent.stderr.contains("NotFound"), "{}", absent.stderr);
}

#[test]
fn a_directory_of_its_own_keeps_the_data_for_the_next_and_serves_one_at_a_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options { directory: Some(directory.path().to_owned()), ..Options::default() };
    let plane = start(options.clone());
    create_config_map(&plane.kubectl(), "one");
    let second = ControlPlane::start(options.clone()).expect_err("the first one uses it");
    assert!(matches!(second, Error::DirectoryInUse(_)), "{second}");
    plane.stop().expect("it stops");

    let plane = start(options);
    assert_eq!(greeting(&plane.kubectl(), "one"), "merhaba");
}

#[test]
fn stopping_it_leaves_neither_its_port_nor_its_files() {
    let plane = start(Options::default());
    let (address, directory) = (address(&plane.url()), plane.directory().to_owned());
    TcpStream::connect(&address).expect("it listens");
    plane.stop().expect("it stops");
    TcpStream::connect(&address).expect_err("nobody listens any more");
    assert!(!directory.exists(), "{} is still there", directory.display());
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let options = Options { api_server_args: vec!["--no-such-flag".into()], ..Options::default() };
    let error = ControlPlane::start(options).expect_err("there is no such flag");
    let text = chain(&error);
    assert!(text.contains("kube-apiserver ended with exit status: 1"), "{text}");
    assert!(text.contains("unknown flag: --no-such-flag"), "{text}");
}

fn address(url: &str) -> String {
    url.trim_start_matches("https://").to_owned()
}
