//! Writes whose echo is early or late, whose reply is lost, or which are refused.

use crate::api::Outcome::Accepted;
use crate::machine::checks::world::{How, World, key, run_key};
use crate::machine::{Kind, WriteResult};

/// A world in which the outcome of a run is written, and the reply is still to come.
fn outcome_landed() -> (World, u64) {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.answered(How::ByNature);
    let write = world.request();
    world.land(write);
    (world, write)
}

/// Whether the event of a write comes before or after its reply, the run is then at rest and forgotten.
#[test]
fn h06_own_echo() {
    for event_first in [false, true] {
        let mut world = World::of(&[("one", &[1])]);
        world.stop("one");
        world.answered(How::ByNature);
        let write = world.request();
        world.land(write);
        if event_first {
            world.hear(Kind::Runs);
            assert_eq!(world.machine.active(), 1, "the reply is still to come");
        }
        world.reply(write);
        world.hear(Kind::Runs);
        assert_eq!((world.machine.active(), world.unsettled()), (0, None));
        assert_eq!((world.trace.posts.len(), world.trace.writes.len()), (1, 1));
    }
}

/// An object that is older than the own last write is of the past, whether an event brings it or a list that was served
/// before.
#[test]
fn h07_older_news_after_the_own_write() {
    for listed in [false, true] {
        let mut world = World::of(&[("one", &[1])]);
        world.stop("one");
        world.pass(1_000);
        world.write_all();
        if listed {
            world.relist(Kind::Runs);
            let server = world.server.clone();
            world.runs.serve(&server);
        }
        world.answered(How::ByNature);
        world.write_all();
        assert_eq!(world.outcomes("one"), [Accepted]);
        world.deliver(Kind::Runs);
        assert_eq!(world.machine.active(), 1, "the own last write has not been seen");
        world.run_until_settled();
        assert_eq!((world.machine.active(), world.unsettled()), (0, None));
        assert_eq!((world.trace.posts.len(), world.trace.writes.len()), (1, 2));
    }
}

/// The outcome waits for the reply, and is written on the version that it brings. A situation that was not yet begun
/// is not written at all.
#[test]
fn h16_answer_while_the_situation_is_written() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.pass(1_000);
    let situation = world.request();
    world.answered(How::ByNature);
    assert_eq!(world.ops.len(), 1, "one write at a time");
    world.reply(situation);
    world.write_all();
    assert_eq!((world.trace.writes.len(), world.outcomes("one")), (2, vec![Accepted]));
    assert_eq!(world.trace.told, ["StopAccepted"], "each write is told as what it says");

    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.pass(999);
    world.answered(How::ByNature);
    world.run_until_settled();
    assert_eq!((world.trace.writes.len(), world.outcomes("one")), (1, vec![Accepted]));
}

/// A write that is refused is tried once more without the gateway's words, then rarely, and at once when the object
/// changes. No plan is sent again before a restart, and other runs don't notice.
#[test]
fn h17_write_refused_for_ever() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2])]);
    world.stop("one");
    world.answered(How::ByNature);
    world.refuse(world.request());
    world.refuse(world.request());
    assert!(world.ops.is_empty(), "twice is enough for now");
    assert_eq!(world.trace.told, ["StatusRefused"], "it is told once");
    world.pass(299_000);
    assert!(world.ops.is_empty());
    world.pass(1_000);
    world.refuse(world.request());
    world.edit("one", |run| run.spec.reason = Some("another".to_owned()));
    world.refuse(world.request());
    world.stop("two");
    world.flow(How::ByNature);
    assert_eq!((world.outcomes("two"), world.trace.posts.len()), (vec![Accepted], 2));
    world.crash();
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted], 3));
}

/// The right to write statuses is missing for some seconds, as in an upgrade: the outcome is written soon after.
#[test]
fn a_right_that_was_missing_for_some_seconds_delays_an_outcome_by_seconds() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.answered(How::ByNature);
    let missing_until = world.now + 5_000;
    while world.now < missing_until {
        match world.ops.keys().next().copied() {
            Some(write) => world.answer_write(write, WriteResult::Refused(403)),
            None => world.tick(),
        }
    }
    world.live(30_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted]);
    assert_eq!(world.trace.posts.len(), 1);
}

/// A write that has failed and is then refused is tried without the gateway's words as well.
#[test]
fn a_write_that_failed_and_is_then_refused_is_tried_without_messages_at_once() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.answered(How::ByNature);
    world.answer_write(world.request(), WriteResult::Failed { retry_after: None });
    world.pass(1_000);
    world.refuse(world.request());
    assert_eq!(world.ops.len(), 1, "without messages, at once");
    world.write_all();
    assert_eq!(world.outcomes("one"), [Accepted]);
}

/// The datastore is restored from a backup while a write is in conflict: the object is older than what is known, and the
/// outcome is written over it all the same.
#[test]
fn a_datastore_that_goes_back_during_a_conflict_gets_the_outcome() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.answered(How::ByNature);
    world.answer_write(world.request(), WriteResult::Conflict);
    let restored =
        std::sync::Arc::make_mut(world.server.runs.get_mut(&run_key("one")).expect("there is one"));
    restored.version.0 -= 1;
    let known = world.reference.known.get_mut(&key("one")).expect("it is known");
    known.floor = restored.version;
    world.live(10_000, How::ByNature);
    assert_eq!((world.outcomes("one"), world.machine.active()), (vec![Accepted], 0));
}

