//! The terms of leadership, one after another, until the process is asked to stop.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::background::Background;
use super::effects::Effects;
use super::election::Election;
use super::error::OperatorError;
use super::limits::HEARTBEAT;
use super::signals::Signals;
use super::term_loop::{TermEnd, TermLoop};
use crate::cli::RunArgs;
use crate::kubernetes::{self, Scope};
use crate::machine::{Extent, Input, Kind};
use crate::telemetry::Health;

/// Everything that outlives a term.
pub(super) struct Operator {
    pub(super) effects: Arc<Effects>,
    pub(super) health: Health,
    pub(super) settings: RunArgs,
}

// === impl Operator ===

impl Operator {
    /// Leads whenever the Lease is held, until asked to stop.
    pub(super) async fn terms(
        &self,
        signals: &mut Signals,
        background: &mut Background,
        election: &mut Election,
    ) -> Result<(), OperatorError> {
        let Effects { metrics, .. } = &*self.effects;
        loop {
            metrics.set_leader(false);
            self.health.set_ready(election.has_rivals(), "listing");
            self.health.watches_ended();
            tokio::select! {
                biased;
                () = signals.next() => return Ok(()),
                () = self.stand_by() => {}
                error = election.ended() => return Err(error),
            }
            metrics.set_leader(true);
            let scopes = self.scopes();
            self.health.watches_began(scopes.iter().map(|scope| (scope.extent.kind, scope.path())));
            self.health.set_ready(true, "");
            let end = tokio::select! {
                end = self.term(scopes, signals, background) => end?,
                error = election.ended() => return Err(error),
            };
            match end {
                TermEnd::Asked => return Ok(()),
                TermEnd::LeaseLost => tracing::warn!("lost the Lease: what was under way is dropped"),
            }
        }
    }

    /// Waits for the Lease. The machine stands still meanwhile, but not the process.
    async fn stand_by(&self) {
        while timeout(HEARTBEAT, self.effects.fence.acquired()).await.is_err() {
            self.health.beat(Instant::now());
        }
    }

    /// A term of leadership, from the first list to the last write.
    async fn term(
        &self,
        scopes: Vec<Scope>,
        signals: &mut Signals,
        background: &mut Background,
    ) -> Result<TermEnd, OperatorError> {
        let watch = |inputs| self.watch(scopes, inputs);
        TermLoop::new(&self.effects, &self.health, self.settings.limits(), watch, signals, background)
            .run()
            .await
    }

    /// All that is watched: each kind that is served, in each of the namespaces, or in all of them at once.
    fn scopes(&self) -> Vec<Scope> {
        let namespaces: BTreeSet<_> = self.settings.watch_namespaces.iter().collect();
        let extents = |kind| match namespaces.is_empty() {
            true => vec![Extent::all(kind)],
            false => namespaces.iter().map(|namespace| Extent::of(kind, namespace.as_str())).collect(),
        };
        let label_selector = |kind| match kind {
            Kind::Runs => self.settings.watch_label_selector.to_string(),
            Kind::Gateways | Kind::Cleanups => String::new(),
        };
        [Kind::Gateways, Kind::Runs]
            .into_iter()
            .chain(self.settings.cleanup.then_some(Kind::Cleanups))
            .flat_map(extents)
            .map(|extent| Scope { label_selector: label_selector(extent.kind), extent })
            .collect()
    }

    /// Watches each scope in a task of its own, and asks for a right beside them.
    fn watch(&self, scopes: Vec<Scope>, inputs: mpsc::Sender<Input>) -> JoinSet<()> {
        let mut watches = JoinSet::new();
        watches.spawn(kubernetes::tell_rights(self.effects.clients.requests.clone(), inputs.clone()));
        for scope in scopes {
            watches.spawn(kubernetes::watch(
                self.effects.clients.watches.clone(),
                scope,
                inputs.clone(),
                self.health.clone(),
                self.effects.metrics.clone(),
            ));
        }
        watches
    }
}
