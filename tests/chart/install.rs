//! What Helm installs, upgrades and removes on a real API server, and that stops go through what it installed.

use serde_json::{Value, json};
use testinium_operator::api::FINALIZER;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::wait_until_served;

use crate::render::{CHART, NAMESPACE, RELEASE, ok, repository, text};
use crate::site::{SOON, Site, TEAM};

/// Every kind that the chart renders by default, but for the definitions.
pub(crate) const KINDS: &str = "jobs,deployments,services,serviceaccounts,poddisruptionbudgets,roles,rolebindings,clusterroles,\
                     clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";

/// The version of the release before.
const BEFORE: &str = "0.0.9";

impl Site {
    /// Whether RBAC allows it to the operator of the release `testinium` in this namespace.
    fn may(&self, verb: &str, resource: &str, namespace: &str) -> bool {
        let who = format!("system:serviceaccount:{NAMESPACE}:testinium-operator");
        let question = ["auth", "can-i", verb, resource, "--quiet", "--as", &who];
        ok(self.kubectl.in_namespace(namespace).run(&question)).status.success()
    }

    fn image(&self) -> String {
        let path = "{.spec.template.spec.containers[0].image}";
        let output = format!("--output=jsonpath={path}");
        self.kubectl(&["get", "deployment", "testinium-operator", "--namespace", NAMESPACE, &output])
    }
}

#[test]
fn a_release_is_installed_upgraded_removed_and_installed_again_and_no_stop_is_lost_or_made_twice() {
    let site = Site::start();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().to_str().expect("it is text");
    site.helm(&["package", CHART, "--version", BEFORE, "--app-version", BEFORE, "--destination", path]);
    let packed = format!("{path}/testinium-operator-{BEFORE}.tgz");

    let said = site.helm(&["install", RELEASE, &packed, "--create-namespace"]);
    assert!(
        said.contains("rollout status deployment/testinium-operator"),
        "the notes say the next command: {said}"
    );
    ok(wait_until_served(&site.kubectl));
    let kubelet = site.kubelet("testinium-operator");
    site.gateway();
    site.ask("before", 614);
    site.wait_for_stop("before");
    assert_eq!(site.image(), format!("testinium-operator:{BEFORE}"));

    // One that is asked for while one operator makes place for the other.
    site.ask("meanwhile", 615);
    site.helm(&["upgrade", RELEASE, CHART, "--reset-then-reuse-values"]);
    site.wait_for_stop("meanwhile");
    site.ask("after", 616);
    site.wait_for_stop("after");
    assert_eq!(site.image(), concat!("testinium-operator:", env!("CARGO_PKG_VERSION")));
    assert_eq!(site.calls(), [[614], [615], [616]]);

    // A stop that waits for a gateway, which is not there yet.
    site.apply(&json!({
        "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun", "metadata": {"name": "waiting"},
        "spec": {"plans": [617], "stopped": true, "gatewayRef": {"name": "other"}},
    }));
    let jobs = site.jobs();
    site.helm(&["uninstall", RELEASE]);
    // The operator was at work until then, and has ended by itself.
    let said = jobs.said();
    assert!(said.contains("scaled the Deployment testinium-system/testinium-operator to 0\n"), "{said}");
    assert!(
        said.contains("took the Lease testinium-system/testinium-operator: no operator acts\n"),
        "{said}"
    );
    assert_eq!(site.ours(KINDS), [""; 0]);
    assert_eq!(site.ours("crds").len(), 3, "the definitions stay");
    let runs = site.kubectl(&["get", "tpr", "--output=name"]);
    assert_eq!(runs.lines().count(), 4, "every run stays: {runs}");
    // Nobody has to be there for a run, or a gateway, to go.
    site.kubectl(&["delete", "tpr/after", "tgw/default", "--timeout=20s"]);
    drop(kubelet);

    site.install(RELEASE, &[]);
    let _kubelet = site.kubelet("testinium-operator");
    site.gateway();
    let mut other = ok(site.kubectl.get_json(&["tgw", "default"]));
    other["metadata"] = json!({"name": "other"});
    site.apply(&other);
    site.wait_for_stop("waiting");
    assert_eq!(site.calls(), [[614], [615], [616], [617]]);
}

