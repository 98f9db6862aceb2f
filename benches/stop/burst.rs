//! Many runs, stopped by sixteen clients at once.
//!
//! There are three floors: a bare watch that writes the same status, which shows the operator's own costs; the bare write
//! loop; and a bare watch that writes a lean status, which shows what the status costs the cluster.

use std::time::Duration;

use crate::child::LIMIT;
use crate::cluster::{self, Work};
use crate::failure::Failure;
use crate::process::Usage;
use crate::report::Report;
use crate::stage::{Field, Stage};
use crate::units::{Unit, mebibytes, microseconds, milliseconds};

/// The results of bursts.
#[derive(Debug, Default)]
pub struct Samples {
    tail: Vec<f64>,
    rate: Vec<f64>,
    cpu: Vec<f64>,
    calls: Vec<f64>,
    ids: Vec<f64>,
    writes: Vec<f64>,
    peak: Vec<f64>,
    pub cluster: cluster::Samples,
}

pub async fn measure(stage: &Stage, report: &mut Report, runs: usize, rounds: usize) -> Result<(), Failure> {
    let (mut ours, mut bare, mut lean) = (Samples::default(), Samples::default(), Samples::default());
    let mut loops = Vec::new();
    for _ in 0..rounds {
        operator(stage, runs, &mut ours).await?;
        floor(stage, runs, &mut bare).await?;
        lean_floor(stage, runs, &mut lean).await?;
        loops.push(write_loop(stage, runs).await?);
    }
    let mut add = |what, unit, samples| report.add("burst", what, unit, Some(runs), samples);
    add("last patch answered to last status", Unit::Milliseconds, (ours.tail, bare.tail));
    add("stops", Unit::PerSecond, (ours.rate.clone(), bare.rate));
    add("stops, beside a lean status", Unit::PerSecond, (ours.rate, lean.rate));
    add("CPU a stop, beside watch and write", Unit::Microseconds, (ours.cpu.clone(), bare.cpu));
    add("CPU a stop, beside the bare write loop", Unit::Microseconds, (ours.cpu, loops));
    add("calls", Unit::Count, (ours.calls, Vec::new()));
    add("ids a call", Unit::Count, (ours.ids, Vec::new()));
    add("status writes a run", Unit::Count, (ours.writes, bare.writes));
    add("memory, peak", Unit::Mebibytes, (ours.peak, Vec::new()));
    ours.cluster.report(&bare.cluster, lean.cluster, report, runs);
    Ok(())
}

async fn operator(stage: &Stage, runs: usize, samples: &mut Samples) -> Result<(), Failure> {
    let (field, _) = stage.rested("burst", runs).await?;
    let operator = stage.start_operator(&[&field.namespace])?;
    operator.ready().await?;
    stage.simulator.forget_requests();
    let cpu = operator.usage()?.cpu;
    let after = stop_all(stage, &field, runs, samples, || operator.usage()).await?;
    samples.cpu.push(microseconds(after.cpu - cpu) / runs as f64);
    samples.peak.push(mebibytes(after.peak));
    let calls = stage.simulator.calls();
    let ids: usize = calls.iter().map(|call| call.plans.len()).sum();
    samples.calls.push(calls.len() as f64);
    samples.ids.push(ids as f64 / calls.len() as f64);
    Ok(())
}

/// A bare watch that writes the same statuses.
async fn floor(stage: &Stage, runs: usize, samples: &mut Samples) -> Result<(), Failure> {
    let (field, _) = stage.rested("burst-floor", runs).await?;
    answer(stage, &field, runs, &stage.status, samples).await
}

/// A bare watch that writes the least that tells the same. At rest the runs have a lean status, too.
async fn lean_floor(stage: &Stage, runs: usize, samples: &mut Samples) -> Result<(), Failure> {
    let field = stage.field("burst-lean").await?;
    stage.create(&field, runs, false).await?;
    write_all(stage, &field, &stage.lean_rest).await?;
    answer(stage, &field, runs, &stage.lean, samples).await
}

pub async fn answer(
    stage: &Stage,
    field: &Field,
    runs: usize,
    status: &str,
    samples: &mut Samples,
) -> Result<(), Failure> {
    let mut floor = stage.start_floor(&["answer", "--namespace", &field.namespace, "--status", status])?;
    let cpu = floor.ready().await?;
    let after = stop_all(stage, field, runs, samples, || floor.usage()).await?;
    samples.cpu.push(microseconds(after.cpu.saturating_sub(cpu)) / runs as f64);
    floor.kill().await
}

/// Stops every run, and notes how long that took and what was written. Yields the `usage` of the process that did it,
/// at the moment when the last one was done.
async fn stop_all(
    stage: &Stage,
    field: &Field,
    runs: usize,
    samples: &mut Samples,
    usage: impl Fn() -> Result<Usage, Failure>,
) -> Result<Usage, Failure> {
    let (before, work) = (field.board.counts(), Work::so_far(stage)?);
    let (begun, patched) = stage.stop_all(field, runs).await?;
    let counts = field.board.wait(|counts| counts.stopped == runs, LIMIT).await?;
    let after = usage()?;
    samples.cluster.note(stage, field, runs, work).await?;
    let last = field.board.last_stopped()?;
    samples.tail.push(milliseconds(last.saturating_duration_since(patched)));
    samples.rate.push(runs as f64 / (last - begun).as_secs_f64());
    // Every run changed once by its patch; whatever else changed was written by whoever stopped it.
    samples.writes.push((counts.events - before.events - runs) as f64 / runs as f64);
    Ok(after)
}

/// Nothing but the writes, as fast as they go: yields the microseconds that one takes on a processor.
async fn write_loop(stage: &Stage, runs: usize) -> Result<f64, Failure> {
    let field = stage.field("write-loop").await?;
    stage.create(&field, runs, false).await?;
    Ok(microseconds(write_all(stage, &field, &stage.status).await?) / runs as f64)
}

/// Writes this status of every run, and yields the time on a processor that this took.
pub async fn write_all(stage: &Stage, field: &Field, status: &str) -> Result<Duration, Failure> {
    let mut floor = stage.start_floor(&["write", "--namespace", &field.namespace, "--status", status])?;
    let listed = floor.ready().await?;
    let written = floor.done().await?;
    floor.kill().await?;
    Ok(written.saturating_sub(listed))
}
