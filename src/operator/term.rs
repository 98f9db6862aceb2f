//! A term of leadership: one machine, and the tasks that carry out its effects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connections::Connections;
use super::effects::{Done, Effects, contained};
use super::limits::{BETWEEN_COUNTS, HEARTBEAT};
use crate::kubernetes;
use crate::machine::{
    Answer, CredentialRead, Effect, Input, Limits, Machine, Millis, NoAnswer, Now, ObjectView, Reached,
    RunsPage, Tally, WriteResult,
};

/// A term of leadership: the machine and all that runs for it.
pub(super) struct Term {
    effects: Arc<Effects>,
    machine: Machine,
    started: Instant,
    connections: Connections,
    /// There is one task for each effect under way.
    pub(super) tasks: JoinSet<()>,
    done: mpsc::UnboundedSender<Done>,
    drained: bool,
    /// When the runs that wait were counted last.
    counted_at: Option<Instant>,
}

impl Drop for Term {
    /// What this replica did is not what it does.
    fn drop(&mut self) {
        self.effects.metrics.stand_by();
    }
}

// === impl Term ===

impl Term {
    pub(super) fn new(effects: Arc<Effects>, limits: Limits, done: mpsc::UnboundedSender<Done>) -> Self {
        // The wall clock and the process differ from replica to replica, and jitter needs no more than that.
        let seed = Timestamp::now().as_nanosecond() as u64 ^ u64::from(std::process::id());
        Self {
            effects,
            machine: Machine::new(limits, seed),
            started: Instant::now(),
            connections: Connections::default(),
            tasks: JoinSet::new(),
            done,
            drained: false,
            counted_at: None,
        }
    }

    /// The time at which the machine wants to be woken, or the heartbeat is due.
    pub(super) fn wake_at(&self) -> tokio::time::Instant {
        let heartbeat = tokio::time::Instant::now() + HEARTBEAT;
        match self.machine.wake_at() {
            Some(at) => heartbeat.min((self.started + Duration::from_millis(at.0)).into()),
            None => heartbeat,
        }
    }

    /// Tells whether every call and write has ended that was under way when the end was asked for.
    pub(super) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Hands inputs to the machine and carries out what it asks for.
    pub(super) fn feed(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let (metrics, trust) = (&self.effects.metrics, self.effects.trust_requested_by);
        let inputs = inputs.into_iter().map(|mut input| {
            match &mut input {
                Input::Unreadable(key, ..) => metrics.object_unreadable(key.kind()),
                // Anybody who may edit a run may write the name of somebody else.
                Input::Seen(ObjectView::Run(view)) | Input::Read(_, _, Some(view)) if !trust => {
                    view.requested_by = None;
                }
                _ => {}
            }
            input
        });
        let mut effects = Vec::new();
        let mono = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = Now { mono: Millis(mono), wall: kubernetes::now() };
        self.machine.handle(now, inputs, &mut effects);
        self.count(now);
        effects.into_iter().for_each(|effect| self.carry_out(effect));
    }

    /// Takes over the results of effects.
    pub(super) fn finished(&mut self, results: impl IntoIterator<Item = Done>) {
        let mut inputs = Vec::new();
        for done in results {
            match done {
                Done::Input(input) => inputs.push(input),
                Done::Connected { gateway, epoch, connection, read } => {
                    self.connections.keep(&gateway, epoch, *connection);
                    inputs.push(Input::Credential(gateway, epoch, read));
                }
            }
        }
        self.feed(inputs);
    }

    fn count(&mut self, now: Now) {
        let metrics = &self.effects.metrics;
        let Tally { settled, ended, panics, cleaned, let_go } = self.machine.take_tally();
        let_go.into_iter().for_each(|why| metrics.let_go(why));
        cleaned.into_iter().for_each(|(result, count)| metrics.cleaned(result, count));
        ended.into_iter().for_each(|(end, took)| metrics.stop_ended(end, took));
        if self.counted_at.is_none_or(|at| at.elapsed() >= BETWEEN_COUNTS) {
            metrics.set_census(&self.machine.census(now));
            self.counted_at = Some(Instant::now());
        }
        settled.into_iter().for_each(|outcome| metrics.plan_settled(outcome));
        (0..panics).for_each(|_| metrics.panic_contained());
        metrics.set_runs_active(self.machine.active());
        metrics.set_runs_set_aside(self.machine.set_aside());
        metrics.set_plans_queued(self.machine.queued());
        metrics.set_calls_in_flight(self.machine.in_flight());
        metrics.set_tasks(tokio::runtime::Handle::current().metrics().num_alive_tasks());
    }

    fn carry_out(&mut self, effect: Effect) {
        let effects = self.effects.clone();
        match effect {
            Effect::Post { call, gateway, credential, plans, last_on_connection } => {
                let connection = self.connections.get(&gateway, credential);
                // It may have been sent.
                let lost = Input::Answered(call, Answer::Lost(NoAnswer::Broken));
                self.spawn(effects.post(call, connection, plans, last_on_connection), lost);
            }
            Effect::Write { serial, to, body } => {
                let lost = Input::Wrote(serial, WriteResult::Failed { retry_after: None });
                self.spawn(effects.write(serial, to, body), lost);
            }
            Effect::ReadCredential { gateway, epoch, known_bad } => {
                let earlier = self.connections.reading_began(&gateway.key, epoch);
                let why = "the credential could not be prepared: the operator's log says why".to_owned();
                let failed = CredentialRead::Failed { why, retry_after: None };
                let lost = Input::Credential(gateway.key.clone(), epoch, failed);
                self.spawn(effects.read_credential(gateway, epoch, known_bad, earlier), lost);
            }
            Effect::TryConnection { gateway, credential, number } => {
                let connection = self.connections.get(&gateway, credential);
                let lost = Input::ConnectionTried(gateway.clone(), number, Reached::NotKnown);
                self.spawn(effects.try_connection(gateway, number, connection), lost);
            }
            Effect::Disconnect(gateway) => self.connections.disconnect(&gateway),
            Effect::ReadRun(key, serial) => {
                self.spawn(effects.read_run(key.clone(), serial), Input::Read(key, serial, None));
            }
            Effect::ListRuns { serial, namespace, selector, next } => {
                let why = "the list could not be read: the operator's log says why".to_owned();
                let lost = Input::RunsListed(serial, RunsPage::Failed { why, retry_after: None });
                self.spawn(effects.list_runs(serial, namespace, selector, next), lost);
            }
            Effect::Tell(event) => effects.tell(event),
            Effect::Drained => self.drained = true,
        }
    }

    /// Begins an effect. `lost`: how it ends if it panics.
    fn spawn(&mut self, effect: impl Future<Output = Done> + Send + 'static, lost: Input) {
        let (done, metrics) = (self.done.clone(), self.effects.metrics.clone());
        self.tasks.spawn(async move {
            // Only a term that is over takes no results.
            let _ = done.send(contained(effect, &metrics, lost).await);
        });
    }
}