/// One value is enough: the policy that writes down who asks, and the operator that believes it.
#[test]
fn a_release_that_tells_who_has_asked_brings_the_policy_that_makes_it_true() {
    let site = Site::start();
    let value = ["--set", "trustRequestedBy=true"];
    let known = site.kubectl(&["api-resources", "--api-group=admissionregistration.k8s.io", "--output=name"]);
    if !known.contains("mutatingadmissionpolicies.") {
        let output =
            site.try_helm(&[&["install", RELEASE, CHART, "--create-namespace"][..], &value].concat());
        assert!(output.stderr.contains("only Kubernetes 1.36 and later can have the policy"), "{output:?}");
        return;
    }
    site.install(RELEASE, &value);
    let _kubelet = site.kubelet("testinium-operator");
    site.gateway();
    let forged = json!({
        "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
        "metadata": {"name": "first", "annotations": {"testinium.io/stop-requested-by": "somebody else"}},
        "spec": {"plans": [614], "stopped": true},
    });
    // The API server answers 503 until it has learned the new definitions for its policies, too.
    ok(wait_until("the run is taken", SOON, || site.kubectl.apply(&forged.to_string())));
    site.wait_for_stop("first");
    let first = ok(site.kubectl.get_json(&["tpr", "first"]));
    let me = site.kubectl(&["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"]);
    assert_eq!(first["status"]["stop"]["requestedBy"], me, "{}", first["metadata"]["annotations"]);
    let _jobs = site.jobs();
    site.helm(&["uninstall", RELEASE]);
    let kinds = "mutatingadmissionpolicies,mutatingadmissionpolicybindings";
    assert_eq!(site.ours(kinds), [""; 0]);
}

/// Each command of the notes does what it says when it is pasted, up to the first plan that is stopped.
#[test]
fn the_notes_lead_to_the_first_stop() {
    let site = Site::start();
    let _kubelet = site.kubelet("testinium-operator");
    let said = site.install(RELEASE, &[]);
    let (_, notes) = said.split_once("NOTES:\n").unwrap_or_else(|| panic!("there are no notes in {said}"));
    let is_command =
        |paragraph: &&str| ["kubectl ", "printf "].iter().any(|word| paragraph.starts_with(word));
    let commands: Vec<_> = notes.split("\n\n").filter(is_command).collect();
    assert_eq!(commands.len(), 3, "{notes}");
    // The simulated gateway has no certificate.
    let script = commands.join("\n").replace("$TESTINIUM_URL", "$TESTINIUM_URL\n  allowPlainHTTP: true");
    ok(ok(site.terminal().run(&format!("set -e\n{script}"))).success());
    site.wait_for_stop("nightly");
    assert_eq!(site.calls(), [[614]]);
}

