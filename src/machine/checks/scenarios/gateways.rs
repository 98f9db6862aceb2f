//! What a gateway's own status says, when that is written, and that it is mended.

use super::suspend;
use crate::api::{Condition, ConditionStatus, condition, reason};
use crate::machine::Kind;
use crate::machine::checks::fixtures::wall;
use crate::machine::checks::world::{How, Options, World, gateway_key};
use crate::machine::time::whole_seconds;

/// A settled world in which statuses of gateways are written and seen as those of runs are.
pub(super) fn world() -> World {
    World::settled(&[("one", &[1])], Options::default())
}

/// A world in which the first proof of the gateway is written to its status, and the reply is still to come.
fn landed() -> (World, u64) {
    let mut world = world();
    world.stop("one");
    world.flow(How::ByNature);
    world.pass(6_000);
    let write = world.request();
    world.land(write);
    (world, write)
}

pub(super) fn status(world: &World) -> crate::api::TestiniumGatewayStatus {
    world.server.gateways[&gateway_key("default")].status.clone()
}

pub(super) fn ready(world: &World) -> Condition {
    let conditions = status(world).conditions;
    conditions.into_iter().find(|other| other.type_ == condition::READY).expect("Ready")
}

pub(super) fn says(world: &World) -> (ConditionStatus, String) {
    let ready = ready(world);
    (ready.status, ready.reason)
}

/// Whether the status speaks of the newest spec.
fn is_present(world: &World) -> bool {
    let generation = world.server.gateways[&gateway_key("default")].generation;
    status(world).observed_generation == Some(generation)
}

/// Every write of a status lands and its reply and event come; nothing else ends.
pub(super) fn write_statuses(world: &mut World) {
    world.write_statuses();
    world.hear(Kind::Gateways);
}

// --- the cause ---

#[test]
fn a_changed_cause_under_the_same_reason_is_told_once() {
    let mut world = world();
    world.fake_gateway.secret_missing = true;
    world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
    world.stop("one");
    world.live(30_000, How::ByNature);
    assert!(ready(&world).message.contains("there is no Secret"), "{}", ready(&world).message);
    (world.fake_gateway.secret_missing, world.fake_gateway.key_missing) = (false, true);
    world.live(30_000, How::ByNature);
    assert!(ready(&world).message.contains("has no key"), "{}", ready(&world).message);
    assert_eq!(says(&world), (ConditionStatus::False, reason::SECRET_NOT_FOUND.to_owned()));
    world.live(600_000, How::ByNature);
    assert_eq!(world.trace.gateway_writes, 2, "one for each");

    world.fake_gateway.key_missing = false;
    world.trace.gateway_writes = 0;
    world.live(30_000, How::Unreachable);
    assert!(ready(&world).message.contains("can't be connected to"), "{}", ready(&world).message);
    world.live(30_000, How::Status(503));
    assert!(ready(&world).message.contains("HTTP 503"), "{}", ready(&world).message);
    world.live(600_000, How::Status(503));
    assert_eq!(world.trace.gateway_writes, 2, "one for each");
}

#[test]
fn a_text_that_flaps_costs_few_writes_however_long_it_lasts() {
    let mut world = world();
    world.edit("one", |run| run.spec.stop_deadline_seconds = Some(86_400));
    world.stop("one");
    for _ in 0..180 {
        world.live(10_000, How::Status(503));
        world.live(10_000, How::Unreachable);
    }
    assert_eq!(says(&world).1, reason::UNREACHABLE);
    let writes = world.trace.gateway_writes;
    assert!((5..=14).contains(&writes), "{writes} writes in an hour");
    world.live(2_000_000, How::Unreachable);
    world.live(10_000, How::Status(503));
    assert!(ready(&world).message.contains("HTTP 503"), "after a quiet time it is told at once");
}

// --- mending ---

pub(super) fn unreachable(world: &mut World) {
    world.stop("one");
    world.live(20_000, How::Unreachable);
    assert_eq!(says(world), (ConditionStatus::False, reason::UNREACHABLE.to_owned()));
}

