//! The shell: turns the machine's wheel, carries out its effects at once, and feeds back what happened.
//!
//! One task owns the machine; every effect is a task of its own that ends in exactly one input. There is no queue, no
//! retry and no limit here: the machine owns them. A machine lives as long as one term of leadership; losing the
//! Lease drops it, its watches and its calls, as a crash would.

mod connections;
mod term;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

use self::term::Term;
use crate::cli::RunArgs;
use crate::kubernetes::{self, ClientError, Clients, Elector, Events, Fence, Scope};
use crate::machine::{Input, Kind};
use crate::telemetry::{self, Health, Metrics, Pages};
use crate::testinium::{self, Network};

/// Why the operator ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("failed to listen for the {what}")]
    Bind { what: &'static str, source: io::Error },
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    #[error("a part of the operator ended unexpectedly: {0}")]
    Ended(String),
}

/// Inputs that wait for the machine: watches are held up beyond that, answers are not many more than calls.
const INPUTS: usize = 128;
/// Inputs that one turn of the wheel takes in, if so many wait.
const TURN: usize = 64;
/// How often the wheel turns when nothing happens, to show that it does.
const BEAT: Duration = Duration::from_secs(10);
/// How long finishing what is under way may take; the pod is given 45 s.
const DRAIN: Duration = Duration::from_secs(40);

/// Runs until SIGTERM or SIGINT, then finishes what is under way. A second signal ends at once.
pub async fn run(settings: RunArgs) -> Result<(), OperatorError> {
    testinium::install_crypto();
    let mut signals = Signals::new().map_err(OperatorError::Signals)?;
    let (health, metrics) = (Health::new(Instant::now()), Metrics::default());
    let mut parts = JoinSet::new();
    for (what, address, pages) in [
        ("health probes", settings.health_probe_bind_address, Pages::Health(health.clone())),
        ("metrics", settings.metrics_bind_address, Pages::Metrics(metrics.clone())),
    ] {
        let listener =
            telemetry::bind(address).await.map_err(|source| OperatorError::Bind { what, source })?;
        if let Some(listener) = listener {
            if let Ok(address) = listener.local_addr() {
                tracing::info!("serving the {what} on {address}");
            }
            parts.spawn(async move {
                telemetry::serve(listener, pages).await;
                what
            });
        }
    }
    let clients = Arc::new(Clients::infer().await?);
    let network = Network::new(settings.allow_gateway_cidr.clone(), clients.api_server_addresses().await);
    let (events, writer) = Events::new(clients.requests.clone(), metrics.clone());
    parts.spawn(async move {
        writer.await;
        "the writer of events"
    });
    let release = Arc::new(Notify::new());
    let (fence, elector) = elect(&clients, &settings, release.clone());
    let shell = Shell { clients, network: Arc::new(network), events, metrics, health, settings, fence };
    let ended = shell.terms(&mut signals, &mut parts, elector).await;
    if let Ok(Some(elector)) = ended {
        release.notify_one();
        elector.await.map_err(unexpected)?;
        return Ok(());
    }
    ended.map(drop)
}

/// The task that keeps the Lease, if there is one.
type Election = JoinHandle<()>;

/// Begins to stand for the Lease, unless there is none to be had.
fn elect(clients: &Clients, settings: &RunArgs, release: Arc<Notify>) -> (Fence, Option<Election>) {
    if !settings.leader_elect {
        return (Fence::open(), None);
    }
    let namespace = settings.lease_namespace.as_deref().unwrap_or(&clients.namespace);
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "testinium-operator".to_owned());
    // Never the same twice, so that a restarted process does not take itself for the one before.
    let identity = format!("{host}_{}_{:x}", std::process::id(), Timestamp::now().as_nanosecond());
    let elector = Elector::new(clients.watches.clone(), namespace, &settings.lease_name, identity);
    let fence = elector.fence();
    (fence, Some(tokio::spawn(elector.run(async move { release.notified().await }))))
}

/// What carries out effects. One for the whole process.
struct Shell {
    /// A copy of a client costs half a dozen allocations.
    clients: Arc<Clients>,
    network: Arc<Network>,
    events: Events,
    metrics: Metrics,
    health: Health,
    settings: RunArgs,
    /// Asked before every call and every write.
    fence: Fence,
}

/// Why a term ended.
enum End {
    Asked,
    LeaseLost,
}

// === impl Shell ===

impl Shell {
    /// One term after the other, until asked to stop. Yields the election, whose Lease is then to be given back.
    async fn terms(
        &self,
        signals: &mut Signals,
        parts: &mut JoinSet<&'static str>,
        mut elector: Option<Election>,
    ) -> Result<Option<Election>, OperatorError> {
        loop {
            self.metrics.set_leader(false);
            self.health.set_ready(elector.is_some(), "listing");
            self.health.watches_ended();
            let ended = tokio::select! {
                biased;
                () = signals.next() => return Ok(elector),
                () = self.stand_by() => None,
                ended = election(&mut elector) => Some(ended),
            };
            if let Some(ended) = ended {
                return Err(ended);
            }
            self.metrics.set_leader(true);
            self.health.set_ready(false, "listing");
            let ended = tokio::select! {
                ended = self.term(signals, parts) => ended?,
                ended = election(&mut elector) => return Err(ended),
            };
            match ended {
                End::Asked => return Ok(elector),
                End::LeaseLost => tracing::warn!("lost the Lease: what was under way is dropped"),
            }
        }
    }

