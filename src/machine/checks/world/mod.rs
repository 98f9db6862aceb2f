//! A world around the machine: an API server, a gateway that knows the nature of each plan, and everything that can go
//! wrong between them.
//!
//! Nothing happens by itself. A test that drives the world takes one step at a time: it lets an event arrive, a call be
//! answered, a write land, its reply come or get lost, the process die. Scenarios, the model checker, the simulation and
//! the random gateways all drive this one, and a [`reference`] checks the invariants at every step.

pub(in crate::machine) mod canonical;
mod checks;
mod connection;
mod fake_gateway;
mod options;
pub(in crate::machine) mod reference;
pub(in crate::machine) mod server;
mod server_ops;
mod steps;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::connection::Connection;
pub(in crate::machine) use self::fake_gateway::{ErrorDetail, FakeGateway, How, Nature};
pub(in crate::machine) use self::options::{Options, Trace};
use self::reference::{Claim, RecordProgress, Reference};
use self::server::{Server, ServerList, ServerWatch};
pub(in crate::machine) use self::server_ops::{ServerOp, ServerRequest};
use crate::api::Outcome;
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::guards::Guards;
use crate::machine::runs::Runs;
use crate::machine::runs::plan::{Plan, PlanState};
use crate::machine::runs::room::bytes_of;
use crate::machine::*;

/// The machine, everything around it, and the reference.
#[derive(Clone, Debug)]
pub(in crate::machine) struct World {
    pub(in crate::machine) machine: Machine,
    pub(in crate::machine) now: u64,
    /// How far the wall clock has jumped, in milliseconds.
    pub(in crate::machine) skew: i64,
    /// The furthest that it ever was from the right time.
    pub(in crate::machine) worst_skew: u64,
    pub(in crate::machine) server: Server,
    pub(in crate::machine) runs: ServerWatch,
    pub(in crate::machine) gateways: ServerWatch,
    pub(in crate::machine) calls: BTreeMap<CallId, WorldCall>,
    pub(in crate::machine) ops: BTreeMap<u64, ServerOp>,
    pub(in crate::machine) fake_gateway: FakeGateway,
    /// The connections that calls are made with, by the reading that each came of.
    pub(in crate::machine) connections: BTreeMap<(GatewayKey, Epoch), Connection>,
    pub(in crate::machine) reference: Reference,
    pub(in crate::machine) violation: Option<(&'static str, String)>,
    pub(in crate::machine) options: Options,
    next_op: u64,
    /// The latest reading of each run.
    pub(in crate::machine) reads: BTreeMap<RunKey, ReadSerial>,
    /// The events so far, for tests that ask.
    pub(in crate::machine) trace: Trace,
}

/// A call under way.
#[derive(Clone, Debug)]
pub(in crate::machine) struct WorldCall {
    pub(in crate::machine) gateway: Arc<GatewayView>,
    pub(in crate::machine) round: u32,
    /// The credential that it carries, and the version of the Secret that this was made of.
    pub(in crate::machine) credential: Epoch,
    pub(in crate::machine) secret: u32,
    pub(in crate::machine) plans: Vec<i64>,
    pub(in crate::machine) claims: Vec<Claim>,
}

/// `"name"` in the namespace "team", or `"namespace/name"`.
pub(in crate::machine) fn key(name: &str) -> Key {
    let (namespace, name) = name.split_once('/').unwrap_or(("team", name));
    Key::new(namespace, name)
}

/// The same as the name of a run.
pub(in crate::machine) fn run_key(name: &str) -> RunKey {
    key(name).into()
}

/// The same as the name of a gateway.
pub(in crate::machine) fn gateway_key(name: &str) -> GatewayKey {
    key(name).into()
}

// === impl World ===

impl World {
    /// Runs with their plans, and a gateway for each of their namespaces; nothing has been listed yet.
    pub(in crate::machine) fn new(runs: &[(&str, &[i64])], options: Options) -> Self {
        let mut world = Self {
            machine: machine(options),
            now: 1_000,
            skew: 0,
            worst_skew: 0,
            server: Server::default(),
            runs: ServerWatch::new(Kind::Runs),
            gateways: ServerWatch::new(Kind::Gateways),
            calls: BTreeMap::new(),
            ops: BTreeMap::new(),
            fake_gateway: FakeGateway::default(),
            connections: BTreeMap::new(),
            reference: Reference::default(),
            violation: None,
            options,
            next_op: 0,
            reads: BTreeMap::new(),
            trace: Trace::default(),
        };
        for (name, plans) in runs {
            let key = key(name);
            let gateway = fixtures::gateway(&key.namespace);
            if !world.server.gateways.contains_key(&gateway.key) {
                world.server.put_gateway(gateway);
            }
            world.server.put_run(fixtures::run(&key.namespace, &key.name, plans.to_vec()));
        }
        world.begin_lists();
        world
    }