#[test]
fn a_status_that_somebody_has_wiped_or_changed_is_mended_at_the_next_sight() {
    type Change = fn(&mut crate::api::TestiniumGatewayStatus);
    let changes: [(&str, Change); 5] = [
        ("wiped", |status| *status = Default::default()),
        ("a message", |status| status.conditions[0].message = "all is well".to_owned()),
        ("a reason", |status| status.conditions[0].reason = "Fine".to_owned()),
        ("a condition is gone", |status| drop(status.conditions.remove(0))),
        ("a generation", |status| status.observed_generation = Some(77)),
    ];
    type Stage = fn(&mut World);
    let stages: [(Stage, How); 3] = [
        (unreachable, How::Unreachable),
        (|world| world.stop("one"), How::ByNature),
        (|world| suspend(world, true), How::ByNature),
    ];
    for (stage, how) in stages {
        for (name, change) in changes {
            let mut world = world();
            stage(&mut world);
            world.live(20_000, how);
            let (before, message) = (says(&world), ready(&world).message);
            world.trace.gateway_writes = 0;
            world.edit_gateway("default", |gateway| change(&mut gateway.status));
            world.flow(how);
            assert_eq!((says(&world), ready(&world).message), (before, message), "{name}");
            assert!(is_present(&world), "{name}");
            world.live(60_000, how);
            assert_eq!(world.trace.gateway_writes, 1, "{name}");
        }
    }
}

#[test]
fn a_condition_of_another_controller_and_the_own_echo_are_no_reason_to_write() {
    for event_first in [false, true] {
        let (mut world, write) = landed();
        if event_first {
            world.hear(Kind::Gateways);
        }
        world.reply(write);
        world.live(20_000, How::ByNature);
        assert_eq!((says(&world).1.as_str(), world.trace.gateway_writes), (reason::SUCCEEDED, 1));
        let foreign = Condition {
            type_: "Audited".to_owned(),
            status: ConditionStatus::True,
            reason: "Seen".to_owned(),
            message: String::new(),
            last_transition_time: whole_seconds(wall(0)),
            observed_generation: None,
        };
        world.edit_gateway("default", |gateway| gateway.status.conditions.insert(0, foreign.clone()));
        world.live(60_000, How::ByNature);
        assert_eq!(world.trace.gateway_writes, 1, "nothing of it is new");
        suspend(&mut world, true);
        world.live(20_000, How::ByNature);
        assert!(status(&world).conditions.contains(&foreign), "it stays");
    }
}

/// A list that was served before the own write brings the gateway as it was before.
#[test]
fn a_status_of_the_past_is_no_reason_to_write() {
    let mut world = world();
    world.stop("one");
    world.flow(How::ByNature);
    world.pass(6_000);
    world.relist(Kind::Gateways);
    let server = world.server.clone();
    world.gateways.serve(&server);
    world.write_all();
    world.live(60_000, How::ByNature);
    assert_eq!((says(&world).1.as_str(), world.trace.gateway_writes), (reason::SUCCEEDED, 1));
}

/// The own write has been carried out when the wipe comes, and its reply is still to come.
#[test]
fn a_status_that_is_wiped_before_its_write_is_acknowledged_is_mended() {
    let (mut world, write) = landed();
    world.edit_gateway("default", |gateway| gateway.status = Default::default());
    world.reply(write);
    world.live(6_000, How::ByNature);
    assert_eq!(says(&world).1, reason::SUCCEEDED);
}

#[test]
fn somebody_who_fights_over_a_status_costs_one_write_in_five_seconds() {
    let mut world = world();
    let end = world.now + 60_000;
    while world.now < end {
        world.edit_gateway("default", |gateway| gateway.status = Default::default());
        world.live(100, How::ByNature);
    }
    assert!((10..=13).contains(&world.trace.gateway_writes), "{} writes", world.trace.gateway_writes);
}

#[test]
fn a_late_write_of_an_earlier_term_is_mended() {
    let mut world = world();
    world.stop("one");
    world.live(20_000, How::ByNature);
    suspend(&mut world, true);
    world.pass(1_500);
    let late = world.request();
    suspend(&mut world, false);
    world.server.gateways.values_mut().for_each(|gateway| {
        // It was begun on this version, as if the edit back had come before it.
        let op = world.ops.get_mut(&late).expect("it is under way");
        if let crate::machine::checks::world::ServerRequest::Write { to, .. } = &mut op.request {
            to.version = gateway.version;
        }
    });
    world.crash();
    world.hear_all();
    world.land(late);
    assert_eq!(says(&world).1, reason::SUSPENDED);
    world.live(20_000, How::ByNature);
    assert!(is_present(&world));
    assert_eq!(says(&world), (ConditionStatus::True, reason::NOT_TRIED.to_owned()));
}

// --- what is known ---

