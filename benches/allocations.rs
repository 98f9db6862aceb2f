//! Allocations a stop: of the whole operator, and of the bare write loop beside it.
//!
//! The operator is run out of its library, in a process of this program, under an allocator that counts. The count
//! does not depend on the machine; one round is enough. Apart from the other measurements, because counting costs time.

#![allow(dead_code, reason = "the modules belong to the benchmark of a stop, which uses more of them")]

#[path = "stop/api.rs"]
mod api;
#[path = "stop/child.rs"]
mod child;
#[path = "stop/failure.rs"]
mod failure;
#[path = "stop/floor.rs"]
mod floor;
#[path = "stop/process.rs"]
mod process;
#[path = "stop/stage.rs"]
mod stage;
#[path = "stop/watch.rs"]
mod watch;

use std::alloc::System;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use testinium_operator::cli::RunArgs;
use testinium_operator::kubernetes::decode;
use testinium_operator::machine::{Effect, Extent, Input, Kind, Limits, Machine, Millis, Now, WriteBody};
use testinium_operator::operator;
use testinium_testbed::process::{Guarded, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use self::api::CLIENTS;
use self::child::LIMIT;
use self::failure::Failure;
use self::floor::FloorArgs;
use self::stage::{GatewayLimits, Stage};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Runs to stop.
    #[arg(long, default_value_t = 1000)]
    runs: usize,
    /// The flag that cargo adds.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    #[command(hide = true)]
    Floor(FloorArgs),
    #[command(hide = true)]
    Run(Box<RunArgs>),
    /// Count the bytes of runs that wait for a gateway, and no more: that needs no control plane.
    Waiting,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.role {
        Some(role) => work(role),
        None => bench(arguments.runs),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}", testinium_testbed::chain(why.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Does what is measured, in a process of its own that counts.
fn work(role: Role) -> Result<(), Failure> {
    std::thread::spawn(|| tell_when_asked().map_err(|why| eprintln!("failed to count: {why}")));
    match role {
        Role::Waiting => of_waiting_runs(),
        Role::Floor(floor) => floor::run(floor),
        Role::Run(settings) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(operator::run(*settings)).map_err(Failure::from)
        }
    }
}

/// Tells the counts whenever SIGUSR1 arrives.
fn tell_when_asked() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut asked = signal(SignalKind::user_defined1())?;
        while asked.recv().await.is_some() {
            let stats = ALLOCATOR.stats();
            println!("{COUNTED} {} {}", stats.allocations + stats.reallocations, stats.bytes_allocated);
        }
        Ok(())
    })
}

#[tokio::main]
async fn bench(runs: usize) -> Result<(), Failure> {
    of_waiting_runs()?;
    println!();
    let stage =
        Stage::start(env!("CARGO_BIN_EXE_testinium-operator").into(), GatewayLimits::OutOfTheWay).await?;
    println!("| of | allocations a stop | bytes a stop |\n|---|---:|---:|");
    let (count, bytes) = of_operator(&stage, runs).await?;
    println!("| operator | {count:.0} | {bytes:.0} |");
    let (count, bytes) = of_write_loop(&stage, runs).await?;
    println!("| bare write loop | {count:.0} | {bytes:.0} |");
    Ok(())
}

/// A burst, served by an operator that counts.
async fn of_operator(stage: &Stage, runs: usize) -> Result<(f64, f64), Failure> {
    // One more, whose stop shows that the operator is at work.
    let (field, _) = stage.rested("counted", runs + 1).await?;
    let flags = ["run", "--leader-elect=false", "--allow-gateway-cidr=127.0.0.0/8", "--log-format=text"];
    let more = ["--metrics-bind-address=0", "--health-probe-bind-address=0"];
    let scope = ["--watch-namespaces", &field.namespace];
    let mut operator = Counting::start(stage, "operator", &[&flags[..], &more[..], &scope[..]].concat())?;
    stage.stop_all(&field, 1).await?;
    field.board.wait(|counts| counts.stopped == 1, LIMIT).await?;
    let before = operator.counts().await?;
    stage.stop_all(&field, runs + 1).await?;
    field.board.wait(|counts| counts.stopped == runs + 1, LIMIT).await?;
    Ok(a_stop(before, operator.counts().await?, runs))
}

