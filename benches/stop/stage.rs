//! The stage of every scenario: a control plane, a gateway, namespaces full of runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use testinium_testbed::control_plane::{AuditLevel, ControlPlane, Options};
use testinium_testbed::launcher::{self, Launcher};
use testinium_testbed::operator::install;
use testinium_testbed::process::temporary_directory;
use testinium_testbed::simulator::{Config, Simulator};

use crate::api;
use crate::child::{Floor, LIMIT, Operator};
use crate::failure::Failure;
use crate::watch::Board;

/// Plans of each run.
pub const PLANS: usize = 3;

/// Most plans in a call; the default of a gateway.
pub const PLANS_A_CALL: usize = 100;

pub const TOKEN: &str = "simulated-token";

/// The stage of every scenario.
pub struct Stage {
    pub plane: ControlPlane,
    pub simulator: Simulator,
    /// The harness's client: that of the administrator, whom the API server never makes wait.
    pub client: kube::Client,
    /// The kubeconfig of the processes that are measured: that of the operator's ServiceAccount.
    pub kubeconfig: PathBuf,
    /// The binary under test.
    pub operator: PathBuf,
    pub directory: TempDir,
    /// The status of a stopped run as the operator writes it, as JSON, for the floors to write.
    pub status: String,
    /// The least that tells of a run at rest, and of one whose plans are stopped: one condition, an outcome a plan.
    pub lean_rest: String,
    pub lean: String,
    limits: GatewayLimits,
    next_plan: Arc<AtomicI64>,
    next_namespace: AtomicU32,
}

/// What holds calls to the gateway back.
#[derive(Clone, Copy, Debug)]
pub enum GatewayLimits {
    /// Far above what is measured, so that they hide no cost.
    OutOfTheWay,
    /// Those of a gateway that says nothing of them.
    Default,
}

/// A namespace with runs in it, as the harness sees it.
pub struct Field {
    pub namespace: String,
    pub board: Board,
}

// === impl Stage ===

impl Stage {
    pub async fn start(operator: PathBuf, limits: GatewayLimits) -> Result<Self, Failure> {
        let plane = ControlPlane::start(Options { audit: AuditLevel::Off, ..Options::default() })?;
        install(&plane.kubectl())?;
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let mut stage = Self {
            simulator: Simulator::start(Config { token: TOKEN.to_owned(), ..Config::default() })?,
            client: kube::Client::try_from(config)?,
            kubeconfig: launcher::kubeconfig(&plane)?,
            operator,
            directory: temporary_directory("testinium-bench-")?,
            status: String::new(),
            lean_rest: lean(false),
            lean: lean(true),
            limits,
            next_plan: Arc::new(AtomicI64::new(1)),
            next_namespace: AtomicU32::new(0),
            plane,
        };
        stage.status = stage.sample().await?;
        Ok(stage)
    }

    /// An operator that serves these namespaces alone.
    pub fn start_operator(&self, namespaces: &[&str]) -> Result<Operator, Failure> {
        self.start_operator_with(namespaces, &[])
    }

    /// The same with more flags.
    pub fn start_operator_with(&self, namespaces: &[&str], flags: &[&str]) -> Result<Operator, Failure> {
        let launcher = Launcher::new(&self.kubeconfig).watching(namespaces).flags(flags);
        Operator::start(launcher, &self.operator, &self.directory.path().join("operator.log"))
    }

    pub fn start_floor(&self, arguments: &[&str]) -> Result<Floor, Failure> {
        Floor::start(&self.kubeconfig, arguments)
    }

