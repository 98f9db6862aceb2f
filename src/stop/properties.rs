//! Random histories through the whole machine, watched by monitors: each invariant is checked at the moment it could
//! break, and at the end, when faults have ended, every plan must have the outcome of its nature.
//!
//! The world is one API server that compares versions and uids, two namespaces with a gateway each, and plans whose
//! nature the history draws. Writes conflict, replies get lost after they were carried out, events come late, and the
//! process dies.

mod objects;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use self::objects::{gateway, run};
use super::fixtures::wall;
use super::machine::Machine;
use super::*;
use crate::api::{Outcome, TestPlanRunStatus, TestiniumGatewayStatus, reason};

const NAMESPACES: [&str; 2] = ["a", "b"];
const MAX_PLANS: usize = 4;
const MAX_IN_FLIGHT: usize = 2;

/// What happens next.
#[derive(Clone, Debug)]
enum Act {
    /// `spec.stopped` of a run is set.
    Stopped(usize, Option<bool>),
    /// The annotation of a run is set to a value never used before.
    Annotate(usize),
    /// The plans of a run change.
    Plans(usize, Vec<i64>),
    /// The oldest call or write under way ends, as the world would have it.
    Reply,
    /// It ends, but the reply is lost.
    LoseReply,
    /// An event reaches the machine.
    Event,
    /// The gateways answer with this status, or as their plans would have it.
    Gateway(Option<u16>),
    /// Time passes.
    Pass(u64),
    /// The process dies and starts again.
    Crash,
    /// A run is deleted and made anew.
    Recreate(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let run = 0_usize..3;
    let act = prop_oneof![
        4 => (run.clone(), prop_oneof![Just(Some(true)), Just(Some(true)), Just(Some(false)), Just(None)])
            .prop_map(|(run, stopped)| Act::Stopped(run, stopped)),
        1 => run.clone().prop_map(Act::Annotate),
        1 => (run.clone(), prop::collection::vec(1_i64..9, 1..5)).prop_map(|(run, plans)| Act::Plans(run, plans)),
        8 => Just(Act::Reply),
        1 => Just(Act::LoseReply),
        8 => Just(Act::Event),
        1 => prop_oneof![Just(None), Just(Some(500)), Just(Some(503)), Just(Some(401))].prop_map(Act::Gateway),
        3 => prop_oneof![Just(1_u64), Just(60), Just(1_500), Just(40_000)].prop_map(Act::Pass),
        1 => Just(Act::Crash),
        1 => run.prop_map(Act::Recreate),
    ];
    prop::collection::vec(act, 1..60)
}

/// Something under way outside of the machine.
#[derive(Clone, Debug)]
enum Pending {
    Call { call: CallId, namespace: String, plans: Vec<i64> },
    Write { run: RunId, serial: WriteSerial, to: Target, status: std::sync::Arc<TestPlanRunStatus> },
    GatewayWrite { serial: WriteSerial, to: Target, status: Box<TestiniumGatewayStatus> },
}

struct World {
    machine: Machine,
    now: u64,
    version: u64,
    count: u64,
    runs: Vec<RunView>,
    gateways: BTreeMap<String, GatewayView>,
    events: VecDeque<Input>,
    pending: VecDeque<Pending>,
    answers: Option<u16>,
    bad: BTreeSet<i64>,
    /// Calls with each plan of a namespace that the gateway has carried out.
    stopped: BTreeSet<(String, i64)>,
}

impl World {
    fn new(bad: BTreeSet<i64>) -> Self {
        let runs = [("a", "one", vec![1, 2, 3]), ("a", "two", vec![3, 4]), ("b", "one", vec![1, 5, 6, 7, 8])];
        let mut world = Self {
            machine: Machine::new(11),
            now: 1_000,
            version: 10,
            count: 0,
            runs: runs.into_iter().map(|(namespace, name, plans)| run(namespace, name, plans)).collect(),
            gateways: NAMESPACES
                .iter()
                .map(|namespace| ((*namespace).to_owned(), gateway(namespace)))
                .collect(),
            events: VecDeque::new(),
            pending: VecDeque::new(),
            answers: None,
            bad,
            stopped: BTreeSet::new(),
        };
        world.list();
        world
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Stopped(index, stopped) => self.edit(index, |run| run.spec.stopped = stopped),
            Act::Annotate(index) => {
                self.count += 1;
                let value = format!("request-{}", self.count);
                self.edit(index, |run| run.stop_annotation = Some(value));
            }
            Act::Plans(index, plans) => self.edit(index, |run| run.spec.plans = plans),
            Act::Reply => self.reply(false),
            Act::LoseReply => self.reply(true),
            Act::Event => {
                if let Some(event) = self.events.pop_front() {
                    self.put(event);
                }
            }
            Act::Gateway(answers) => self.answers = answers,
            Act::Pass(millis) => self.pass(millis),
            Act::Crash => self.crash(),
            Act::Recreate(index) => {
                let old = self.runs[index].clone();
                self.events.push_back(Input::RunGone(old.key.clone(), old.uid));
                self.count += 1;
                let mut new = run(&old.key.namespace, &old.key.name, old.spec.plans);
                new.uid = format!("uid-{}", self.count).into();
                self.runs[index] = new;
                self.edit(index, |_| {});
            }
        }
    }

