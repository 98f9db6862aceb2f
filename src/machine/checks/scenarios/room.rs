//! Runs for which there is no room in memory.

use crate::api::Outcome::{Accepted, Expired, Pending};
use crate::machine::WriteResult;
use crate::machine::checks::world::reference::documented::STOP_DEADLINE;
use crate::machine::checks::world::{
    How, Options, ServerOp, ServerRequest, World, gateway_key, key, run_key,
};
use crate::machine::runs::room::bytes_of;

const RUNS: [(&str, &[i64]); 4] = [("a/one", &[1]), ("a/two", &[2]), ("a/three", &[3]), ("b/one", &[4])];

/// A world with room for one record of a plan, and for the first one of each namespace and gateway.
fn crowded() -> World {
    World::settled(&RUNS, Options { room: Some(1), ..Options::default() })
}

fn counts(world: &World) -> (usize, usize) {
    (world.machine.active(), world.machine.set_aside())
}

/// Stops all runs while no operator runs, so that a list brings them.
fn stopped_unseen() -> World {
    let mut world = crowded();
    RUNS.iter().for_each(|(name, _)| world.edit_unseen(name, |run| run.spec.stopped = Some(true)));
    world.crash();
    world.hear_all();
    world
}

#[test]
fn runs_without_room_wait_as_names_and_are_read_in_turn() {
    let mut world = stopped_unseen();
    assert_eq!(counts(&world), (2, 2), "one of each namespace has its record");
    assert_eq!(world.machine.queued() + world.machine.in_flight(), 2);
    world.run_until_settled();
    assert!(RUNS.iter().all(|(name, _)| world.outcomes(name) == [Accepted]));
    assert_eq!((counts(&world), world.unsettled()), ((0, 0), None));
}

#[test]
fn the_memory_of_records_keeps_its_bound_however_many_runs_wait() {
    let names: Vec<_> = (0..300).map(|number| format!("a/run-{number}")).collect();
    let plans: Vec<_> = (1..=300).map(|plan| [plan, 1_000 + plan]).collect();
    let runs: Vec<_> = names.iter().map(String::as_str).zip(plans.iter().map(<[i64; 2]>::as_slice)).collect();
    let options = Options { room: Some(1_000), ..Options::default() };
    let mut world = World::settled(&runs, options);
    names.iter().for_each(|name| world.edit_unseen(name, |run| run.spec.stopped = Some(true)));
    world.crash();
    world.hear_all();
    let room = bytes_of(1_000) / 2 / bytes_of(2);
    assert_eq!(counts(&world), (room, 300 - room));
    world.run_until_settled();
    assert!(names.iter().all(|name| world.outcomes(name) == [Accepted, Accepted]));
}

/// A stop that comes by the watch is sent at once, whatever there is room for.
#[test]
fn a_request_that_the_watch_brings_needs_no_room() {
    let mut world = crowded();
    for (name, _) in RUNS {
        world.stop(name);
    }
    assert_eq!(counts(&world), (4, 0));
    world.flow(How::ByNature);
    world.run_until_settled();
    assert!(RUNS.iter().all(|(name, _)| world.outcomes(name) == [Accepted]));
}

/// Once its status says that it waits, a run is set aside. What is done to it meanwhile counts, as always.
#[test]
fn a_request_that_was_told_outlasts_being_set_aside() {
    let mut world = crowded();
    RUNS.iter().for_each(|(name, _)| world.stop(name));
    world.live(120_000, How::Status(503));
    assert_eq!(counts(&world), (2, 2));
    assert!(RUNS.iter().all(|(name, _)| world.stopped(name) == "Unreachable"));
    let aside: Vec<_> =
        RUNS.iter().map(|(name, _)| *name).filter(|name| is_set_aside(&world, name)).collect();
    let [removed, withdrawn] = aside[..] else { panic!("two are set aside: {aside:?}") };
    // As Flux does with what a person has patched.
    world.edit(removed, |run| run.spec.stopped = None);
    world.edit(withdrawn, |run| run.spec.stopped = Some(false));
    world.live(600_000, How::ByNature);
    assert_eq!((world.outcomes(removed), world.stopped(withdrawn)), (vec![Accepted], "Withdrawn"));
    assert_eq!((counts(&world), world.unsettled()), ((0, 0), None));
}

#[test]
fn a_run_that_is_set_aside_and_deleted_is_forgotten() {
    let mut world = stopped_unseen();
    for name in ["a/one", "a/two", "a/three"] {
        if is_set_aside(&world, name) {
            world.server.delete_run(&run_key(name));
        }
    }
    world.hear_all();
    assert_eq!(counts(&world), (2, 0));
    world.run_until_settled();
}

