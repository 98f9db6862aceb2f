//! A start with work waiting: runs that want stopping when the process starts; and a start with nothing to do.

use std::time::Duration;

use crate::child::LIMIT;
use crate::failure::Failure;
use crate::report::Report;
use crate::stage::{Field, PLANS, PLANS_A_CALL, Stage};
use crate::units::{Unit, mebibytes, microseconds};

/// The pause after a start, until memory that is only needed for a moment has been given back.
const SETTLE: Duration = Duration::from_secs(3);

/// The results of starts into a backlog.
#[derive(Debug, Default)]
struct Samples {
    seconds: Vec<f64>,
    cpu: Vec<f64>,
    calls: Vec<f64>,
    writes: Vec<f64>,
    peak: Vec<f64>,
}

/// Starts into a backlog, and then often into what it has left behind: a namespace full of settled runs.
pub async fn measure(
    stage: &Stage,
    report: &mut Report,
    runs: usize,
    rounds: usize,
    starts: usize,
) -> Result<(), Failure> {
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    let mut left = None;
    for _ in 0..rounds {
        left = Some(backlog(stage, runs, &mut ours).await?);
        bare_list_and_writes(stage, runs, &mut floor).await?;
    }
    let mut add = |what, unit, samples| report.add("restart", what, unit, Some(runs), samples);
    add("start to last status", Unit::Seconds, (ours.seconds, floor.seconds));
    add("CPU a stop, start included", Unit::Microseconds, (ours.cpu, floor.cpu));
    let least = (runs * PLANS).div_ceil(PLANS_A_CALL);
    add("calls", Unit::Count, (ours.calls, vec![least as f64]));
    add("status writes a run", Unit::Count, (ours.writes, vec![1.0]));
    add("memory, peak with all runs being stopped", Unit::Mebibytes, (ours.peak, Vec::new()));
    match left {
        Some(field) => start(stage, report, &field, runs, starts).await,
        None => Ok(()),
    }
}

/// Starts with nothing there at all.
pub async fn empty(stage: &Stage, report: &mut Report, starts: usize) -> Result<(), Failure> {
    start(stage, report, &stage.field("empty").await?, 0, starts).await
}

async fn backlog(stage: &Stage, runs: usize, samples: &mut Samples) -> Result<Field, Failure> {
    let field = stage.field("restart").await?;
    stage.create(&field, runs, true).await?;
    stage.simulator.forget_requests();
    // Nothing but creations so far; each of them is one.
    let before = field.board.wait(|counts| counts.events >= runs, LIMIT).await?;
    let operator = stage.start_operator(&[&field.namespace])?;
    let counts = field.board.wait(|counts| counts.stopped == runs, LIMIT).await?;
    let took = field.board.last_stopped()?.saturating_duration_since(operator.started());
    let usage = operator.usage()?;
    samples.seconds.push(took.as_secs_f64());
    samples.cpu.push(microseconds(usage.cpu) / runs as f64);
    samples.calls.push(stage.simulator.calls().len() as f64);
    samples.writes.push((counts.events - before.events) as f64 / runs as f64);
    samples.peak.push(mebibytes(usage.peak));
    Ok(field)
}

async fn bare_list_and_writes(stage: &Stage, runs: usize, samples: &mut Samples) -> Result<(), Failure> {
    let field = stage.field("restart-floor").await?;
    stage.create(&field, runs, true).await?;
    let mut floor =
        stage.start_floor(&["write", "--namespace", &field.namespace, "--status", &stage.status])?;
    field.board.wait(|counts| counts.stopped == runs, LIMIT).await?;
    let took = field.board.last_stopped()?.saturating_duration_since(floor.started());
    floor.ready().await?;
    let cpu = floor.done().await?;
    floor.kill().await?;
    samples.seconds.push(took.as_secs_f64());
    samples.cpu.push(microseconds(cpu) / runs as f64);
    Ok(())
}

async fn start(
    stage: &Stage,
    report: &mut Report,
    field: &Field,
    runs: usize,
    starts: usize,
) -> Result<(), Failure> {
    let (mut ready, mut listed, mut idle, mut peak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..starts {
        let operator = stage.start_operator(&[&field.namespace])?;
        ready.push(operator.ready().await?.as_secs_f64());
        tokio::time::sleep(SETTLE).await;
        let usage = operator.usage()?;
        idle.push(mebibytes(usage.resident));
        peak.push(mebibytes(usage.peak));
        drop(operator);
        let mut floor = stage.start_floor(&["list", "--namespace", &field.namespace])?;
        floor.done().await?;
        listed.push(floor.started().elapsed().as_secs_f64());
        floor.kill().await?;
    }
    let mut add = |what, unit, samples| report.add("start", what, unit, Some(runs), samples);
    add("start to ready, beside a bare list", Unit::Seconds, (ready, listed));
    add("memory, peak beside idle", Unit::Mebibytes, (peak, idle.clone()));
    add("memory, idle", Unit::Mebibytes, (idle, Vec::new()));
    Ok(())
}
