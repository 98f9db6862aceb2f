//! Many runs, stopped by sixteen clients at once.

use std::time::Duration;

use crate::Failure;
use crate::child::{Floor, LIMIT, Operator};
use crate::latency::milliseconds;
use crate::report::{Report, Unit};
use crate::stage::Stage;

/// What one burst came to.
#[derive(Debug, Default)]
struct Samples {
    tail: Vec<f64>,
    rate: Vec<f64>,
    cpu: Vec<f64>,
    calls: Vec<f64>,
    ids: Vec<f64>,
    writes: Vec<f64>,
    peak: Vec<f64>,
}

pub async fn measure(stage: &Stage, report: &mut Report, runs: usize, rounds: usize) -> Result<(), Failure> {
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    let mut loops = Vec::new();
    for _ in 0..rounds {
        operator(stage, runs, &mut ours).await?;
        floor(stage, runs, &mut bare).await?;
        loops.push(write_loop(stage, runs).await?);
    }
    let mut add = |what, unit, samples| report.add("burst", what, unit, Some(runs), samples);
    add("last patch answered to last status", Unit::Milliseconds, (ours.tail, bare.tail));
    add("stops", Unit::PerSecond, (ours.rate, bare.rate));
    add("CPU a stop, beside watch and write", Unit::Microseconds, (ours.cpu.clone(), bare.cpu));
    add("CPU a stop, beside the bare write loop", Unit::Microseconds, (ours.cpu, loops));
    add("calls", Unit::Count, (ours.calls, Vec::new()));
    add("ids a call", Unit::Count, (ours.ids, Vec::new()));
    add("status writes a run", Unit::Count, (ours.writes, bare.writes));
    add("memory, peak", Unit::Mebibytes, (ours.peak, Vec::new()));
    Ok(())
}

async fn operator(stage: &Stage, runs: usize, samples: &mut Samples) -> Result<(), Failure> {
    let (field, _) = stage.rested("burst", runs).await?;
    let operator = Operator::start(stage, &[&field.namespace])?;
    operator.ready().await?;
    stage.simulator.forget_requests();
    let before = (operator.usage()?, field.board.counts());
    let (begun, patched) = stage.stop_all(&field, runs).await?;
    let counts = field.board.wait(|counts| counts.stopped == runs, LIMIT).await?;
    let after = operator.usage()?;
    let last = field.board.last_stopped().ok_or("no run was stopped")?;
    samples.tail.push(milliseconds(last.saturating_duration_since(patched)));
    samples.rate.push(runs as f64 / (last - begun).as_secs_f64());
    samples.cpu.push(microseconds(after.cpu - before.0.cpu) / runs as f64);
    samples.peak.push(mebibytes(after.peak));
    let calls = stage.simulator.calls();
    let ids: usize = calls.iter().map(|call| call.plans.len()).sum();
    samples.calls.push(calls.len() as f64);
    samples.ids.push(ids as f64 / calls.len() as f64);
    // Every run changed once by its patch; whatever else changed was the operator's.
    samples.writes.push((counts.events - before.1.events - runs) as f64 / runs as f64);
    Ok(())
}

/// A bare watch that writes the same statuses.
async fn floor(stage: &Stage, runs: usize, samples: &mut Samples) -> Result<(), Failure> {
    let (field, _) = stage.rested("burst-floor", runs).await?;
    let status = &stage.status;
    let mut floor = Floor::start(stage, &["answer", "--namespace", &field.namespace, "--status", status])?;
    let cpu = floor.ready().await?;
    let before = field.board.counts();
    let (begun, patched) = stage.stop_all(&field, runs).await?;
    let counts = field.board.wait(|counts| counts.stopped == runs, LIMIT).await?;
    let after = floor.usage()?;
    let last = field.board.last_stopped().ok_or("no run was stopped")?;
    samples.tail.push(milliseconds(last.saturating_duration_since(patched)));
    samples.rate.push(runs as f64 / (last - begun).as_secs_f64());
    samples.cpu.push(microseconds(after.cpu.saturating_sub(cpu)) / runs as f64);
    samples.writes.push((counts.events - before.events - runs) as f64 / runs as f64);
    floor.kill().await
}

/// Nothing but the writes, as fast as they go: yields the microseconds that one takes on a processor.
async fn write_loop(stage: &Stage, runs: usize) -> Result<f64, Failure> {
    let field = stage.field("write-loop").await?;
    stage.create(&field, runs, false).await?;
    let status = &stage.status;
    let mut floor = Floor::start(stage, &["write", "--namespace", &field.namespace, "--status", status])?;
    let listed = floor.ready().await?;
    let written = floor.done().await?;
    floor.kill().await?;
    Ok(microseconds(written.saturating_sub(listed)) / runs as f64)
}

pub fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
