//! Every short history, by a model checker: the machine itself, its world, and all orders in which things can happen.
//!
//! People, faults and the clock have budgets, so that the number of states has an end and no history goes in circles.
//! In every state the reference's invariants must hold; and whenever nothing is under way, everything must get settled
//! if nothing goes wrong from there on (L1, L2).
//!
//! Beyond the few runs and plans that can be looked at exhaustively, the same model is walked at random.

use std::hash::{Hash, Hasher};

use stateright::{Checker, Model, Property};

use crate::api::DeletionPolicy;
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::checks::world::canonical::digest;
use crate::machine::checks::world::{How, Nature, Options, World, gateway_key, run_key};
use crate::machine::guards::Guard;
use crate::machine::limits::REFUSED_WRITE_PAUSE;
use crate::machine::{CallId, Kind};

mod bounds;

/// The acts that may still happen, and how often.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Budget {
    /// Requests for a stop, and their withdrawals.
    requests: u8,
    /// Deadlines of runs that are moved to a time soon to come, or removed.
    deadlines: u8,
    /// Ids that are added to a run.
    additions: u8,
    /// Runs that are deleted, or deleted and made again.
    deletions: u8,
    /// Changes of the deletion policy, and gateways that are deleted.
    policies: u8,
    /// Edits of the gateway, which moves to another address or does not.
    edits: u8,
    /// Answers other than what the plans would have.
    troubles: u8,
    lost_replies: u8,
    relists: u8,
    /// Changes of the Secret.
    rotations: u8,
    crashes: u8,
    ticks: u8,
}

