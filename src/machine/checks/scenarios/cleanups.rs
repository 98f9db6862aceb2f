//! Cleanup rules: marks ask as automation does, and lose nothing to restarts, conflicts and people.

use super::{annotate, suspend};
use crate::api::Outcome::{Accepted, NotRunning, Rejected};
use crate::api::{CleanupAction, Trigger, reason};
use crate::machine::checks::fixtures;
use crate::machine::checks::world::{How, Nature, World};
use crate::machine::{CleanupView, Input, ObjectKey, ObjectView, WriteResult};

fn rule(change: impl FnOnce(&mut CleanupView)) -> Input {
    let mut view = fixtures::cleanup("team", "@yearly");
    view.run_now = Some("1".to_owned());
    change(&mut view);
    Input::Seen(ObjectView::Cleanup(Box::new(view)))
}

/// Somebody sets the mark, as a rule does.
fn mark(world: &mut World, value: &str) {
    world.edit("one", |run| run.cleanup_annotation = Some(value.to_owned()));
}

fn trigger(world: &World, run: &str) -> Option<Trigger> {
    world.run(run).status.stop.as_ref().and_then(|stop| stop.trigger)
}

#[test]
fn rule_18_a_rule_stops_by_a_mark_of_its_own_and_status_tells_who_it_was() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2]), ("three", &[3])]);
    world.feed(rule(|_| {}));
    world.run_until_settled();
    for run in ["one", "two", "three"] {
        assert_eq!((world.outcomes(run), world.stopped(run)), (vec![Accepted], reason::ACCEPTED), "{run}");
        let stop = world.run(run).status.stop.clone().expect("a stop");
        assert_eq!(stop.trigger, Some(Trigger::Cleanup));
        assert_eq!(stop.field_manager.as_deref(), Some("testinium-cleanup"));
        assert!(stop.reason.is_some_and(|reason| reason.starts_with("sweep/2027-01-15T08:00:")));
        assert_eq!(stop.observed_cleanup, world.run(run).cleanup_annotation);
        assert_eq!(world.run(run).stop_annotation, None, "the users' annotation is theirs");
    }
    assert_eq!(world.trace.pages, 4, "two pages are looked through, and then stopped");
    let told = world.trace.told.iter().filter(|told| **told == "CleanupStops").count();
    assert_eq!(told, 3, "an event for each run");
    let run = world.trace.cleanup_status.as_ref().and_then(|status| status.last_run.clone()).expect("a run");
    assert_eq!((run.matched, run.stopped, run.failed), (3, 3, 0));
    assert!(run.completion_time.is_some());
}

#[test]
fn rule_04_a_mark_asks_for_no_plan_that_is_stopped_or_being_stopped() {
    let mut world = World::of(&[("one", &[1, 2])]);
    annotate(&mut world, Some("a"));
    world.run_until_settled();
    let posts = world.trace.posts.len();
    mark(&mut world, "sweep/1");
    world.run_until_settled();
    assert_eq!(world.trace.posts.len(), posts, "nothing is left to ask for");
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert_eq!(stop.trigger, Some(Trigger::Annotation), "the stop is still the person's");
    assert_eq!(stop.observed_cleanup.as_deref(), Some("sweep/1"), "the mark is spent");
}

#[test]
fn rule_04_a_mark_asks_again_for_plans_whose_stop_has_failed() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.fake_gateway.natures.insert(1, Nature::Rejected);
    annotate(&mut world, Some("a"));
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Rejected, Accepted]);
    world.fake_gateway.natures.insert(1, Nature::NotRunning);
    world.trace.posts.clear();
    mark(&mut world, "sweep/1");
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.concat()), (vec![NotRunning, Accepted], vec![1]));
}

#[test]
fn rule_04_a_mark_waits_for_a_stop_that_is_under_way_and_adds_nothing() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    mark(&mut world, "sweep/1");
    world.live(2_000, How::ByNature);
    suspend(&mut world, false);
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted], 1));
    assert_eq!(trigger(&world, "one"), Some(Trigger::Annotation));
}

#[test]
fn rule_06_a_no_takes_back_what_a_rule_has_asked_for() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    mark(&mut world, "sweep/1");
    world.live(2_000, How::ByNature);
    assert_eq!(trigger(&world, "one"), Some(Trigger::Cleanup));
    annotate(&mut world, Some("no"));
    suspend(&mut world, false);
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.trace.posts.len()), (reason::WITHDRAWN, 0));
    mark(&mut world, "sweep/2");
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Accepted], "the next time asks anew");
}