/// Another controller keeps a condition of its own type in the status. It stays through every write, and is no reason for
/// one, wherever in the list it stands.
#[test]
fn a_condition_of_another_controller_stays_and_costs_no_write() {
    let mut world = World::of(&[("one", &[1])]);
    let foreign = crate::api::Condition {
        type_: "Audited".to_owned(),
        status: crate::api::ConditionStatus::True,
        reason: "Seen".to_owned(),
        message: String::new(),
        last_transition_time: crate::machine::time::whole_seconds(crate::machine::checks::fixtures::wall(0)),
        observed_generation: None,
    };
    world.edit("one", |run| run.status.conditions.insert(0, foreign.clone()));
    world.live(60_000, How::ByNature);
    assert!(world.trace.writes.is_empty(), "nothing of it is new");
    world.stop("one");
    world.live(60_000, How::ByNature);
    assert_eq!((world.outcomes("one"), world.trace.writes.len()), (vec![Accepted], 1));
    assert!(world.run("one").status.conditions.contains(&foreign));
}

/// A write whose reply is lost ends as a conflict, and its echo shows the own status: nothing is left to write.
#[test]
fn h24_write_timed_out_but_landed() {
    let (mut world, write) = outcome_landed();
    world.lose(write);
    world.pass(200);
    world.write_all();
    assert_eq!(world.machine.active(), 1, "the conflict waits for what made it");
    world.hear(Kind::Runs);
    world.run_until_settled();
    assert_eq!((world.machine.active(), world.unsettled()), (0, None));
    assert_eq!((world.trace.posts.len(), world.trace.writes.len()), (1, 1));
    assert_eq!(world.trace.told, ["StopAccepted"], "its event was not lost with the reply");
}

/// A plan is added while the outcome of the others is written: their outcome is told, and the stop is complete once
/// more when the added plan has its own.
#[test]
fn what_a_write_says_is_told_whatever_has_happened_since() {
    let (mut world, outcome) = outcome_landed();
    let first = world.now;
    world.edit("one", |run| run.spec.plans.push(2));
    world.reply(outcome);
    assert_eq!(world.trace.told, ["StopAccepted"]);
    world.pass(5_000);
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Accepted, Accepted]);
    let stop = world.run("one").status.stop.clone().expect("a stop");
    let completed = stop.completion_time.expect("it is complete").0.as_millisecond();
    assert!(completed > crate::machine::checks::fixtures::wall(first).as_millisecond(), "complete once more");

    let (mut world, outcome) = outcome_landed();
    world.withdraw("one");
    world.reply(outcome);
    assert_eq!(world.trace.told, ["StopAccepted"], "it was complete when it was written");
}

/// A conflict is told although nobody has changed the object: no event will come, but a read shows that it was no
/// conflict, and the same is written again.
#[test]
fn conflict_that_nothing_explains() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.answered(How::ByNature);
    world.answer_write(world.request(), WriteResult::Conflict);
    assert!(world.ops.is_empty(), "what made it a conflict is waited for");
    world.pass(5_000);
    assert_eq!(world.ops.len(), 1, "it has not come, so the run is read");
    world.run_until_settled();
    assert_eq!((world.machine.active(), world.unsettled()), (0, None));
    assert_eq!(
        (world.trace.posts.len(), world.trace.writes.len(), world.outcomes("one")),
        (1, 1, vec![Accepted])
    );
}

/// The object that a reading brings may be older than the one that the watch has told meanwhile. If the run is at rest by
/// then, or gone, or another one, the reading says nothing of it.
#[test]
fn a_reading_that_comes_late_revives_nothing() {
    for gone in [false, true] {
        let mut world = World::of(&[("one", &[1])]);
        world.stop("one");
        world.answered(How::ByNature);
        world.edit_unseen("one", |run| run.spec.reason = Some("later".to_owned()));
        world.reply(world.request());
        world.pass(5_000);
        let reading = world.request();
        world.land(reading);
        if gone {
            world.server.delete_run(&run_key("one"));
        }
        world.hear(Kind::Runs);
        while world.ops.len() > 1 {
            let write = *world.ops.keys().last().expect("a write is under way");
            world.reply(write);
            world.hear(Kind::Runs);
        }
        assert_eq!(world.machine.active(), 0);
        world.reply(reading);
        world.run_until_settled();
        assert_eq!((world.machine.active(), world.trace.posts.len()), (0, 1));
    }
}

/// A reading may overtake the watch. The run is forgotten only when the watch has caught up, or an event that is older
/// than the reading would make it one that was never stopped.
#[test]
fn a_reading_that_overtakes_the_watch_is_not_yet_rest() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.pass(1_000);
    world.write_all();
    world.answered(How::ByNature);
    let outcome = world.request();
    world.land(outcome);
    world.lose(outcome);
    world.pass(200);
    world.write_all();
    world.pass(5_000);
    world.reply(world.request());
    assert_eq!((world.ops.len(), world.machine.active()), (0, 1), "nothing to write, but not at rest");
    world.run_until_settled();
    assert_eq!((world.machine.active(), world.trace.posts.len()), (0, 1));
}

/// The run is gone, but events from before are still on their way: they must not make it one that was never stopped.
#[test]
fn a_write_that_finds_nothing_leaves_it_to_the_watch() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.pass(1_000);
    world.write_all();
    world.answered(How::ByNature);
    world.server.delete_run(&run_key("one"));
    world.write_all();
    world.run_until_settled();
    assert_eq!((world.machine.active(), world.trace.posts.len()), (0, 1));
}
