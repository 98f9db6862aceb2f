//! The operator under test: the real binary, as a child process, with the ServiceAccount and the RBAC that ship.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::launcher::{self, Launcher, TEXT_LOG};
use testinium_testbed::operator::page;
use testinium_testbed::oracles;
use testinium_testbed::process::{Guarded, Signal};
use testinium_testbed::simulator::{Config, Nature, Simulator};

use crate::cluster::{Namespace, OPERATOR, cluster, gateway, ok, run};
use crate::kept::assert_kept;

/// The longest time for anything that is not waited for on purpose.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A namespace with a gateway, its Secret and an operator that serves it alone.
pub(crate) struct Stage {
    pub(crate) namespace: Namespace,
    pub(crate) simulator: Simulator,
    operator: Option<Guarded>,
    directory: tempfile::TempDir,
}

/// A part of a gateway's spec: calls may take as long as a test holds them.
pub(crate) fn patient(suspend: bool) -> Value {
    json!({"timeoutSeconds": 300, "suspend": suspend})
}

impl Stage {
    /// Everything but the operator.
    pub(crate) fn prepare() -> Self {
        Self::prepare_with(Config::default(), json!({}))
    }

    /// The same with a simulator of one's own and more in the gateway's spec.
    pub(crate) fn prepare_with(config: Config, spec: Value) -> Self {
        let stage = Self {
            namespace: Namespace::create(),
            simulator: Simulator::start(config).expect("the simulator starts"),
            operator: None,
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        stage.gateway(spec);
        stage.token("simulated-token");
        stage
    }

    /// The same with plans that accept every stop, each time.
    pub(crate) fn prepare_accepting(spec: Value) -> Self {
        Self::prepare_with(Config { default_nature: Nature::NeverStops, ..Config::default() }, spec)
    }

    /// The same with the operator at work.
    pub(crate) fn start_accepting(spec: Value) -> Self {
        let mut stage = Self::prepare_accepting(spec);
        stage.start_operator();
        stage
    }

    /// Everything, with the operator at work.
    pub(crate) fn start() -> Self {
        let mut stage = Self::prepare();
        stage.start_operator();
        stage
    }

    pub(crate) fn gateway(&self, spec: Value) {
        self.namespace.apply(&self.gateway_named("default", spec));
    }

    /// A gateway that is the simulator, with more in its spec.
    pub(crate) fn gateway_named(&self, name: &str, spec: Value) -> Value {
        let mut whole = json!({
            "url": self.simulator.url(),
            "allowPlainHTTP": true,
            "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
            "retry": {"initialDelaySeconds": 1, "maxDelaySeconds": 1},
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            whole[field] = value.clone();
        }
        gateway(name, whole)
    }

    pub(crate) fn token(&self, token: &str) {
        self.namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": token},
        }));
    }

    pub(crate) fn start_operator(&mut self) {
        self.operator = Some(self.spawn("operator.log", &["--leader-elect=false"]));
    }

    /// The same with other flags, without which no gateway may be on loopback, and variables in its environment.
    pub(crate) fn start_operator_with(&mut self, flags: &[&str], environment: &[(&str, &str)]) {
        let launcher = self.launcher(flags).without_loopback().environment(environment);
        self.operator = Some(self.launch(&launcher.flags(&["--leader-elect=false"]), "operator.log"));
    }

    /// Starts one more operator, with these flags.
    pub(crate) fn spawn(&self, log: &str, flags: &[&str]) -> Guarded {
        self.launch(&self.launcher(flags), log)
    }

    fn launch(&self, launcher: &Launcher, log: &str) -> Guarded {
        ok(launcher.spawn(Path::new(OPERATOR), &self.directory.path().join(log)))
    }

    /// Metrics are served, so that they can be searched for secrets.
    pub(crate) fn launcher(&self, flags: &[&str]) -> Launcher {
        Launcher::new(&ok(launcher::kubeconfig(cluster())))
            .watching(&[&self.namespace.name])
            .flags(&["--metrics-bind-address=127.0.0.1:0", TEXT_LOG, "--log-level=debug"])
            .flags(flags)
    }

    /// Ends the operator as a crash would.
    pub(crate) fn kill_operator(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            ok(operator.kill());
        }
    }

    /// Asks the operator to stop and waits until it has; it must do so as asked to.
    pub(crate) fn stop_operator(&mut self) {
        let mut operator = self.operator.take().expect("an operator is at work");
        ok(operator.signal(Signal::TERM));
        let status = ok(operator.wait(SOON)).expect("the operator ends");
        assert!(status.success(), "{status}");
    }

    pub(crate) fn run(&self, name: &str, plans: &[i64]) {
        self.namespace.apply(&run(name, json!({"plans": plans})));
    }

    pub(crate) fn patch(&self, name: &str, spec: &str) {
        self.namespace.run(&["patch", "tpr", name, "--type=merge", "--patch", spec]);
    }

    pub(crate) fn stop(&self, name: &str) {
        self.patch(name, r#"{"spec":{"stopped":true}}"#);
    }

    /// Overwrites parts of a status, as whoever has the right to may.
    pub(crate) fn patch_status(&self, name: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        let arguments = ["patch", "tpr", name, "--subresource=status", "--type=merge", "--patch", &patch];
        self.namespace.run(&arguments);
    }

    pub(crate) fn status(&self, name: &str) -> Value {
        ok(self.namespace.kubectl.get_json(&["tpr", name]))["status"].clone()
    }

    pub(crate) fn is_there(&self, name: &str) -> bool {
        !self.namespace.run(&["get", "tpr", name, "--ignore-not-found", "--output=name"]).is_empty()
    }

    #[track_caller]
    pub(crate) fn wait_until_gone(&self, name: &str) {
        let what = format!("{name} to be deleted");
        ok(wait_until(&what, SOON, || match self.is_there(name) {
            true => Err(self.log()),
            false => Ok(()),
        }));
    }

    /// Waits until the condition Stopped has this reason, and returns the status.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, reason: &str) -> Value {
        let what = format!("{name} to be {reason}");
        // A change of what a run waits for is told only once it has stood for half a minute.
        ok(wait_until(&what, SOON * 2, || {
            let status = self.status(name);
            match condition(&status, "Stopped") {
                Some(stopped) if stopped["reason"] == reason => Ok(status),
                _ => Err(format!("{status}\n{}", self.log())),
            }
        }))
    }

    /// Status writes of a run that the API server has taken so far.
    pub(crate) fn writes(&self, name: &str) -> usize {
        let audit = ok(cluster().audit());
        let ours = audit.iter().filter(|entry| {
            entry.is_write()
                && entry.subresource == "status"
                && entry.namespace == self.namespace.name
                && entry.name == name
                && entry.code == 200
        });
        ours.count()
    }

    /// Everything that anybody but kubectl has written in the namespace, events left out.
    pub(crate) fn all_writes(&self) -> usize {
        let audit = ok(cluster().audit());
        let ours = audit.iter().filter(|entry| {
            entry.is_write()
                && entry.namespace == self.namespace.name
                && entry.resource != "events"
                && entry.user.contains("testinium-operator")
        });
        ours.count()
    }

    /// Asserts that none of the marked texts is where people read: objects, events and log.
    #[track_caller]
    pub(crate) fn assert_silent(&self, marks: &[&str]) {
        let shown = self.namespace.run(&["get", "tpr,tgw,events.events.k8s.io", "--output=yaml"]);
        let log = self.log();
        for mark in marks {
            assert!(!shown.contains(mark), "an object shows {mark}:\n{shown}");
            assert!(!log.contains(mark), "the log shows {mark}:\n{log}");
        }
    }

    /// The page `/metrics` of the latest operator, if it is at work.
    pub(crate) fn metrics(&self) -> String {
        let log = self.log();
        let address = log.lines().rev().find(|line| line.contains("serving the metrics"));
        let port = address.and_then(|line| line.rsplit(':').next()?.trim().parse().ok());
        port.and_then(|port| page(port, "/metrics").ok()).map(|(_, text)| text).unwrap_or_default()
    }

    /// Panics if a secret of this stage is anywhere but in its Secret.
    pub(crate) fn assert_kept(&self) {
        assert_kept(&self.namespace, &self.log(), &self.metrics());
    }

    /// Panics if a status can't be believed, whatever the test did.
    fn assert_honest(&self) {
        let objects = ok(self.namespace.kubectl.get_json(&["tpr,tgw"]));
        let objects = objects["items"].as_array().cloned().unwrap_or_default();
        let wrong: Vec<_> = objects.iter().flat_map(oracles::lint).collect();
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), self.log());
    }

    /// The logs of all operators of this stage.
    pub(crate) fn log(&self) -> String {
        let files = std::fs::read_dir(self.directory.path()).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the operator said:\n{}\nthe gateway was asked:", self.log());
            self.simulator.requests().iter().for_each(|request| eprintln!("{request}"));
        } else {
            self.assert_kept();
            self.assert_honest();
        }
    }
}

/// The condition of this type.
pub(crate) fn condition<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

/// Outcomes by plan, as "614 Accepted".
pub(crate) fn outcomes(status: &Value) -> Vec<String> {
    let plans = status["plans"].as_array().cloned().unwrap_or_default();
    plans.iter().map(|plan| format!("{} {}", plan["id"], plan["outcome"].as_str().unwrap_or("-"))).collect()
}