    /// The same world after all that there is to do at first has been done.
    pub(in crate::machine) fn settled(runs: &[(&str, &[i64])], options: Options) -> Self {
        let mut world = Self::new(runs, options);
        world.run_until_settled();
        world.trace = Trace::default();
        world
    }

    fn begin_lists(&mut self) {
        self.relist(Kind::Gateways);
        self.relist(Kind::Runs);
    }

    // === steps ===

    /// The next event of a kind reaches the machine.
    pub(in crate::machine) fn deliver(&mut self, kind: Kind) {
        let watch = match kind {
            Kind::Runs => &mut self.runs,
            Kind::Gateways => &mut self.gateways,
            Kind::Cleanups => unreachable!("no world watches cleanup rules"),
        };
        if let Some(input) = watch.next(&self.server) {
            self.feed(input);
        }
        if self.server.past.is_none() {
            let at = self.runs.at.min(self.gateways.at);
            self.server.log.retain(|(version, _)| *version > at);
        }
    }

    pub(in crate::machine) fn watch(&self, kind: Kind) -> &ServerWatch {
        match kind {
            Kind::Runs => &self.runs,
            Kind::Gateways => &self.gateways,
            Kind::Cleanups => unreachable!("no world watches cleanup rules"),
        }
    }

    /// The watch of a kind breaks and its past is gone: it begins anew with a list.
    pub(in crate::machine) fn relist(&mut self, kind: Kind) {
        self.feed(Input::ListBegan(Extent::all(kind)));
        match kind {
            Kind::Runs => self.runs.list = Some(ServerList::Asked),
            Kind::Gateways => self.gateways.list = Some(ServerList::Asked),
            Kind::Cleanups => unreachable!("no world watches cleanup rules"),
        }
    }

    /// A call ends.
    pub(in crate::machine) fn answer(&mut self, call: CallId, how: How) {
        let Some(ended) = self.calls.remove(&call) else { return };
        let (answer, worth) = self.fake_gateway.answer(&ended, how);
        self.reference.grant(&ended, &worth.outcomes);
        if worth.is_trouble {
            self.reference.failed(&ended);
        }
        self.reference.show(&ended, &answer);
        self.feed(Input::Answered(call, answer));
    }

    /// The process dies and starts again. What it had sent to the API server may land all the same.
    pub(in crate::machine) fn crash(&mut self) {
        self.calls.clear();
        self.connections.clear();
        self.reads.clear();
        self.ops.retain(|_, op| op.done.is_none() && op.is_write());
        self.ops.values_mut().for_each(|op| op.orphan = true);
        self.reference.crash();
        self.machine = machine(self.options);
        self.begin_lists();
    }

    /// Time goes on to the next timer.
    pub(in crate::machine) fn tick(&mut self) {
        if let Some(at) = self.machine.wake_at() {
            self.now = self.now.max(at.0);
            self.feed(Input::Wake);
        }
    }

    /// The wall clock of the process jumps; nothing tells it so.
    pub(in crate::machine) fn jump(&mut self, millis: i64) {
        self.skew += millis;
        self.worst_skew = self.worst_skew.max(self.skew.unsigned_abs());
    }