/// The memory that the machine needs for runs which it does not forget: for fresh ones whose gateway is suspended, for
/// the same after a restart, when their statuses say that they wait, and for runs at rest with and without a deadline.
fn of_waiting_runs() -> Result<(), Failure> {
    println!("| runs that wait | bytes a run |\n|---|---:|");
    for (what, status) in [("fresh", json!({})), ("with a status", waiting_status()?)] {
        let runs: Vec<_> = (0..WAITING).map(|index| run(index, &status)).collect();
        let (machine, bytes) = kept_of(&runs)?;
        if machine.active() != WAITING {
            return Err("not every run waits".into());
        }
        println!("| {what} | {bytes:.0} |");
    }
    let large: Vec<_> = (0..LARGE).map(|index| large(index, &json!({}))).collect();
    let (machine, bytes) = kept_of(&large)?;
    if machine.active() != LARGE {
        return Err("not every large run waits".into());
    }
    println!("| fresh, of {LARGE_PLANS} plans | {bytes:.0} |");
    for (what, deadline, parked) in [("at rest", None, 0), ("at rest, with a deadline", Some(YEAR), WAITING)]
    {
        let status = written(&at_rest(0, deadline, &json!({})), NOW)?;
        let runs: Vec<_> = (0..WAITING).map(|index| at_rest(index, deadline, &status)).collect();
        let (machine, bytes) = kept_of(&runs)?;
        if (machine.active(), machine.parked()) != (0, parked) {
            return Err("a run is not at rest".into());
        }
        println!("| {what} | {bytes:.0} |");
    }
    Ok(())
}

/// A machine that has seen these runs, and how many bytes it keeps of each.
fn kept_of(runs: &[Value]) -> Result<(Machine, f64), Failure> {
    let mut machine = suspended()?;
    let lines: Vec<_> = runs.iter().map(ToString::to_string).collect();
    let before = resident();
    for line in &lines {
        let input = decode::run(line.as_bytes()).into_input().ok_or("a run without a name")?;
        machine.handle(NOW, [input], &mut Vec::new());
    }
    let bytes = (resident() - before) as f64 / runs.len() as f64;
    Ok((machine, bytes))
}

/// The costs of more writes: the loop begins as soon as it has listed, so there is no moment before it to count at.
async fn of_write_loop(stage: &Stage, runs: usize) -> Result<(f64, f64), Failure> {
    let mut totals = [(0.0, 0.0); 2];
    for (total, count) in totals.iter_mut().zip([CLIENTS, CLIENTS + runs]) {
        let field = stage.field("counted-floor").await?;
        stage.create(&field, count, false).await?;
        let arguments = ["floor", "write", "--namespace", &field.namespace, "--status", &stage.status];
        let mut floor = Counting::start(stage, &field.namespace, &arguments)?;
        field.board.wait(|counts| counts.stopped == count, LIMIT).await?;
        *total = floor.counts().await?;
    }
    Ok(a_stop(totals[0], totals[1], runs))
}

fn a_stop(before: (f64, f64), after: (f64, f64), runs: usize) -> (f64, f64) {
    ((after.0 - before.0) / runs as f64, (after.1 - before.1) / runs as f64)
}

/// Seconds until the deadline of a run that has one.
const YEAR: i64 = 31_536_000;

/// Runs that wait.
const WAITING: usize = 10_000;

/// Large runs that wait, and the plans of each.
const LARGE: usize = 100;
const LARGE_PLANS: usize = 1_000;

const NOW: Now = Now { mono: Millis(1_000), wall: Timestamp::UNIX_EPOCH };

/// Bytes that are in use.
fn resident() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