#[test]
fn a_gateway_is_not_tried_until_testinium_has_answered() {
    let mut world = world();
    let not_tried = (ConditionStatus::True, reason::NOT_TRIED.to_owned());
    let succeeded = (ConditionStatus::True, reason::SUCCEEDED.to_owned());
    assert_eq!(says(&world), not_tried, "nothing has been called");
    world.stop("one");
    world.live(20_000, How::Json(200));
    assert_eq!(says(&world), not_tried, "somebody else has answered");
    world.withdraw("one");
    world.stop("one");
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), succeeded);
    world.crash();
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), succeeded, "the status remembers it");
    world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), not_tried, "the edit may have broken it");
}

#[test]
fn a_credential_that_was_refused_is_not_tried_once_there_is_another() {
    let mut world = world();
    world.stop("one");
    world.live(20_000, How::Status(401));
    assert_eq!(says(&world), (ConditionStatus::False, reason::AUTHENTICATION_FAILED.to_owned()));
    world.fake_gateway.secret += 1;
    world.withdraw("one");
    world.edit_gateway("default", |gateway| gateway.reconcile_annotation = Some("now".to_owned()));
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), (ConditionStatus::True, reason::NOT_TRIED.to_owned()));
    world.stop("one");
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), (ConditionStatus::True, reason::SUCCEEDED.to_owned()));
}

#[test]
fn an_edit_is_told_within_two_seconds_even_while_the_credential_is_being_read() {
    let mut world = World::settled(&[("one", &[1])], Options { slow_secrets: true, ..Options::default() });
    world.live(20_000, How::ByNature);
    world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
    let end = world.now + 2_000;
    while world.now < end {
        write_statuses(&mut world);
        world.pass(100);
    }
    assert!(is_present(&world), "the reading hangs");
    assert_eq!(says(&world), (ConditionStatus::Unknown, reason::PROGRESSING.to_owned()));
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), (ConditionStatus::True, reason::NOT_TRIED.to_owned()));
    assert_eq!(status(&world).conditions.len(), 1, "it is not reconciling any more");
}

#[test]
fn a_gateway_that_is_suspended_is_ready_since_it_is_as_it_should_be() {
    let mut world = world();
    suspend(&mut world, true);
    world.stop("one");
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), (ConditionStatus::True, reason::SUSPENDED.to_owned()));
    assert!(ready(&world).message.contains("calls are held"));
    assert_eq!((status(&world).conditions.len(), world.stopped("one")), (1, reason::SUSPENDED));
}

// --- restarts ---

#[test]
fn a_restart_with_nothing_changed_writes_no_status_of_a_gateway() {
    type Cause = fn(&mut World);
    let causes: [(&str, Cause, How); 9] = [
        ("Succeeded", |_| {}, How::ByNature),
        ("Unreachable", |_| {}, How::Unreachable),
        ("Unreachable", |_| {}, How::Status(503)),
        ("AuthenticationFailed", |_| {}, How::Status(401)),
        ("Forbidden", |_| {}, How::Own(403)),
        ("Misconfigured", |_| {}, How::Status(302)),
        ("Suspended", |world| suspend(world, true), How::ByNature),
        (
            "SecretNotFound",
            |world| {
                world.fake_gateway.secret_missing = true;
                world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
            },
            How::ByNature,
        ),
        ("NotTried", |world| world.withdraw("one"), How::ByNature),
    ];
    for waits in [true, false] {
        for (reason, cause, how) in causes {
            let mut world = world();
            world.fake_gateway.unreachable = how == How::Unreachable;
            cause(&mut world);
            if reason != "NotTried" {
                world.stop("one");
            }
            world.live(60_000, how);
            if !waits {
                world.withdraw("one");
                world.live(60_000, how);
            }
            assert_eq!(says(&world).1, reason);
            let before = status(&world);
            world.trace.gateway_writes = 0;
            for _ in 0..2 {
                world.crash();
                world.live(60_000, how);
            }
            assert_eq!((world.trace.gateway_writes, status(&world)), (0, before), "{reason} {how:?} {waits}");
        }
    }
}

#[test]
fn what_a_status_said_before_a_restart_is_replaced_by_what_is_seen() {
    let mut world = world();
    world.fake_gateway.unreachable = true;
    unreachable(&mut world);
    world.withdraw("one");
    world.crash();
    world.live(60_000, How::ByNature);
    assert_eq!(says(&world), (ConditionStatus::False, reason::UNREACHABLE.to_owned()), "it still is");
    world.stop("one");
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), (ConditionStatus::True, reason::SUCCEEDED.to_owned()));

    world.fake_gateway.secret_missing = true;
    world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world).1, reason::SECRET_NOT_FOUND);
    world.fake_gateway.secret_missing = false;
    world.crash();
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world).1, reason::NOT_TRIED, "it was read");
}
