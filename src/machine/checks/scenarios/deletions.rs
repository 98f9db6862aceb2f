//! Runs whose plans are stopped before their objects go, and what crosses that.

use super::annotate;
use crate::api::Outcome::{Accepted, NotRunning, Rejected};
use crate::api::{DeletionPolicy, EventReason, FINALIZER, Trigger};
use crate::machine::checks::fixtures::wall;
use crate::machine::checks::world::{How, Nature, Options, ServerRequest, World, run_key};
use crate::machine::{Kind, MetadataChange, RunView, WriteBody, WriteResult};

/// A run of two plans with the policy, which has its finalizer and is at rest.
pub(super) fn world() -> World {
    let mut world = World::of(&[("one", &[1, 2])]);
    set_policy(&mut world, Some(DeletionPolicy::Stop));
    world.flow(How::ByNature);
    assert_eq!(world.run("one").finalizers, [FINALIZER]);
    assert_eq!((world.machine.active(), world.machine.parked()), (0, 0), "it is not kept in memory");
    forget(&mut world);
    world
}

pub(super) fn set_policy(world: &mut World, policy: Option<DeletionPolicy>) {
    world.edit("one", |run| run.spec.deletion_policy = policy);
}

/// What has happened so far does not matter.
pub(super) fn forget(world: &mut World) {
    world.trace = Default::default();
    world.machine.take_tally();
}

pub(super) fn delete_unseen(world: &mut World) {
    world.server.wall = wall(world.now);
    world.server.delete_run(&run_key("one"));
}

pub(super) fn delete(world: &mut World) {
    delete_unseen(world);
    world.hear(Kind::Runs);
}

pub(super) fn is_there(world: &World) -> bool {
    world.server.runs.contains_key(&run_key("one"))
}

pub(super) fn told(world: &World, reason: EventReason) -> usize {
    world.trace.told.iter().filter(|told| **told == reason.as_str()).count()
}

/// The object is gone, and nothing is kept of it.
pub(super) fn is_over(world: &World) {
    assert!(!is_there(world), "{:?}", world.run("one"));
    assert_eq!((world.machine.active(), world.machine.parked()), (0, 0));
}

/// The finalizers that the oldest write under way sets, if it does.
fn finalizers_written(world: &World) -> Option<Vec<String>> {
    match &world.ops[&world.request()].request {
        ServerRequest::Write { body: WriteBody::Metadata(MetadataChange::Finalizers(list)), .. } => {
            Some(list.clone())
        }
        _ => None,
    }
}

/// The last state that people saw of the run before it went.
pub(super) fn last_seen(world: &mut World, mut step: impl FnMut(&mut World)) -> RunView {
    let mut last = world.run("one").clone();
    for _ in 0..2_000 {
        step(world);
        match world.server.runs.get(&run_key("one")) {
            Some(run) => last = (**run).clone(),
            None => return last,
        }
    }
    panic!("the run stays: {last:?}");
}

/// Everything ends well that does not depend on the gateway, and then the next timer runs out.
pub(super) fn step(world: &mut World) {
    step_with(world, How::ByNature);
}

pub(super) fn step_with(world: &mut World, how: How) {
    match world.ops.keys().next().copied() {
        Some(id) => world.reply(id),
        None if world.calls.is_empty() => world.tick(),
        None => world.answered(how),
    }
    world.hear_all();
}

// --- the finalizer ---

#[test]
fn rule_17_the_finalizer_is_put_on_before_anything_else_is_written_and_delays_no_call() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.edit("one", |run| {
        (run.spec.deletion_policy, run.spec.stopped) = (Some(DeletionPolicy::Stop), Some(true));
    });
    assert_eq!(world.under_way(), [[1, 2]]);
    assert_eq!(finalizers_written(&world), Some(vec![FINALIZER.to_owned()]));
    world.flow(How::ByNature);
    assert_eq!((world.stopped("one"), world.run("one").finalizers.len()), ("Accepted", 1));
}

#[test]
fn a_policy_that_goes_back_takes_the_finalizer_off() {
    for policy in [Some(DeletionPolicy::Orphan), None] {
        let mut world = world();
        set_policy(&mut world, policy);
        world.flow(How::ByNature);
        assert!(world.run("one").finalizers.is_empty());
        delete(&mut world);
        world.flow(How::ByNature);
        is_over(&world);
        assert!(world.trace.posts.is_empty());
    }
}

#[test]
fn other_finalizers_are_left_alone() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.edit("one", |run| {
        run.finalizers = vec!["example.com/x".to_owned()];
        run.spec.deletion_policy = Some(DeletionPolicy::Stop);
    });
    world.flow(How::ByNature);
    assert_eq!(world.run("one").finalizers, ["example.com/x", FINALIZER]);
    delete(&mut world);
    world.live(10_000, How::ByNature);
    assert_eq!(world.run("one").finalizers, ["example.com/x"]);
    assert_eq!(world.outcomes("one"), [Accepted, Accepted]);
    assert_eq!(world.machine.active(), 0, "whatever else holds it up is not ours to wait for");
}

