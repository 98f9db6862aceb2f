//! Scenarios in which nothing goes wrong, or one thing does.

use super::annotate;
use crate::api::Outcome;
use crate::machine::checks::world::reference::documented::STOP_DEADLINE;
use crate::machine::checks::world::{How, Nature, World};

#[test]
fn a_stop_is_one_call_and_one_write_and_then_forgotten() {
    let mut world = World::of(&[("one", &[614, 615, 614])]);
    assert_eq!((world.stopped("one"), world.machine.active()), ("NotRequested", 0));
    world.stop("one");
    assert_eq!(world.under_way(), [[614, 615]]);
    world.flow(How::ByNature);
    assert_eq!((world.outcomes("one"), world.stopped("one")), (vec![Outcome::Accepted; 2], "Accepted"));
    assert_eq!((world.trace.writes.len(), world.machine.active()), (1, 0));
    assert_eq!((world.machine.queued(), world.machine.in_flight()), (0, 0));
    assert_eq!(world.machine.take_tally().settled, [Outcome::Accepted, Outcome::Accepted]);
    assert!(world.machine.take_tally().settled.is_empty(), "counted once");
    world.live(STOP_DEADLINE, How::ByNature);
    assert_eq!((world.trace.posts.len(), world.trace.writes.len()), (1, 1), "quiet means silent");
}

#[test]
fn one_bad_id_among_64_costs_at_most_13_calls() {
    let mut world = World::of(&[("one", &(1..=64).collect::<Vec<_>>())]);
    world.edit_gateway("default", |gateway| gateway.spec.batching = None);
    world.fake_gateway.natures.insert(37, Nature::Rejected);
    world.stop("one");
    world.run_until_settled();
    assert!(world.trace.posts.len() <= 13, "{} calls", world.trace.posts.len());
    let accepted = world.outcomes("one").iter().filter(|outcome| **outcome == Outcome::Accepted).count();
    assert_eq!((accepted, world.stopped("one"), world.unsettled()), (63, "PartiallyStopped", None));
}

#[test]
fn a_gateway_that_is_down_costs_two_writes_however_long_it_lasts() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.stop("one");
    world.live(1_800_000, How::Status(503));
    assert_eq!((world.stopped("one"), world.outcomes("one")), ("Unreachable", vec![Outcome::Pending; 2]));
    assert!(world.trace.writes.len() <= 2, "{} writes", world.trace.writes.len());
    world.live(600_000, How::ByNature);
    assert_eq!((world.stopped("one"), world.outcomes("one")), ("Accepted", vec![Outcome::Accepted; 2]));
}

#[test]
fn a_stop_that_is_not_delivered_in_time_expires() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.live(STOP_DEADLINE + 100_000, How::Status(503));
    assert_eq!((world.stopped("one"), world.outcomes("one")), ("Expired", vec![Outcome::Expired]));
    let calls = world.trace.posts.len();
    world.live(STOP_DEADLINE + 100_000, How::ByNature);
    assert_eq!(world.trace.posts.len(), calls, "nothing is sent after the deadline");
}

#[test]
fn a_stop_withdrawn_before_its_call_is_not_sent() {
    let mut world = World::of(&[("one", &[1])]);
    world.fake_gateway.secret_missing = true;
    world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
    world.stop("one");
    world.live(2_000, How::ByNature);
    assert_eq!(world.stopped("one"), "SecretNotFound");
    world.withdraw("one");
    world.fake_gateway.secret_missing = false;
    world.live(60_000, How::ByNature);
    assert_eq!((world.stopped("one"), world.outcomes("one")), ("Withdrawn", vec![Outcome::Withdrawn]));
    assert!(world.trace.posts.is_empty());
    world.stop("one");
    world.live(60_000, How::ByNature);
    assert_eq!((world.stopped("one"), world.outcomes("one")), ("Accepted", vec![Outcome::Accepted]));
}

#[test]
fn a_changed_annotation_stops_again_and_is_told_when_it_is_done() {
    let mut world = World::of(&[("one", &[1])]);
    for (calls, value) in [(1, "monday"), (1, "monday"), (2, "tuesday"), (2, "false"), (3, "tuesday")] {
        annotate(&mut world, Some(value));
        world.live(60_000, How::ByNature);
        assert_eq!(world.trace.posts.len(), calls, "after {value}");
    }
    let stop = world.run("one").status.stop.as_ref().expect("a stop is told");
    assert_eq!(stop.last_handled_request.as_deref(), Some("tuesday"));
}

#[test]
fn an_event_tells_what_is_new_and_nothing_twice() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.live(60_000, How::ByNature);
    world.edit("one", |run| run.spec.reason = Some("a better one".to_owned()));
    world.live(60_000, How::ByNature);
    assert_eq!((world.trace.writes.len(), world.trace.told.as_slice()), (2, ["StopAccepted"].as_slice()));
    annotate(&mut world, Some("again"));
    world.live(60_000, How::ByNature);
    assert_eq!(world.trace.told, ["StopAccepted", "StopAccepted"]);
}
