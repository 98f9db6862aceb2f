//! One stop at a time at a healthy gateway, while gateways of other namespaces that lead to the same site hang.

use std::collections::BTreeSet;
use std::time::Duration;

use testinium_testbed::simulator::{Reply, When};

use crate::failure::Failure;
use crate::latency::{PAUSE, Samples, stop_each};
use crate::report::Report;
use crate::stage::Stage;
use crate::units::Unit;

/// The numbers of gateways that hang, and the names of their figures.
const HANGING: [(usize, &str, &str); 5] = [
    (0, "patch sent to call, none hangs", "patch sent to status, none hangs"),
    (1, "patch sent to call, 1 hangs", "patch sent to status, 1 hangs"),
    (5, "patch sent to call, 5 hang", "patch sent to status, 5 hang"),
    (20, "patch sent to call, 20 hang", "patch sent to status, 20 hang"),
    (60, "patch sent to call, 60 hang", "patch sent to status, 60 hang"),
];

/// Until every call that hangs is under way.
const SETTLE: Duration = Duration::from_secs(3);

/// Each beside the figure of a quiet site.
pub async fn measure(stage: &Stage, report: &mut Report, samples: usize) -> Result<(), Failure> {
    let mut quiet: Option<(Vec<f64>, Vec<f64>)> = None;
    for (count, to_call, to_status) in HANGING {
        let Samples { called, stopped } = beside(stage, count, samples).await?;
        let (quiet_called, quiet_stopped) =
            quiet.get_or_insert_with(|| (called.clone(), stopped.clone())).clone();
        report.add("neighbours", to_call, Unit::Milliseconds, None, (called, quiet_called));
        report.add("neighbours", to_status, Unit::Milliseconds, None, (stopped, quiet_stopped));
    }
    Ok(())
}

async fn beside(stage: &Stage, count: usize, samples: usize) -> Result<Samples, Failure> {
    let (healthy, plans) = stage.rested("healthy", samples).await?;
    let (mut hanging, mut of_neighbours) = (Vec::new(), BTreeSet::new());
    for _ in 0..count {
        let field = stage.field("hanging").await?;
        let first = stage.create(&field, 1, true).await?;
        of_neighbours.extend(first);
        hanging.push(field);
    }
    let is_theirs = move |plans: &[i64]| plans.iter().any(|plan| of_neighbours.contains(plan));
    stage.simulator.script(When::always().matching(move |call| is_theirs(&call.plans)), Reply::never());
    let others = hanging.iter().map(|field| field.namespace.as_str());
    let namespaces: Vec<_> = others.chain([healthy.namespace.as_str()]).collect();
    let operator = stage.start_operator(&namespaces)?;
    operator.ready().await?;
    tokio::time::sleep(SETTLE).await;
    let mut took = Samples::default();
    stop_each(stage, &healthy, &plans, PAUSE, &mut took).await?;
    stage.simulator.clear_scripts();
    Ok(took)
}
