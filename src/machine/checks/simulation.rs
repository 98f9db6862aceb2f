//! Long random histories: people edit, watches break, replies get lost, gateways fail, processes die, and everything
//! takes its time. All of it follows from a seed, so that a history that went wrong can be looked at again.
//!
//! The reference checks the invariants at every step. When faults end, everything that is wanted must get settled; then
//! nothing more may happen, not even after a restart.
//!
//! ```text
//! HISTORIES=100000 cargo test --lib machine::checks::simulation
//! SEED=4711 cargo test --lib machine::checks::simulation::whatever -- --nocapture
//! ```

mod edits;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::GatewayRef;
use crate::machine::backoff::chance;
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::checks::world::{How, Nature, Options, World, gateway_key, key, run_key};
use crate::machine::{CallId, Input, Key, Kind, RunView};

const RUNS: &[(&str, &[i64])] = &[("a/one", &[1, 2, 3]), ("a/two", &[3, 4]), ("b/one", &[1, 5, 6, 7, 8])];
const GATEWAYS: &[&str] = &["a/default", "b/default", "a/other", "b/other"];
/// A stop with this deadline never expires within a history; with one of the short ones it may.
const LONG_DEADLINE: i64 = 600_000;
const SHORT_DEADLINES: [i64; 4] = [1, 5, 20, 60];
/// Acts of people and faults in one history.
const ACTS: u64 = 40;
/// Mean time between two of them.
const PACE: u64 = 700;
/// Longer than any retry: a write that was refused waits for five minutes.
const AGES: u64 = 700_000;
/// Longer than everything that is under way may take.
const SLOWEST: u64 = 250_000;
/// Wakes in a row, without time going on, after which the machine is taken to spin.
const SPINNING: u32 = 200;
/// Most wakes within [`WAKES_WINDOW`]: a few for each of a dozen plans, four gateways and three runs. A machine that wakes
/// once a millisecond, as one did that waited for a deadline which had passed, wakes fifty times as often.
const WAKES_MAX: usize = 200;
/// In milliseconds.
const WAKES_WINDOW: u64 = 10_000;

/// Numbers that look drawn by chance and follow from a seed.
struct Rng {
    seed: u64,
    key: Key,
    drawn: u64,
}

/// Something that is going to happen.
#[derive(Clone, Copy, Debug)]
enum Act {
    Hear(Kind),
    Answer(CallId),
    Land(u64),
    Reply(u64),
    Outside,
}

struct Simulation {
    world: World,
    rng: Rng,
    heap: BTreeMap<(u64, u64), Act>,
    next: u64,
    /// Calls that have their place in the heap.
    calls: BTreeSet<CallId>,
    ops: u64,
    hearing: BTreeSet<Kind>,
    default_answer: How,
    /// The times of the latest wakes.
    wakes: VecDeque<u64>,
    outside: u64,
    faults: bool,
    /// Deadlines are short and change, and the process' clock jumps.
    hasty: bool,
}

// === impl Rng ===

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.drawn += 1;
        chance(self.seed, &self.key, self.drawn) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// How long something takes: mostly not long.
    fn delay(&mut self) -> u64 {
        let most = self.of(&[5, 5, 40, 40, 40, 400, 400, 3_000, 20_000]);
        self.below(most)
    }
}

// === impl Simulation ===

impl Simulation {
    fn new(seed: u64, stale_lists: bool) -> Self {
        let hasty = seed.is_multiple_of(2) && !stale_lists;
        let room = seed.is_multiple_of(4).then_some(14);
        let options =
            Options { lenient: stale_lists, expires: hasty, slow_secrets: true, room, ..Options::default() };
        let mut world = World::new(RUNS, options);
        for namespace in ["a", "b"] {
            world.server.put_gateway(fixtures::gateway_named(namespace, "other"));
        }
        if stale_lists {
            world.server.past = Some(VecDeque::new());
        }
        let mut rng = Rng { seed, key: key("rng"), drawn: 0 };
        for plan in 1..9 {
            if rng.one_in(5) {
                world.fake_gateway.natures.insert(plan, Nature::Rejected);
            }
        }
        // How a token is refused whose Secret has changed.
        world.fake_gateway.stale = rng.of(&[
            None,
            Some(How::Status(401)),
            Some(How::Status(403)),
            Some(How::Status(302)),
            Some(How::Status(500)),
            Some(How::Status(200)),
            Some(How::Expired(400)),
            Some(How::Own(403)),
        ]);
        let mut simulation = Self {
            world,
            rng,
            heap: BTreeMap::new(),
            next: 0,
            calls: BTreeSet::new(),
            ops: 0,
            hearing: BTreeSet::new(),
            default_answer: How::ByNature,
            wakes: VecDeque::new(),
            outside: ACTS,
            faults: true,
            hasty,
        };
        for (name, _) in RUNS {
            simulation.world.edit_unseen(name, |run| {
                run.created = Some(wall(0));
                run.spec.stop_deadline_seconds = Some(LONG_DEADLINE);
            });
        }
        simulation.push(0, Act::Outside);
        simulation
    }