    pub(in crate::machine) fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let jumped = jiff::SignedDuration::from_millis(self.skew);
            let now = Now { mono: Millis(self.now), wall: wall(self.now) + jumped };
            self.tell_reference(&input, now);
            let (before, causes) = (self.gates(), self.causes(&input));
            let mut effects = Vec::new();
            self.machine.handle(now, [input], &mut effects);
            self.check_moves(&before, &causes);
            effects.into_iter().for_each(|effect| inputs.extend(self.take(effect)));
            self.check_gates();
            self.machine.runs.aside.by_key.keys().for_each(|key| self.reference.set_aside(key));
        }
        if let Some((invariant, text)) = self.violation.as_ref().filter(|_| !self.options.lenient) {
            panic!("{invariant}: {text}");
        }
    }

    fn tell_reference(&mut self, input: &Input, now: Now) {
        match input {
            Input::ListBegan(Extent { kind: Kind::Runs, .. }) => self.reference.list += 1,
            Input::ListDone(Extent { kind: Kind::Runs, .. }) => self.reference.runs_listed(),
            Input::Seen(ObjectView::Run(view)) => {
                let record = self.progress(&view.key);
                self.reference.run_seen(view, record.as_ref(), now);
            }
            // A later reading is under way.
            Input::Read(key, serial, Some(_)) if self.reads.get(key) != Some(serial) => {}
            Input::Read(_, _, Some(view)) => {
                let record = self.progress(&view.key);
                let Runs { aside, parked, .. } = &self.machine.runs;
                let is_known_by_name = aside.is_read(&view.key) || parked.is_read(&view.key);
                if record.is_none() && is_known_by_name {
                    self.reference.run_seen(view, None, now);
                } else {
                    self.reference.run_read(view, record.as_ref(), now);
                }
            }
            Input::Gone(ObjectKey::Run(key), uid) => self.reference.run_gone(key, uid),
            Input::Seen(ObjectView::Gateway(view)) => self.reference.gateway_seen(view),
            Input::Credential(key, epoch, CredentialRead::Have { .. }) => {
                self.reference.new_credential(key, *epoch);
            }
            _ => {}
        }
    }

    fn progress(&self, run: &RunKey) -> Option<RecordProgress> {
        let record = self.machine.runs.get(self.machine.runs.id_of(run)?)?;
        let outcome = |plan: &Plan| match &plan.state {
            PlanState::Queued | PlanState::InFlight(_) => Outcome::Pending,
            PlanState::Settled(settled) => settled.outcome,
        };
        let outcomes = record.plans.iter().map(|plan| (plan.id.0, outcome(plan))).collect();
        Some(RecordProgress { outcomes })
    }

    /// Takes an effect in: what is done at once yields its input.
    fn take(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Post { call, gateway, credential, plans, .. } => {
                let plans = Self::plan_ids(&plans);
                let claims = plans.iter().flat_map(|plan| self.reference.claims(&gateway, *plan)).collect();
                let round = self.reference.gateways.get(&gateway).map_or(0, |known| known.round);
                let Connection { gateway, secret } = self.connections[&(gateway, credential)].clone();
                let begun = WorldCall { gateway, round, credential, secret, plans: plans.clone(), claims };
                self.check_call(&begun);
                self.calls.insert(call, begun);
                self.trace.posts.push(plans);
                None
            }
            Effect::Write { serial, to, body: WriteBody::GatewayStatus(_) }
                if self.options.quiet_gateways =>
            {
                Some(Input::Wrote(serial, WriteResult::Done(to.version)))
            }
            Effect::Write { serial, to, body: WriteBody::CleanupStatus(status) } => {
                self.trace.cleanup_status = Some(status);
                Some(Input::Wrote(serial, WriteResult::Done(Version(to.version.0 + 1))))
            }
            Effect::ListRuns { serial, namespace, selector: _, next } => {
                self.trace.pages += 1;
                Some(Input::RunsListed(serial, self.server.page(&namespace, next.as_deref())))
            }
            Effect::Write { serial, to, body } => {
                let asks = self.reference.asks_of(&to.uid);
                if let WriteBody::RunStatus(status) = &body {
                    self.check_write(&to, status, &asks);
                }
                if body == WriteBody::Deletion {
                    self.check_deletion(&to);
                }
                if let WriteBody::Metadata(MetadataChange::Finalizers(finalizers)) = &body {
                    self.check_finalizers(&to, finalizers);
                }
                self.begin(ServerRequest::Write { serial, to, body, asks });
                None
            }
            Effect::ReadCredential { gateway, epoch, known_bad } => {
                self.trace.readings += 1;
                if self.options.slow_secrets {
                    self.begin(ServerRequest::ReadCredential { gateway, epoch, known_bad });
                    return None;
                }
                Some(self.read_secret(gateway, epoch, known_bad))
            }
            Effect::TryConnection { gateway, number, .. } => {
                self.trace.looks += 1;
                Some(Input::ConnectionTried(gateway, number, self.fake_gateway.reached()))
            }
            Effect::Disconnect(gateway) => {
                self.connections.retain(|(other, _), _| *other != gateway);
                self.trace.disconnected.push(gateway);
                None
            }
            Effect::ReadRun(key, serial) => {
                self.reads.insert(key.clone(), serial);
                self.begin(ServerRequest::Read(key, serial));
                None
            }
            Effect::Tell(event) => {
                self.trace.told.push(event.reason.as_str());
                self.trace.events.push(event);
                None
            }
            Effect::Drained => {
                self.trace.drained = true;
                None
            }
        }
    }
}

fn machine(options: Options) -> Machine {
    let limits = Limits::default();
    let runs_bytes = options.room.map_or(limits.runs_bytes, bytes_of);
    let mut machine = Machine::new(Limits { runs_bytes, ..limits }, 7);
    let guards = options.without.map(Guards::without).unwrap_or_default();
    (machine.runs.guards, machine.gateways.guards) = (guards, guards);
    machine.runs.may_put_finalizers = Some(!options.without_finalizers);
    machine
}
