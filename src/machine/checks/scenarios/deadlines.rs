//! Deadlines of runs that pass, whether or not somebody looks, and what they ask for.

use jiff::Timestamp;

use super::{annotate, message, put_other_gateway, suspend};
use crate::api::Outcome::{Accepted, Expired, Pending, Rejected};
use crate::api::{GatewayRef, StopStatus, Trigger, reason};
use crate::machine::Kind;
use crate::machine::checks::fixtures::wall;
use crate::machine::checks::world::reference::documented::STOP_DEADLINE;
use crate::machine::checks::world::{How, Nature, World};

/// A run of two plans in a world in which everything goes well.
pub(super) fn world() -> World {
    World::of(&[("one", &[1, 2])])
}

/// Gives the run a deadline, so many seconds from the present second on, which nobody has seen yet.
pub(super) fn move_deadline_unseen(world: &mut World, seconds: i64) -> Timestamp {
    let at = i64::try_from(world.now / 1_000).expect("a small time") + seconds;
    world.edit_unseen("one", |run| {
        run.created = Some(wall(0));
        run.spec.active_deadline_seconds = Some(at);
    });
    wall(u64::try_from(at * 1_000).expect("a small time"))
}

/// The same, and it is seen and told of.
pub(super) fn move_deadline(world: &mut World, seconds: i64) -> Timestamp {
    let at = move_deadline_unseen(world, seconds);
    world.hear(Kind::Runs);
    world.flow(How::ByNature);
    at
}

pub(super) fn stop_of(world: &World) -> StopStatus {
    world.run("one").status.stop.clone().unwrap_or_default()
}

pub(super) fn observed(world: &World) -> Option<Timestamp> {
    stop_of(world).observed_deadline.map(|time| time.0)
}

pub(super) fn told(world: &World, reason: &str) -> usize {
    world.trace.told.iter().filter(|told| **told == reason).count()
}

/// The stop has been asked for by a deadline, and waits for a gateway that is suspended.
pub(super) fn waiting() -> (World, Timestamp) {
    let mut world = world();
    suspend(&mut world, true);
    let at = move_deadline(&mut world, 60);
    world.live(62_000, How::ByNature);
    assert_eq!((world.outcomes("one"), observed(&world)), (vec![Pending, Pending], Some(at)));
    (world, at)
}

/// A long time passes, also for a new process, and no call is made.
pub(super) fn nothing_is_sent(world: &mut World) {
    world.trace.posts.clear();
    suspend(world, false);
    for _ in 0..2 {
        world.live(1_000_000, How::ByNature);
        world.crash();
    }
    world.live(1_000_000, How::ByNature);
    assert_eq!((world.trace.posts.len(), world.machine.parked()), (0, 0));
}

// --- it fires ---

#[test]
fn a_run_is_stopped_at_its_deadline_and_not_before() {
    for stopped in [None, Some(false)] {
        let mut world = world();
        world.edit("one", |run| run.spec.stopped = stopped);
        let at = move_deadline(&mut world, 60);
        let writes = world.trace.writes.len();
        assert_eq!((world.machine.active(), world.machine.parked()), (0, 1), "it is only a timer");
        assert!(
            message(&world, "one").contains("; the run's deadline stops it at 2027-"),
            "{}",
            message(&world, "one")
        );
        world.live(58_000, How::ByNature);
        assert_eq!((world.trace.posts.len(), world.trace.writes.len()), (0, writes));
        world.live(3_000, How::ByNature);
        assert_eq!((world.outcomes("one"), world.stopped("one")), (vec![Accepted; 2], reason::ACCEPTED));
        let stop = stop_of(&world);
        assert_eq!(stop.trigger, Some(Trigger::Deadline));
        assert_eq!((stop.request_time.map(|time| time.0), observed(&world)), (Some(at), Some(at)));
        assert_eq!(world.run("one").spec.stopped, stopped, "the spec is not written");
        assert_eq!((told(&world, "DeadlinePassed"), told(&world, "StopAccepted")), (1, 1));
        assert_eq!(world.trace.writes.len(), writes + 1, "one call, one write");
        nothing_is_sent(&mut world);
    }
}

