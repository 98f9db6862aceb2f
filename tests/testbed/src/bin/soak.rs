//! The soak: load, random faults, rotated tokens and restarts for as long as is asked for, judged all the while.
//!
//! It prints what the operator's last life holds on to at its beginning and at its end (memory, file handles, threads,
//! tasks, queues), both times at rest, so that whatever grows is seen. It fails if any oracle does.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use testinium_testbed::arena::{Arena, stopped, until};
use testinium_testbed::chain;
use testinium_testbed::chance::Chance;
use testinium_testbed::client::unless_gone;
use testinium_testbed::control_plane::{AuditLevel, ControlPlane, Options};
use testinium_testbed::faults::{Break, Fault, Proxy, Reach, Verb, When};
use testinium_testbed::operator::{self, Operator, Site};
use testinium_testbed::oracles;
use testinium_testbed::process::{Signal, free_port};
use testinium_testbed::simulator::{Config, Nature};

/// Stops plans through random faults, and reports what grows and what is wrong.
#[derive(Debug, Parser)]
struct Arguments {
    /// The length of the soak
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// The seed from which the faults, the load and the restarts are drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs at a time
    #[arg(long, default_value_t = 40)]
    runs: usize,
    /// The operator; built, without optimisation, if absent
    #[arg(long)]
    binary: Option<PathBuf>,
}

