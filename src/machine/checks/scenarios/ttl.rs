//! Runs that are deleted after their TTL, and what crosses that.

use super::{annotate, suspend};
use crate::api::EventReason;
use crate::machine::checks::fixtures::wall;
use crate::machine::checks::world::{How, Nature, ServerOp, World, run_key};
use crate::machine::{Kind, Marks, WriteResult};

const TTL: i64 = 60;

/// A run with a TTL whose stop is complete.
fn finished() -> World {
    let mut world = World::of(&[("one", &[1, 2])]);
    set_ttl(&mut world, Some(TTL));
    world.stop("one");
    world.live(3_000, How::ByNature);
    assert_eq!(world.stopped("one"), "Accepted");
    world
}

fn set_ttl(world: &mut World, ttl: Option<i64>) {
    world.edit("one", |run| {
        run.spec.ttl_seconds_after_finished = ttl;
        run.marks = ttl.map(|_| Box::default());
    });
}

fn mark(world: &mut World, name: &str) {
    let marks = Marks { names: vec![name.to_owned()], ..Marks::default() };
    world.edit("one", |run| run.marks = Some(Box::new(marks)));
}

fn is_there(world: &World) -> bool {
    world.server.runs.contains_key(&run_key("one"))
}

fn told(world: &World, reason: EventReason) -> usize {
    world.trace.told.iter().filter(|told| **told == reason.as_str()).count()
}

/// Whether the deletion of the run is under way.
fn is_being_deleted(world: &World) -> bool {
    world.ops.values().any(ServerOp::is_deletion)
}

/// Time passes until the deletion is under way, and everything else ends well.
fn until_deletion(world: &mut World) {
    for _ in 0..1_000 {
        if is_being_deleted(world) {
            return;
        }
        match world.ops.keys().next().copied() {
            Some(id) => world.reply(id),
            None => world.tick(),
        }
        if !is_being_deleted(world) {
            world.hear_all();
        }
    }
    panic!("the run is never deleted");
}

#[test]
fn a_run_is_deleted_after_its_ttl_and_not_before() {
    let mut world = finished();
    world.live(50_000, How::ByNature);
    assert!(is_there(&world));
    assert_eq!((world.machine.active(), world.machine.parked()), (0, 1), "it waits as a timer");
    world.live(10_000, How::ByNature);
    assert!(!is_there(&world));
    assert_eq!((world.machine.active(), world.machine.parked()), (0, 0), "nothing is kept of it");
}

#[test]
fn a_ttl_of_nothing_deletes_once_the_outcome_is_written() {
    let mut world = World::of(&[("one", &[1])]);
    set_ttl(&mut world, Some(0));
    world.stop("one");
    world.live(5_000, How::ByNature);
    assert!(!is_there(&world));
    assert_eq!(told(&world, EventReason::StopAccepted), 1, "people are told of the end before");
}

#[test]
fn a_stop_that_has_failed_is_an_end_as_well() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.fake_gateway.natures.insert(1, Nature::Rejected);
    set_ttl(&mut world, Some(TTL));
    world.stop("one");
    world.live(90_000, How::ByNature);
    assert!(!is_there(&world));
}

#[test]
fn a_run_without_a_complete_stop_is_never_deleted() {
    let ages = 1_000_000;
    // Nobody has asked.
    let mut world = World::of(&[("one", &[1])]);
    set_ttl(&mut world, Some(0));
    world.live(ages, How::ByNature);
    assert!(is_there(&world));
    // The stop waits.
    suspend(&mut world, true);
    world.stop("one");
    world.live(ages, How::ByNature);
    assert!(is_there(&world));
    // It was taken back.
    world.edit("one", |run| run.spec.stopped = Some(false));
    world.live(ages, How::ByNature);
    assert!(is_there(&world));
}

#[test]
fn a_stop_that_was_taken_back_after_its_end_keeps_the_run() {
    let mut world = finished();
    world.edit("one", |run| run.spec.stopped = Some(false));
    world.live(1_000_000, How::ByNature);
    assert!(is_there(&world));
}

/// The plans that were added are not stopped, and somebody may want that.
#[test]
fn a_plan_that_was_added_after_the_stop_of_an_annotation_keeps_the_run() {
    let mut world = World::of(&[("one", &[1])]);
    annotate(&mut world, Some("now"));
    world.live(3_000, How::ByNature);
    world.edit("one", |run| run.spec.plans.push(2));
    set_ttl(&mut world, Some(TTL));
    world.live(1_000_000, How::ByNature);
    assert!(is_there(&world));
}

#[test]
fn a_ttl_that_was_over_while_no_operator_ran_deletes_at_the_start() {
    let mut world = finished();
    world.now += 1_000_000;
    world.crash();
    world.live(1_000, How::ByNature);
    assert!(!is_there(&world));
}

#[test]
fn a_ttl_that_is_raised_lowered_or_removed_counts_as_it_is_now() {
    let mut world = finished();
    set_ttl(&mut world, Some(1_000));
    world.live(100_000, How::ByNature);
    assert!(is_there(&world), "raised");
    set_ttl(&mut world, None);
    world.live(2_000_000, How::ByNature);
    assert!(is_there(&world), "removed");
    assert_eq!(world.machine.parked(), 0);
    set_ttl(&mut world, Some(TTL));
    world.live(1_000, How::ByNature);
    assert!(!is_there(&world), "set again, and over already");
}

#[test]
fn keep_until_puts_the_deletion_off() {
    let mut world = finished();
    let until = wall(500_000).to_string();
    world.edit("one", |run| run.keep_until = Some(until));
    world.live(400_000, How::ByNature);
    assert!(is_there(&world));
    world.live(100_000, How::ByNature);
    assert!(!is_there(&world));
}

