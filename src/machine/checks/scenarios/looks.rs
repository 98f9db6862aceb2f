//! What a gateway's status says while nobody waits for it.

use super::gateways::{ready, says, status, unreachable, world, write_statuses};
use crate::api::{Condition, ConditionStatus, reason};
use crate::machine::checks::world::{How, World, gateway_key, run_key};
use crate::machine::gateways::look::Look;
use crate::machine::{Millis, Reached};

/// The gateway was declared first and its Secret later, and no run waits. Its status does not say for ever that the Secret
/// is missing.
#[test]
fn a_secret_that_comes_later_is_found_though_nobody_waits() {
    for (late, within) in [(8_000, 20_000), (600_000, 62_000), (7_200_000, 302_000)] {
        let mut world = world();
        world.fake_gateway.secret_missing = true;
        world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
        world.live(late, How::ByNature);
        assert_eq!(says(&world), (ConditionStatus::False, reason::SECRET_NOT_FOUND.to_owned()));
        world.fake_gateway.secret_missing = false;
        world.live(within, How::ByNature);
        assert_eq!(says(&world), (ConditionStatus::True, reason::NOT_TRIED.to_owned()), "{late} ms later");
    }
}

#[test]
fn a_gateway_that_can_be_connected_to_again_is_found_though_nobody_waits() {
    for (late, within, crashes) in [
        (8_000, 20_000, false),
        (600_000, 62_000, false),
        (7_200_000, 302_000, false),
        (60_000, 62_000, true),
    ] {
        let mut world = plain();
        world.fake_gateway.unreachable = true;
        unreachable(&mut world);
        world.withdraw("one");
        if crashes {
            world.live(20_000, How::Unreachable);
            world.crash();
        }
        world.trace.gateway_writes = 0;
        world.live(late, How::Unreachable);
        assert_eq!(says(&world), (ConditionStatus::False, reason::UNREACHABLE.to_owned()), "{late}");
        assert_eq!(world.trace.gateway_writes, 0, "it says what it said");
        world.fake_gateway.unreachable = false;
        world.trace.posts.clear();
        world.live(within, How::ByNature);
        assert_eq!(says(&world), (ConditionStatus::True, reason::NOT_TRIED.to_owned()), "{late} ms later");
        assert!(world.trace.posts.is_empty(), "nothing is asked of it");
        let looks = world.trace.looks;
        world.live(7_200_000, How::ByNature);
        assert_eq!(world.trace.looks, looks, "it is not looked at any more");
        world.stop("one");
        assert_eq!(world.under_way(), [[1]], "and the next stop goes at once");
    }
}

/// A world whose gateway is called without TLS.
fn plain() -> World {
    let mut world = world();
    world.edit_gateway("default", |gateway| gateway.spec.url = "http://team.example.com".to_owned());
    world.live(20_000, How::ByNature);
    world
}

/// Who accepts a connection need not be Testinium: behind TLS only a call shows that the trouble is over.
#[test]
fn behind_tls_an_open_connection_makes_no_gateway_ready() {
    for (proven, crashes) in [(false, false), (true, false), (false, true)] {
        let mut world = world();
        if proven {
            world.stop("one");
            world.live(20_000, How::ByNature);
            assert_eq!(says(&world), (ConditionStatus::True, reason::SUCCEEDED.to_owned()));
            world.withdraw("one");
        }
        world.fake_gateway.unreachable = true;
        unreachable(&mut world);
        world.withdraw("one");
        world.live(20_000, How::Unreachable);
        if crashes {
            world.crash();
        }
        world.fake_gateway.unreachable = false;
        world.live(120_000, How::Unreachable);
        assert_eq!(
            says(&world),
            (ConditionStatus::Unknown, reason::UNREACHABLE.to_owned()),
            "{proven} {crashes}"
        );
        assert!(ready(&world).message.contains("only the next one can show"), "{}", ready(&world).message);
    }
}