#[test]
fn releases_share_a_cluster_and_each_stops_its_own_runs() {
    let site = Site::start();
    site.install(RELEASE, &["--set", "watchLabelSelector=shard=a"]);
    site.helm(&["install", "shard-b", CHART, "--set", "watchLabelSelector=shard=b,crds.enabled=false"]);
    // Without the other's definitions it would have been refused, and so is a release of the same name elsewhere.
    let again = ["install", "shard-c", CHART];
    assert!(site.try_helm(&again).stderr.contains("cannot be imported"), "{:?}", site.try_helm(&again));
    let kubelets = [site.kubelet("testinium-operator"), site.kubelet("shard-b-operator")];
    site.gateway();
    let ask = |run: &str, shard: &str, plan: i64| {
        site.apply(&json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
            "metadata": {"name": run, "labels": {"shard": shard}}, "spec": {"plans": [plan], "stopped": true},
        }));
    };
    ask("one", "a", 614);
    ask("two", "b", 615);
    site.wait_for_stop("one");
    site.wait_for_stop("two");
    let mut calls = site.calls();
    calls.sort();
    assert_eq!(calls, [[614], [615]]);
    // One that the release serves, and one that it does not.
    for (run, shard) in [("of-a", "a"), ("of-c", "c")] {
        site.apply(&json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
            "metadata": {"name": run, "labels": {"shard": shard}, "finalizers": [FINALIZER]}, "spec": {"plans": [700]},
        }));
    }
    let _jobs = site.jobs();
    site.helm(&["uninstall", RELEASE]);
    let finalizers = |run| ok(site.kubectl.get_json(&["tpr", run]))["metadata"]["finalizers"].clone();
    assert_eq!((finalizers("of-a"), finalizers("of-c")), (Value::Null, json!([FINALIZER])));
    site.kubectl(&["patch", "tpr", "of-c", "--type=merge", "--patch", r#"{"metadata":{"finalizers":null}}"#]);
    let left = site.ours(KINDS);
    assert!(left.len() > 8 && left.iter().all(|name| name.contains("/shard-b-")), "{left:?}");
    ask("three", "b", 616);
    site.wait_for_stop("three");
    drop(kubelets);
}

#[test]
fn an_operator_of_one_namespace_stops_runs_there_and_may_do_nothing_elsewhere() {
    let site = Site::start();
    site.install(RELEASE, &["--set", &format!("watchNamespaces={{{TEAM}}}")]);
    let cluster_wide = site.ours("clusterroles,clusterrolebindings");
    assert_eq!(cluster_wide, [""; 0]);
    let _kubelet = site.kubelet("testinium-operator");
    site.gateway();
    site.ask("one", 614);
    site.wait_for_stop("one");
    for (verb, resource) in [("list", "testplanruns"), ("get", "secrets"), ("create", "events.events.k8s.io")]
    {
        assert!(site.may(verb, resource, TEAM), "{verb} {resource}");
        assert!(!site.may(verb, resource, "kube-system"), "{verb} {resource} elsewhere");
    }
    // The policy is about the gateways of this namespace.
    site.kubectl(&["create", "serviceaccount", "writer"]);
    site.kubectl(&[
        "create",
        "clusterrole",
        "gateways",
        "--verb=create",
        "--resource=testiniumgateways.testinium.io",
    ]);
    let account = format!("--serviceaccount={TEAM}:writer");
    site.kubectl(&["create", "clusterrolebinding", "gateways", "--clusterrole=gateways", &account]);
    let mut gateway = ok(site.kubectl.get_json(&["tgw", "default"]));
    gateway["metadata"] = json!({"name": "other"});
    let kubeconfig = ok(site.plane.kubeconfig_for_service_account(TEAM, "writer"));
    let create = |namespace: &str| {
        let kubectl = site.kubectl.with_kubeconfig(&kubeconfig).in_namespace(namespace);
        ok(kubectl.run_with_input(&["create", "--dry-run=server", "--filename=-"], &gateway.to_string()))
    };
    ok(wait_until("the policy is in force", SOON, || {
        let said = create(TEAM).stderr;
        if said.contains("testinium-gateway-credentials") { Ok(()) } else { Err(said) }
    }));
    assert!(create("kube-system").status.success(), "{:?}", create("kube-system"));
}

/// The manifests of the version before the chart, kept in `tests/chart/before`, become the present ones in place: a field
/// that can't be changed, or two that exclude each other, would be refused here.
#[test]
fn manifests_of_the_version_before_are_upgraded_by_kubectl_and_then_taken_over_by_helm() {
    let site = Site::start();
    let kubectl = site.plane.kubectl();
    let apply = |folder: &str, name: &str| ok(kubectl.apply_file(&repository(folder).join(name)));
    for name in ["testplanruns.yaml", "testiniumgateways.yaml"] {
        apply("crds", name);
    }
    for name in ["namespace.yaml", "rbac.yaml", "gateway-credentials.yaml", "operator.yaml"] {
        apply("tests/chart/before", name);
    }
    ok(wait_until_served(&site.kubectl));
    let _kubelet = site.kubelet("testinium-operator");
    site.gateway();
    site.ask("one", 614);
    site.wait_for_stop("one");
    let deployment = |path: &str| {
        let output = format!("--output=jsonpath={path}");
        site.kubectl(&["get", "deployment", "testinium-operator", "--namespace", NAMESPACE, &output])
    };
    let uid = deployment("{.metadata.uid}");
    site.ask("two", 615);
    ok(testinium_testbed::operator::install(&kubectl));
    site.wait_for_stop("two");
    site.helm(&["upgrade", "--install", RELEASE, CHART, "--take-ownership", "--force-conflicts"]);
    site.ask("three", 616);
    site.wait_for_stop("three");
    assert_eq!(deployment("{.metadata.uid}"), uid, "the Deployment is the same");
    assert_eq!(site.calls(), [[614], [615], [616]]);
    // What the version before had and this one has not is gone, too.
    assert_eq!(deployment("{.spec.template.spec.affinity}"), "");
}

/// What was applied by kubectl becomes Helm's: the same objects, of which none is made anew, and none stays behind.
#[test]
fn helm_takes_over_what_kubectl_has_applied() {
    let site = Site::start();
    ok(testinium_testbed::operator::install(&site.plane.kubectl()));
    let _kubelet = site.kubelet("testinium-operator");
    site.gateway();
    site.ask("one", 614);
    site.wait_for_stop("one");
    let uids = |kinds: &str| {
        let all = [
            "get",
            kinds,
            "--all-namespaces",
            "--output=jsonpath={range .items[*]}{.metadata.uid}{\"\\n\"}{end}",
        ];
        let selector = "--selector=app.kubernetes.io/part-of=testinium";
        let mut uids: Vec<String> =
            site.kubectl(&[&all[..], &[selector]].concat()).lines().map(str::to_owned).collect();
        uids.sort();
        uids
    };
    let before = uids(KINDS);
    let refused = site.try_helm(&["install", RELEASE, CHART]);
    assert!(refused.stderr.contains("cannot be imported"), "{refused:?}");
    let takeover =
        ["--take-ownership", "--force-conflicts", "--set", "image.repository=registry.example.com/operator"];
    site.helm(&[&["upgrade", "--install", RELEASE, CHART], &takeover[..]].concat());
    assert_eq!(uids(KINDS), before, "no object was made anew");
    assert!(site.image().starts_with("registry.example.com/operator:"));
    for kind in [KINDS, "crds"] {
        let all = ok(site.kubectl.get_json(&[
            kind,
            "--all-namespaces",
            "--selector=app.kubernetes.io/part-of=testinium",
        ]));
        for object in all["items"].as_array().into_iter().flatten() {
            let metadata = &object["metadata"];
            assert_eq!(
                metadata["annotations"]["meta.helm.sh/release-name"],
                RELEASE,
                "{}",
                text(&metadata["name"])
            );
        }
    }
    site.ask("two", 615);
    site.wait_for_stop("two");
    assert_eq!(site.calls(), [[614], [615]]);
}
