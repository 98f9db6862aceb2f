//! A term of leadership: one machine, and the tasks that carry out its effects.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connections::Connections;
use super::{BEAT, Shell};
use crate::kubernetes::{self, Clients, Fence, secrets};
use crate::machine::{
    Answer, CredentialRead, Effect, Epoch, GatewayKey, GatewayView, Input, Kind, Machine, Millis, NoAnswer,
    Now, SecretVersion, Tally, WriteResult,
};
use crate::testinium::{self, ConnectError, Connection, Network};

/// The result of an effect's task.
pub(super) enum Done {
    Input(Input),
    /// A connection, to be kept before the machine hears of the reading that has brought it.
    Connected {
        gateway: GatewayKey,
        epoch: Epoch,
        connection: Box<Connection>,
        read: CredentialRead,
    },
}

/// A term of leadership: the machine and all that runs for it.
pub(super) struct Term<'a> {
    shell: &'a Shell,
    machine: Machine,
    started: Instant,
    connections: Connections,
    pub(super) tasks: JoinSet<()>,
    done: mpsc::UnboundedSender<Done>,
    pub(super) drained: bool,
}

// === impl Term ===

impl<'a> Term<'a> {
    pub(super) fn new(shell: &'a Shell, done: mpsc::UnboundedSender<Done>) -> Self {
        // The wall clock and the process differ from replica to replica, and jitter needs no more than that.
        let seed = Timestamp::now().as_nanosecond() as u64 ^ u64::from(std::process::id());
        Self {
            shell,
            machine: Machine::new(seed),
            started: Instant::now(),
            connections: Connections::default(),
            tasks: JoinSet::new(),
            done,
            drained: false,
        }
    }

    pub(super) fn wake_at(&self) -> tokio::time::Instant {
        let beat = tokio::time::Instant::now() + BEAT;
        match self.machine.wake_at() {
            Some(at) => beat.min((self.started + Duration::from_millis(at.0)).into()),
            None => beat,
        }
    }

    /// Turns the wheel once.
    pub(super) fn put(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let (health, metrics) = (&self.shell.health, &self.shell.metrics);
        let inputs = inputs.into_iter().inspect(|input| match input {
            Input::ListDone(Kind::Runs) => health.set_ready(true, ""),
            Input::Unreadable(key, ..) => metrics.object_unreadable(key.kind()),
            _ => {}
        });
        let mut effects = Vec::new();
        let mono = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = Now { mono: Millis(mono), wall: Timestamp::now() };
        self.machine.handle(now, inputs, &mut effects);
        self.count();
        effects.into_iter().for_each(|effect| self.carry_out(effect));
    }

    fn count(&mut self) {
        let metrics = &self.shell.metrics;
        let Tally { settled, panics } = self.machine.take_tally();
        settled.into_iter().for_each(|outcome| metrics.plan_settled(outcome));
        (0..panics).for_each(|_| metrics.panic_contained());
        metrics.set_runs_active(self.machine.active());
        metrics.set_plans_queued(self.machine.queued());
        metrics.set_calls_in_flight(self.machine.in_flight());
        metrics.set_tasks(tokio::runtime::Handle::current().metrics().num_alive_tasks());
    }

    pub(super) fn finished(&mut self, done: impl IntoIterator<Item = Done>) {
        let mut inputs = Vec::new();
        for done in done {
            match done {
                Done::Input(input) => inputs.push(input),
                Done::Connected { gateway, epoch, connection, read } => {
                    self.connections.keep(&gateway, epoch, *connection);
                    inputs.push(Input::Credential(gateway, epoch, read));
                }
            }
        }
        self.put(inputs);
    }

    fn carry_out(&mut self, effect: Effect) {
        let clients = self.shell.clients.clone();
        let metrics = self.shell.metrics.clone();
        let fence = self.shell.fence.clone();
        match effect {
            Effect::Post { call, gateway, credential, plans, last_on_connection } => {
                let connection = self.connections.get(&gateway, credential);
                self.spawn(async move {
                    term_stands(&fence).await;
                    let started = Instant::now();
                    let answer = match connection {
                        Some(connection) => {
                            testinium::post_stop(&connection, &plans, last_on_connection).await
                        }
                        // The machine names no reading but the one that has brought it a credential, so this is never
                        // reached; a plan that waits for the next call is no harm.
                        None => Answer::Lost(NoAnswer::Connect),
                    };
                    metrics.call_ended(&answer, started.elapsed());
                    Done::Input(Input::Answered(call, answer))
                });
            }
            Effect::Write { serial, to, body } => self.spawn(async move {
                term_stands(&fence).await;
                let result = kubernetes::write(&clients.requests, &to, &body).await;
                metrics.status_written(result);
                if let WriteResult::Done(_) = result {
                    tracing::debug!(object = %to.key, "wrote");
                }
                Done::Input(Input::Wrote(serial, result))
            }),
            Effect::ReadCredential { gateway, epoch, known_bad } => {
                let earlier = self.connections.reading_began(&gateway.key, epoch);
                let network = self.shell.network.clone();
                self.spawn(async move {
                    let key = gateway.key.clone();
                    match connect(&clients, &network, &gateway, known_bad, earlier.as_deref()).await {
                        Ok((connection, read)) => {
                            Done::Connected { gateway: key, epoch, connection: Box::new(connection), read }
                        }
                        Err(read) => Done::Input(Input::Credential(key, epoch, read)),
                    }
                });
            }
            Effect::Disconnect(gateway) => self.connections.disconnect(&gateway),
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

/// Goes on only while the Lease is held: otherwise the task waits until it ends with the term.
async fn term_stands(fence: &Fence) {
    if !fence.holds() {
        std::future::pending::<()>().await;
    }
}

/// Reads a gateway's Secrets and prepares the connection.
async fn connect(
    clients: &Clients,
    network: &Network,
    gateway: &GatewayView,
    known_bad: Option<SecretVersion>,
    earlier: Option<&Connection>,
) -> Result<(Connection, CredentialRead), CredentialRead> {
    let (data, version) = secrets::read(&clients.requests, gateway).await?;
    if known_bad.as_ref() == Some(&version) {
        return Err(CredentialRead::Unchanged);
    }
    match testinium::connect(gateway, data, earlier, network).await {
        Ok((connection, good_for)) => Ok((connection, CredentialRead::Have { version, good_for })),
        Err(ConnectError::Invalid(why)) => Err(CredentialRead::Invalid(why)),
        Err(ConnectError::Refused(why)) => Err(CredentialRead::Refused { version, why }),
        Err(ConnectError::Failed { why, retry_after }) => Err(CredentialRead::Failed { why, retry_after }),
    }
}
