//! The shell: turns the machine's wheel, carries out its effects at once, and feeds back what happened.
//!
//! One task owns the machine; every effect is a task of its own that ends in exactly one input. There is no queue, no
//! retry and no limit here: the machine owns them. A machine lives as long as one term of leadership; losing the
//! Lease drops it, its watches and its calls, as a crash would.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep_until;

use crate::cli::RunArgs;
use crate::gateway::{self, ConnectError, Connection, Network};
use crate::kubernetes::{self, ClientError, Clients, Events, Scope, secrets};
use crate::stop::machine::Machine;
use crate::stop::{
    Answer, CredentialRead, Effect, Epoch, GatewayKey, GatewayView, Input, Kind, Loss, Millis, Now,
    SecretVersion, WriteResult,
};
use crate::telemetry::{self, Health, Metrics, Pages};

/// Why the operator ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("failed to listen on {what}")]
    Bind { what: &'static str, source: io::Error },
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    #[error("a part of the operator ended unexpectedly: {0}")]
    Ended(String),
}

/// Inputs that wait for the machine: watches are held up beyond that, answers are not many more than calls.
const INPUTS: usize = 1024;
/// How often the wheel turns when nothing happens, to show that it does.
const BEAT: Duration = Duration::from_secs(10);
/// How long finishing what is under way may take; the pod is given 45 s.
const DRAIN: Duration = Duration::from_secs(40);

/// Runs until SIGTERM or SIGINT, then finishes what is under way. A second signal ends at once.
pub async fn run(settings: RunArgs) -> Result<(), OperatorError> {
    gateway::install_crypto();
    let mut signals = Signals::new().map_err(OperatorError::Signals)?;
    let (health, metrics) = (Health::new(Instant::now()), Metrics::default());
    let mut parts = JoinSet::new();
    for (what, address, pages) in [
        ("the health probes' address", settings.health_probe_bind_address, Pages::Health(health.clone())),
        ("the metrics' address", settings.metrics_bind_address, Pages::Metrics(metrics.clone())),
    ] {
        let listener =
            telemetry::bind(address).await.map_err(|source| OperatorError::Bind { what, source })?;
        if let Some(listener) = listener {
            parts.spawn(async move {
                telemetry::serve(listener, pages).await;
                what
            });
        }
    }
    let clients = Clients::infer().await?;
    let network = Network::new(settings.allow_gateway_cidr.clone(), clients.api_server_addresses().await);
    let (events, writer) = Events::new(clients.requests.clone(), metrics.clone());
    parts.spawn(async move {
        writer.await;
        "the writer of events"
    });
    let shell = Shell { clients, network: Arc::new(network), events, metrics, health, settings };
    shell.term(&mut signals, &mut parts).await
}

/// What carries out effects. One for the whole process.
struct Shell {
    clients: Clients,
    network: Arc<Network>,
    events: Events,
    metrics: Metrics,
    health: Health,
    settings: RunArgs,
}

/// What an effect's task comes back with.
enum Done {
    Input(Input),
    /// A credential, to be kept under its epoch before the machine hears of it.
    Connected(Connection, Input),
}

/// A term of leadership: the machine and all that runs for it.
struct Term<'a> {
    shell: &'a Shell,
    machine: Machine,
    started: Instant,
    connections: HashMap<(GatewayKey, Epoch), Connection>,
    tasks: JoinSet<()>,
    done: mpsc::UnboundedSender<Done>,
    drained: bool,
}

// === impl Shell ===

