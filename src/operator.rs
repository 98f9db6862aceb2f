//! The driver: hands inputs to the machine, carries out its effects at once, and feeds back what happened.
//!
//! ```text
//! run -> Operator: one term of leadership after another
//!          -> TermLoop: one wakeup after another
//!               -> Term: inputs in, one turn of the machine, effects out
//!                    -> Effects: each in a task of its own, which ends in exactly one input
//! ```
//!
//! One task owns the machine. There is no queue, no retry and no limit here: the machine owns them. A machine lives as
//! long as one term of leadership; losing the Lease drops it, its watches and its calls, as a crash would.

mod background;
mod connections;
mod effects;
mod election;
mod error;
mod limits;
mod signals;
mod term;
mod term_loop;
mod terms;

use std::sync::Arc;
use std::time::Instant;

pub use self::error::OperatorError;

use self::background::Background;
use self::effects::Effects;
use self::election::Election;
use self::limits::LAST_EVENTS;
use self::signals::Signals;
use self::terms::Operator;
use crate::cli::RunArgs;
use crate::kubernetes::{ApiServer, Clients, Events};
use crate::telemetry::{Health, Metrics, Pages};
use crate::testinium::{self, Network};

/// Runs until SIGTERM or SIGINT, then finishes what ends within seconds. A second signal ends at once.
pub async fn run(settings: RunArgs) -> Result<(), OperatorError> {
    testinium::install_crypto();
    let mut signals = Signals::new().map_err(OperatorError::Signals)?;
    let (health, metrics) = (Health::new(Instant::now()), Metrics::default());
    let mut background = Background::default();
    for (what, address, pages) in [
        ("health probes", settings.health_probe_bind_address, Pages::Health(health.clone())),
        ("metrics", settings.metrics_bind_address, Pages::Metrics(Box::new(metrics.clone()))),
    ] {
        background.serve(what, address, pages).await?;
    }
    let clients = Clients::infer().await?;
    let api_server = ApiServer::find(&clients).await;
    let network = Arc::new(Network::new(settings.allow_gateway_cidr.clone(), api_server.addresses()));
    let guarded = network.clone();
    background.spawn(
        "the reader of the API server's endpoints",
        api_server.follow(move |addresses| guarded.know_api_server(addresses)),
    );
    let (events, writer) = Events::new(clients.requests.clone(), metrics.clone());
    background.spawn("the writer of events", writer);
    let mut election = Election::begin(&clients, &settings, &health, &metrics);
    let (fence, trust_requested_by) = (election.fence(), settings.trust_requested_by);
    let effects = Effects { clients, network, events, metrics, fence, trust_requested_by };
    let operator = Operator { effects: Arc::new(effects), health, settings };
    operator.terms(&mut signals, &mut background, &mut election).await?;
    // The queue of events ends with those who hand them in.
    drop(operator);
    let end = async {
        election.release().await?;
        background.finish(LAST_EVENTS).await;
        Ok(())
    };
    tokio::select! {
        biased;
        ended = end => ended,
        () = signals.next() => {
            tracing::warn!("a second signal: ending at once");
            Ok(())
        }
    }
}