    fn push(&mut self, delay: u64, act: Act) {
        self.next += 1;
        self.heap.insert((self.world.now + delay, self.next), act);
    }

    /// Gives everything that has newly begun its time to end.
    fn schedule(&mut self) {
        self.calls.retain(|call| self.world.calls.contains_key(call));
        let calls: Vec<_> =
            self.world.calls.keys().filter(|call| !self.calls.contains(*call)).copied().collect();
        for call in calls {
            self.calls.insert(call);
            let delay = self.rng.delay();
            self.push(delay, Act::Answer(call));
        }
        let ops: Vec<_> = self.world.ops.keys().filter(|id| **id > self.ops).copied().collect();
        for id in ops {
            self.ops = id;
            let (there, back) = (self.rng.delay(), self.rng.delay());
            self.push(there, Act::Land(id));
            self.push(there + back, Act::Reply(id));
        }
        for kind in [Kind::Runs, Kind::Gateways] {
            if self.world.watch(kind).has_more(&self.world.server) && self.hearing.insert(kind) {
                let delay = self.rng.delay();
                self.push(delay, Act::Hear(kind));
            }
        }
    }

    /// Time passes.
    fn pass(&mut self, millis: u64) {
        let end = self.world.now + millis;
        let mut spinning = 0;
        loop {
            self.schedule();
            let act = self.heap.keys().next().copied();
            let wake = self.world.machine.wake_at().map(|at| at.0.max(self.world.now));
            match (act, wake) {
                (act, Some(wake)) if wake <= end && act.is_none_or(|(at, _)| wake <= at) => {
                    spinning = if wake > self.world.now { 0 } else { spinning + 1 };
                    assert!(spinning < SPINNING, "I14: the machine spins");
                    self.count_wake(wake);
                    self.world.tick();
                }
                (Some(first), _) if first.0 <= end => {
                    self.world.now = first.0;
                    self.heap.remove(&first).into_iter().for_each(|act| self.act(act));
                    spinning = 0;
                }
                _ => break,
            }
            if self.world.violation.is_some() {
                return;
            }
        }
        self.world.now = end;
    }

