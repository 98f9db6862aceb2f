//! A world around the machine: an API server, a gateway that has a truth, and everything that can go wrong between.
//!
//! Nothing happens by itself. Whoever holds the world takes one step at a time: lets an event arrive, a call be
//! answered, a write land, its reply come or get lost, the process die. Histories by hand, the model checker and the
//! simulation all drive this one, and an onlooker ([`ghost`]) checks the invariants at every step.

pub(in crate::machine) mod canon;
mod checks;
pub(in crate::machine) mod ghost;
mod hand;
mod options;
pub(in crate::machine) mod reference;
pub(in crate::machine) mod server;
mod truth;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::ghost::{Claim, Ghost, Progress};
pub(in crate::machine) use self::options::{Diary, Options};
use self::server::{List, Server, Watch};
pub(in crate::machine) use self::truth::{How, Nature, Truth};
use crate::api::{Outcome, TestPlanRunStatus, TestiniumGatewayStatus};
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::guards::Guards;
use crate::machine::*;

/// Everything.
#[derive(Clone, Debug)]
pub(in crate::machine) struct World {
    pub(in crate::machine) machine: Machine,
    pub(in crate::machine) now: u64,
    /// How far the wall clock has jumped, in milliseconds.
    pub(in crate::machine) skew: i64,
    /// The furthest that it ever was from the truth.
    pub(in crate::machine) worst_skew: u64,
    pub(in crate::machine) server: Server,
    pub(in crate::machine) runs: Watch,
    pub(in crate::machine) gateways: Watch,
    pub(in crate::machine) calls: BTreeMap<CallId, Flight>,
    pub(in crate::machine) ops: BTreeMap<u64, Op>,
    pub(in crate::machine) truth: Truth,
    /// Versions of the Secret that credentials were made of.
    pub(in crate::machine) secrets: BTreeMap<(Key, Epoch), u32>,
    pub(in crate::machine) ghost: Ghost,
    pub(in crate::machine) breach: Option<(&'static str, String)>,
    pub(in crate::machine) options: Options,
    next_op: u64,
    /// What happened, for tests that ask.
    pub(in crate::machine) diary: Diary,
}

/// A call under way.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Flight {
    pub(in crate::machine) gateway: Arc<GatewayView>,
    pub(in crate::machine) round: u32,
    /// The version of the Secret that it carries.
    pub(in crate::machine) secret: u32,
    pub(in crate::machine) plans: Vec<i64>,
    pub(in crate::machine) claims: Vec<Claim>,
}

/// A request to the API server under way.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Op {
    pub(in crate::machine) request: Request,
    /// What the API server has done, once it has.
    pub(in crate::machine) done: Option<Input>,
    /// Whoever began it has died.
    pub(in crate::machine) orphan: bool,
}

#[derive(Clone, Debug)]
pub(in crate::machine) enum Request {
    Write { run: RunId, serial: WriteSerial, to: Target, status: Arc<TestPlanRunStatus>, asks: Vec<Claim> },
    WriteGateway { serial: WriteSerial, to: Target, status: Arc<TestiniumGatewayStatus> },
    Read(Key),
    ReadCredential { gateway: Arc<GatewayView>, epoch: Epoch, known_bad: Option<SecretVersion> },
}

// === impl Op ===

impl Op {
    fn is_write(&self) -> bool {
        matches!(self.request, Request::Write { .. } | Request::WriteGateway { .. })
    }

    fn writes_run(&self, key: &Key, uid: &Uid) -> bool {
        matches!(&self.request, Request::Write { to, .. } if to.key == *key && to.uid == *uid)
    }
}