#[test]
fn rule_12_a_deadline_that_is_lowered_into_the_past_fires_at_once() {
    let mut world = world();
    move_deadline(&mut world, 10_000);
    world.live(100_000, How::ByNature);
    let at = move_deadline(&mut world, -10);
    assert_eq!((world.outcomes("one"), observed(&world)), (vec![Accepted; 2], Some(at)));
    nothing_is_sent(&mut world);
}

/// Its request is of the moment at which it was set, or it would have expired long ago.
#[test]
fn rule_11_a_deadline_that_is_added_to_an_old_run_stops_it_now() {
    let mut world = world();
    world.pass(3 * STOP_DEADLINE);
    let set = wall(world.now / 1_000 * 1_000);
    world.edit("one", |run| {
        (run.created, run.spec.active_deadline_seconds) = (Some(wall(0)), Some(60));
    });
    world.flow(How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted; 2]);
    assert_eq!(stop_of(&world).request_time.map(|time| time.0), Some(set));
    assert_eq!(observed(&world), Some(wall(60_000)));
}

#[test]
fn rule_12_a_deadline_that_passed_while_no_operator_ran_fires_once() {
    let mut world = world();
    let at = move_deadline(&mut world, 60);
    world.crash();
    world.now += 600_000;
    world.live(5_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted; 2]);
    assert_eq!(stop_of(&world).request_time.map(|time| time.0), Some(at));
    nothing_is_sent(&mut world);
}

/// Plan ids are reused: what was to be stopped hours ago may be another execution by now.
#[test]
fn rule_11_a_deadline_that_passed_while_no_operator_ran_is_as_old_as_it_is() {
    let mut world = world();
    move_deadline(&mut world, 60);
    world.crash();
    world.now += 60_000 + STOP_DEADLINE + 2_000;
    world.live(5_000, How::ByNature);
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Expired; 2], 0));
}

#[test]
fn rule_12_a_crash_before_the_first_write_repeats_the_deadline_and_one_after_it_does_not() {
    for is_written in [false, true] {
        let mut world = world();
        let at = move_deadline(&mut world, 60);
        world.pass(61_000);
        world.write_all();
        world.answered(How::ByNature);
        if is_written {
            world.write_all();
        }
        world.ops.clear();
        world.crash();
        world.live(5_000, How::ByNature);
        assert_eq!(world.trace.posts.len(), if is_written { 1 } else { 2 });
        assert_eq!((world.outcomes("one"), observed(&world)), (vec![Accepted; 2], Some(at)));
        nothing_is_sent(&mut world);
    }
}

/// The run is read when its deadline has come. Nothing is lost if that takes several tries.
#[test]
fn a_reading_that_fails_at_the_deadline_is_made_again() {
    let mut world = world();
    move_deadline(&mut world, 60);
    world.pass(61_000);
    for _ in 0..3 {
        world.lose(world.request());
        world.pass(10_000);
    }
    world.flow(How::ByNature);
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted; 2], 1));
}

/// A status that can't be written keeps the record of a run, which does not know the plans of the spec.
#[test]
fn a_run_whose_status_is_refused_is_stopped_at_its_deadline_all_the_same() {
    let mut world = world();
    move_deadline_unseen(&mut world, 60);
    world.hear(Kind::Runs);
    for _ in 0..2 {
        world.refuse(world.request());
    }
    assert_eq!(world.machine.active(), 1);
    world.pass(61_000);
    world.write_all();
    assert_eq!(world.under_way(), [[1, 2]]);
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Accepted; 2], None));
}

