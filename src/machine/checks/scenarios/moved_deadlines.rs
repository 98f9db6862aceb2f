//! Deadlines of runs that are moved or removed, stops by deadline that are taken back, and clocks that jump.

use super::deadlines::{move_deadline, nothing_is_sent, observed, stop_of, told, waiting, world};
use super::{annotate, message, suspend};
use crate::api::Outcome::{Accepted, Pending, Rejected, Withdrawn};
use crate::api::{Trigger, reason};
use crate::machine::Kind;
use crate::machine::checks::fixtures::wall;
use crate::machine::checks::world::{How, Nature, World};

const HOUR: i64 = 3_600_000;

fn remove_deadline(world: &mut World) {
    world.edit("one", |run| run.spec.active_deadline_seconds = None);
}

// --- what takes it back, and what does not ---

#[test]
fn rule_06_stopped_becoming_false_takes_back_a_stop_by_deadline_for_good() {
    let (mut world, at) = waiting();
    world.withdraw("one");
    world.flow(How::ByNature);
    assert_eq!((world.outcomes("one"), world.stopped("one")), (vec![Withdrawn; 2], reason::WITHDRAWN));
    assert_eq!(observed(&world), Some(at));
    nothing_is_sent(&mut world);
    // The same field armed again is a stop of its own, and the deadline still asks for nothing.
    world.stop("one");
    world.flow(How::ByNature);
    assert_eq!((stop_of(&world).trigger, observed(&world)), (Some(Trigger::Spec), Some(at)));
    world.withdraw("one");
    nothing_is_sent(&mut world);
}

/// A Git repository declares `stopped: false` all along, which is no withdrawal. A no in the annotation is one.
#[test]
fn rule_06_an_annotation_takes_back_a_stop_by_deadline_under_a_standing_false() {
    let mut world = world();
    suspend(&mut world, true);
    world.edit("one", |run| run.spec.stopped = Some(false));
    move_deadline(&mut world, 60);
    world.live(62_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Pending; 2]);
    annotate(&mut world, Some("no"));
    world.flow(How::ByNature);
    assert_eq!(world.stopped("one"), reason::WITHDRAWN);
    nothing_is_sent(&mut world);
}

#[test]
fn rule_06_a_deadline_that_is_raised_takes_its_stop_back_and_fires_when_it_has_come() {
    let (mut world, _) = waiting();
    let later = move_deadline(&mut world, 60);
    assert_eq!((world.outcomes("one"), world.stopped("one")), (vec![Withdrawn; 2], reason::WITHDRAWN));
    assert!(message(&world, "one").contains("; the run's deadline stops it at 2027-"));
    assert_eq!((told(&world, "StopWithdrawn"), world.machine.parked()), (1, 1));
    suspend(&mut world, false);
    world.live(58_000, How::ByNature);
    assert_eq!(world.trace.posts.len(), 0);
    world.crash();
    world.live(3_000, How::ByNature);
    assert_eq!((world.outcomes("one"), observed(&world)), (vec![Accepted; 2], Some(later)));
    nothing_is_sent(&mut world);
}

#[test]
fn rule_06_a_deadline_that_is_raised_takes_no_other_stop_back() {
    for asked_by in ["stopped", "annotation"] {
        let (mut world, _) = waiting();
        match asked_by {
            "stopped" => world.stop("one"),
            _ => annotate(&mut world, Some("a")),
        }
        move_deadline(&mut world, 10_000);
        assert_eq!(world.outcomes("one"), [Pending; 2], "{asked_by}");
        suspend(&mut world, false);
        world.flow(How::ByNature);
        assert_eq!(world.outcomes("one"), [Accepted; 2], "{asked_by}");
    }
}

#[test]
fn rule_12_an_earlier_deadline_than_one_that_has_passed_means_nothing() {
    let (mut world, at) = waiting();
    move_deadline(&mut world, 10_000);
    assert_eq!(world.outcomes("one"), [Withdrawn; 2]);
    world.edit("one", |run| run.spec.active_deadline_seconds = Some(30));
    world.flow(How::ByNature);
    assert_eq!((world.outcomes("one"), observed(&world)), (vec![Withdrawn; 2], Some(at)));
    nothing_is_sent(&mut world);
}

#[test]
fn rule_06_a_stop_that_was_taken_back_before_the_deadline_does_not_hold_it_up() {
    let mut world = world();
    world.stop("one");
    world.flow(How::ByNature);
    world.withdraw("one");
    world.flow(How::ByNature);
    move_deadline(&mut world, 60);
    world.trace.posts.clear();
    world.live(62_000, How::ByNature);
    assert_eq!((world.trace.posts.concat(), world.outcomes("one")), (vec![1, 2], vec![Accepted; 2]));
    assert_eq!(stop_of(&world).trigger, Some(Trigger::Deadline));
}

#[test]
fn rule_07_a_deadline_that_is_removed_takes_nothing_back_and_an_event_says_so() {
    for is_seen in [true, false] {
        let (mut world, _) = waiting();
        if is_seen {
            remove_deadline(&mut world);
        } else {
            world.edit_unseen("one", |run| run.spec.active_deadline_seconds = None);
            world.crash();
            world.hear_all();
        }
        world.flow(How::ByNature);
        assert_eq!(told(&world, "StopContinues"), 1, "seen: {is_seen}");
        let event = world.trace.events.iter().find(|event| event.reason.as_str() == "StopContinues");
        assert!(
            event.is_some_and(|event| event.message.starts_with("spec.activeDeadlineSeconds was removed"))
        );
        world.live(2_000, How::ByNature);
        world.crash();
        world.live(2_000, How::ByNature);
        assert_eq!(told(&world, "StopContinues"), 1, "a restart says it no more");
        suspend(&mut world, false);
        world.flow(How::ByNature);
        assert_eq!(world.outcomes("one"), [Accepted; 2], "seen: {is_seen}");
    }
}