    /// The machine wakes, and has not done so too often of late.
    fn count_wake(&mut self, now: u64) {
        self.wakes.push_back(now);
        while self.wakes.front().is_some_and(|at| at + WAKES_WINDOW < now) {
            self.wakes.pop_front();
        }
        let count = self.wakes.len();
        assert!(count <= WAKES_MAX, "I14: {count} wakes within {WAKES_WINDOW} ms");
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Hear(kind) => {
                self.hearing.remove(&kind);
                self.world.deliver(kind);
            }
            Act::Answer(call) => {
                let odd = self.faults && self.rng.one_in(12);
                let how = if odd { self.trouble() } else { self.default_answer };
                self.world.answer(call, how);
            }
            Act::Land(id) => self.world.land(id),
            Act::Reply(id) if self.faults && self.rng.one_in(12) => self.world.lose(id),
            Act::Reply(id) if self.faults && self.rng.one_in(80) => self.world.refuse(id),
            Act::Reply(id) => self.world.reply(id),
            Act::Outside => self.outside(),
        }
    }

    fn trouble(&mut self) -> How {
        self.rng.of(&[
            How::Lost,
            How::Late,
            How::Unreachable,
            How::Status(500),
            How::Status(503),
            How::Status(429),
            How::Status(401),
            How::Status(403),
            How::Status(404),
            How::Status(302),
            How::Status(400),
            How::Status(200),
            How::Json(403),
            How::Json(404),
            How::Expired(400),
            How::Expired(200),
        ])
    }

    /// Somebody does something, or something breaks.
    fn outside(&mut self) {
        if self.outside == 0 {
            return;
        }
        self.outside -= 1;
        match self.rng.below(20) {
            0 => self.world.crash(),
            1 => self.world.relist(Kind::Runs),
            2 => self.world.relist(Kind::Gateways),
            3 => {
                self.default_answer = if self.rng.one_in(2) { How::ByNature } else { self.trouble() };
                self.world.fake_gateway.unreachable = self.default_answer == How::Unreachable;
            }
            4 => self.edit_gateway(),
            5 => {
                let plan = 1 + self.rng.below(8) as i64;
                self.world.fake_gateway.natures.entry(plan).or_insert(Nature::NotRunning);
            }
            6 if self.hasty => {
                let jump = self.rng.of(&[-7_200_000, -120_000, 120_000, 7_200_000]);
                self.world.jump(jump);
            }
            _ => self.edit_run(),
        }
        let delay = self.rng.below(2 * PACE);
        self.push(delay, Act::Outside);
    }

    /// Faults have ended. Everything gets settled.
    fn settle(&mut self) {
        (self.faults, self.outside, self.default_answer) = (false, 0, How::ByNature);
        // No deadline is put off for ever.
        self.world.jump(-self.world.skew);
        self.world.fake_gateway.secret_missing = false;
        self.world.fake_gateway.unreachable = false;
        for gateway in GATEWAYS.iter().map(|name| gateway_key(name)) {
            if !self.world.server.gateways.contains_key(&gateway) {
                self.make_gateway(&gateway, 0);
            }
            self.world.server.edit_gateway(&gateway, |gateway| gateway.spec.suspend = None);
        }
        // Nothing may wait for a gateway that will never be there.
        for (name, _) in RUNS {
            let missing = GatewayRef { name: Some("missing".to_owned()) };
            let run = self.world.server.runs.get(&run_key(name));
            if run.is_some_and(|run| run.spec.gateway_ref.as_ref() == Some(&missing)) {
                self.world.edit_unseen(name, |run| run.spec.gateway_ref = None);
            }
        }
        self.pass(AGES);
        assert_eq!(self.world.unsettled(), None, "{:?}", self.world.machine);
        let left = self.world.server.runs.values().find(|run| is_over(run, wall(self.world.now)));
        assert!(left.is_none(), "L4: a run is left whose TTL is over: {left:?}");
    }

    /// The process is told to end, does so in time, and another one takes over (L3).
    fn drain(&mut self) {
        (self.faults, self.outside) = (false, 0);
        self.world.feed(Input::Drain);
        self.world.trace.posts.clear();
        self.pass(SLOWEST);
        let left = || &self.world.machine.outbox;
        assert!(self.world.trace.drained, "L3: the machine does not come to its end: {:?}", left());
        assert_eq!(self.world.trace.posts.len(), 0, "L3: a call begins after all");
        self.world.crash();
    }

    /// Nothing happens any more (I14), and a restart makes no difference (I10).
    fn check_quiet(&mut self) {
        let runs = self.runs();
        let mut gateways = Vec::new();
        for restart in [false, true, true] {
            if restart {
                self.world.crash();
            }
            self.world.trace.posts.clear();
            self.pass(AGES);
            assert!(self.world.trace.posts.is_empty(), "I14: {:?}", self.world.trace.posts);
            assert_eq!(self.runs(), runs, "I10, I14: written again");
            assert_eq!(self.world.machine.active(), 0, "I13: what is at rest is forgotten");
            assert_eq!(self.world.machine.set_aside(), 0, "I13: what is at rest waits for no room");
            gateways.push(self.world.server.gateways.clone());
        }
        // The first restart reads Secrets that nobody has asked for since they were made.
        assert_eq!(gateways[1], gateways[2], "I10: the status of a gateway is written again");
    }

    fn runs(&self) -> Vec<RunView> {
        self.world.server.runs.values().map(|run| (**run).clone()).collect()
    }
}

/// Whether the TTL of a run is long over, and nothing keeps it. A clock that was wrong may have called its stop complete
/// at a time that is still to come.
fn is_over(run: &RunView, now: Timestamp) -> bool {
    let stop = run.status.stop.clone().unwrap_or_default();
    let is_past = |time: &Time| time.0 + SignedDuration::from_secs(300) < now;
    let is_complete = stop.completion_time.as_ref().is_some_and(is_past) && stop.withdrawn_time.is_none();
    let covers_all = run.spec.plans.iter().all(|plan| run.status.plans.iter().any(|other| other.id == *plan));
    let is_kept = run.keep_until.as_ref().is_some_and(|until| until == "soon") || run.deleted.is_some();
    let is_owned = run.marks.as_ref().is_none_or(|marks| !marks.names.is_empty());
    is_complete && covers_all && !is_kept && !is_owned
}

fn history(seed: u64) {
    let mut simulation = Simulation::new(seed, false);
    simulation.pass(ACTS * PACE);
    if seed.is_multiple_of(3) {
        simulation.drain();
    }
    simulation.settle();
    simulation.check_quiet();
}

fn number(name: &str) -> Option<u64> {
    #[allow(clippy::disallowed_methods, reason = "how long a test looks is no decision of the machine")]
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn whatever_happens_every_plan_ends_with_the_outcome_of_its_nature() {
    let seeds = match (number("SEED"), number("HISTORIES")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(1_500),
    };
    for seed in seeds {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| history(seed))) {
            println!(
                "to see it again: SEED={seed} cargo test --lib machine::checks::simulation::whatever -- --nocapture"
            );
            resume_unwind(cause);
        }
    }
}

/// Why runs are never listed from a cache that may be behind: what was settled since would be sent once more.
#[test]
fn with_stale_lists_a_plan_is_sent_again_whose_outcome_is_written() {
    let breaks = |seed: &u64| {
        let mut simulation = Simulation::new(*seed, true);
        simulation.pass(ACTS * PACE);
        simulation.world.violation.is_some_and(|(invariant, _)| invariant == "I5")
    };
    assert!((0..2_000).any(|seed| breaks(&seed)), "stale lists do no harm?");
}
