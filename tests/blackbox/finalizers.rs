//! `release-finalizers`: whatever had the operator's finalizer has it no more, and no operator acts meanwhile.
//!
//! Each test has runs of its own label, so that none touches those of another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use testinium_operator::api::FINALIZER;
use testinium_testbed::faults::{self, Exchange, Fault, Proxy, Then, Verb, When};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::process::{Guarded, Signal};

use crate::cluster::{Namespace, OPERATOR, cluster, ok, run, site};
use crate::operator::{SOON, Stage};

/// A finalizer of somebody else.
const OTHER: &str = "example.com/keep";

fn command(kubeconfig: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(OPERATOR);
    command.arg("release-finalizers").args(flags).env("KUBECONFIG", kubeconfig);
    command
}

/// Runs it to its end as the administrator.
fn release(flags: &[&str]) -> Output {
    command(cluster().kubeconfig(), flags).output().expect("the binary was built for this test")
}

/// The command at work.
struct Releasing {
    process: Guarded,
    directory: TempDir,
}

impl Releasing {
    fn begin(kubeconfig: &Path, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let command = command(kubeconfig, flags);
        Self { process: ok(Guarded::spawn(command, &directory.path().join("said"))), directory }
    }

    /// Waits for its end; yields the exit code, and what it has said.
    #[track_caller]
    fn ended(mut self, limit: Duration) -> (Option<i32>, String) {
        let status = ok(self.process.wait(limit));
        let said = fs::read_to_string(self.directory.path().join("said")).unwrap_or_default();
        (status.unwrap_or_else(|| panic!("it goes on: {said}")).code(), said)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    said(output)
}

fn collection(namespace: &str) -> String {
    format!("/apis/testinium.io/v1alpha1/namespaces/{namespace}/testplanruns")
}

/// Makes a run with these finalizers, and this value of the label `test`.
fn create(namespace: &str, name: &str, label: &str, finalizers: &[&str]) {
    let mut object = run(name, json!({"plans": [1, 2]}));
    object["metadata"]["finalizers"] = json!(finalizers);
    object["metadata"]["labels"] = json!({"test": label});
    ok(site().client.create(&collection(namespace), &object));
}

fn delete(namespace: &str, name: &str) {
    ok(site().client.delete(&format!("{}/{name}", collection(namespace))));
}

/// The finalizers of a run; nothing if there is no such run.
fn finalizers(namespace: &str, name: &str) -> Option<Vec<String>> {
    let found = ok(site().client.get(&format!("{}/{name}", collection(namespace))));
    let all = |run: Value| run["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    found.map(|run| all(run).iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
}

/// A kubeconfig of an account of this namespace that has these verbs on the runs there.
fn account(namespace: &Namespace, verbs: &str) -> PathBuf {
    let (name, verbs) = (&namespace.name, format!("--verb={verbs}"));
    namespace.run(&["create", "serviceaccount", "releaser"]);
    namespace.run(&["create", "role", "releaser", &verbs, "--resource=testplanruns.testinium.io"]);
    let lease = "--resource=leases.coordination.k8s.io";
    namespace.run(&["create", "role", "lease", "--verb=get,update", lease]);
    for role in ["releaser", "lease"] {
        let flags = [format!("--role={role}"), format!("--serviceaccount={name}:releaser")];
        namespace.run(&["create", "rolebinding", role, &flags[0], &flags[1]]);
    }
    ok(cluster().kubeconfig_for_service_account(name, "releaser"))
}

/// A way to the API server that can be disturbed.
struct Proxied {
    proxy: Proxy,
    kubeconfig: PathBuf,
    _directory: TempDir,
}

impl Proxied {
    /// For the account of this kubeconfig.
    fn new(kubeconfig: &Path) -> Self {
        let upstream_ca_pem = Some(ok(cluster().ca()));
        let config = faults::Config { upstream_ca_pem, tls: true, ..faults::Config::new(&cluster().url()) };
        let proxy = Proxy::start(config).expect("the proxy starts");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let original = fs::read_to_string(kubeconfig).expect("it is there");
        let kubeconfig = directory.path().join("kubeconfig");
        fs::write(&kubeconfig, proxy.kubeconfig(&original).expect("it is JSON")).expect("it can be written");
        Self { proxy, kubeconfig, _directory: directory }
    }
}

/// Lets the finalizer go before the test ends, however it ends: a namespace of a test that fails must not keep runs that
/// no later one could remove.
struct Cleared<'a>(&'a Namespace);

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        let patch = json!({"metadata": {"finalizers": null}});
        for run in site().client.list(&collection(&self.0.name)).unwrap_or_default() {
            let name = run["metadata"]["name"].as_str().unwrap_or_default();
            // It may have gone meanwhile.
            let _ = site().client.patch(&format!("{}/{name}", collection(&self.0.name)), &patch);
        }
    }
}