#[test]
fn rule_15_a_mark_of_a_backup_asks_for_nothing() {
    let mut world = World::of(&[("one", &[1])]);
    world.edit("one", |run| {
        run.cleanup_annotation = Some("sweep/1".to_owned());
        run.restored = Some("backup".to_owned());
    });
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.trace.posts.len()), (reason::RESTORED, 0));
}

#[test]
fn a_rule_that_runs_again_asks_no_run_twice() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2])]);
    world.feed(rule(|_| {}));
    world.run_until_settled();
    let posts = world.trace.posts.len();
    world.feed(rule(|view| {
        view.version.0 += 100;
        view.run_now = Some("2".to_owned());
    }));
    world.run_until_settled();
    assert_eq!(world.trace.posts.len(), posts);
    let run = world.trace.cleanup_status.as_ref().and_then(|status| status.last_run.clone()).expect("a run");
    assert_eq!((run.matched, run.stopped), (2, 0));
}

#[test]
fn stop_then_delete_deletes_at_the_next_time_what_was_stopped() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2])]);
    world.fake_gateway.natures.insert(2, Nature::Rejected);
    let both = |view: &mut CleanupView| view.spec.action = CleanupAction::StopThenDelete;
    world.feed(rule(both));
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.outcomes("two")), (vec![Accepted], vec![Rejected]));
    world.now += 5_000;
    world.feed(rule(|view| {
        both(view);
        view.version.0 += 100;
        view.run_now = Some("2".to_owned());
    }));
    world.run_until_settled();
    assert_eq!(world.server.runs.len(), 1, "only the run whose plans were all stopped is gone");
    assert!(world.trace.told.contains(&"CleanupDeletes"));
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut world = World::of(&[("one", &[1])]);
    world.feed(rule(|view| view.spec.dry_run = Some(true)));
    world.run_until_settled();
    assert_eq!((world.trace.posts.len(), world.run("one").cleanup_annotation.clone()), (0, None));
    let run = world.trace.cleanup_status.as_ref().and_then(|status| status.last_run.clone()).expect("a run");
    assert_eq!((run.dry_run, run.stopped, run.names), (Some(true), 1, vec!["one".to_owned()]));
}

/// The leader is lost after the marks were written, and before status could tell.
#[test]
fn the_next_leader_finishes_and_asks_no_run_twice() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2]), ("three", &[3])]);
    world.feed(rule(|_| {}));
    world.write_all();
    world.crash();
    world.now += 3_000;
    world.feed(rule(|_| {}));
    world.run_until_settled();
    for run in ["one", "two", "three"] {
        assert_eq!(world.outcomes(run), [Accepted], "{run}");
    }
    assert_eq!(world.trace.posts.concat().len(), 3, "each plan once");
}

#[test]
fn a_mark_that_meets_a_conflict_is_written_at_the_next_pass_and_delays_no_other() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2])]);
    world.feed(rule(|_| {}));
    let first = world.request();
    world.answer_write(first, WriteResult::Conflict);
    world.write_all();
    world.hear_all();
    let marked = |world: &World, run: &str| world.run(run).cleanup_annotation.is_some();
    assert_eq!((marked(&world, "one"), marked(&world, "two")), (false, true));
    world.live(5_000, How::ByNature);
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.outcomes("two")), (vec![Accepted], vec![Accepted]));
    let run = world.trace.cleanup_status.as_ref().and_then(|status| status.last_run.clone()).expect("a run");
    assert_eq!((run.matched, run.stopped, run.failed), (2, 2, 0));
}

#[test]
fn a_rule_that_is_deleted_in_the_middle_marks_nothing_more() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2]), ("three", &[3])]);
    world.feed(rule(|_| {}));
    let key = fixtures::cleanup("team", "@yearly").key;
    world.feed(Input::Gone(ObjectKey::Cleanup(key), "team-sweep".into()));
    world.write_all();
    world.live(10_000, How::ByNature);
    let marked = ["one", "two", "three"].iter().filter(|run| world.run(run).cleanup_annotation.is_some());
    assert!(marked.count() <= 2, "those whose write was under way");
}

#[test]
fn the_end_of_a_term_waits_for_no_rule() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2]), ("three", &[3])]);
    world.feed(rule(|_| {}));
    world.feed(Input::Drain);
    world.write_all();
    assert!(world.trace.drained);
}
