//! The loop of a term: waits until something wakes it, and handles that.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Sleep, sleep_until};

use super::background::Background;
use super::effects::{Done, Effects};
use super::error::OperatorError;
use super::limits::{DRAIN, INPUTS, INPUTS_PER_TICK};
use super::signals::Signals;
use super::term::Term;
use crate::kubernetes::Fence;
use crate::machine::{Input, Limits};
use crate::telemetry::Health;

/// The reason for which a term ended.
pub(super) enum TermEnd {
    Asked,
    LeaseLost,
}

/// Everything that a term waits for. Its fields are dropped in their order: the term, which acts, comes first.
pub(super) struct TermLoop<'a> {
    term: Term,
    watches: JoinSet<()>,
    fence: Fence,
    health: Health,
    /// Inputs from the watches, and those of them that were taken out to be handled next.
    watched: mpsc::Receiver<Input>,
    inputs: Vec<Input>,
    /// Results of effects, in the same way.
    finished: mpsc::UnboundedReceiver<Done>,
    results: Vec<Done>,
    signals: &'a mut Signals,
    background: &'a mut Background,
    alarm: Pin<Box<Sleep>>,
    /// The time at which the process was asked to stop.
    asked_at: Option<tokio::time::Instant>,
}

/// Something that wakes the loop.
enum Wakeup {
    /// A signal that asks to stop.
    Signal,
    LeaseLost,
    /// Effects have ended: their results have been taken out.
    EffectsFinished,
    /// Watches have told of something: their inputs have been taken out.
    InputsWatched,
    /// The task of an effect has ended.
    TaskEnded(Result<(), JoinError>),
    /// A watch has ended, which it does not do by itself.
    WatchEnded(Result<(), JoinError>),
    /// A task in the background has ended, which it does not do by itself.
    BackgroundEnded(Result<&'static str, JoinError>),
    /// The machine wants to be woken, or the heartbeat is due.
    Timer,
    /// The end was asked for long ago.
    PatienceOver,
}

// === impl TermLoop ===

impl<'a> TermLoop<'a> {
    /// `watch` begins the watches, which send inputs.
    pub(super) fn new(
        effects: &Arc<Effects>,
        health: &Health,
        limits: Limits,
        watch: impl FnOnce(mpsc::Sender<Input>) -> JoinSet<()>,
        signals: &'a mut Signals,
        background: &'a mut Background,
    ) -> Self {
        let (inputs, watched) = mpsc::channel(INPUTS);
        let watches = watch(inputs);
        // The machine bounds this channel: it never has more effects under way than its limits allow.
        let (done, finished) = mpsc::unbounded_channel();
        let term = Term::new(effects.clone(), limits, done);
        let alarm = Box::pin(sleep_until(term.wake_at()));
        Self {
            term,
            watches,
            fence: effects.fence.clone(),
            health: health.clone(),
            watched,
            inputs: Vec::new(),
            finished,
            results: Vec::new(),
            signals,
            background,
            alarm,
            asked_at: None,
        }
    }

    /// Runs until the term ends.
    pub(super) async fn run(mut self) -> Result<TermEnd, OperatorError> {
        loop {
            // The alarm is only ever set to an earlier time here: setting it costs more than to wake once for nothing.
            let wake = self.term.wake_at();
            if wake < self.alarm.deadline() {
                self.alarm.as_mut().reset(wake);
            }
            let wakeup = self.wakeup().await;
            match self.handle(wakeup).await? {
                None => self.health.beat(Instant::now()),
                Some(TermEnd::Asked) => return Ok(TermEnd::Asked),
                Some(TermEnd::LeaseLost) => {
                    self.drop_all().await;
                    return Ok(TermEnd::LeaseLost);
                }
            }
        }
    }

    /// Waits for the next wakeup. Of several that are ready, the first in this order counts.
    async fn wakeup(&mut self) -> Wakeup {
        let is_asked = self.asked_at.is_some();
        tokio::select! {
            biased;
            () = self.signals.next() => Wakeup::Signal,
            () = self.fence.lost() => Wakeup::LeaseLost,
            1.. = self.finished.recv_many(&mut self.results, INPUTS_PER_TICK) => Wakeup::EffectsFinished,
            1.. = self.watched.recv_many(&mut self.inputs, INPUTS_PER_TICK), if !is_asked => Wakeup::InputsWatched,
            Some(ended) = self.term.tasks.join_next() => Wakeup::TaskEnded(ended),
            Some(ended) = self.watches.join_next(), if !is_asked => Wakeup::WatchEnded(ended),
            Some(ended) = self.background.ended() => Wakeup::BackgroundEnded(ended),
            () = &mut self.alarm => Wakeup::Timer,
            () = patience_over(self.asked_at) => Wakeup::PatienceOver,
        }
    }

    /// Handles what has happened. Yields the end of the term if this was it.
    async fn handle(&mut self, wakeup: Wakeup) -> Result<Option<TermEnd>, OperatorError> {
        match wakeup {
            Wakeup::Signal if self.asked_at.is_some() => {
                tracing::warn!("a second signal: ending at once");
                return Ok(Some(TermEnd::Asked));
            }
            Wakeup::Signal => self.begin_drain().await,
            // The end was asked for, so there is no other term.
            Wakeup::LeaseLost if self.asked_at.is_some() => {
                tracing::warn!("lost the Lease: what was under way is dropped");
                return Ok(Some(TermEnd::Asked));
            }
            Wakeup::LeaseLost => return Ok(Some(TermEnd::LeaseLost)),
            Wakeup::EffectsFinished => self.term.finished(self.results.drain(..)),
            Wakeup::InputsWatched => self.term.feed(self.inputs.drain(..)),
            Wakeup::TaskEnded(ended) => {
                ended?;
                while let Some(ended) = self.term.tasks.try_join_next() {
                    ended?;
                }
            }
            Wakeup::WatchEnded(ended) => {
                ended?;
                return Err(OperatorError::Ended("a watch".to_owned()));
            }
            Wakeup::BackgroundEnded(ended) => return Err(OperatorError::Ended(ended?.to_owned())),
            Wakeup::Timer => {
                self.term.feed([Input::Wake]);
                self.alarm.as_mut().reset(self.term.wake_at());
            }
            Wakeup::PatienceOver => {
                tracing::warn!("ending although something is still under way");
                return Ok(Some(TermEnd::Asked));
            }
        }
        Ok(self.term.is_drained().then_some(TermEnd::Asked))
    }

    /// Begins nothing new from now on, and finishes what ends soon.
    async fn begin_drain(&mut self) {
        tracing::info!("asked to stop: finishing what ends within seconds");
        self.health.set_ready(false, "stopping");
        self.asked_at = Some(tokio::time::Instant::now());
        self.watches.shutdown().await;
        self.term.feed([Input::Drain]);
    }

    /// Drops the term first, since it acts; then waits for the watches, which could still report on themselves.
    async fn drop_all(self) {
        let Self { term, mut watches, .. } = self;
        drop(term);
        watches.shutdown().await;
    }
}

/// Waits until the drain that was asked for should long have ended.
async fn patience_over(asked_at: Option<tokio::time::Instant>) {
    match asked_at {
        Some(at) => sleep_until(at + DRAIN).await,
        None => std::future::pending().await,
    }
}