/// A machine with a gateway that nothing is sent to.
fn suspended() -> Result<Machine, Failure> {
    let mut machine = Machine::new(Limits::default(), 7);
    let gateway = json!({
        "metadata": {"namespace": "qa", "name": "default", "uid": "83a0", "resourceVersion": "2", "generation": 1},
        "spec": {
            "url": "https://testinium.example.com", "suspend": true,
            "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
        },
    });
    let seen =
        decode::gateway(gateway.to_string().as_bytes()).into_input().ok_or("a gateway without a name")?;
    for input in [
        Input::ListBegan(Extent::all(Kind::Gateways)),
        Input::ListBegan(Extent::all(Kind::Runs)),
        seen,
        Input::ListDone(Extent::all(Kind::Gateways)),
    ] {
        machine.handle(NOW, [input], &mut Vec::new());
    }
    Ok(machine)
}

/// A run of three plans as the API server shows it.
fn run(index: usize, status: &Value) -> Value {
    json!({
        "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
        "metadata": {
            "namespace": "qa", "name": format!("nightly-regression-{index:06}"),
            "uid": format!("28d8a4c0-5f2e-4b6f-9a83-{index:012}"), "resourceVersion": "3", "generation": 2,
            "managedFields": [{
                "manager": "kubectl-patch", "operation": "Update", "apiVersion": "testinium.io/v1alpha1",
                "time": "1970-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:stopped": {}}},
            }],
        },
        "spec": {"plans": [3 * index + 1, 3 * index + 2, 3 * index + 3], "stopped": true, "gatewayRef": {"name": "default"}},
        "status": status,
    })
}

/// The same run with many more plans.
fn large(index: usize, status: &Value) -> Value {
    let mut run = run(index, status);
    let first = LARGE_PLANS * index + 1;
    run["spec"]["plans"] = json!((first..first + LARGE_PLANS).collect::<Vec<_>>());
    run
}

/// The same run, when nothing is asked of it.
fn at_rest(index: usize, deadline: Option<i64>, status: &Value) -> Value {
    let mut run = run(index, status);
    run["metadata"]["creationTimestamp"] = json!("1970-01-01T00:00:00Z");
    run["spec"]["stopped"] = Value::Null;
    run["spec"]["activeDeadlineSeconds"] = json!(deadline);
    run
}

/// The status that the machine writes about a run that has waited for a while.
fn waiting_status() -> Result<Value, Failure> {
    written(&run(0, &json!({})), Now { mono: Millis(61_000), ..NOW })
}

/// The status that the machine has written about this run by then.
fn written(run: &Value, by: Now) -> Result<Value, Failure> {
    let mut machine = suspended()?;
    let mut effects = Vec::new();
    let seen = decode::run(run.to_string().as_bytes()).into_input().ok_or("a run without a name")?;
    machine.handle(NOW, [seen], &mut effects);
    machine.handle(by, [Input::Wake], &mut effects);
    let status = effects.into_iter().find_map(|effect| match effect {
        Effect::Write { body: WriteBody::RunStatus(status), .. } => Some(status),
        _ => None,
    });
    Ok(serde_json::to_value(status.ok_or("nothing was written about a run")?)?)
}

/// A process that counts, and tells when asked.
struct Counting {
    process: Guarded,
    log: PathBuf,
    asked: usize,
}

/// How the line with the counts begins.
const COUNTED: &str = "counted";

impl Counting {
    fn start(stage: &Stage, name: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).env("KUBECONFIG", &stage.kubeconfig);
        let log = stage.directory.path().join(format!("{name}.counts"));
        Ok(Self { process: Guarded::spawn(command, &log)?, log, asked: 0 })
    }

    /// How much it has allocated so far: how often, and how many bytes.
    async fn counts(&mut self) -> Result<(f64, f64), Failure> {
        self.asked += 1;
        self.process.signal(Signal::USR1)?;
        let told = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let text = std::fs::read_to_string(&self.log)?;
                let lines = text.lines().filter_map(|line| line.strip_prefix(COUNTED));
                if let Some(line) = lines.clone().nth(self.asked - 1) {
                    let mut numbers = line.split_whitespace().map(str::parse::<f64>);
                    let (Some(count), Some(bytes)) = (numbers.next(), numbers.next()) else { continue };
                    return Ok((count?, bytes?));
                }
            }
        };
        timeout(LIMIT, told).await.map_err(|_| "a counting process says nothing")?
    }
}