impl Shell {
    /// A term of leadership, from the first list to the last write.
    async fn term(
        &self,
        signals: &mut Signals,
        parts: &mut JoinSet<&'static str>,
    ) -> Result<(), OperatorError> {
        let (inputs, mut watched) = mpsc::channel(INPUTS);
        // Not bounded by itself, but by what the machine asks for: it never has more under way than its limits.
        let (done, mut finished) = mpsc::unbounded_channel();
        let mut watches = self.watch(inputs);
        let mut term = Term::new(self, done);
        let mut asked_at: Option<tokio::time::Instant> = None;
        loop {
            let wake = term.wake_at();
            let give_up = asked_at.map_or_else(far_away, |at| at + DRAIN);
            tokio::select! {
                biased;
                () = signals.next() => {
                    if asked_at.is_some() {
                        tracing::warn!("a second signal: ending at once");
                        return Ok(());
                    }
                    tracing::info!("asked to stop: finishing what is under way");
                    self.health.set_ready(false, "stopping");
                    asked_at = Some(tokio::time::Instant::now());
                    watches.shutdown().await;
                    term.put(Input::Drain);
                }
                Some(done) = finished.recv() => term.finished(done),
                Some(input) = watched.recv(), if asked_at.is_none() => term.put(input),
                Some(ended) = term.tasks.join_next() => ended.map_err(unexpected)?,
                Some(ended) = watches.join_next(), if asked_at.is_none() => {
                    ended.map_err(unexpected)?;
                    return Err(OperatorError::Ended("a watch".to_owned()));
                }
                Some(ended) = parts.join_next() => {
                    return Err(OperatorError::Ended(ended.map_err(unexpected)?.to_owned()));
                }
                () = sleep_until(wake) => term.put(Input::Wake),
                () = sleep_until(give_up) => {
                    tracing::warn!("ending although something is still under way");
                    return Ok(());
                }
            }
            self.health.beat(Instant::now());
            self.metrics.set_runs_active(term.machine.active());
            if term.drained {
                return Ok(());
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

// === impl Term ===

impl<'a> Term<'a> {
    fn new(shell: &'a Shell, done: mpsc::UnboundedSender<Done>) -> Self {
        // The wall clock and the process differ from replica to replica, and jitter needs no more than that.
        let seed = Timestamp::now().as_nanosecond() as u64 ^ u64::from(std::process::id());
        Self {
            shell,
            machine: Machine::new(seed),
            started: Instant::now(),
            connections: HashMap::new(),
            tasks: JoinSet::new(),
            done,
            drained: false,
        }
    }

    fn now(&self) -> Now {
        let mono = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono: Millis(mono), wall: Timestamp::now() }
    }

    fn wake_at(&self) -> tokio::time::Instant {
        let beat = tokio::time::Instant::now() + BEAT;
        match self.machine.wake_at() {
            Some(at) => beat.min((self.started + Duration::from_millis(at.0)).into()),
            None => beat,
        }
    }

    /// Turns the wheel once.
    fn put(&mut self, input: Input) {
        if let Input::ListDone(Kind::Runs) = input {
            self.shell.health.set_ready(true, "");
        }
        let mut effects = Vec::new();
        self.machine.handle(self.now(), input, &mut effects);
        effects.into_iter().for_each(|effect| self.carry_out(effect));
    }

    fn finished(&mut self, done: Done) {
        match done {
            Done::Input(input) => self.put(input),
            Done::Connected(connection, input) => {
                if let Input::Credential(key, epoch, _) = &input {
                    // Calls under way hold their own copy of an earlier one.
                    self.connections.retain(|(other, _), _| other != key);
                    self.connections.insert((key.clone(), *epoch), connection);
                }
                self.put(input);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let clients = self.shell.clients.clone();
        let metrics = self.shell.metrics.clone();
        match effect {
            Effect::Post { call, gateway, credential, plans } => {
                let connection = self.connections.get(&(gateway.key.clone(), credential)).cloned();
                self.spawn(async move {
                    let started = Instant::now();
                    let answer = match connection {
                        Some(connection) => gateway::post_stop(&connection, &gateway, &plans).await,
                        None => Answer::Lost(Loss::Connect),
                    };
                    metrics.call_ended(&answer, started.elapsed());
                    Done::Input(Input::Answered(call, answer))
                });
            }
            Effect::Write { run, serial, to, status } => self.spawn(async move {
                let result = kubernetes::write_run_status(&clients.requests, &to, &status).await;
                metrics.status_written(result);
                if let WriteResult::Done(_) = result {
                    tracing::debug!(run = %to.key, "wrote a status");
                }
                Done::Input(Input::Wrote(run, serial, result))
            }),
            Effect::WriteGateway { serial, to, status } => self.spawn(async move {
                let result = kubernetes::write_gateway_status(&clients.requests, &to, &status).await;
                metrics.status_written(result);
                Done::Input(Input::WroteGateway(to.key, serial, result))
            }),
            Effect::ReadCredential { gateway, epoch, known_bad } => {
                let earlier = self.connections.iter().find(|((key, _), _)| *key == gateway.key);
                let earlier = earlier.map(|(_, connection)| connection.clone());
                let network = self.shell.network.clone();
                self.spawn(async move {
                    match connect(&clients, &network, &gateway, known_bad, earlier).await {
                        Ok((connection, read)) => {
                            Done::Connected(connection, Input::Credential(gateway.key.clone(), epoch, read))
                        }
                        Err(read) => Done::Input(Input::Credential(gateway.key.clone(), epoch, read)),
                    }
                });
            }
            Effect::ReadRun(key) => self.spawn(async move {
                let read = kubernetes::read_run(&clients.requests, &key).await;
                Done::Input(Input::Read(key, read))
            }),
            Effect::Tell(event) => self.shell.events.tell(event, Timestamp::now()),
            Effect::Drained => self.drained = true,
        }
    }

    fn spawn(&mut self, effect: impl Future<Output = Done> + Send + 'static) {
        let done = self.done.clone();
        self.tasks.spawn(async move {
            // Nobody listens only once the term is over.
            let _ = done.send(effect.await);
        });
    }
}

/// Reads what a credential is made of and makes it.
async fn connect(
    clients: &Clients,
    network: &Network,
    gateway: &GatewayView,
    known_bad: Option<SecretVersion>,
    earlier: Option<Connection>,
) -> Result<(Connection, CredentialRead), CredentialRead> {
    let (material, version) = secrets::read(&clients.requests, gateway).await?;
    if known_bad.as_ref() == Some(&version) {
        return Err(CredentialRead::Unchanged);
    }
    match gateway::connect(gateway, material, earlier.as_ref(), network).await {
        Ok((connection, good_for)) => Ok((connection, CredentialRead::Have { version, good_for })),
        Err(ConnectError::Invalid(why)) => Err(CredentialRead::Invalid(why)),
        Err(ConnectError::Refused(why)) => Err(CredentialRead::Refused { version, why }),
        Err(ConnectError::Failed { why, retry_after }) => Err(CredentialRead::Failed { why, retry_after }),
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

fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(86_400)
}

fn unexpected(error: JoinError) -> OperatorError {
    OperatorError::Ended(error.to_string())
}

/// An error with its causes, for the last line of the process.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