#[test]
fn rule_17_without_the_right_the_policy_is_told_as_not_in_effect() {
    let options = Options { quiet_gateways: true, without_finalizers: true, ..Options::default() };
    let mut world = World::settled(&[("one", &[1, 2])], options);
    set_policy(&mut world, Some(DeletionPolicy::Stop));
    world.flow(How::ByNature);
    let skipped = |world: &World| world.run("one").status.stop.clone().and_then(|stop| stop.deletion_skipped);
    assert!(skipped(&world).is_some_and(|why| why.contains("patch testplanruns in all namespaces")));
    assert_eq!((told(&world, EventReason::DeletionSkipped), world.machine.active()), (1, 0));
    let before = world.run("one").clone();
    world.crash();
    world.live(10_000, How::ByNature);
    assert_eq!((told(&world, EventReason::DeletionSkipped), world.run("one") == &before), (1, true), "once");
    set_policy(&mut world, None);
    world.flow(How::ByNature);
    assert_eq!(skipped(&world), None);
}

#[test]
fn until_the_right_is_known_a_run_with_the_policy_is_kept() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.machine.runs.may_put_finalizers = None;
    set_policy(&mut world, Some(DeletionPolicy::Stop));
    world.flow(How::ByNature);
    assert_eq!((world.run("one").finalizers.len(), world.machine.active()), (0, 1));
    world.feed(crate::machine::Input::MayPatchRuns(true));
    world.flow(How::ByNature);
    assert_eq!((world.run("one").finalizers.len(), world.machine.active()), (1, 0));
}

#[test]
fn a_finalizer_that_is_refused_holds_up_no_outcome_and_is_tried_again() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.edit("one", |run| {
        (run.spec.deletion_policy, run.spec.stopped) = (Some(DeletionPolicy::Stop), Some(true));
    });
    world.answer_write(world.request(), WriteResult::Refused(403));
    world.flow(How::ByNature);
    assert_eq!((world.stopped("one"), world.run("one").finalizers.len()), ("Accepted", 0));
    assert_eq!(told(&world, EventReason::DeletionSkipped), 1);
    world.live(310_000, How::ByNature);
    assert_eq!(world.run("one").finalizers, [FINALIZER]);
    let stop = world.run("one").status.stop.clone().expect("it was stopped");
    assert_eq!((stop.deletion_skipped, world.machine.active()), (None, 0));
}

#[test]
fn a_finalizer_that_can_not_be_written_lets_the_outcome_go_first() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.edit("one", |run| {
        (run.spec.deletion_policy, run.spec.stopped) = (Some(DeletionPolicy::Stop), Some(true));
    });
    world.answered(How::ByNature);
    for _ in 0..40 {
        if world.ops.is_empty() {
            world.tick();
        }
        let id = world.request();
        match finalizers_written(&world) {
            Some(_) => world.answer_write(id, WriteResult::Failed { retry_after: None }),
            None => world.reply(id),
        }
        world.hear_all();
        if world.stopped("one") == "Accepted" {
            assert!(world.now < 5_000, "{}", world.now);
            return;
        }
    }
    panic!("the outcome is never told");
}

// --- the deletion ---

#[test]
fn rule_04_a_deletion_stops_the_plans_and_tells_it_before_the_object_goes() {
    let mut world = world();
    delete(&mut world);
    assert_eq!(world.under_way(), [[1, 2]]);
    let last = last_seen(&mut world, step);
    let stop = last.status.stop.expect("there was a stop");
    assert_eq!((stop.trigger, stop.completion_time.is_some()), (Some(Trigger::Deletion), true));
    assert_eq!(stop.request_time.map(|time| time.0), last.deleted, "rule 11");
    let outcomes: Vec<_> = last.status.plans.iter().map(|plan| plan.outcome).collect();
    assert_eq!((outcomes, world.trace.posts.len()), (vec![Accepted, Accepted], 1));
    assert_eq!(told(&world, EventReason::StopBeforeDeletion), 1);
    assert_eq!((told(&world, EventReason::StopAccepted), told(&world, EventReason::StopAbandoned)), (1, 0));
    world.flow(How::ByNature);
    is_over(&world);
}

#[test]
fn rule_17_a_run_that_is_deleted_before_it_was_seen_goes_without_a_stop() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.edit_unseen("one", |run| run.spec.deletion_policy = Some(DeletionPolicy::Stop));
    delete_unseen(&mut world);
    world.flow(How::ByNature);
    is_over(&world);
    assert!(world.trace.posts.is_empty());
}

