//! One run of one namespace while another namespace stops thousands.

use std::time::Duration;

use crate::child::LIMIT;
use crate::failure::Failure;
use crate::latency::{Samples, answering_floor, stop_each};
use crate::report::Report;
use crate::stage::{Field, Stage};
use crate::units::Unit;

/// Between two stops of the small namespace.
const PAUSE: Duration = Duration::from_millis(100);

/// Stops at most this many of the small namespace's runs: more than there is time for.
const SMALL: usize = 150;

pub async fn measure(stage: &Stage, report: &mut Report, runs: usize) -> Result<(), Failure> {
    let ours = beside(stage, runs, false).await?;
    let bare = beside(stage, runs, true).await?;
    let mut add = |what, samples| report.add("fairness", what, Unit::Milliseconds, Some(runs), samples);
    add("patch sent to call, beside a burst", (ours.called, bare.called));
    add("patch sent to status, beside a burst", (ours.stopped, bare.stopped));
    let ours = behind(stage, runs).await?;
    let mut add = |what, samples| report.add("fairness", what, Unit::Milliseconds, Some(runs), samples);
    add("patch sent to call, behind a backlog", (ours.called, Vec::new()));
    add("patch sent to status, behind a backlog", (ours.stopped, Vec::new()));
    Ok(())
}

/// While clients patch all runs of the large namespace. The small one is served by the same operator, or by a floor of
/// its own that has nothing else to do: what the load of the API server costs anybody.
async fn beside(stage: &Stage, runs: usize, alone: bool) -> Result<Samples, Failure> {
    let (large, _) = stage.rested("large", runs).await?;
    let (small, plans) = stage.rested("small", SMALL).await?;
    let mut namespaces = vec![large.namespace.as_str()];
    let mut floor = None;
    if alone {
        floor.insert(answering_floor(stage, &small)?).ready().await?;
    } else {
        namespaces.push(&small.namespace);
    }
    let operator = stage.start_operator(&namespaces)?;
    operator.ready().await?;
    let busy = async {
        stage.stop_all(&large, runs).await?;
        large.board.wait(|counts| counts.stopped == runs, LIMIT).await.map(drop)
    };
    let samples = while_busy(stage, &small, &plans, busy).await?;
    if let Some(floor) = floor {
        floor.kill().await?;
    }
    Ok(samples)
}

/// While an operator works through a large namespace that was waiting when it started.
async fn behind(stage: &Stage, runs: usize) -> Result<Samples, Failure> {
    let large = stage.field("backlog").await?;
    stage.create(&large, runs, true).await?;
    let (small, plans) = stage.rested("behind", SMALL).await?;
    let operator = stage.start_operator(&[&large.namespace, &small.namespace])?;
    operator.ready().await?;
    let busy = async { large.board.wait(|counts| counts.stopped == runs, LIMIT).await.map(drop) };
    while_busy(stage, &small, &plans, busy).await
}

/// Stops one run of the small namespace after the other for as long as the large one is busy.
async fn while_busy(
    stage: &Stage,
    small: &Field,
    plans: &[i64],
    busy: impl Future<Output = Result<(), Failure>>,
) -> Result<Samples, Failure> {
    let mut samples = Samples::default();
    let one_by_one = async {
        stop_each(stage, small, plans, PAUSE, &mut samples).await?;
        std::future::pending().await
    };
    tokio::select! {
        done = busy => done?,
        failed = one_by_one => return failed,
    }
    Ok(samples)
}