#[test]
fn an_unreadable_keep_until_keeps_the_run_and_is_told_once_also_across_restarts() {
    let mut world = finished();
    world.edit("one", |run| run.keep_until = Some("next tuesday".to_owned()));
    for _ in 0..3 {
        world.live(400_000, How::ByNature);
        world.crash();
    }
    world.live(400_000, How::ByNature);
    assert!(is_there(&world));
    assert_eq!(told(&world, EventReason::TTLSkipped), 1);
    world.edit("one", |run| run.keep_until = None);
    world.live(3_000, How::ByNature);
    assert!(!is_there(&world), "nothing keeps it any more");
}

#[test]
fn a_run_of_a_tool_is_kept_and_told_together_with_the_end_of_its_stop() {
    let mut world = World::of(&[("one", &[1])]);
    set_ttl(&mut world, Some(TTL));
    mark(&mut world, "argocd.argoproj.io/instance");
    world.live(3_000, How::ByNature);
    assert_eq!(told(&world, EventReason::TTLSkipped), 0, "nothing is finished");
    world.stop("one");
    let before = world.server.revision;
    world.live(3_000, How::ByNature);
    assert_eq!(world.server.revision, before + 1, "the outcome and this are one write");
    assert_eq!((told(&world, EventReason::StopAccepted), told(&world, EventReason::TTLSkipped)), (1, 1));
    let skipped = world.run("one").status.stop.as_ref().and_then(|stop| stop.ttl_skipped.clone());
    assert!(skipped.is_some_and(|why| why.contains("argocd.argoproj.io/instance")));
    world.live(1_000_000, How::ByNature);
    assert!(is_there(&world));
}

/// The run is edited while the request to delete it is on its way.
#[test]
fn an_object_that_was_edited_meanwhile_is_looked_at_again() {
    let mut world = finished();
    until_deletion(&mut world);
    world.edit_unseen("one", |run| run.spec.ttl_seconds_after_finished = None);
    world.live(1_000_000, How::ByNature);
    assert!(is_there(&world), "it is wanted after all");
    set_ttl(&mut world, Some(TTL));
    until_deletion(&mut world);
    world.edit_unseen("one", |run| run.reconcile_annotation = Some("now".to_owned()));
    world.live(60_000, How::ByNature);
    assert!(!is_there(&world), "another edit changes nothing");
}

/// The same, and the edit is heard of before the answer comes.
#[test]
fn an_edit_that_is_heard_of_before_the_conflict_counts() {
    let mut world = finished();
    until_deletion(&mut world);
    world.edit_unseen("one", |run| run.spec.ttl_seconds_after_finished = None);
    world.hear(Kind::Runs);
    world.live(1_000_000, How::ByNature);
    assert!(is_there(&world));
    assert_eq!(world.machine.active(), 0);
}

/// The request fails, and before it is sent again the run is asked to stop once more.
#[test]
fn a_deletion_that_failed_is_not_repeated_on_a_run_that_has_changed() {
    let mut world = finished();
    until_deletion(&mut world);
    let id = *world.ops.keys().next().expect("the deletion is under way");
    world.answer_write(id, WriteResult::Failed { retry_after: None });
    world.edit("one", |run| run.spec.ttl_seconds_after_finished = Some(10_000));
    world.live(1_000_000, How::ByNature);
    assert!(is_there(&world));
    assert_eq!((world.machine.active(), world.machine.parked()), (0, 1));
}

#[test]
fn a_deletion_that_is_refused_is_told_once_and_tried_again_later() {
    let mut world = finished();
    until_deletion(&mut world);
    for _ in 0..3 {
        let id = *world.ops.keys().next().expect("the deletion is under way");
        world.answer_write(id, WriteResult::Refused(403));
        let refused_at = world.now;
        until_deletion(&mut world);
        assert!(world.now >= refused_at + 300_000, "a right that is missing is no reason to hurry");
    }
    assert_eq!(told(&world, EventReason::DeletionRefused), 1);
    world.live(1_000, How::ByNature);
    assert!(!is_there(&world));
}

#[test]
fn a_crash_at_any_step_deletes_once_and_loses_nothing() {
    for steps in 0..12 {
        let mut world = World::of(&[("one", &[1])]);
        set_ttl(&mut world, Some(0));
        world.stop("one");
        for _ in 0..steps {
            if let Some(id) = world.ops.keys().next().copied() {
                world.reply(id);
            } else if let Some(call) = world.calls.keys().next().copied() {
                world.answer(call, How::ByNature);
            } else {
                world.tick();
            }
            world.hear_all();
        }
        world.crash();
        world.live(400_000, How::ByNature);
        assert!(!is_there(&world), "after {steps} steps");
        assert_eq!((world.machine.active(), world.machine.parked()), (0, 0), "after {steps} steps");
    }
}

/// Whatever is held up by somebody's finalizer is deleted once.
#[test]
fn an_object_whose_deletion_has_begun_is_left_alone() {
    let mut world = finished();
    world.edit("one", |run| {
        (run.deleted, run.finalizers) = (run.written, vec!["example.com/x".to_owned()]);
    });
    world.live(1_000_000, How::ByNature);
    assert!(is_there(&world));
    assert_eq!((world.machine.active(), world.machine.parked()), (0, 0));
}

#[test]
fn a_clock_that_jumps_ahead_and_back_deletes_nothing_before_its_time() {
    let mut world = finished();
    world.live(10_000, How::ByNature);
    world.jump(-7_200_000);
    world.live(100_000, How::ByNature);
    assert!(is_there(&world), "by the clock it is long before");
    world.jump(7_200_000);
    world.live(61_000, How::ByNature);
    assert!(!is_there(&world), "the clock is read again within a minute");
}
