//! A cluster without the operator, a Helm for it, and a namespace of a team with a simulated gateway.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::helm::Helm;
use testinium_testbed::kubectl::{Kubectl, Output, wait_until};
use testinium_testbed::operator::wait_until_served;
use testinium_testbed::simulator::{Config, Simulator};
use testinium_testbed::terminal::Terminal;

use crate::jobs::{Images, Jobs};
use crate::kubelet::Kubelet;
use crate::render::{CHART, NAMESPACE, ok};

/// The namespace of the team that stops plans.
pub(crate) const TEAM: &str = "team";

/// The longest time for anything that is waited for.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    pub(crate) plane: Arc<ControlPlane>,
    pub(crate) kubectl: Kubectl,
    pub(crate) simulator: Simulator,
    helm: Helm,
    directory: TempDir,
}

// === impl Site ===

impl Site {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Shared with the threads that stand in for kubelets.
        let plane = Arc::new(ok(ControlPlane::start(Options::default())));
        let helm = ok(Helm::obtain(directory.path())).with_cluster(&plane);
        let simulator = Simulator::start(Config::default()).expect("the simulator starts");
        let kubectl = plane.kubectl();
        ok(ok(kubectl.run(&["create", "namespace", TEAM])).success());
        Self { plane, kubectl: kubectl.in_namespace(TEAM), simulator, helm, directory }
    }

    /// Runs Helm in the operator's namespace; it must succeed. Returns what it printed.
    #[track_caller]
    pub(crate) fn helm(&self, arguments: &[&str]) -> String {
        ok(self.try_helm(arguments).success())
    }

    pub(crate) fn try_helm(&self, arguments: &[&str]) -> Output {
        ok(self.helm.run(&[arguments, &["--namespace", NAMESPACE]].concat()))
    }

    /// Installs the chart as a release, and waits until what it defines is served.
    #[track_caller]
    pub(crate) fn install(&self, release: &str, arguments: &[&str]) -> String {
        let said = self.helm(&[&["install", release, CHART, "--create-namespace"], arguments].concat());
        ok(wait_until_served(&self.kubectl));
        said
    }

    /// Runs the Deployment of this name from now on.
    pub(crate) fn kubelet(&self, deployment: &str) -> Kubelet {
        Kubelet::start(&self.plane, NAMESPACE, deployment, &self.log())
    }

    /// Runs every Job of the operator's namespace from now on.
    pub(crate) fn jobs(&self) -> Jobs {
        self.jobs_with(Images::Fetched)
    }

    /// The same with images that are there or not.
    pub(crate) fn jobs_with(&self, images: Images) -> Jobs {
        Jobs::start(&self.plane, NAMESPACE, images, self.directory.path().join("jobs.log"))
    }

    /// A terminal of somebody in the team's namespace, with Helm at hand.
    pub(crate) fn terminal(&self) -> Terminal {
        let terminal = ok(Terminal::new(&self.plane, TEAM, self.directory.path()));
        terminal.with_helm(&self.helm).with_gateway(&self.simulator, "simulated-token")
    }

    /// Runs kubectl in the team's namespace; it must succeed. Returns what it printed.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        ok(ok(self.kubectl.run(arguments)).success())
    }

    /// Makes the team's gateway, with its Secret.
    pub(crate) fn gateway(&self) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"},
            "stringData": {"token": "simulated-token"},
        });
        let gateway = json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestiniumGateway", "metadata": {"name": "default"},
            "spec": {
                "url": self.simulator.url(), "allowPlainHTTP": true,
                "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
            },
        });
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [secret, gateway]}));
    }

    pub(crate) fn apply(&self, object: &Value) {
        ok(self.kubectl.apply(&object.to_string()));
    }

    /// Asks for a stop of a new run with this one plan.
    pub(crate) fn ask(&self, run: &str, plan: i64) {
        self.ask_for_all(run, &[plan]);
    }

    /// The same with these plans.
    pub(crate) fn ask_for_all(&self, run: &str, plans: &[i64]) {
        self.apply(&json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun", "metadata": {"name": run},
            "spec": {"plans": plans, "stopped": true},
        }));
    }

    /// Waits until a run is stopped.
    #[track_caller]
    pub(crate) fn wait_for_stop(&self, run: &str) {
        ok(wait_until(&format!("{run} to be stopped"), SOON, || {
            let status = ok(self.kubectl.get_json(&["tpr", run]))["status"].clone();
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let is_stopped =
                |condition: &Value| condition["type"] == "Stopped" && condition["status"] == "True";
            if conditions.iter().any(is_stopped) { Ok(()) } else { Err(format!("{status}\n{}", self.said())) }
        }));
    }

    /// The plans of each call that the gateway has got.
    pub(crate) fn calls(&self) -> Vec<Vec<i64>> {
        self.simulator.calls().into_iter().map(|call| call.plans).collect()
    }

    /// The names of all objects of these kinds, in the whole cluster, that carry the label of our releases.
    pub(crate) fn ours(&self, kinds: &str) -> Vec<String> {
        let all = [
            "get",
            kinds,
            "--all-namespaces",
            "--output=name",
            "--selector=app.kubernetes.io/part-of=testinium",
        ];
        self.kubectl(&all).lines().map(str::to_owned).collect()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("operator.log")
    }

    /// The end of what the operators have said.
    pub(crate) fn said(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