    /// Waits for the Lease. The wheel stands still meanwhile, but not the process.
    async fn stand_by(&self) {
        while timeout(BEAT, self.fence.acquired()).await.is_err() {
            self.health.beat(Instant::now());
        }
    }

    /// A term of leadership, from the first list to the last write.
    async fn term(
        &self,
        signals: &mut Signals,
        parts: &mut JoinSet<&'static str>,
    ) -> Result<End, OperatorError> {
        let (inputs, mut watched) = mpsc::channel(INPUTS);
        // Not bounded by itself, but by what the machine asks for: it never has more under way than its limits.
        let (effects, mut finished) = mpsc::unbounded_channel();
        let mut watches = self.watch(inputs);
        let mut term = Term::new(self, effects);
        let mut asked_at: Option<tokio::time::Instant> = None;
        let (mut seen, mut done) = (Vec::new(), Vec::new());
        let mut alarm = pin!(sleep_until(term.wake_at()));
        loop {
            // Only ever set to an earlier time here: setting one costs more than to wake once for nothing.
            let wake = term.wake_at();
            if wake < alarm.deadline() {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                () = signals.next() => {
                    if asked_at.is_some() {
                        tracing::warn!("a second signal: ending at once");
                        return Ok(End::Asked);
                    }
                    tracing::info!("asked to stop: finishing what is under way");
                    self.health.set_ready(false, "stopping");
                    asked_at = Some(tokio::time::Instant::now());
                    watches.shutdown().await;
                    term.put([Input::Drain]);
                }
                () = self.fence.lost() => {
                    // First of all what acts; then what could still say something about the watches.
                    drop(term);
                    watches.shutdown().await;
                    return Ok(End::LeaseLost);
                }
                1.. = finished.recv_many(&mut done, TURN) => term.finished(done.drain(..)),
                1.. = watched.recv_many(&mut seen, TURN), if asked_at.is_none() => term.put(seen.drain(..)),
                Some(ended) = term.tasks.join_next() => {
                    ended.map_err(unexpected)?;
                    while let Some(ended) = term.tasks.try_join_next() {
                        ended.map_err(unexpected)?;
                    }
                }
                Some(ended) = watches.join_next(), if asked_at.is_none() => {
                    ended.map_err(unexpected)?;
                    return Err(OperatorError::Ended("a watch".to_owned()));
                }
                Some(ended) = parts.join_next() => {
                    return Err(OperatorError::Ended(ended.map_err(unexpected)?.to_owned()));
                }
                () = &mut alarm => {
                    term.put([Input::Wake]);
                    alarm.as_mut().reset(term.wake_at());
                }
                () = give_up(asked_at) => {
                    tracing::warn!("ending although something is still under way");
                    return Ok(End::Asked);
                }
            }
            self.health.beat(Instant::now());
            if term.drained {
                return Ok(End::Asked);
            }
        }
    }

    /// Watches both kinds, each in a task of its own.
    fn watch(&self, inputs: mpsc::Sender<Input>) -> JoinSet<()> {
        let mut watches = JoinSet::new();
        for kind in [Kind::Gateways, Kind::Runs] {
            let label_selector = match kind {
                Kind::Runs => self.settings.watch_label_selector.to_string(),
                Kind::Gateways => String::new(),
            };
            let namespaces = self.settings.watch_namespaces.clone();
            watches.spawn(kubernetes::watch(
                self.clients.watches.clone(),
                Scope { kind, namespaces, label_selector },
                inputs.clone(),
                self.health.clone(),
                self.metrics.clone(),
            ));
        }
        watches
    }
}

/// Waits for the election to end, which it does not do by itself.
async fn election(elector: &mut Option<Election>) -> OperatorError {
    match elector {
        Some(task) => match task.await {
            Ok(()) => OperatorError::Ended("the election".to_owned()),
            Err(error) => unexpected(error),
        },
        None => std::future::pending().await,
    }
}

/// The two signals that ask to stop.
struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits until what was asked for should long have been done.
async fn give_up(asked_at: Option<tokio::time::Instant>) {
    match asked_at {
        Some(at) => sleep_until(at + DRAIN).await,
        None => std::future::pending().await,
    }
}

fn unexpected(error: JoinError) -> OperatorError {
    // What a panic says has been logged, without what it quotes.
    let why = if error.is_panic() { "a task panicked" } else { "a task was cancelled" };
    OperatorError::Ended(why.to_owned())
}