    fn edit(&mut self, index: usize, change: impl FnOnce(&mut RunView)) {
        self.version += 1;
        let run = &mut self.runs[index];
        change(run);
        run.generation += 1;
        run.version = Version(self.version);
        self.events.push_back(Input::RunSeen(Box::new(run.clone())));
    }

    fn crash(&mut self) {
        // What was under way reaches the other side or not; either way nobody hears the reply.
        for pending in std::mem::take(&mut self.pending) {
            self.carry_out(&pending);
        }
        self.events.clear();
        self.machine = Machine::new(self.now);
        self.list();
    }

    fn list(&mut self) {
        self.put(Input::ListBegan(Kind::Gateways));
        self.gateways
            .clone()
            .into_values()
            .for_each(|gateway| self.put(Input::GatewaySeen(Box::new(gateway))));
        self.put(Input::ListDone(Kind::Gateways));
        self.put(Input::ListBegan(Kind::Runs));
        self.runs.clone().into_iter().for_each(|run| self.put(Input::RunSeen(Box::new(run))));
        self.put(Input::ListDone(Kind::Runs));
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now + millis;
        for turn in 0.. {
            assert!(turn < 10_000, "the machine does not come to rest");
            match self.machine.wake_at() {
                Some(at) if at.0 <= end && !(at.0 <= self.now && turn > 100 && self.blocked()) => {
                    self.now = self.now.max(at.0);
                    self.put(Input::Wake);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Whether the machine can only wait for the outside.
    fn blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    fn put(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.machine.handle(Now { mono: Millis(self.now), wall: wall(self.now) }, input, &mut effects);
            for effect in effects {
                inputs.extend(self.take(effect));
            }
        }
    }

    /// Takes an effect in, and checks what must hold when it comes.
    fn take(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Post { call, gateway, plans, .. } => {
                let namespace = gateway.key.namespace.to_string();
                let plans: Vec<_> = plans.iter().map(|plan| plan.0).collect();
                self.check_call(&namespace, &plans);
                self.pending.push_back(Pending::Call { call, namespace, plans });
                None
            }
            Effect::Write { run, serial, to, status } => {
                let twice = self
                    .pending
                    .iter()
                    .any(|pending| matches!(pending, Pending::Write { run: other, .. } if *other == run));
                assert!(!twice, "I7: two writes of one run at a time");
                self.pending.push_back(Pending::Write { run, serial, to, status });
                let writes =
                    self.pending.iter().filter(|pending| !matches!(pending, Pending::Call { .. })).count();
                assert!(writes <= 16, "I7: {writes} writes at a time");
                None
            }
            Effect::WriteGateway { serial, to, status } => {
                self.pending.push_back(Pending::GatewayWrite { serial, to, status });
                None
            }
            Effect::ReadCredential { gateway, epoch, known_bad } => {
                let version = SecretVersion("1".to_owned());
                let read = match known_bad {
                    Some(known) if known == version => CredentialRead::Unchanged,
                    _ => CredentialRead::Have { version, good_for: None },
                };
                Some(Input::Credential(gateway.key.clone(), epoch, read))
            }
            Effect::ReadRun(key) => {
                let run = self.runs.iter().find(|run| run.key == key).cloned();
                Some(Input::Read(key, run.map_or(ReadResult::Gone, |run| ReadResult::Found(Box::new(run)))))
            }
            Effect::Tell(_) | Effect::Drained => None,
        }
    }

    fn check_call(&self, namespace: &str, plans: &[i64]) {
        let mut in_flight = 0;
        for pending in &self.pending {
            if let Pending::Call { namespace: other, plans: others, .. } = pending {
                in_flight += usize::from(other == namespace);
                let shared = other == namespace && plans.iter().any(|plan| others.contains(plan));
                assert!(!shared, "I2: {plans:?} while {others:?} is under way");
            }
        }
        assert!(in_flight < MAX_IN_FLIGHT, "I3: {in_flight} calls are under way already");
        assert!(!plans.is_empty() && plans.len() <= MAX_PLANS, "I3: {plans:?}");
        let unique: BTreeSet<_> = plans.iter().collect();
        assert_eq!(unique.len(), plans.len(), "I3: {plans:?}");
    }

    fn reply(&mut self, lost: bool) {
        let Some(pending) = self.pending.pop_front() else { return };
        let input = self.carry_out(&pending);
        self.put(match (lost, input) {
            (true, Input::Answered(call, _)) => Input::Answered(call, Answer::Lost(Loss::Broken)),
            (true, Input::Wrote(run, serial, _)) => {
                Input::Wrote(run, serial, WriteResult::Failed { retry_after: None })
            }
            (_, input) => input,
        });
    }

    fn carry_out(&mut self, pending: &Pending) -> Input {
        match pending {
            Pending::Call { call, namespace, plans } => {
                let spoiled = plans.iter().any(|plan| self.bad.contains(plan));
                let status = self.answers.unwrap_or(if spoiled { 400 } else { 200 });
                if status == 200 {
                    self.stopped.extend(plans.iter().map(|plan| (namespace.clone(), *plan)));
                }
                let body = if status == 200 { Body::Envelope(Envelope::default()) } else { Body::Other };
                Input::Answered(*call, Answer::Reply(Reply { status, retry_after: None, body }))
            }
            Pending::Write { run, serial, to, status } => Input::Wrote(*run, *serial, self.write(to, status)),
            Pending::GatewayWrite { serial, to, status } => {
                let result = match self.gateways.get_mut(&*to.key.namespace) {
                    Some(gateway) if gateway.version == to.version => {
                        self.version += 1;
                        gateway.version = Version(self.version);
                        gateway.status = (**status).clone();
                        self.events.push_back(Input::GatewaySeen(Box::new(gateway.clone())));
                        WriteResult::Done(gateway.version)
                    }
                    _ => WriteResult::Conflict,
                };
                Input::WroteGateway(to.key.clone(), *serial, result)
            }
        }
    }

    fn write(&mut self, to: &Target, status: &TestPlanRunStatus) -> WriteResult {
        let Some(run) = self.runs.iter_mut().find(|run| run.key == to.key) else { return WriteResult::Gone };
        if run.uid != to.uid || run.version != to.version {
            return WriteResult::Conflict;
        }
        for plan in &status.plans {
            let stopped = self.stopped.contains(&(to.key.namespace.to_string(), plan.id));
            assert!(plan.outcome != Outcome::Accepted || stopped, "I1: plan {} was never stopped", plan.id);
        }
        assert_ne!(*status, run.status, "I8: a write that changes nothing");
        self.version += 1;
        run.version = Version(self.version);
        run.status = status.clone();
        self.events.push_back(Input::RunSeen(Box::new(run.clone())));
        WriteResult::Done(run.version)
    }

    /// Lets the world calm down: no faults, every reply and event delivered, time enough for every retry.
    fn calm(&mut self) {
        self.answers = None;
        for _ in 0..400 {
            while !self.pending.is_empty() || !self.events.is_empty() {
                self.act(Act::Event);
                self.act(Act::Reply);
            }
            self.pass(2_000);
        }
    }

    /// L1 and L2: every plan that is wanted has the outcome of its nature, and nothing is left to do.
    fn check_settled(&self) {
        for run in &self.runs {
            let stopped =
                run.status.conditions.iter().find(|other| other.type_ == "Stopped").expect("Stopped");
            assert_eq!(run.status.observed_generation, Some(run.generation), "{}", run.key);
            if [reason::NOT_REQUESTED, reason::REARMED].contains(&stopped.reason.as_str()) {
                continue;
            }
            let wanted: BTreeSet<_> = run.spec.plans.iter().copied().collect();
            let told: BTreeSet<_> = run.status.plans.iter().map(|plan| plan.id).collect();
            assert_eq!(told, wanted, "L1: {}", run.key);
            for plan in &run.status.plans {
                let expected =
                    if self.bad.contains(&plan.id) { Outcome::Rejected } else { Outcome::Accepted };
                assert_eq!(plan.outcome, expected, "L1: plan {} of {}", plan.id, run.key);
            }
        }
        assert_eq!(self.machine.active(), 0, "I13: everything at rest is forgotten");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_plan_ends_with_the_outcome_of_its_nature(
        acts in acts(),
        bad in prop::collection::btree_set(1_i64..9, 0..3),
    ) {
        let mut world = World::new(bad);
        acts.into_iter().for_each(|act| world.act(act));
        world.calm();
        world.check_settled();
        // I5 and I10: a restart in a quiet world asks for nothing and writes no run anew. A gateway's last trouble is
        // forgotten, so its status may be.
        let runs = world.runs.clone();
        world.crash();
        let sent_again = world.pending.iter().any(|pending| matches!(pending, Pending::Call { .. }));
        prop_assert!(!sent_again, "I5: sent again");
        world.calm();
        prop_assert_eq!(&world.runs, &runs, "I10: written again");
    }
}