    /// A new namespace with a gateway and no runs.
    pub async fn field(&self, purpose: &str) -> Result<Field, Failure> {
        let namespace = format!("{purpose}-{}", self.next_namespace.fetch_add(1, Ordering::Relaxed));
        let kubectl = self.plane.kubectl().in_namespace(&namespace);
        kubectl.run(&["create", "namespace", &namespace])?.success()?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": TOKEN},
        });
        let mut gateway = json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestiniumGateway", "metadata": {"name": "default"},
            "spec": {
                "url": self.simulator.url(),
                "allowPlainHTTP": true,
                "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
                "batching": {"maxPlans": PLANS_A_CALL},
            },
        });
        if let GatewayLimits::OutOfTheWay = self.limits {
            gateway["spec"]["limits"] = json!({"requestsPerSecond": 1000, "maxInFlight": 64});
        }
        kubectl.apply(&secret.to_string())?;
        kubectl.apply(&gateway.to_string())?;
        let board = Board::open(&self.client, &namespace).await?;
        Ok(Field { namespace, board })
    }

    /// Creates runs with new plans; yields the first plan of each.
    pub async fn create(&self, field: &Field, count: usize, stopped: bool) -> Result<Vec<i64>, Failure> {
        let stride = i64::try_from(PLANS)?;
        let first = self.next_plan.fetch_add(stride * i64::try_from(count)?, Ordering::Relaxed);
        let plan = move |index: usize| first + stride * i64::try_from(index).unwrap_or(0);
        let (client, namespace) = (self.client.clone(), field.namespace.clone());
        api::each(count, move |index| {
            let (client, namespace) = (client.clone(), namespace.clone());
            async move { api::create(&client, &namespace, &run(index, plan(index), stopped)).await }
        })
        .await?;
        Ok((0..count).map(plan).collect())
    }

    /// Runs as they are before anybody asks for a stop: created, and looked at by the operator.
    pub async fn rested(&self, purpose: &str, count: usize) -> Result<(Field, Vec<i64>), Failure> {
        let field = self.field(purpose).await?;
        let _operator = self.start_operator(&[&field.namespace])?;
        let plans = self.create(&field, count, false).await?;
        field.board.wait(|counts| counts.not_requested == count, LIMIT).await?;
        Ok((field, plans))
    }

    /// Asks for the stop of every run. Yields when the first was asked for, and when the last was answered.
    pub async fn stop_all(&self, field: &Field, count: usize) -> Result<(Instant, Instant), Failure> {
        let (client, namespace) = (self.client.clone(), field.namespace.clone());
        let begun = Instant::now();
        let ended = api::each(count, move |index| {
            let (client, namespace) = (client.clone(), namespace.clone());
            async move { api::stop(&client, &namespace, &name(index)).await }
        })
        .await?;
        Ok((begun, ended))
    }

    /// The time of the first call with this plan.
    pub fn called_at(&self, plan: i64) -> Option<Instant> {
        let calls = self.simulator.calls();
        calls.iter().find(|call| call.plans.contains(&plan)).map(|call| call.at)
    }

    /// Has the operator stop one run, to see what it writes.
    async fn sample(&self) -> Result<String, Failure> {
        let (field, _) = self.rested("sample", 1).await?;
        let _operator = self.start_operator(&[&field.namespace])?;
        api::stop(&self.client, &field.namespace, &name(0)).await?;
        field.board.stopped(&name(0), Duration::from_secs(60)).await?;
        let run = api::get(&self.client, &format!("{}/{}", api::runs(&field.namespace), name(0))).await?;
        Ok(serde_json::from_slice::<Value>(&run)?["status"].to_string())
    }
}

/// A status of one condition, and of an outcome for each plan once they are stopped.
fn lean(is_stopped: bool) -> String {
    let (status, reason) = if is_stopped { ("True", "Accepted") } else { ("False", "NotRequested") };
    let stopped = json!({
        "type": "Stopped", "status": status, "reason": reason, "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let plans: Vec<_> = (1..=PLANS).map(|id| json!({"id": id, "outcome": "Accepted"})).collect();
    match is_stopped {
        true => json!({"conditions": [stopped], "plans": plans}),
        false => json!({"conditions": [stopped]}),
    }
    .to_string()
}

/// Name of the run with this index.
pub fn name(index: usize) -> String {
    format!("nightly-regression-{index:06}")
}

/// A run as people write them: about 2 KB once its status is there.
fn run(index: usize, plan: i64, stopped: bool) -> Value {
    let plans: Vec<_> = (plan..).take(PLANS).collect();
    let mut spec = json!({"plans": plans, "reason": "nightly window is over", "stopDeadlineSeconds": 86_400});
    if stopped {
        spec["stopped"] = json!(true);
    }
    json!({
        "apiVersion": "testinium.io/v1alpha1",
        "kind": "TestPlanRun",
        "metadata": {
            "name": name(index),
            "labels": {"app.kubernetes.io/part-of": "nightly-regression", "load": "heavy", "team": "payments"},
            "annotations": {"example.com/pipeline": format!("https://ci.example.com/nightly/{index}")},
        },
        "spec": spec,
    })
}
