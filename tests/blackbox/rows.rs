//! Tables of answers: each row has a simulator, a gateway object and a run of its own, and all share one operator.
//!
//! Rows go on side by side without sharing a call, a gate, a limit or a proven credential. A table is waited for until
//! each row is as its outcome says or can't become so any more, so that a wrong row costs no waiting.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Config, Nature, Reply, Simulator, When};

use crate::cluster::{ok, run};
use crate::operator::{SOON, Stage, condition, outcomes};
use crate::waiting::stopped_reason;

/// What has to come of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Becomes {
    /// The plans are pending, the run and the gateway say what they wait for, and the message contains this.
    Waits(&'static str),
    /// The same, with this reason of the condition Stopped.
    WaitsAs(&'static str),
    /// Every plan has this outcome.
    All(&'static str),
    /// The plans wait, are Rejected or are Unknown: anything but a stop.
    NoSuccess,
}

/// A row before it is played.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) plans: Vec<i64>,
    pub(crate) simulator: Simulator,
    pub(crate) becomes: Becomes,
    /// More of the gateway's spec.
    pub(crate) spec: Value,
    /// Whether the gateway has stopped a plan, 500, before.
    pub(crate) proven: bool,
}

/// Rows that are being played.
pub(crate) struct Table {
    pub(crate) stage: Stage,
    pub(crate) rows: Vec<Row>,
}

// === impl Row ===

impl Row {
    /// One plan, and this answer to every call.
    pub(crate) fn new(name: impl Into<String>, reply: Reply, becomes: Becomes) -> Self {
        let config = Config { default_nature: Nature::NeverStops, ..Config::default() };
        let simulator = Simulator::start(config).expect("the simulator starts");
        // By plan, so that a plan that proves the gateway first is not meant.
        for plan in 1..=4 {
            simulator.script(When::always().naming(plan), reply.clone());
        }
        Self::with(name, simulator, becomes)
    }

    /// One plan at this simulator.
    pub(crate) fn with(name: impl Into<String>, simulator: Simulator, becomes: Becomes) -> Self {
        Self { name: name.into(), plans: vec![1], simulator, becomes, spec: json!({}), proven: false }
    }

    /// Four plans instead of one.
    pub(crate) fn of_four(self) -> Self {
        Self { plans: (1..=4).collect(), ..self }
    }

    /// The gateway has stopped another plan before.
    pub(crate) fn proven(self) -> Self {
        Self { proven: true, ..self }
    }

    pub(crate) fn calls(&self) -> Vec<Vec<i64>> {
        self.simulator.calls().into_iter().map(|call| call.plans).collect()
    }

    /// What is wrong with a status, and whether it is wrong for good.
    fn judge(&self, status: &Value, gateway: &Value) -> Result<(), (String, bool)> {
        let stopped = condition(status, "Stopped").cloned().unwrap_or_default();
        let message = stopped["message"].as_str().unwrap_or_default();
        let all = |outcome: &str| outcomes(status) == self.with_outcome(outcome);
        let waits = all("Pending")
            && stopped["status"] == "Unknown"
            && stopped["reason"] != "Stopping"
            && condition(status, "Ready").is_some_and(|ready| ready["reason"] == "DependencyNotReady");
        let right = match self.becomes {
            Becomes::Waits(says) => waits && message.contains(says) && is_ready(gateway) == Some(false),
            Becomes::WaitsAs(reason) => {
                waits && stopped["reason"] == reason && is_ready(gateway) == Some(false)
            }
            Becomes::All(outcome) => all(outcome) && stopped["status"] != "Unknown",
            Becomes::NoSuccess => {
                let ends =
                    outcomes(status).into_iter().map(|plan| plan.rsplit(' ').next().map(str::to_owned));
                let bad = |end: Option<String>| end.is_some_and(|end| end == "Rejected" || end == "Unknown");
                waits || stopped["status"] == "False" && ends.into_iter().all(bad)
            }
        };
        let final_ = status["stop"]["completionTime"].is_string();
        if right {
            return Ok(());
        }
        let ready = condition(&gateway["status"], "Ready").cloned().unwrap_or_default();
        let seen = format!("{:?}, Stopped {stopped}\n    gateway Ready {ready}", outcomes(status));
        Err((
            format!("{}: not {:?} but {seen}\n    calls {:?}", self.name, self.becomes, self.calls()),
            final_,
        ))
    }

    fn with_outcome(&self, outcome: &str) -> Vec<String> {
        self.plans.iter().map(|plan| format!("{plan} {outcome}")).collect()
    }
}

// === impl Table ===

impl Table {
    /// Plays the rows until each has become what it should, or something else for good.
    #[track_caller]
    pub(crate) fn play(rows: Vec<Row>) -> Self {
        let mut stage = Stage::prepare();
        let gateways = rows.iter().enumerate().map(|(number, row)| gateway(&stage, number, row));
        apply(&stage, gateways.collect());
        stage.start_operator();
        let table = Self { stage, rows };
        table.prove();
        table.ask();
        table.wait_until_become();
        table
    }

    /// Every gateway answers as Testinium does from now on, and what waited is stopped by itself.
    #[track_caller]
    pub(crate) fn recover(&self) {
        self.rows.iter().for_each(|row| row.simulator.clear_scripts());
        let waiting: Vec<_> = self
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| matches!(row.becomes, Becomes::Waits(_) | Becomes::WaitsAs(_)))
            .collect();
        ok(wait_until("what waited to be stopped", SOON * 2, || {
            let (runs, gateways) = (self.statuses("tpr"), self.statuses("tgw"));
            let wrong = waiting.iter().filter_map(|(number, row)| {
                let (run, gateway) = (&runs[&name(*number)]["status"], &gateways[&name(*number)]);
                let done = outcomes(run) == row.with_outcome("Accepted")
                    && stopped_reason(run) == "Accepted"
                    && is_ready(gateway) == Some(true);
                let seen =
                    || format!("\n{}: {run}\n    {}\n    {:?}", row.name, gateway["status"], row.calls());
                (!done).then(seen)
            });
            let wrong: String = wrong.collect();
            if wrong.is_empty() { Ok(()) } else { Err(wrong) }
        }));
    }

    fn prove(&self) {
        let proven: Vec<_> = self.rows.iter().enumerate().filter(|(_, row)| row.proven).collect();
        let before = |number: usize| format!("before-{number}");
        let run = |number| stopped_run(&before(number), number, &[500]);
        apply(&self.stage, proven.iter().map(|(number, _)| run(*number)).collect());
        for (number, _) in &proven {
            self.stage.wait_for(&before(*number), "Accepted");
        }
    }

    fn ask(&self) {
        let runs =
            self.rows.iter().enumerate().map(|(number, row)| stopped_run(&name(number), number, &row.plans));
        apply(&self.stage, runs.collect());
    }

    #[track_caller]
    fn wait_until_become(&self) {
        let wrong = ok(wait_until("each row to become something", SOON * 3, || {
            let (runs, gateways) = (self.statuses("tpr"), self.statuses("tgw"));
            let judge = |(number, row): (usize, &Row)| {
                row.judge(&runs[&name(number)]["status"], &gateways[&name(number)]).err()
            };
            let wrong: Vec<_> = self.rows.iter().enumerate().filter_map(judge).collect();
            let texts = wrong.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("\n");
            if wrong.iter().all(|(_, is_final)| *is_final) { Ok(texts) } else { Err(texts) }
        }));
        assert!(wrong.is_empty(), "{wrong}");
    }

    /// Objects by name.
    fn statuses(&self, kind: &str) -> BTreeMap<String, Value> {
        let list = ok(self.stage.namespace.kubectl.get_json(&[kind]));
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let named = |item: Value| (item["metadata"]["name"].as_str().unwrap_or_default().to_owned(), item);
        items.into_iter().map(named).collect()
    }
}

// === others ===

/// Of the run and of the gateway of a row.
pub(crate) fn name(number: usize) -> String {
    format!("row-{number}")
}

fn gateway(stage: &Stage, number: usize, row: &Row) -> Value {
    let mut spec = json!({"url": row.simulator.url()});
    for (field, value) in row.spec.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    stage.gateway_named(&name(number), spec)
}

fn stopped_run(run_name: &str, number: usize, plans: &[i64]) -> Value {
    run(run_name, json!({"plans": plans, "stopped": true, "gatewayRef": {"name": name(number)}}))
}

fn apply(stage: &Stage, items: Vec<Value>) {
    if !items.is_empty() {
        stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    }
}

/// Whether the gateway's condition Ready holds, if it has one.
pub(crate) fn is_ready(gateway: &Value) -> Option<bool> {
    condition(&gateway["status"], "Ready").map(|ready| ready["status"] == "True")
}