#[test]
fn every_run_of_every_namespace_is_released_and_keeps_its_other_finalizers() {
    let namespaces = [Namespace::create(), Namespace::create()];
    let _cleared = namespaces.each_ref().map(Cleared);
    let [one, two] = namespaces.each_ref().map(|namespace| namespace.name.as_str());
    // Three pages of them, among runs that have no finalizer.
    for index in 0..250 {
        let name = format!("run-{index}");
        let namespace = if index % 2 == 0 { one } else { two };
        let all: &[&str] = match index % 5 {
            0 => &[],
            1 => &[OTHER, FINALIZER, "example.com/second"],
            _ => &[FINALIZER],
        };
        create(namespace, &name, "every-run", all);
    }
    create(one, "of-another-shard", "another", &[FINALIZER]);
    // Of the runs that are being deleted, one has been stopped.
    for name in ["run-2", "run-4", "run-6", "run-12"] {
        delete(one, name);
    }
    let plans =
        [(1, "Accepted"), (2, "NotRunning")].map(|(id, outcome)| json!({"id": id, "outcome": outcome}));
    let status = json!({"status": {"plans": plans}});
    ok(site().client.patch(&format!("{}/run-2/status", collection(one)), &status));

    let flags = ["--namespace", one, "--watch-label-selector=test=every-run"];
    let would = succeeds(&release(&[&flags[..], &["--dry-run"]].concat()));
    assert!(would.contains(&format!("would release {one}/run-4, which is being deleted\n")), "{would}");
    assert!(
        would.contains("would take the finalizer testinium.io/stop off 200 TestPlanRuns\n3 of them are"),
        "{would}"
    );
    assert_eq!(finalizers(two, "run-3").as_deref(), Some(&[FINALIZER.to_owned()][..]), "nothing was changed");

    let did = succeeds(&release(&flags));
    assert!(did.contains(&format!("there is no Lease {one}/testinium-operator")), "{did}");
    assert!(
        did.contains("took the finalizer testinium.io/stop off 200 TestPlanRuns\n3 of them were"),
        "{did}"
    );
    assert!(did.contains("stops nothing at Testinium"), "{did}");
    for namespace in [one, two] {
        for run in ok(site().client.list(&collection(namespace))) {
            let name = run["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let kept = finalizers(namespace, &name).unwrap_or_default();
            match &kept[..] {
                [] => {}
                [first, second] => assert_eq!([first, second], [OTHER, "example.com/second"], "{name}"),
                _ => {
                    assert_eq!((name.as_str(), &kept[..]), ("of-another-shard", &[FINALIZER.to_owned()][..]))
                }
            }
        }
    }
    for name in ["run-2", "run-4", "run-12"] {
        assert_eq!(finalizers(one, name), None, "{name} was being deleted");
    }
    assert_eq!(finalizers(one, "run-6").map(|left| left.len()), Some(2), "somebody else keeps it");

    let again = succeeds(&release(&flags));
    assert!(again.contains("no TestPlanRun has the finalizer testinium.io/stop: nothing to do"), "{again}");
}

#[test]
fn a_run_that_changes_meanwhile_is_read_again_and_one_that_leaves_the_shard_is_left_to_its_new_one() {
    let namespace = Namespace::create();
    let _cleared = Cleared(&namespace);
    let name = namespace.name.clone();
    let proxied = Proxied::new(&account(&namespace, "list,patch"));
    for run in ["changed", "taken", "deleted", "anew"] {
        create(&name, run, "meanwhile", &[FINALIZER]);
    }
    // Just before the first write to each arrives, somebody else writes.
    let (client, path) = (site().client.clone(), collection(&name));
    let meddle = move |run: &str| {
        let object = format!("{path}/{run}");
        match run {
            "changed" => {
                drop(ok(client.patch(&object, &json!({"metadata": {"finalizers": [FINALIZER, OTHER]}}))))
            }
            "taken" => {
                drop(ok(client.patch(&object, &json!({"metadata": {"labels": {"test": "elsewhere"}}}))))
            }
            "deleted" => {
                ok(client.delete(&object));
                drop(ok(client.patch(&object, &json!({"metadata": {"finalizers": null}}))));
            }
            _ => {
                ok(client.patch(&object, &json!({"metadata": {"finalizers": null}})));
                ok(client.delete(&object));
                let mut again = self::run(run, json!({"plans": [3]}));
                again["metadata"]["finalizers"] = json!([FINALIZER]);
                again["metadata"]["labels"] = json!({"test": "meanwhile"});
                drop(ok(client.create(&path, &again)));
            }
        }
    };
    for run in ["changed", "taken", "deleted", "anew"] {
        let meddle = meddle.clone();
        let first = When::nth(1)
            .verb(Verb::Patch)
            .path(&format!("/apis/testinium.io/v1alpha1/namespaces/*/testplanruns/{run}"));
        proxied.proxy.rule(
            first,
            Fault::none().calling_before(move |_| {
                meddle(run);
                Then::GoOn
            }),
        );
    }
    let flags = ["--namespace", &name, "--watch-namespaces", &name, "--watch-label-selector=test=meanwhile"];
    let did = succeeds(&command(&proxied.kubeconfig, &flags).output().expect("it runs"));
    assert_eq!(finalizers(&name, "changed"), Some(vec![OTHER.to_owned()]), "{did}");
    assert_eq!(finalizers(&name, "taken"), Some(vec![FINALIZER.to_owned()]), "{did}");
    assert_eq!(finalizers(&name, "deleted"), None, "{did}");
    assert_eq!(finalizers(&name, "anew"), Some(Vec::new()), "{did}");
}

#[test]
fn runs_that_cannot_be_released_are_named_with_the_reason() {
    let namespace = Namespace::create();
    let _cleared = Cleared(&namespace);
    let name = namespace.name.as_str();
    for index in 0..12 {
        create(name, &format!("run-{index}"), "refused", &[FINALIZER]);
    }
    let kubeconfig = account(&namespace, "list");
    let flags = ["--namespace", name, "--watch-namespaces", name, "--watch-label-selector=test=refused"];
    let output = command(&kubeconfig, &flags).output().expect("it runs");
    let did = said(&output);
    assert_eq!(output.status.code(), Some(1), "{did}");
    assert!(did.contains("12 TestPlanRuns still with the finalizer testinium.io/stop:\n"), "{did}");
    assert_eq!(did.matches("cannot patch resource \"testplanruns\"").count(), 10, "{did}");
    assert!(did.contains("\n  and 2 more\n"), "{did}");

    // Nor is it a success if nobody can tell whether there are any.
    let output = command(&kubeconfig, &["--namespace", name]).output().expect("it runs");
    let did = said(&output);
    assert_eq!(output.status.code(), Some(1), "{did}");
    assert!(did.contains("failed to list TestPlanRuns: ") && did.contains("cannot list resource"), "{did}");
}

/// Who holds the Lease of a namespace; empty if nobody does.
fn holder(namespace: &Namespace) -> String {
    let lease = namespace.kubectl.get_json(&["lease", "testinium-operator"]).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// A namespace that holds the Lease, and an operator that serves it, but for the run with the finalizer: it would take care
/// of that one itself.
struct Led {
    stage: Stage,
    label: &'static str,
    flags: Vec<String>,
}

impl Led {
    fn new(label: &'static str) -> Self {
        let stage = Stage::prepare();
        let name = stage.namespace.name.clone();
        let resource = "--resource=leases.coordination.k8s.io";
        stage.namespace.run(&["create", "role", "lease", "--verb=get,create,update", resource]);
        let account = "--serviceaccount=testinium-system:testinium-operator";
        stage.namespace.run(&["create", "rolebinding", "lease", "--role=lease", account]);
        create(&name, "held", label, &[FINALIZER]);
        let flags = vec![
            "--namespace".to_owned(),
            name.clone(),
            "--watch-namespaces".to_owned(),
            name,
            format!("--watch-label-selector=test={label}"),
        ];
        Self { stage, label, flags }
    }

    fn spawn(&self, log: &str) -> Guarded {
        let lease = format!("--lease-namespace={}", self.stage.namespace.name);
        let others = format!("--watch-label-selector=test!={}", self.label);
        self.stage.spawn(log, &["--leader-elect", &lease, &others])
    }

    fn holder(&self) -> String {
        holder(&self.stage.namespace)
    }

    fn wait_for_holder(&self) -> String {
        ok(wait_until("the Lease to be held", SOON, || match self.holder() {
            holder if holder.is_empty() => Err("it is free"),
            holder => Ok(holder),
        }))
    }

    fn release(&self, timeout: &str) -> Releasing {
        let flags: Vec<_> =
            self.flags.iter().map(String::as_str).chain(["--timeout-seconds", timeout]).collect();
        Releasing::begin(cluster().kubeconfig(), &flags)
    }

    fn is_held(&self) -> bool {
        finalizers(&self.stage.namespace.name, "held") == Some(vec![FINALIZER.to_owned()])
    }
}

#[test]
fn nothing_is_released_while_an_operator_acts_and_everything_once_it_has_ended() {
    let led = Led::new("acts");
    let _cleared = Cleared(&led.stage.namespace);
    let mut operator = led.spawn("operator.log");
    let holder = led.wait_for_holder();

    let (code, did) = led.release("2").ended(SOON);
    assert_eq!(code, Some(1), "{did}");
    assert!(did.contains(&format!("{holder} still holds it after 2 s: an operator is at work")), "{did}");
    assert!(led.is_held(), "{did}");
    assert_eq!(led.holder(), holder);

    let mut releasing = led.release("60");
    // The command has looked at the Lease and waits.
    let lease = |entry: &testinium_testbed::control_plane::AuditEntry| {
        entry.namespace == led.stage.namespace.name
            && entry.resource == "leases"
            && !entry.user.contains("testinium-operator")
    };
    let looks = || ok(cluster().audit()).iter().filter(|entry| lease(entry)).count();
    let before = looks();
    ok(wait_until("the command to look at the Lease", SOON, || {
        let now = looks();
        if now > before + 1 { Ok(()) } else { Err(format!("{before} and {now} looks")) }
    }));
    assert!(led.is_held() && ok(releasing.process.try_wait()).is_none());
    ok(operator.signal(Signal::TERM));
    let (code, did) = releasing.ended(SOON);
    assert_eq!(code, Some(0), "{did}");
    assert!(ok(operator.wait(SOON)).expect("it ends").success());
    assert!(did.contains(&format!("waiting for {holder} to end")), "{did}");
    assert!(did.contains("took the Lease"), "{did}");
    assert_eq!(finalizers(&led.stage.namespace.name, "held"), Some(Vec::new()), "{did}");
    assert_eq!(led.holder(), "", "it was given back");
}

/// The Lease of an operator that was killed runs out, and one that was begun meanwhile acts only after the command.
#[test]
fn an_operator_that_has_crashed_is_waited_for_as_long_as_its_lease_lasts() {
    let led = Led::new("crashed");
    let _cleared = Cleared(&led.stage.namespace);
    let mut operator = led.spawn("first.log");
    led.wait_for_holder();
    ok(operator.kill());
    let (code, did) = led.release("60").ended(SOON * 2);
    assert_eq!(code, Some(0), "{did}");
    assert!(did.contains("took the Lease"), "{did}");
    assert!(!led.is_held(), "{did}");
    let _second = led.spawn("second.log");
    led.stage.settle("afterwards", 1);
}

/// A signal ends it, and the Lease is free at once.
#[test]
fn a_command_that_is_told_to_end_gives_the_lease_back() {
    let namespace = Namespace::create();
    let _cleared = Cleared(&namespace);
    let name = namespace.name.as_str();
    create(name, "held", "told", &[FINALIZER]);
    namespace.apply(&json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "testinium-operator"},
        "spec": {"holderIdentity": "", "leaseDurationSeconds": 1},
    }));
    let proxied = Proxied::new(&account(&namespace, "list,patch"));
    proxied.proxy.rule(When::always().verb(Verb::Patch), Fault::hang());
    let flags = ["--namespace", name, "--watch-namespaces", name, "--watch-label-selector=test=told"];
    let releasing = Releasing::begin(&proxied.kubeconfig, &flags);
    let writes = |all: &[Exchange]| all.iter().any(|exchange| exchange.verb == Some(Verb::Patch));
    proxied.proxy.wait_for_blocking(writes, SOON).expect("it writes");
    let holder = || holder(&namespace);
    assert!(holder().starts_with("release-finalizers_"), "{}", holder());
    ok(releasing.process.signal(Signal::TERM));
    let (code, did) = releasing.ended(SOON);
    assert_eq!(code, Some(1), "{did}");
    assert!(did.contains("was asked to end before it was done: run this again"), "{did}");
    assert_eq!(holder(), "", "{did}");
    assert_eq!(finalizers(name, "held"), Some(vec![FINALIZER.to_owned()]), "{did}");
}

#[test]
fn a_cluster_without_the_definition_has_nothing_to_release() {
    let plane = ok(testinium_testbed::control_plane::ControlPlane::start(Default::default()));
    let output =
        command(plane.kubeconfig(), &["--namespace=default", "--deployment=testinium-operator"]).output();
    let did = succeeds(&output.expect("it runs"));
    assert!(did.contains("there is no Deployment default/testinium-operator\n"), "{did}");
    assert!(did.contains("the cluster has no definition of TestPlanRuns: nothing to do\n"), "{did}");
}

#[test]
fn wrong_usage_of_the_release_ends_with_2() {
    let output = release(&["--timeout-seconds=soon"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}
