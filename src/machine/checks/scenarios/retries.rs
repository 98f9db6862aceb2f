//! Retries that cross other things.

use super::{annotate, message, move_to, put_other_gateway, retry, suspend};
use crate::api::Outcome::{Accepted, Expired, Rejected};
use crate::api::reason;
use crate::machine::checks::fixtures::wall;
use crate::machine::checks::world::reference::documented::STOP_DEADLINE;
use crate::machine::checks::world::{How, Nature, World};

// --- retry ---

/// The stop was taken back by an annotation two hours ago. A retry where no stop stands asks for all plans, now.
#[test]
fn a_retry_where_no_stop_stands_is_as_old_as_the_retry() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    annotate(&mut world, Some("no"));
    world.run_until_settled();
    suspend(&mut world, false);
    world.pass(2 * STOP_DEADLINE);
    retry(&mut world, "r");
    world.run_until_settled();
    assert_eq!(
        (world.outcomes("one"), world.trace.posts.len()),
        (vec![Accepted], 1),
        "{}",
        message(&world, "one")
    );
}

#[test]
fn a_retry_whose_status_was_lost_is_not_made_young() {
    let mut world = World::of(&[("one", &[1])]);
    retry(&mut world, "r");
    world.run_until_settled();
    world.pass(2 * STOP_DEADLINE);
    world.edit("one", |run| run.status = Default::default());
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Expired], 1));
}

/// Plan 7 was added after the stop of an annotation was complete. Whether a retry sends it must not depend on an echo.
#[test]
fn a_retry_treats_added_plans_the_same_whatever_is_seen_meanwhile() {
    let mut sent = Vec::new();
    for way in ["quick", "echo", "restart"] {
        let mut world = World::of(&[("one", &[1])]);
        world.fake_gateway.natures.insert(1, Nature::Rejected);
        annotate(&mut world, Some("a"));
        world.run_until_settled();
        world.edit("one", |run| run.spec.plans.push(7));
        world.run_until_settled();
        assert_eq!((world.stopped("one"), world.outcomes("one")), (reason::NOT_REQUESTED, vec![Rejected]));
        world.trace.posts.clear();
        world.now += 5_000;
        retry(&mut world, "r");
        match way {
            "quick" => {}
            "echo" => {
                world.pass(2_000);
                world.write_all();
                world.hear_all();
            }
            _ => {
                world.pass(2_000);
                world.write_all();
                world.crash();
            }
        }
        world.run_until_settled();
        let mut ids: Vec<i64> = world.trace.posts.concat();
        ids.sort_unstable();
        ids.dedup();
        sent.push((way, ids));
    }
    assert!(sent.iter().all(|(_, ids)| *ids == sent[0].1), "{sent:?}");
}

#[test]
fn a_restored_run_tells_of_a_retry_that_it_carries() {
    let mut world = World::of(&[("one", &[1])]);
    world.recreate_unseen("one", |run| {
        (run.created, run.restored) = (Some(wall(2_000)), Some("monday".to_owned()));
        run.retry_annotation = Some("r".to_owned());
    });
    world.hear_all();
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.trace.posts.len()), (reason::RESTORED, 0));
}

// --- second round ---

#[test]
fn a_removal_together_with_a_retry_is_told() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    world.edit("one", |run| (run.stop_annotation, run.retry_annotation) = (None, Some("r".to_owned())));
    assert!(world.trace.told.contains(&"StopContinues"), "{:?}", world.trace.told);
}

/// The run has moved to another gateway, where no stop of it stands. A retry asks for all plans there.
#[test]
fn a_retry_after_a_move_is_as_old_as_the_retry() {
    let mut world = World::of(&[("one", &[1])]);
    put_other_gateway(&mut world);
    annotate(&mut world, Some("a"));
    world.run_until_settled();
    world.pass(2 * STOP_DEADLINE);
    move_to(&mut world, "one", "other");
    world.run_until_settled();
    retry(&mut world, "r");
    world.run_until_settled();
    assert_eq!(
        (world.outcomes("one"), world.trace.posts.len()),
        (vec![Accepted], 2),
        "{}",
        message(&world, "one")
    );
}

#[test]
fn a_retry_tells_who_asked() {
    let mut world = World::of(&[("one", &[1])]);
    world.edit("one", |run| run.spec.stopped = Some(false));
    retry(&mut world, "r");
    world.run_until_settled();
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert!(stop.field_manager.is_some(), "{stop:?}");
}

/// A person first retries in vain and then takes the stop back, and no operator runs meanwhile.
#[test]
fn a_retry_with_nothing_left_does_not_outweigh_a_no() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    world.stop("one");
    world.live(2_000, How::ByNature);
    world.edit_unseen("one", |run| run.retry_annotation = Some("impatient".to_owned()));
    world.now += 60_000;
    world.edit_unseen("one", |run| run.spec.stopped = Some(false));
    world.crash();
    world.live(2_000, How::ByNature);
    suspend(&mut world, false);
    world.run_until_settled();
    assert!(world.trace.posts.is_empty(), "{:?}", world.trace.posts);
}

/// The stop is complete when a person retries and then takes it back.
#[test]
fn a_spent_retry_does_not_swallow_a_no() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.run_until_settled();
    world.edit("one", |run| {
        run.retry_annotation = Some("r".to_owned());
        run.spec.stopped = Some(false);
    });
    world.run_until_settled();
    assert_eq!(world.stopped("one"), reason::NOT_REQUESTED);
}

// --- fourth round ---

/// The run was stopped, retried and taken back. Three days later its status is lost, and the annotation of the retry is
/// still there.
#[test]
fn a_spent_retry_stops_nothing_when_a_status_is_lost() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.run_until_settled();
    retry(&mut world, "r");
    world.run_until_settled();
    world.withdraw("one");
    world.run_until_settled();
    assert_eq!(world.trace.posts.len(), 1);
    world.pass(72 * STOP_DEADLINE);
    world.edit("one", |run| run.status = Default::default());
    world.run_until_settled();
    assert_eq!(world.trace.posts.len(), 1, "{:?} {}", world.outcomes("one"), message(&world, "one"));
}

/// The annotation of a request and its withdrawal are of the same manager; the field manager of a retry is told.
#[test]
fn two_retries_in_a_row_while_the_first_is_under_way() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.fake_gateway.natures.insert(1, Nature::Rejected);
    world.fake_gateway.natures.insert(2, Nature::Rejected);
    world.stop("one");
    world.run_until_settled();
    world.fake_gateway.natures.clear();
    world.trace.posts.clear();
    retry(&mut world, "a");
    retry(&mut world, "b");
    world.withdraw("one");
    retry(&mut world, "c");
    world.run_until_settled();
    assert_eq!(
        (world.outcomes("one"), world.unsettled()),
        (vec![Accepted; 2], None),
        "{:?}",
        world.trace.posts
    );
}