/// A restart finds a status of the past, and then somebody asks for a stop.
#[test]
fn a_status_of_the_past_is_not_told_while_a_stop_waits_nor_once_it_was_answered() {
    let mut world = world();
    world.stop("one");
    world.live(60_000, How::Status(503));
    world.withdraw("one");
    world.live(20_000, How::Status(503));
    world.crash();
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), (ConditionStatus::Unknown, reason::UNREACHABLE.to_owned()));
    world.stop("one");
    for _ in 0..20 {
        write_statuses(&mut world);
        world.pass(1_000);
    }
    assert_eq!(says(&world), (ConditionStatus::True, reason::NOT_TRIED.to_owned()), "the call hangs");
    world.answered(How::Json(200));
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world).1, reason::NOT_TRIED, "it was answered, if not by Testinium");
}

/// The gateway is deleted while a connection is tried, and another one is made under its name.
#[test]
fn a_look_at_a_deleted_gateway_tells_nothing_of_its_successor() {
    let mut look = Look::default();
    look.begin(1);
    let mut successor = Look::default();
    successor.begin(2);
    assert!(!successor.end(1, Reached::Opened, Millis(0)));

    let mut world = plain();
    world.fake_gateway.unreachable = true;
    unreachable(&mut world);
    world.withdraw("one");
    world.live(60_000, How::Unreachable);
    let looks = world.machine.gateways.last_look;
    assert!(looks > 2);
    world.server.delete_gateway(&gateway_key("default"));
    world.hear_all();
    world.server.put_gateway(crate::machine::checks::fixtures::gateway("team"));
    unreachable(&mut world);
    world.withdraw("one");
    world.live(20_000, How::Unreachable);
    assert!(world.machine.gateways.last_look > looks, "numbers go on");
}

#[test]
fn what_a_look_finds_instead_is_told() {
    let mut world = world();
    world.fake_gateway.unreachable = true;
    unreachable(&mut world);
    world.withdraw("one");
    world.live(60_000, How::Unreachable);
    let told = ready(&world).message;
    world.fake_gateway.unknown_host = true;
    world.live(120_000, How::Unreachable);
    assert!(told.contains("can't be connected to") && ready(&world).message.contains("can't be resolved"));
    assert_eq!(says(&world), (ConditionStatus::False, reason::UNREACHABLE.to_owned()));
}

/// Whether such a trouble is over only a call tells, and nobody has one made.
#[test]
fn a_trouble_that_only_a_call_could_tell_the_end_of_is_of_the_past_once_nobody_waits() {
    for (how, reason) in [
        (How::Status(503), reason::UNREACHABLE),
        (How::Late, reason::UNREACHABLE),
        (How::Status(401), reason::AUTHENTICATION_FAILED),
        (How::Own(403), reason::FORBIDDEN),
        (How::Status(302), reason::MISCONFIGURED),
    ] {
        let mut world = world();
        world.stop("one");
        world.live(60_000, how);
        assert_eq!(says(&world), (ConditionStatus::False, reason.to_owned()), "{how:?}");
        world.withdraw("one");
        world.live(10_000, how);
        let Condition { status: now, reason: word, message, .. } = ready(&world);
        assert_eq!((now, &*word), (ConditionStatus::Unknown, reason), "{how:?}");
        assert!(message.starts_with("the last call failed: gateway \"default\" "), "{message}");
        assert!(message.contains("only the next one can show whether that is over"), "{message}");
        assert_eq!(status(&world).conditions.len(), 1, "nothing is stalled, nothing tried: {how:?}");
        world.trace.gateway_writes = 0;
        world.live(7_200_000, how);
        world.crash();
        world.live(7_200_000, how);
        assert_eq!(world.trace.gateway_writes, 0, "{how:?}");
        world.stop("one");
        world.live(20_000, How::ByNature);
        assert_eq!(says(&world), (ConditionStatus::True, reason::SUCCEEDED.to_owned()), "{how:?}");
    }
}

/// The run that waited was deleted while no operator ran.
#[test]
fn what_an_earlier_term_has_told_is_of_the_past_if_nobody_waits_any_more() {
    let mut world = world();
    world.stop("one");
    world.live(60_000, How::Status(503));
    world.server.delete_run(&run_key("one"));
    world.crash();
    world.live(20_000, How::ByNature);
    assert_eq!(says(&world), (ConditionStatus::Unknown, reason::UNREACHABLE.to_owned()));
    assert!(ready(&world).message.contains("(HTTP 503); no stop waits"), "{}", ready(&world).message);
}