#[test]
fn a_deadline_that_is_removed_in_time_stops_nothing() {
    let mut world = world();
    move_deadline(&mut world, 60);
    world.live(30_000, How::ByNature);
    remove_deadline(&mut world);
    world.flow(How::ByNature);
    assert_eq!((message(&world, "one").as_str(), observed(&world)), ("no stop is asked for", None));
    nothing_is_sent(&mut world);
}

/// It has passed after the withdrawal, and nobody saw either.
#[test]
fn rule_08_a_deadline_and_a_no_that_are_seen_together_ask() {
    let mut world = world();
    suspend(&mut world, true);
    world.stop("one");
    move_deadline(&mut world, 60);
    world.fake_gateway.natures.insert(2, Nature::Rejected);
    suspend(&mut world, false);
    world.live(5_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted, Rejected]);
    world.crash();
    world.now += 61_000;
    world.edit_unseen("one", |run| run.spec.stopped = Some(false));
    world.fake_gateway.natures.clear();
    world.live(5_000, How::ByNature);
    assert_eq!((world.outcomes("one"), world.stopped("one")), (vec![Accepted; 2], reason::ACCEPTED));
}

#[test]
fn rule_03_a_person_asks_for_every_plan_after_a_deadline_has() {
    let mut world = world();
    move_deadline(&mut world, 60);
    world.live(62_000, How::ByNature);
    assert_eq!(world.trace.posts, [[1, 2]]);
    world.stop("one");
    world.live(2_000, How::ByNature);
    assert_eq!((world.trace.posts.len(), stop_of(&world).trigger), (2, Some(Trigger::Spec)));
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    assert_eq!((world.trace.posts.len(), stop_of(&world).trigger), (3, Some(Trigger::Annotation)));
}

#[test]
fn rule_15_the_deadline_of_a_restored_run_is_spent() {
    let mut world = world();
    world.recreate_unseen("one", |run| {
        (run.created, run.restored) = (Some(wall(2_000)), Some("monday".to_owned()));
        run.spec.active_deadline_seconds = Some(60);
    });
    world.hear(Kind::Runs);
    world.flow(How::ByNature);
    assert_eq!((world.stopped("one"), told(&world, "Restored")), (reason::RESTORED, 1));
    assert_eq!((observed(&world), world.machine.parked()), (Some(wall(62_000)), 0));
    nothing_is_sent(&mut world);
    assert_eq!(told(&world, "Restored"), 1, "a restart says it no more");
    let seconds = i64::try_from(world.now / 1_000).expect("a small time") + 60;
    world.edit("one", |run| run.spec.active_deadline_seconds = Some(seconds));
    world.flow(How::ByNature);
    assert_eq!(world.stopped("one"), reason::NOT_REQUESTED, "a deadline of its own");
    world.live(64_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted; 2]);
}

// --- clocks ---

/// The clock jumps ahead, so the run is read; by the time of the answer the clock is right again.
#[test]
fn a_deadline_fires_by_the_clock_of_its_reading() {
    let mut world = world();
    let at = move_deadline(&mut world, 3_600);
    world.jump(2 * HOUR);
    world.pass(61_000);
    assert_eq!(world.ops.len(), 1, "the run is read");
    world.jump(-2 * HOUR);
    world.flow(How::ByNature);
    assert_eq!((world.trace.posts.len(), world.machine.parked()), (0, 1), "it is parked again");
    world.live(3_530_000, How::ByNature);
    assert_eq!((world.trace.posts.len(), observed(&world)), (0, None));
    world.live(20_000, How::ByNature);
    assert_eq!((world.outcomes("one"), observed(&world)), (vec![Accepted; 2], Some(at)));
}

#[test]
fn a_clock_that_is_set_ahead_for_good_fires_within_a_minute() {
    let mut world = world();
    move_deadline(&mut world, 3_600);
    world.jump(HOUR);
    world.live(61_000, How::ByNature);
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted; 2], 1));
    world.jump(-HOUR);
    nothing_is_sent(&mut world);
}

#[test]
fn a_clock_that_is_set_back_puts_a_deadline_off_and_does_not_lose_it() {
    let mut world = world();
    move_deadline(&mut world, 60);
    world.jump(-HOUR);
    world.live(3_000_000, How::ByNature);
    assert_eq!((world.trace.posts.len(), world.machine.parked()), (0, 1));
    world.jump(HOUR);
    world.live(61_000, How::ByNature);
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted; 2], 1));
}

#[test]
fn a_clock_that_is_set_back_takes_no_stop_back_and_asks_for_none_again() {
    let (mut world, at) = waiting();
    world.jump(-HOUR);
    world.edit("one", |run| run.reconcile_annotation = Some("now".to_owned()));
    world.live(61_000, How::ByNature);
    world.crash();
    world.live(61_000, How::ByNature);
    assert_eq!((world.outcomes("one"), observed(&world)), (vec![Pending; 2], Some(at)));
    suspend(&mut world, false);
    world.flow(How::ByNature);
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted; 2], 1));
    world.jump(HOUR);
    nothing_is_sent(&mut world);
}