/// The world, and what may still happen to it.
#[derive(Clone)]
struct State {
    world: World,
    left: Budget,
    digest: u64,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
enum Act {
    Hear(Kind),
    Answer(CallId, How),
    Land(u64),
    Reply(u64),
    LoseReply(u64),
    Stop(&'static str),
    Withdraw(&'static str),
    MoveDeadline(&'static str),
    RemoveDeadline(&'static str),
    Add(&'static str),
    Delete(&'static str),
    SetPolicy(&'static str, DeletionPolicy),
    DeleteGateway,
    Recreate(&'static str),
    EditGateway { moves: bool },
    Relist,
    Rotate,
    Crash,
    Tick,
}

/// A part of the model that is explored: its runs, and the bounds of what may happen to them.
#[derive(Clone, Debug)]
struct Explored {
    runs: &'static [(&'static str, &'static [i64])],
    bad: &'static [i64],
    troubles: &'static [How],
    /// How a call is answered that carries an earlier version of the Secret.
    stale: Option<How>,
    slow_secrets: bool,
    /// Records have room for one run of so many plans.
    room: Option<usize>,
    /// Each run has a deadline, which is soon to come.
    has_deadlines: bool,
    /// The plans of each run are stopped before its object goes.
    has_finalizers: bool,
    budget: Budget,
    without: Option<Guard>,
}

/// A tick that goes further than this only looks at the clock.
const FAR: u64 = 31_000;

/// Seconds until a deadline that is soon to come.
const SOON: u64 = 20;

/// No pause of the machine is longer than this.
const LONGEST_PAUSE: u64 = REFUSED_WRITE_PAUSE.0 + 1_000;

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.left, self.world.violation)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        (self.digest, self.left) == (other.digest, other.left)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.digest, self.left).hash(hasher);
    }
}

// === impl State ===

impl State {
    fn spend(&mut self, act: &Act) {
        let left = &mut self.left;
        let spent = match act {
            Act::Hear(_) | Act::Land(_) | Act::Reply(_) | Act::Answer(_, How::ByNature) => return,
            Act::Answer(..) => &mut left.troubles,
            Act::LoseReply(_) => &mut left.lost_replies,
            Act::Stop(_) | Act::Withdraw(_) => &mut left.requests,
            Act::MoveDeadline(_) | Act::RemoveDeadline(_) => &mut left.deadlines,
            Act::Add(_) => &mut left.additions,
            Act::Delete(_) | Act::Recreate(_) => &mut left.deletions,
            Act::SetPolicy(..) | Act::DeleteGateway => &mut left.policies,
            Act::EditGateway { .. } => &mut left.edits,
            Act::Relist => &mut left.relists,
            Act::Rotate => &mut left.rotations,
            Act::Crash => &mut left.crashes,
            Act::Tick => &mut left.ticks,
        };
        *spent = spent.saturating_sub(1);
    }

    fn take(&mut self, act: &Act) {
        let world = &mut self.world;
        match act {
            Act::Hear(kind) => world.deliver(*kind),
            Act::Answer(call, how) => world.answer(*call, *how),
            Act::Land(op) => world.land(*op),
            Act::Reply(op) => world.reply(*op),
            Act::LoseReply(op) => world.lose(*op),
            Act::Stop(name) => world.edit_unseen(name, |run| run.spec.stopped = Some(true)),
            Act::Withdraw(name) => world.edit_unseen(name, |run| run.spec.stopped = Some(false)),
            Act::MoveDeadline(name) => set_deadline(world, name),
            Act::RemoveDeadline(name) => {
                world.edit_unseen(name, |run| run.spec.active_deadline_seconds = None);
            }
            Act::Add(name) => world.edit_unseen(name, |run| run.spec.plans.push(9)),
            Act::Recreate(name) => world.recreate_unseen(name, |run| run.spec.stopped = Some(true)),
            Act::Delete(name) => {
                world.server.wall = wall(world.now);
                world.server.delete_run(&run_key(name));
            }
            Act::SetPolicy(name, policy) => {
                world.edit_unseen(name, |run| run.spec.deletion_policy = Some(*policy));
            }
            Act::DeleteGateway => world.server.delete_gateway(&gateway_key("default")),
            Act::EditGateway { moves } => world.server.edit_gateway(&gateway_key("default"), |gateway| {
                gateway.spec.timeout_seconds = Some(9);
                gateway.spec.url.push_str(if *moves { "/v2" } else { "" });
            }),
            Act::Relist => world.relist(Kind::Runs),
            Act::Rotate => world.fake_gateway.secret += 1,
            Act::Crash => world.crash(),
            Act::Tick => world.tick(),
        }
    }

    /// Nothing is under way: whatever happens next comes from outside, or from a timer.
    fn is_quiet(&self) -> bool {
        let world = &self.world;
        let told =
            [Kind::Runs, Kind::Gateways].iter().all(|kind| !world.watch(*kind).has_more(&world.server));
        told && world.calls.is_empty() && world.ops.is_empty()
    }

    /// Faults end; whatever was wanted must be settled then. Yields what is not.
    fn unsettled(&self) -> Option<String> {
        let mut world = self.world.clone();
        if world.server.gateways.is_empty() {
            let mut gateway = fixtures::gateway("team");
            gateway.uid = "another".into();
            world.server.put_gateway(gateway);
        }
        world.run_until_settled();
        let violation = world.violation.as_ref().map(|(invariant, text)| format!("{invariant}: {text}"));
        violation.or_else(|| world.unsettled())
    }

    fn tick_is_near(&self) -> bool {
        self.world.machine.wake_at().is_some_and(|at| at.0 <= self.world.now + FAR)
    }
}

// === impl Explored ===

impl Explored {
    fn environment(&self, state: &State, acts: &mut Vec<Act>) {
        let (world, left) = (&state.world, &state.left);
        for (name, _) in self.runs {
            let Some(run) = world.server.runs.get(&run_key(name)) else { continue };
            let asked = run.spec.stopped == Some(true);
            if left.requests > 0 {
                acts.push(if asked { Act::Withdraw(name) } else { Act::Stop(name) });
            }
            if left.deadlines > 0 {
                acts.push(Act::MoveDeadline(name));
                acts.extend(run.spec.active_deadline_seconds.map(|_| Act::RemoveDeadline(name)));
            }
            if left.additions > 0 && asked {
                acts.push(Act::Add(name));
            }
            if left.deletions > 0 && self.has_finalizers && run.deleted.is_none() {
                acts.push(Act::Delete(name));
            } else if left.deletions > 0 && asked && run.deleted.is_none() {
                acts.extend([Act::Delete(name), Act::Recreate(name)]);
            }
            if left.policies > 0 && self.has_finalizers {
                let policies = [DeletionPolicy::Stop, DeletionPolicy::Orphan].into_iter();
                let others = policies.filter(|policy| run.spec.deletion_policy != Some(*policy));
                acts.extend(others.map(|policy| Act::SetPolicy(name, policy)));
            }
        }
        if left.policies > 0 && self.has_finalizers && !world.server.gateways.is_empty() {
            acts.push(Act::DeleteGateway);
        }
        if left.edits > 0 {
            acts.extend([Act::EditGateway { moves: false }, Act::EditGateway { moves: true }]);
        }
        if left.rotations > 0 {
            acts.push(Act::Rotate);
        }
        if left.crashes > 0 {
            acts.push(Act::Crash);
        }
        if left.relists > 0 && world.runs.list.is_none() {
            acts.push(Act::Relist);
        }
        if left.ticks > 0 && state.tick_is_near() {
            acts.push(Act::Tick);
        }
    }
}

/// Gives a run a deadline that is soon to come, later than any that it had.
fn set_deadline(world: &mut World, name: &str) {
    let seconds = i64::try_from(world.now / 1_000 + SOON).expect("a small time");
    world.edit_unseen(name, |run| {
        run.created = Some(wall(0));
        let earlier = run.spec.active_deadline_seconds.unwrap_or_default();
        run.spec.active_deadline_seconds = Some(seconds.max(earlier + 1));
    });
}

impl Model for Explored {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        let options = Options {
            without: self.without,
            quiet_gateways: true,
            slow_secrets: self.slow_secrets,
            room: self.room,
            lenient: true,
            ..Options::default()
        };
        let mut world = World::settled(self.runs, options);
        world.fake_gateway.stale = self.stale;
        world.fake_gateway.natures = self.bad.iter().map(|plan| (*plan, Nature::Rejected)).collect();
        // Every failure waits the same 50 ms: what chance would draw is no part of a state.
        world.edit_gateway("default", |gateway| {
            let retry = gateway.spec.retry.as_mut().expect("the fixture has one");
            retry.initial_delay_seconds = Some(0);
            gateway.spec.batching.as_mut().expect("the fixture has one").max_plans = Some(2);
        });
        world.run_until_settled();
        if self.has_deadlines {
            self.runs.iter().for_each(|(name, _)| set_deadline(&mut world, name));
            world.flow(How::ByNature);
        }
        if self.has_finalizers {
            for (name, _) in self.runs {
                world.edit_unseen(name, |run| run.spec.deletion_policy = Some(DeletionPolicy::Stop));
            }
            world.flow(How::ByNature);
        }
        let digest = digest(&world);
        vec![State { world, left: self.budget, digest }]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        let (world, left) = (&state.world, &state.left);
        if world.violation.is_some() {
            return;
        }
        for kind in [Kind::Gateways, Kind::Runs] {
            acts.extend(world.watch(kind).has_more(&world.server).then_some(Act::Hear(kind)));
        }
        for call in world.calls.keys() {
            acts.push(Act::Answer(*call, How::ByNature));
            if left.troubles > 0 {
                acts.extend(self.troubles.iter().map(|how| Act::Answer(*call, *how)));
            }
        }
        for (id, op) in &world.ops {
            acts.push(if op.done.is_some() { Act::Reply(*id) } else { Act::Land(*id) });
            if left.lost_replies > 0 && !op.orphan {
                acts.push(Act::LoseReply(*id));
            }
        }
        self.environment(state, acts);
    }

    fn next_state(&self, before: &State, act: Act) -> Option<State> {
        let mut state = before.clone();
        state.spend(&act);
        state.take(&act);
        state.world.trace = Default::default();
        state.world.machine.take_tally();
        state.digest = digest(&state.world);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no invariant is broken", |_, state: &State| state.world.violation.is_none()),
            // Longer than any pause, and shorter than the deadline of a stop: a run that nothing but its end would wake
            // is found.
            Property::always("a run that is not at rest is looked at again", |_, state: &State| {
                let wake = state.world.machine.wake_at().map(|at| at.0);
                let is_soon = wake.is_some_and(|at| at <= state.world.now + LONGEST_PAUSE);
                state.world.violation.is_some()
                    || !state.is_quiet()
                    || state.world.machine.active() == 0
                    // A run that waits for a gateway to be made is woken by that.
                    || state.world.server.gateways.is_empty()
                    || is_soon
            }),
            Property::always("quiet means settled", |_, state: &State| {
                state.world.violation.is_some() || !state.is_quiet() || state.unsettled().is_none()
            }),
        ]
    }
}