/// Its deadline is not forgotten with its record.
#[test]
fn a_run_that_is_set_aside_until_its_deadline_expires() {
    let mut world = stopped_unseen();
    world.live(STOP_DEADLINE + 100_000, How::Status(503));
    world.live(100_000, How::Status(503));
    assert!(
        RUNS.iter().all(|(name, _)| world.outcomes(name) == [Expired]),
        "{:?}",
        world.outcomes("a/three")
    );
    assert_eq!(counts(&world), (0, 0));
}

/// The pause goes by no clock that may be set back: the run would wait for as long as that.
#[test]
fn a_reading_that_fails_is_repeated_whatever_the_wall_clock_does() {
    let mut world = stopped_unseen();
    let is_read = |world: &World| world.ops.iter().find(|(_, op)| !op.is_write()).map(|(id, _)| *id);
    let mut lost = 0;
    for _ in 0..20 {
        if let Some(id) = is_read(&world) {
            world.lose(id);
            lost += 1;
        } else if let Some(call) = world.calls.keys().next().copied() {
            world.answer(call, How::ByNature);
        } else if !world.ops.is_empty() {
            world.reply(world.request());
            world.hear_all();
        }
    }
    assert_eq!(lost, 2, "both readings");
    world.jump(-7_200_000);
    world.live(6_000, How::ByNature);
    assert!(RUNS.iter().all(|(name, _)| world.outcomes(name) == [Accepted]), "{:?}", counts(&world));
}

/// Two readings of one run are under way, and the earlier one comes last. What it found is older than what was known when
/// the later one began, which would look as if the datastore had gone back.
#[test]
fn of_two_readings_of_a_run_the_later_one_counts() {
    let mut world = stopped_unseen();
    let reading = |world: &World| {
        world.ops.iter().rev().find_map(|(id, op)| match &op.request {
            ServerRequest::Read(run, _) => Some((*id, format!("{}/{}", run.namespace, run.name))),
            _ => None,
        })
    };
    let (early, name) = loop {
        if let Some(reading) = reading(&world) {
            break reading;
        }
        match world.calls.keys().next().copied() {
            Some(call) => world.answer(call, How::ByNature),
            None => world.reply(world.request()),
        }
        world.hear_all();
    };
    let writes = |world: &World| -> Vec<u64> {
        let is_of_it =
            |op: &ServerOp| matches!(&op.request, ServerRequest::Write { to, .. } if *to.key == key(&name));
        world.ops.iter().filter(|(_, op)| is_of_it(op)).map(|(id, _)| *id).collect()
    };
    world.land(early);
    world.edit(&name, |run| run.spec.reason = Some("later".to_owned()));
    world.pass(100);
    while let Some(call) = world.calls.keys().next().copied() {
        world.answer(call, How::ByNature);
    }
    writes(&world).into_iter().for_each(|write| world.answer_write(write, WriteResult::Conflict));
    world.pass(5_000);
    let late = reading(&world).filter(|(late, of)| *late != early && *of == name);
    assert!(late.is_some(), "the run is read once more");
    world.reply(early);
    assert!(writes(&world).is_empty(), "the earlier reading says nothing");
    world.run_until_settled();
    assert_eq!((world.outcomes(&name), world.unsettled()), (vec![Accepted], None));
}

/// Runs that wait for one gateway hold up none of another gateway of their namespace.
#[test]
fn a_gateway_that_is_down_holds_up_no_run_of_another_one() {
    let mut world = World::settled(&RUNS, Options { room: Some(20), ..Options::default() });
    for (name, _) in RUNS {
        world.edit_unseen(name, |run| run.spec.stopped = Some(true));
    }
    world.server.put_gateway(crate::machine::checks::fixtures::gateway_named("a", "other"));
    world.edit_unseen("a/three", |run| {
        run.spec.gateway_ref = serde_json::from_value(serde_json::json!({"name": "other"})).ok();
    });
    world.server.edit_gateway(&gateway_key("a/default"), |gateway| gateway.spec.suspend = Some(true));
    world.crash();
    world.live(60_000, How::ByNature);
    assert_eq!((world.outcomes("a/one"), world.outcomes("a/three")), (vec![Pending], vec![Accepted]));
}

fn is_set_aside(world: &World, name: &str) -> bool {
    world.machine.runs.aside.by_key.contains_key(&run_key(name))
}
