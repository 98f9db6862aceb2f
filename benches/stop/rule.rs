//! A cleanup rule that stops every run of a namespace at once, beside people who patch as many.
//!
//! The rule lists the runs in pages and marks each, so it shows whether it keeps the API server as busy as sixteen clients
//! do, and what it holds in memory meanwhile.

use std::time::Instant;

use serde_json::json;

use crate::child::LIMIT;
use crate::failure::Failure;
use crate::process::Usage;
use crate::report::Report;
use crate::stage::{Field, Stage};
use crate::units::{Unit, mebibytes, microseconds};

/// The results of one way to stop them.
#[derive(Debug, Default)]
struct Samples {
    rate: Vec<f64>,
    cpu: Vec<f64>,
    peak: Vec<f64>,
}

pub async fn measure(stage: &Stage, report: &mut Report, runs: usize, rounds: usize) -> Result<(), Failure> {
    let (mut ruled, mut patched) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        by_rule(stage, runs, &mut ruled).await?;
        by_patches(stage, runs, &mut patched).await?;
    }
    let mut add = |what, unit, samples| report.add("rule", what, unit, Some(runs), samples);
    add("stops by a rule, beside patches", Unit::PerSecond, (ruled.rate, patched.rate));
    add("CPU a stop by a rule, beside patches", Unit::Microseconds, (ruled.cpu, patched.cpu));
    add("memory, peak, beside patches", Unit::Mebibytes, (ruled.peak, patched.peak));
    Ok(())
}

async fn by_rule(stage: &Stage, runs: usize, samples: &mut Samples) -> Result<(), Failure> {
    let (field, _) = stage.rested("rule", runs).await?;
    let rule = json!({
        "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanCleanup", "metadata": {"name": "sweep"},
        "spec": {"schedule": "@yearly", "selector": {"matchLabels": {"load": "heavy"}}, "olderThanSeconds": 0,
            "action": "Stop", "maxPerRun": runs},
    });
    let kubectl = stage.plane.kubectl().in_namespace(&field.namespace);
    kubectl.apply(&rule.to_string())?;
    let operator = stage.start_operator_with(&[&field.namespace], &["--cleanup"])?;
    operator.ready().await?;
    let before = operator.usage()?;
    let begun = Instant::now();
    kubectl.run(&["annotate", "tpc", "sweep", "testinium.io/run-now=1"])?.success()?;
    field.board.wait(|counts| counts.stopped == runs, LIMIT).await?;
    samples.note(&field, begun, runs, &before, &operator.usage()?)
}

async fn by_patches(stage: &Stage, runs: usize, samples: &mut Samples) -> Result<(), Failure> {
    let (field, _) = stage.rested("patches", runs).await?;
    let operator = stage.start_operator(&[&field.namespace])?;
    operator.ready().await?;
    let before = operator.usage()?;
    let (begun, _) = stage.stop_all(&field, runs).await?;
    field.board.wait(|counts| counts.stopped == runs, LIMIT).await?;
    samples.note(&field, begun, runs, &before, &operator.usage()?)
}

// === impl Samples ===

impl Samples {
    fn note(
        &mut self,
        field: &Field,
        begun: Instant,
        runs: usize,
        before: &Usage,
        after: &Usage,
    ) -> Result<(), Failure> {
        let took = field.board.last_stopped()?.saturating_duration_since(begun);
        self.rate.push(runs as f64 / took.as_secs_f64());
        self.cpu.push(microseconds(after.cpu.saturating_sub(before.cpu)) / runs as f64);
        self.peak.push(mebibytes(after.peak));
        Ok(())
    }
}