/// `"name"` in the namespace "team", or `"namespace/name"`.
pub(in crate::machine) fn key(name: &str) -> Key {
    let (namespace, name) = name.split_once('/').unwrap_or(("team", name));
    Key::new(namespace, name)
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
            runs: Watch::new(Kind::Runs),
            gateways: Watch::new(Kind::Gateways),
            calls: BTreeMap::new(),
            ops: BTreeMap::new(),
            truth: Truth::default(),
            secrets: BTreeMap::new(),
            ghost: Ghost::default(),
            breach: None,
            options,
            next_op: 0,
            diary: Diary::default(),
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

    /// The same, when everything there is to do at first has been done.
    pub(in crate::machine) fn settled(runs: &[(&str, &[i64])], options: Options) -> Self {
        let mut world = Self::new(runs, options);
        world.calm();
        world.diary = Diary::default();
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
        };
        if let Some(input) = watch.next(&self.server) {
            self.put(input);
        }
        if self.server.past.is_none() {
            let at = self.runs.at.min(self.gateways.at);
            self.server.log.retain(|(version, _)| *version > at);
        }
    }

    pub(in crate::machine) fn watch(&self, kind: Kind) -> &Watch {
        match kind {
            Kind::Runs => &self.runs,
            Kind::Gateways => &self.gateways,
        }
    }

    /// The watch of a kind breaks and its past is gone: it begins anew with a list.
    pub(in crate::machine) fn relist(&mut self, kind: Kind) {
        self.put(Input::ListBegan(kind));
        match kind {
            Kind::Runs => self.runs.list = Some(List::Asked),
            Kind::Gateways => self.gateways.list = Some(List::Asked),
        }
    }

    /// A call ends.
    pub(in crate::machine) fn answer(&mut self, call: CallId, how: How) {
        let Some(flight) = self.calls.remove(&call) else { return };
        let (answer, worth) = self.truth.answer(&flight, how);
        self.ghost.grant(&flight, &worth.outcomes);
        if worth.is_trouble {
            self.ghost.failed(&flight);
        }
        self.put(Input::Answered(call, answer));
    }

    /// The API server carries a request out.
    pub(in crate::machine) fn land(&mut self, id: u64) {
        self.server.wall = wall(self.now);
        let Some(op) = self.ops.get(&id).filter(|op| op.done.is_none()) else { return };
        let (request, orphan) = (op.request.clone(), op.orphan);
        let done = match request {
            Request::Write { run, serial, to, status, asks } => {
                let before = self.server.runs.get(&to.key).cloned();
                let result = self.server.write_run(&to, &status);
                if let (WriteResult::Done(_), Some(before)) = (result, before) {
                    let after = self.server.runs.get(&to.key).cloned();
                    after.into_iter().for_each(|after| self.check_landed(&before, &after, &asks, orphan));
                    self.diary.writes.push(to.key.clone());
                }
                Input::Wrote(run, serial, result)
            }
            Request::WriteGateway { serial, to, status } => {
                let result = self.server.write_gateway(&to, &status);
                Input::WroteGateway(to.key, serial, result)
            }
            Request::Read(key) => {
                let found = self.server.runs.get(&key).map(|view| Box::new((**view).clone()));
                Input::Read(key, found)
            }
            Request::ReadCredential { gateway, epoch, known_bad } => {
                self.read_secret(&gateway.key, epoch, known_bad)
            }
        };
        if orphan {
            self.ops.remove(&id);
        } else if let Some(op) = self.ops.get_mut(&id) {
            op.done = Some(done);
        }
    }

    /// The reply to a request reaches the machine, after it has landed.
    pub(in crate::machine) fn reply(&mut self, id: u64) {
        self.land(id);
        let Some(op) = self.ops.remove(&id) else { return };
        if let (Request::Write { to, .. }, Some(Input::Wrote(_, _, WriteResult::Done(version)))) =
            (&op.request, &op.done)
        {
            self.ghost.acknowledged(to, *version);
        }
        op.done.into_iter().for_each(|input| self.put(input));
    }

    /// The reply is lost, whether or not the request has landed; the machine hears of a failure.
    pub(in crate::machine) fn lose(&mut self, id: u64) {
        let Some(op) = self.ops.remove(&id) else { return };
        let failed = WriteResult::Failed { retry_after: None };
        self.put(match op.request {
            Request::Write { run, serial, .. } => Input::Wrote(run, serial, failed),
            Request::WriteGateway { serial, to, .. } => Input::WroteGateway(to.key, serial, failed),
            Request::Read(key) => Input::Read(key, None),
            Request::ReadCredential { gateway, epoch, .. } => {
                let read = CredentialRead::Failed { why: "no answer".to_owned(), retry_after: None };
                Input::Credential(gateway.key.clone(), epoch, read)
            }
        });
    }

    /// The API server refuses a write for what it is.
    pub(in crate::machine) fn refuse(&mut self, id: u64) {
        self.answer_write(id, WriteResult::Refused(422));
    }

    /// The API server answers a write so without having looked at it.
    pub(in crate::machine) fn answer_write(&mut self, id: u64, result: WriteResult) {
        let Some(Op { request: Request::Write { run, serial, .. }, .. }) = self.ops.get(&id) else {
            return self.reply(id);
        };
        let input = Input::Wrote(*run, *serial, result);
        self.ops.remove(&id);
        self.put(input);
    }

    /// The process dies and starts again. What it had sent to the API server may land all the same.
    pub(in crate::machine) fn crash(&mut self) {
        self.calls.clear();
        self.secrets.clear();
        self.ops.retain(|_, op| op.done.is_none() && op.is_write());
        self.ops.values_mut().for_each(|op| op.orphan = true);
        self.ghost.crash();
        self.machine = machine(self.options);
        self.begin_lists();
    }

    /// Time goes on to the next timer.
    pub(in crate::machine) fn tick(&mut self) {
        if let Some(at) = self.machine.wake_at() {
            self.now = self.now.max(at.0);
            self.put(Input::Wake);
        }
    }

    /// The wall clock of the process jumps; nothing tells it so.
    pub(in crate::machine) fn jump(&mut self, millis: i64) {
        self.skew += millis;
        self.worst_skew = self.worst_skew.max(self.skew.unsigned_abs());
    }

    pub(in crate::machine) fn put(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let jumped = jiff::SignedDuration::from_millis(self.skew);
            let now = Now { mono: Millis(self.now), wall: wall(self.now) + jumped };
            self.tell_ghost(&input, now);
            let mut effects = Vec::new();
            self.machine.handle(now, input, &mut effects);
            effects.into_iter().for_each(|effect| inputs.extend(self.take(effect)));
            self.check_gates();
        }
        if let Some((invariant, text)) = self.breach.as_ref().filter(|_| !self.options.lenient) {
            panic!("{invariant}: {text}");
        }
    }

    fn tell_ghost(&mut self, input: &Input, now: Now) {
        match input {
            Input::ListBegan(Kind::Runs) => self.ghost.list += 1,
            Input::ListDone(Kind::Runs) => self.ghost.runs_listed(),
            Input::RunSeen(view) => {
                let record = self.progress(&view.key);
                self.ghost.run_seen(view, record, now);
            }
            Input::Read(_, Some(view)) => {
                let record = self.progress(&view.key);
                self.ghost.run_read(view, record, now);
            }
            Input::RunGone(key, uid) => self.ghost.run_gone(key, uid),
            Input::GatewaySeen(view) => self.ghost.gateway_seen(view),
            Input::Credential(key, epoch, CredentialRead::Have { .. }) => {
                self.ghost.new_credential(key, *epoch);
            }
            _ => {}
        }
    }

    fn progress(&self, run: &Key) -> Option<Progress> {
        let record = self.machine.runs.get(self.machine.by_key.get(run)?)?;
        Some(if record.all_settled() { Progress::Settled } else { Progress::UnderWay })
    }

    /// Takes an effect in: what is done at once yields its input.
    fn take(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Post { call, gateway, credential, plans, .. } => {
                let plans = Self::plan_ids(&plans);
                let claims = plans.iter().flat_map(|plan| self.ghost.claims(&gateway.key, *plan)).collect();
                let round = self.ghost.gateways.get(&gateway.key).map_or(0, |known| known.round);
                let carried = self.secrets.get(&(gateway.key.clone(), credential));
                let secret = carried.copied().unwrap_or_default();
                let flight = Flight { gateway, round, secret, plans: plans.clone(), claims };
                self.check_call(&flight);
                self.calls.insert(call, flight);
                self.diary.posts.push(plans);
                None
            }
            Effect::Write { run, serial, to, status } => {
                let asks = self.ghost.asks_of(&to.uid);
                self.check_write(&to, &status, &asks);
                self.begin(Request::Write { run, serial, to, status, asks });
                None
            }
            Effect::WriteGateway { serial, to, .. } if self.options.quiet_gateways => {
                Some(Input::WroteGateway(to.key, serial, WriteResult::Done(to.version)))
            }
            Effect::WriteGateway { serial, to, status } => {
                self.begin(Request::WriteGateway { serial, to, status: Arc::from(status) });
                None
            }
            Effect::ReadCredential { gateway, epoch, known_bad } => {
                self.diary.readings += 1;
                if self.options.slow_secrets {
                    self.begin(Request::ReadCredential { gateway, epoch, known_bad });
                    return None;
                }
                Some(self.read_secret(&gateway.key, epoch, known_bad))
            }
            Effect::ReadRun(key) => {
                self.begin(Request::Read(key));
                None
            }
            Effect::Tell(event) => {
                self.diary.told.push(event.reason);
                None
            }
            Effect::Drained => {
                self.diary.drained = true;
                None
            }
        }
    }

    fn read_secret(&mut self, key: &Key, epoch: Epoch, known_bad: Option<SecretVersion>) -> Input {
        let read = self.truth.credential(known_bad);
        if matches!(read, CredentialRead::Have { .. }) {
            // A call carries one of the latest.
            self.secrets.retain(|(other, kept), _| other != key || kept.0 + 64 > epoch.0);
            self.secrets.insert((key.clone(), epoch), self.truth.secret);
        }
        Input::Credential(key.clone(), epoch, read)
    }

    fn begin(&mut self, request: Request) {
        self.next_op += 1;
        self.ops.insert(self.next_op, Op { request, done: None, orphan: false });
    }
}

fn machine(options: Options) -> Machine {
    let mut machine = Machine::new(7);
    machine.gateways.guards = options.without.map(Guards::without).unwrap_or_default();
    machine
}