#[test]
fn rule_04_what_is_stopped_is_not_asked_again_and_the_object_goes_with_one_write() {
    let mut world = world();
    world.stop("one");
    world.live(3_000, How::ByNature);
    forget(&mut world);
    delete(&mut world);
    world.flow(How::ByNature);
    is_over(&world);
    assert_eq!((world.trace.posts.len(), world.trace.writes.len()), (0, 1));
}

#[test]
fn rule_04_what_was_not_stopped_is_asked_once_more() {
    let mut world = world();
    world.fake_gateway.natures.insert(2, Nature::Rejected);
    world.stop("one");
    world.live(10_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted, Rejected]);
    forget(&mut world);
    world.fake_gateway.natures.insert(2, Nature::NotRunning);
    delete(&mut world);
    let last = last_seen(&mut world, step);
    assert_eq!(world.trace.posts, [[2]]);
    let outcomes: Vec<_> = last.status.plans.iter().map(|plan| plan.outcome).collect();
    assert_eq!(outcomes, [Accepted, NotRunning]);
    assert_eq!(last.status.stop.and_then(|stop| stop.trigger), Some(Trigger::Spec), "that stop stands");
}

#[test]
fn rule_04_what_is_refused_once_more_is_not_asked_for_ever() {
    let mut world = world();
    world.fake_gateway.natures.insert(2, Nature::Rejected);
    delete(&mut world);
    world.live(60_000, How::ByNature);
    is_over(&world);
    assert_eq!(told(&world, EventReason::PartiallyStopped), 1);
}

#[test]
fn rule_17_after_the_end_of_its_ttl_nothing_is_asked() {
    let mut world = world();
    world.fake_gateway.natures.insert(2, Nature::Rejected);
    world.edit("one", |run| {
        (run.spec.ttl_seconds_after_finished, run.marks) = (Some(60), Some(Box::default()));
    });
    world.stop("one");
    world.live(30_000, How::ByNature);
    forget(&mut world);
    world.live(60_000, How::ByNature);
    is_over(&world);
    assert!(world.trace.posts.is_empty());
}

#[test]
fn a_deletion_before_the_end_of_the_ttl_asks() {
    let mut world = world();
    world.edit("one", |run| {
        (run.spec.ttl_seconds_after_finished, run.marks) = (Some(60), Some(Box::default()));
    });
    delete(&mut world);
    world.flow(How::ByNature);
    is_over(&world);
    assert_eq!(world.trace.posts, [[1, 2]]);
}

#[test]
fn rule_15_a_backup_holds_no_deletion_so_a_restored_run_is_stopped_before_it_goes() {
    let mut world = world();
    world.edit_unseen("one", |run| {
        (run.restored, run.spec.stopped) = (Some("monday".to_owned()), Some(true));
    });
    delete_unseen(&mut world);
    world.flow(How::ByNature);
    is_over(&world);
    assert_eq!(world.trace.posts, [[1, 2]]);
}

// --- it is taken back ---

#[test]
fn rule_06_orphan_takes_the_stop_of_a_deletion_back_and_lets_the_object_go() {
    let mut world = world();
    suspended_later(&mut world);
    delete(&mut world);
    world.live(10_000, How::Unreachable);
    assert!(is_there(&world));
    set_policy(&mut world, Some(DeletionPolicy::Orphan));
    world.write_all();
    world.hear_all();
    is_over(&world);
    assert_eq!(told(&world, EventReason::StopWithdrawn), 1);
}

#[test]
fn rule_17_stopped_set_to_false_lets_the_object_go() {
    let mut world = world();
    suspended_later(&mut world);
    delete(&mut world);
    world.live(10_000, How::Unreachable);
    world.withdraw("one");
    world.live(1_000, How::Unreachable);
    is_over(&world);
}

#[test]
fn rule_08_a_deletion_beats_a_no_that_is_seen_with_it() {
    let mut world = world();
    annotate(&mut world, Some("no"));
    world.edit_unseen("one", |run| run.spec.stopped = Some(false));
    delete_unseen(&mut world);
    world.flow(How::ByNature);
    is_over(&world);
    assert_eq!(world.trace.posts, [[1, 2]]);
}

#[test]
fn rule_07_a_policy_that_is_removed_takes_nothing_back() {
    let mut world = world();
    suspended_later(&mut world);
    delete(&mut world);
    world.live(10_000, How::Unreachable);
    set_policy(&mut world, None);
    world.live(10_000, How::Unreachable);
    assert!(is_there(&world));
    world.live(60_000, How::ByNature);
    is_over(&world);
}

/// No call reaches the gateway from now on.
pub(super) fn suspended_later(world: &mut World) {
    world.fake_gateway.unreachable = true;
}
