//! The benchmark of a stop: the real operator at a real API server, each figure beside its floor, in one run.
//!
//! ```text
//! harness ----patch----> kube-apiserver --watch--> operator --POST--> simulator
//!    ^                    ^        |                  |             (in the harness)
//!    +------- watch ------|--------+                  |
//!                         +--------- status ----------+
//! ```
//!
//! A floor takes the operator's place in the picture; it is this program again, see [`floor`]. Nothing is asserted:
//! figures of a busy machine are what they are, but the ratio to a floor of the same minute still tells something.

mod api;
mod burst;
mod child;
mod cluster;
mod docs;
mod failure;
mod fairness;
mod floor;
mod host;
mod latency;
mod neighbours;
mod parts;
mod plot;
mod policies;
mod process;
mod report;
mod restart;
mod rule;
mod stage;
mod units;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use self::failure::Failure;
use self::floor::FloorArgs;
use self::host::Host;
use self::report::Report;
use self::stage::{GatewayLimits, Stage};

/// Measures the operator beside what the API server costs anybody.
#[derive(Debug, Parser)]
#[command(name = "stop", bin_name = "cargo bench --bench stop --")]
struct Arguments {
    #[command(subcommand)]
    floor: Option<Role>,
    /// A short run, to see that everything works: its figures are too few to be quoted.
    #[arg(long)]
    quick: bool,
    /// The scenarios to measure; everything if absent.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Numbers of runs for all that grows with them; 100,1000,10000 if absent. 100000 takes an hour.
    #[arg(long, value_delimiter = ',')]
    runs: Vec<usize>,
    /// The binary under test; the one that cargo has just built if absent.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Leave the gateway at the limits that it has if its spec says nothing of them.
    #[arg(long, conflicts_with = "docs")]
    default_limits: bool,
    /// Where the figures go as JSON.
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/stop.json"))]
    json: PathBuf,
    /// Write the figures into docs/internals/performance.md and draw the plot beside it.
    #[arg(long)]
    docs: bool,
    /// The flag that cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The process that the harness starts beside the operator.
    #[command(hide = true)]
    Floor(FloorArgs),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Scenario {
    Idle,
    Burst,
    Restart,
    Fairness,
    Neighbours,
    Parts,
    Policies,
    Rule,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.floor {
        Some(Role::Floor(floor)) => floor::run(floor),
        None => bench(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}", testinium_testbed::chain(why.as_ref()));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn bench(arguments: &Arguments) -> Result<(), Failure> {
    let load = host::load();
    let stage = stage(arguments).await?;
    let mut report = Report::new(Host::describe(&stage, load).await?);
    eprintln!("{}", report.host);
    let measured = scenarios(arguments, stage, &mut report).await;
    // The figures from before a failure are worth telling too.
    println!("\n{}\n\n{}", report.host, report.table());
    std::fs::write(&arguments.json, serde_json::to_vec_pretty(&report)?)?;
    eprintln!("the same as JSON: {}", arguments.json.display());
    if arguments.docs {
        docs::write(&report)?;
    }
    measured
}

async fn stage(arguments: &Arguments) -> Result<Stage, Failure> {
    let operator = arguments.operator.clone().unwrap_or(env!("CARGO_BIN_EXE_testinium-operator").into());
    let limits = if arguments.default_limits { GatewayLimits::Default } else { GatewayLimits::OutOfTheWay };
    Stage::start(operator, limits).await
}

/// Each measurement has a control plane of its own: one that is full of what others have left behind is slower.
async fn scenarios(arguments: &Arguments, small: Stage, report: &mut Report) -> Result<(), Failure> {
    let wanted = |scenario| arguments.only.is_empty() || arguments.only.contains(&scenario);
    let (quick, sizes) = (arguments.quick, &arguments.runs);
    let sizes = match (sizes.is_empty(), quick) {
        (false, _) => sizes.clone(),
        (true, true) => vec![100],
        (true, false) => vec![100, 1_000, 10_000],
    };
    if wanted(Scenario::Idle) {
        latency::measure(&small, report, if quick { 20 } else { 200 }).await?;
    }
    if wanted(Scenario::Neighbours) {
        neighbours::measure(&stage(arguments).await?, report, if quick { 5 } else { 60 }).await?;
    }
    if wanted(Scenario::Parts) {
        let other = stage(arguments).await?;
        parts::measure(&small, &other, report, if quick { (10, 1) } else { (500, 5) }).await?;
    }
    if wanted(Scenario::Policies) {
        let size = if quick { (20, 1) } else { (100, 40) };
        policies::measure(&stage(arguments).await?, report, size).await?;
    }
    let starts = if quick { 1 } else { 5 };
    if wanted(Scenario::Restart) {
        restart::empty(&small, report, starts).await?;
    }
    drop(small);
    let most = sizes.iter().copied().max().unwrap_or(0);
    for runs in sizes {
        // The rounds are as many as take minutes.
        let rounds = if runs > 10_000 || quick { 1 } else { 3 };
        if wanted(Scenario::Burst) {
            burst::measure(&stage(arguments).await?, report, runs, rounds).await?;
        }
        if wanted(Scenario::Rule) && runs <= 10_000 {
            rule::measure(&stage(arguments).await?, report, runs, rounds).await?;
        }
        if wanted(Scenario::Restart) {
            restart::measure(&stage(arguments).await?, report, runs, rounds, starts).await?;
        }
    }
    if wanted(Scenario::Fairness) {
        fairness::measure(&stage(arguments).await?, report, most.min(10_000)).await?;
    }
    Ok(())
}