type Failure = Box<dyn Error>;
/// Between two looks at everything.
const STEP: Duration = Duration::from_millis(200);
/// How long coming to rest may take once faults have ended: the longest wait that a fault leaves behind is 30 s.
const REST: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    match soak(&Arguments::parse()) {
        Ok(violations) if violations.is_empty() => {
            println!("every oracle holds");
            ExitCode::SUCCESS
        }
        Ok(violations) => {
            eprintln!("{} violations:\n{}", violations.len(), violations.join("\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the soak failed: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn soak(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let binary = arguments.binary.clone().map_or_else(operator::build, Ok)?;
    let plane = ControlPlane::start(Options { audit: AuditLevel::Off, ..Options::default() })?;
    operator::install(&plane.kubectl())?;
    let site = Site::new(&plane, &binary)?;
    let arena = Arena::new(&site, "soak", Config::default())?;
    let port = free_port()?;
    let metrics = format!("--metrics-bind-address=127.0.0.1:{port}");
    let flags = ["--leader-elect=false", "--cleanup", &metrics];
    let operator = arena.operator_with("operator", &flags)?;
    site.client.create(&arena.path("testplancleanups", ""), &rule())?;
    let mut soak = Soak::new(arena, operator, port, arguments);
    let half = Duration::from_secs(arguments.seconds / 2);
    println!("seed {}: {} runs at a time for {} s", arguments.seed, arguments.runs, arguments.seconds);
    // Restarts come in the first half: what grows shows in one long life.
    soak.go_on(half, true)?;
    soak.restart(Signal::TERM)?;
    soak.go_on(Duration::from_secs(5), false)?;
    soak.come_to_rest()?;
    let before = soak.holdings()?;
    soak.go_on(half, false)?;
    soak.come_to_rest()?;
    let after = soak.holdings()?;
    soak.tell(&before, &after);
    Ok(soak.violations)
}

/// A soak under way.
struct Soak<'a> {
    arena: Arena<'a>,
    operator: Operator,
    port: u16,
    chance: Chance,
    runs: usize,
    /// The next plan that was never asked about.
    next_plan: i64,
    next_run: usize,
    done: usize,
    faults: usize,
    rotations: usize,
    sweeps: usize,
    /// Runs that were deleted before anybody had asked for their stop, with their plans: these are stopped first.
    held: BTreeMap<String, Vec<i64>>,
    held_so_far: usize,
    violations: Vec<String>,
}

// === impl Soak ===

impl<'a> Soak<'a> {
    fn new(arena: Arena<'a>, operator: Operator, port: u16, arguments: &Arguments) -> Self {
        Self {
            arena,
            operator,
            port,
            chance: Chance::of(arguments.seed),
            runs: arguments.runs,
            next_plan: 1,
            next_run: 1,
            done: 0,
            faults: 0,
            rotations: 0,
            sweeps: 0,
            held: BTreeMap::new(),
            held_so_far: 0,
            violations: Vec::new(),
        }
    }

    /// Load and faults for this long.
    fn go_on(&mut self, time: Duration, restarts: bool) -> Result<(), Failure> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.operator.start()?;
            self.arena.simulator.set_reach(Reach::Up)?;
            if restarts && self.chance.once_in(50) {
                let signal = if self.chance.once_in(2) { Signal::TERM } else { Signal::KILL };
                self.restart(signal)?;
            }
            if self.chance.once_in(100) {
                self.rotate()?;
            }
            if self.chance.once_in(50) {
                self.sweep()?;
            }
            self.break_something()?;
            self.load()?;
            self.judge_traffic();
            thread::sleep(STEP);
        }
        Ok(())
    }

    fn restart(&mut self, signal: Signal) -> Result<(), Failure> {
        self.operator.signal(signal)?;
        if self.operator.wait(Duration::from_secs(60))?.is_none() {
            self.violations.push("the operator did not end within 60 s of a signal".to_owned());
            self.operator.killer().kill();
        }
        Ok(self.operator.start()?)
    }

    /// Another token, at the gateway first: calls fail until the Secret is changed.
    fn rotate(&mut self) -> Result<(), Failure> {
        self.rotations += 1;
        let token = format!("token-{}", self.rotations);
        self.arena.simulator.set_token(&token);
        let path = format!("/api/v1/namespaces/{}/secrets/token", self.arena.namespace);
        self.arena.site.client.patch(&path, &json!({"stringData": {"token": token}}))?;
        Ok(())
    }

    /// The rule stops what it selects, now.
    fn sweep(&mut self) -> Result<(), Failure> {
        self.sweeps += 1;
        let value = json!({"metadata": {"annotations": {"testinium.io/run-now": self.sweeps.to_string()}}});
        self.arena.site.client.patch(&self.arena.path("testplancleanups", RULE), &value)?;
        Ok(())
    }

    /// Takes back what was broken, and breaks something else for the next few requests.
    fn break_something(&mut self) -> Result<(), Failure> {
        let (api, gateway) = (&self.operator.api, &self.arena.gateway);
        api.clear_rules();
        gateway.clear_rules();
        let some = When::next(1 + usize::try_from(self.chance.below(5))?);
        let hour = Duration::from_secs(3600);
        let (proxy, when, fault): (&Proxy, _, _) = match self.chance.below(24) {
            0 => (api, some.verb(Verb::Update), Fault::reject(409)),
            1 => (api, some, Fault::reject(500)),
            2 => (api, some, Fault::reject(429).retry_after(hour)),
            3 => (api, some, Fault::drop_reply()),
            4 => (api, When::next(1).verb(Verb::Update), Fault::hang()),
            5 => (api, some.verb(Verb::Watch), Fault::reject(410)),
            6 => (api, some, Fault::cut()),
            7 => (api, some, Fault::delay(STEP)),
            8 => (gateway, some, Fault::drop_reply()),
            9 => (gateway, some, Fault::reject(503).retry_after(Duration::from_secs(1))),
            10 => (gateway, some, Fault::cut()),
            11 => (gateway, some, Fault::delay(STEP)),
            12 => {
                api.break_open(When::always().verb(Verb::Watch), Break::Cut);
                return Ok(());
            }
            13 if self.chance.once_in(4) => {
                api.break_open(When::always().verb(Verb::Watch), Break::Freeze);
                return Ok(());
            }
            14 => return Ok(self.arena.simulator.down()?),
            // Mostly nothing: a system that never works shows little.
            _ => return Ok(()),
        };
        self.faults += 1;
        proxy.rule(when, fault);
        Ok(())
    }

    /// Judges the runs that are done, takes them away, and makes new ones in their place.
    fn load(&mut self) -> Result<(), Failure> {
        let mut runs = self.arena.runs()?;
        self.judge_held(&runs);
        runs.retain(|run| run["metadata"]["deletionTimestamp"].is_null());
        let mut left = runs.len();
        for run in runs.iter().filter(|run| is_done(run)) {
            self.judge(run);
            let name = run["metadata"]["name"].as_str().unwrap_or_default();
            // Its TTL may be over since it was listed.
            unless_gone(self.arena.delete_run(name))?;
            left -= 1;
        }
        while left < self.runs {
            self.create()?;
            left += 1;
        }
        // Those that do not want it yet are stopped one by one.
        let waiting = runs.iter().filter(|run| stopped(run) == "NotRequested");
        for run in waiting.take(5) {
            let name = run["metadata"]["name"].as_str().unwrap_or_default();
            if run["metadata"]["finalizers"][0] == "testinium.io/stop" && self.chance.once_in(2) {
                let plans = run["spec"]["plans"].as_array().into_iter().flatten().filter_map(Value::as_i64);
                self.held.insert(name.to_owned(), plans.collect());
                unless_gone(self.arena.delete_run(name))?;
                continue;
            }
            let patch = if self.chance.once_in(2) {
                json!({"spec": {"stopped": true}})
            } else {
                json!({"metadata": {"annotations": {"testinium.io/stop": "soak"}}})
            };
            unless_gone(self.arena.patch_run(name, &patch))?;
        }
        Ok(())
    }

    fn create(&mut self) -> Result<(), Failure> {
        let count = 1 + self.chance.below(5);
        let mut plans = Vec::new();
        for _ in 0..count {
            let nature = match self.chance.below(20) {
                0 => Nature::Unknown,
                1 => Nature::NotRunning,
                2 => Nature::Rejected,
                _ => Nature::Running,
            };
            self.arena.simulator.plan(self.next_plan, nature);
            plans.push(self.next_plan);
            self.next_plan += 1;
        }
        let mut spec = json!({"plans": plans, "stopped": self.chance.once_in(2)});
        if self.chance.once_in(4) {
            spec["activeDeadlineSeconds"] = (1 + self.chance.below(5)).into();
        }
        if self.chance.once_in(4) {
            spec["deletionPolicy"] = "Stop".into();
        }
        if self.chance.once_in(8) {
            spec["ttlSecondsAfterFinished"] = self.chance.below(3).into();
        }
        let labels = json!({"load": if self.chance.once_in(4) { "heavy" } else { "light" }});
        let run = json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
            "metadata": {"name": format!("run-{}", self.next_run), "labels": labels}, "spec": spec,
        });
        self.arena.site.client.create(&self.arena.path("testplanruns", ""), &run)?;
        self.next_run += 1;
        Ok(())
    }

    /// The plans of a run that was held are stopped once it is gone.
    fn judge_held(&mut self, runs: &[Value]) {
        let is_there = |name: &str| runs.iter().any(|run| run["metadata"]["name"] == name);
        let truth = self.arena.simulator.truth();
        let runs_on = |plan: &i64| {
            truth.get(plan).is_some_and(|truth| truth.nature == Nature::Running && truth.running)
        };
        let gone: Vec<_> = self.held.keys().filter(|name| !is_there(name)).cloned().collect();
        for name in gone {
            let plans = self.held.remove(&name).unwrap_or_default();
            self.held_so_far += 1;
            let left: Vec<_> = plans.iter().filter(|plan| runs_on(plan)).collect();
            if !left.is_empty() {
                self.violations.push(format!("{name} is gone, and its plans {left:?} go on"));
            }
        }
    }

    fn judge(&mut self, run: &Value) {
        self.done += 1;
        self.violations.extend(oracles::lint(run));
        self.violations.extend(oracles::complete(run));
        self.violations.extend(oracles::truthful(run, &self.arena.simulator.truth()));
    }

    /// Judges the traffic through the proxies and forgets it, or the soak itself would grow.
    fn judge_traffic(&mut self) {
        let api = self.operator.api.traffic();
        if api.len() < 2_000 {
            return;
        }
        self.violations.extend(oracles::honest_writes(&api));
        self.violations.extend(oracles::stays_within(&api, &self.arena.namespace));
        self.operator.api.forget_traffic();
        self.arena.gateway.forget_traffic();
        self.arena.simulator.forget_requests();
    }

    /// Ends the faults and waits until every run is done.
    fn come_to_rest(&mut self) -> Result<(), Failure> {
        self.operator.api.clear_rules();
        self.arena.gateway.clear_rules();
        self.arena.simulator.set_reach(Reach::Up)?;
        for run in self.arena.runs()?.iter().filter(|run| run["spec"]["stopped"] != true) {
            let name = run["metadata"]["name"].as_str().unwrap_or_default();
            unless_gone(self.arena.patch_run(name, &json!({"spec": {"stopped": true}})))?;
        }
        until("every run to be done", REST, || Ok(self.arena.runs()?.iter().all(is_done)))?;
        for run in self.arena.runs()? {
            self.judge(&run);
        }
        self.arena.site.client.delete(&self.arena.path("testplanruns", ""))?;
        until("every run to be gone", REST, || Ok(self.arena.runs()?.is_empty()))?;
        self.judge_held(&[]);
        until("the operator to come to rest", REST, || {
            let (_, page) = operator::page(self.port, "/metrics")?;
            Ok(operator::gauge(&page, "testinium_runs_active") == "0"
                && operator::gauge(&page, "testinium_gateway_calls_in_flight") == "0")
        })?;
        self.violations.extend(oracles::calm(&self.operator.log()));
        Ok(())
    }

    /// The things that the operator holds on to: a name and a figure each.
    fn holdings(&self) -> Result<Vec<(&'static str, String)>, Failure> {
        let pid = self.operator.pid()?.ok_or("the operator has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim_start_matches(':').trim().to_owned()
        };
        let handles = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        let (_, page) = operator::page(self.port, "/metrics")?;
        let mut holdings = vec![
            ("resident memory", field("VmRSS")),
            ("most memory so far", field("VmHWM")),
            ("threads", field("Threads")),
            ("file handles", handles.to_string()),
        ];
        let gauges = [
            "testinium_tasks",
            "testinium_runs_active",
            "testinium_plans_queued",
            "testinium_gateway_calls_in_flight",
            "testinium_events_dropped_total",
            "testinium_panics_contained_total",
        ];
        holdings.extend(gauges.map(|name| (name, operator::gauge(&page, name))));
        Ok(holdings)
    }

    fn tell(&self, before: &[(&'static str, String)], after: &[(&'static str, String)]) {
        println!(
            "{} runs with {} plans made, {} of them judged, {} stopped by their deletion, {} sweeps, {} faults, {} tokens \
             rotated, {} starts",
            self.next_run - 1,
            self.next_plan - 1,
            self.done,
            self.held_so_far,
            self.sweeps,
            self.faults,
            self.rotations,
            self.operator.starts(),
        );
        println!("\n{:<36}{:>16}{:>16}", "the last life, at rest", "beginning", "end");
        for ((name, before), (_, after)) in before.iter().zip(after) {
            println!("{name:<36}{before:>16}{after:>16}");
        }
    }
}

/// A rule that stops heavy load whenever it is told to.
fn rule() -> Value {
    json!({
        "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanCleanup", "metadata": {"name": RULE},
        "spec": {"schedule": "@yearly", "selector": {"matchLabels": {"load": "heavy"}}, "olderThanSeconds": 0,
            "action": "Stop"},
    })
}

const RULE: &str = "sweep";

fn is_done(run: &Value) -> bool {
    ["Accepted", "NotRunning", "PartiallyStopped", "Failed", "Expired"].contains(&stopped(run))
}
