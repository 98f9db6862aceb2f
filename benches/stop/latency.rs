//! One stop at a time: from sending the patch to the gateway's call, and to the status.

use std::time::{Duration, Instant};

use crate::api;
use crate::child::Floor;
use crate::failure::Failure;
use crate::report::Report;
use crate::stage::{Field, Stage, TOKEN, name};
use crate::units::{Unit, milliseconds};

/// A stop takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Long against a batch's window and all that follows a stop, so that each finds everybody idle.
pub const PAUSE: Duration = Duration::from_millis(120);

/// How long one stop took, in milliseconds.
#[derive(Debug, Default)]
pub struct Samples {
    pub called: Vec<f64>,
    pub stopped: Vec<f64>,
}

/// The operator and its floor in turn, in namespaces of their own.
pub async fn measure(stage: &Stage, report: &mut Report, samples: usize) -> Result<(), Failure> {
    let (field, plans) = stage.rested("idle", samples).await?;
    let (floor_field, floor_plans) = stage.rested("idle-floor", samples).await?;
    let operator = stage.start_operator(&[&field.namespace])?;
    operator.ready().await?;
    let mut floor = answering_floor(stage, &floor_field)?;
    floor.ready().await?;
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    for index in 0..samples {
        let mut turns = [(&field, plans[index], &mut ours), (&floor_field, floor_plans[index], &mut bare)];
        // Neither profits from always being the one that comes second.
        if index % 2 == 1 {
            turns.reverse();
        }
        for (field, plan, samples) in turns {
            tokio::time::sleep(PAUSE).await;
            stop_one(stage, field, index, plan, samples).await?;
        }
    }
    floor.kill().await?;
    report.add("idle", "patch sent to call", Unit::Milliseconds, None, (ours.called, bare.called));
    report.add("idle", "patch sent to status", Unit::Milliseconds, None, (ours.stopped, bare.stopped));
    Ok(())
}

/// A floor that calls the gateway and writes the status of whatever wants stopping.
pub fn answering_floor(stage: &Stage, field: &Field) -> Result<Floor, Failure> {
    let url = stage.simulator.url();
    let arguments = ["answer", "--namespace", &field.namespace, "--gateway", &url, "--token", TOKEN];
    let status = ["--status", &stage.status];
    stage.start_floor(&[&arguments[..], &status[..]].concat())
}

/// Stops the runs of these plans one after the other, with a pause before each.
pub async fn stop_each(
    stage: &Stage,
    field: &Field,
    plans: &[i64],
    pause: Duration,
    samples: &mut Samples,
) -> Result<(), Failure> {
    for (index, plan) in plans.iter().enumerate() {
        tokio::time::sleep(pause).await;
        stop_one(stage, field, index, *plan, samples).await?;
    }
    Ok(())
}

/// Stops one run and waits until it is seen stopped.
async fn stop_one(
    stage: &Stage,
    field: &Field,
    index: usize,
    plan: i64,
    samples: &mut Samples,
) -> Result<(), Failure> {
    stage.simulator.forget_requests();
    let sent = Instant::now();
    api::stop(&stage.client, &field.namespace, &name(index)).await?;
    let stopped = field.board.stopped(&name(index), LIMIT).await?;
    let called = stage.called_at(plan).ok_or("a run is stopped though the gateway was never called")?;
    samples.called.push(milliseconds(called - sent));
    samples.stopped.push(milliseconds(stopped - sent));
    Ok(())
}