/// A request that moves the run makes the deadline ask where the run is now.
#[test]
fn rule_08_a_deadline_that_passes_with_a_move_asks_at_the_new_gateway() {
    let mut world = world();
    put_other_gateway(&mut world);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    world.edit("one", |run| {
        (run.created, run.spec.active_deadline_seconds) = (Some(wall(0)), Some(1));
        run.spec.gateway_ref = Some(GatewayRef { name: Some("other".to_owned()) });
    });
    world.flow(How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted; 2]);
    let stop = stop_of(&world);
    assert_eq!(stop.gateway.map(|gateway| gateway.name).as_deref(), Some("other"));
    assert_eq!(stop.trigger, Some(Trigger::Deadline));
}

// --- what it asks for ---

#[test]
fn rule_04_a_deadline_asks_again_only_for_what_was_not_stopped() {
    let mut world = world();
    world.fake_gateway.natures.insert(2, Nature::Rejected);
    world.stop("one");
    world.live(5_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted, Rejected]);
    let at = move_deadline(&mut world, 60);
    world.trace.posts.clear();
    world.fake_gateway.natures.clear();
    world.live(62_000, How::ByNature);
    assert_eq!((world.trace.posts.concat(), world.outcomes("one")), (vec![2], vec![Accepted; 2]));
    assert_eq!(stop_of(&world).trigger, Some(Trigger::Spec), "it goes on with the stop that stands");
    let told = &world.run("one").status.plans;
    let times: Vec<_> = told.iter().map(|plan| plan.request_time.as_ref().map(|time| time.0)).collect();
    assert_eq!((times, observed(&world)), (vec![None, Some(at)], Some(at)));
    nothing_is_sent(&mut world);
}

#[test]
fn rule_04_a_deadline_with_every_plan_stopped_is_spent_and_sends_nothing() {
    let mut world = world();
    world.stop("one");
    world.flow(How::ByNature);
    let at = move_deadline(&mut world, 60);
    let (before, writes) = (stop_of(&world), world.trace.writes.len());
    world.live(62_000, How::ByNature);
    assert_eq!((world.trace.posts.len(), world.trace.writes.len()), (1, writes + 1));
    assert_eq!(
        stop_of(&world),
        StopStatus { observed_deadline: stop_of(&world).observed_deadline, ..before }
    );
    assert_eq!((observed(&world), told(&world, "DeadlinePassed")), (Some(at), 0));
    nothing_is_sent(&mut world);
}

#[test]
fn rule_04_a_deadline_leaves_a_stop_alone_that_is_under_way() {
    let mut world = world();
    suspend(&mut world, true);
    world.stop("one");
    let at = move_deadline(&mut world, 60);
    world.live(100_000, How::ByNature);
    assert_eq!((world.outcomes("one"), observed(&world)), (vec![Pending; 2], Some(at)), "it is remembered");
    suspend(&mut world, false);
    world.flow(How::ByNature);
    assert_eq!((world.trace.posts.concat(), world.outcomes("one")), (vec![1, 2], vec![Accepted; 2]));
    assert_eq!(stop_of(&world).trigger, Some(Trigger::Spec));
    nothing_is_sent(&mut world);
}

#[test]
fn rule_10_a_plan_that_is_added_after_the_stop_of_a_deadline_is_not_sent() {
    let (mut world, _) = waiting();
    world.edit("one", |run| run.spec.plans.push(3));
    suspend(&mut world, false);
    world.flow(How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted; 3], "it was added while the stop was under way");
    world.edit("one", |run| run.spec.plans.push(4));
    world.flow(How::ByNature);
    assert_eq!((world.stopped("one"), world.outcomes("one")), (reason::NOT_REQUESTED, vec![Accepted; 3]));
    move_deadline(&mut world, 60);
    assert_eq!(world.outcomes("one"), [Accepted; 3], "the stop is complete, and taken back");
    world.trace.posts.clear();
    world.live(62_000, How::ByNature);
    assert_eq!(world.trace.posts, [[1, 2, 3, 4]], "where no stop stands a deadline asks for all");
}
