//! What each part of a stopped run's status, and of its definition, costs the API server in a burst.
//!
//! A floor writes the operator's status with one part left out, or with something else about it changed. All take turns,
//! so that an hour in which the machine is slow is every variant's.

use std::time::Duration;

use serde_json::Value;

use crate::burst::{Samples, answer, write_all};
use crate::failure::Failure;
use crate::report::Report;
use crate::stage::{Field, Stage};
use crate::units::Unit;
use crate::watch::Board;

/// The API server takes seconds until it serves a definition that was changed.
const SETTLE: Duration = Duration::from_secs(10);

/// What is different from a run as the operator leaves it.
#[derive(Clone, Copy)]
enum Change {
    /// A part of the status is left out, or shorter.
    Status(fn(&mut Value)),
    /// The least that tells the same, before the stop as well as after it.
    Lean,
    /// The run has no status before its stop.
    NotWrittenBefore,
    /// Two more watches of the same runs are open.
    MoreWatches,
    /// The definition has neither selectable fields nor printer columns.
    BareDefinition,
}

const VARIANTS: [(&str, Change); 9] = [
    ("whole", Change::Status(|_| {})),
    ("without messages", Change::Status(without_messages)),
    ("without status.stop", Change::Status(|status| leave_out(status, "stop"))),
    (
        "without startTime and summary",
        Change::Status(|status| {
            leave_out(status, "startTime");
            leave_out(status, "summary");
        }),
    ),
    ("with the condition Stopped alone", Change::Status(stopped_alone)),
    ("lean", Change::Lean),
    ("whole, not written before its stop", Change::NotWrittenBefore),
    ("whole, two more watches", Change::MoreWatches),
    ("whole, no selectable fields, no columns", Change::BareDefinition),
];

/// Each beside the whole. `other`: a stage whose definition may be changed. `size`: runs a round, and rounds.
pub async fn measure(
    stage: &Stage,
    other: &Stage,
    report: &mut Report,
    (runs, rounds): (usize, usize),
) -> Result<(), Failure> {
    strip_definition(other).await?;
    let mut samples: [Vec<f64>; VARIANTS.len()] = Default::default();
    // The first burst of a control plane is dearer than those that follow.
    for stage in [stage, other] {
        cost(stage, Change::Lean, runs).await?;
    }
    for round in 0..rounds {
        // Each round begins with another variant, so that none always has the same one before it.
        for turn in 0..VARIANTS.len() {
            let variant = (turn + 2 * round) % VARIANTS.len();
            let (_, change) = VARIANTS[variant];
            let stage = if matches!(change, Change::BareDefinition) { other } else { stage };
            samples[variant].push(cost(stage, change, runs).await?);
        }
    }
    let whole = samples[0].clone();
    for ((name, _), samples) in VARIANTS.iter().zip(samples) {
        report.add("parts", name, Unit::Milliseconds, Some(runs), (samples, whole.clone()));
    }
    Ok(())
}

/// The API server's milliseconds on a processor for each stop of a burst.
async fn cost(stage: &Stage, change: Change, runs: usize) -> Result<f64, Failure> {
    let mut status: Value = serde_json::from_str(&stage.status)?;
    if let Change::Status(alter) = change {
        alter(&mut status);
    }
    let whole = status.to_string();
    let (field, status) = match change {
        Change::Lean => {
            let field = unwritten(stage, runs).await?;
            write_all(stage, &field, &stage.lean_rest).await?;
            (field, &stage.lean)
        }
        Change::NotWrittenBefore => (unwritten(stage, runs).await?, &whole),
        Change::Status(_) | Change::MoreWatches | Change::BareDefinition => {
            (stage.rested("parts", runs).await?.0, &whole)
        }
    };
    let mut watches = Vec::new();
    if matches!(change, Change::MoreWatches) {
        for _ in 0..2 {
            watches.push(Board::open(&stage.client, &field.namespace).await?);
        }
    }
    let mut burst = Samples::default();
    answer(stage, &field, runs, status, &mut burst).await?;
    Ok(burst.cluster.api_server[0])
}

async fn unwritten(stage: &Stage, runs: usize) -> Result<Field, Failure> {
    let field = stage.field("parts").await?;
    stage.create(&field, runs, false).await?;
    Ok(field)
}

async fn strip_definition(stage: &Stage) -> Result<(), Failure> {
    let patch = r#"[{"op": "remove", "path": "/spec/versions/0/selectableFields"},
        {"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}]"#;
    let arguments = ["patch", "crd", "testplanruns.testinium.io", "--type=json", "-p", patch];
    stage.plane.kubectl().run(&arguments)?.success()?;
    tokio::time::sleep(SETTLE).await;
    Ok(())
}

fn leave_out(status: &mut Value, field: &str) {
    if let Value::Object(status) = status {
        status.remove(field);
    }
}

fn without_messages(status: &mut Value) {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["message"] = "".into();
    }
}

fn stopped_alone(status: &mut Value) {
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] == "Stopped");
    }
}
