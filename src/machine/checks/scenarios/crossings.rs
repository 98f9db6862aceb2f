//! Changes that cross each other while plans wait.

use super::{annotate, message, put_other_gateway, retry, suspend};
use crate::api::Outcome::{Accepted, Pending, Rejected};
use crate::api::{GatewayRef, reason};
use crate::machine::checks::world::reference::documented::STOP_DEADLINE;
use crate::machine::checks::world::{How, Nature, World, gateway_key};

// --- memory ---

#[test]
fn a_removal_that_was_seen_is_written_while_the_gateway_is_away() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    annotate(&mut world, None);
    world.live(600_000, How::ByNature);
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert_eq!(stop.observed_request, None, "ten minutes later");
}

/// The same value after its removal was seen is a new request, with a time of its own.
#[test]
fn a_request_after_a_removal_that_was_seen_is_heard_after_a_restart() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    annotate(&mut world, None);
    world.live(3_000_000, How::ByNature);
    world.edit_unseen("one", |run| run.stop_annotation = Some("a".to_owned()));
    world.crash();
    world.live(1_000_000, How::ByNature);
    suspend(&mut world, false);
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted], 1), "asked 1,000 s ago");
}

#[test]
fn a_status_wiped_while_the_gateway_is_away_loses_no_stop() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    annotate(&mut world, None);
    world.live(2_000, How::ByNature);
    world.edit("one", |run| run.status = Default::default());
    world.live(600_000, How::ByNature);
    world.crash();
    world.live(60_000, How::ByNature);
    suspend(&mut world, false);
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted], 1));
}

#[test]
fn a_withdrawal_during_a_long_call_is_told_soon() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.pass(2_000);
    world.write_all();
    world.hear_all();
    world.withdraw("one");
    world.pass(1_000);
    world.write_all();
    world.hear_all();
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert!(stop.withdrawn_time.is_some(), "a second later: {}", message(&world, "one"));
}

#[test]
fn a_plan_removed_while_the_gateway_is_away_leaves_the_status() {
    let mut world = World::of(&[("one", &[1, 2])]);
    suspend(&mut world, true);
    world.stop("one");
    world.live(2_000, How::ByNature);
    world.edit("one", |run| run.spec.plans.retain(|plan| *plan == 1));
    world.live(1_000, How::ByNature);
    let run = world.run("one");
    assert_eq!(run.status.observed_generation, Some(run.generation), "a second later");
    assert_eq!(world.outcomes("one"), [Pending]);
}

#[test]
fn a_plan_added_while_the_gateway_is_away_is_told_within_a_second() {
    for how in [How::Status(503), How::Unreachable] {
        let mut world = World::of(&[("one", &[1])]);
        world.stop("one");
        world.live(60_000, how);
        world.edit("one", |run| run.spec.plans.push(2));
        world.live(1_000, how);
        let run = world.run("one");
        assert_eq!(run.status.observed_generation, Some(run.generation), "a second later");
        assert_eq!(world.outcomes("one"), [Pending, Pending]);
    }
}

/// The reply to a write comes that was made for an earlier request.
#[test]
fn a_new_request_over_an_earlier_success_is_told_while_its_call_hangs() {
    for seen in [false, true] {
        let mut world = World::of(&[("one", &[1])]);
        annotate(&mut world, Some("a"));
        world.answered(How::ByNature);
        let write = world.request();
        if seen {
            world.land(write);
            annotate(&mut world, Some("b"));
        } else {
            world.edit_unseen("one", |run| run.reconcile_annotation = None);
            annotate(&mut world, Some("b"));
        }
        world.reply(write);
        for _ in 0..30 {
            world.write_all();
            world.hear_all();
            world.pass(1_000);
        }
        assert_eq!(world.under_way(), [[1]], "the call hangs");
        assert_eq!(world.stopped("one"), reason::STOPPING, "30 s later; {seen}");
    }
}

#[test]
fn the_last_answer_is_told_after_the_first_strike() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2]), ("three", &[3])]);
    world.fake_gateway.natures.insert(1, Nature::FailsCall(500));
    world.stop("one");
    world.pass(2_000);
    world.write_all();
    world.hear_all();
    world.stop("two");
    world.live(300_000, How::ByNature);
    assert_eq!((world.outcomes("one"), world.outcomes("two")), (vec![Pending], vec![Accepted]));
    world.stop("three");
    world.live(300_000, How::ByNature);
    let told = world.run("one").status.plans[0].message.clone();
    assert!(told.is_some_and(|told| told.contains("HTTP 500")), "after {} calls", world.trace.posts.len());
}

// --- restores, moves, messages ---

#[test]
fn a_move_together_with_a_restore_sends_nothing_to_the_old_gateway() {
    let mut world = World::of(&[("one", &[1])]);
    put_other_gateway(&mut world);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    world.edit("one", |run| {
        run.restored = Some("monday".to_owned());
        run.spec.gateway_ref = Some(GatewayRef { name: Some("other".to_owned()) });
    });
    suspend(&mut world, false);
    assert!(world.trace.posts.is_empty(), "{:?}", world.trace.posts);
}

#[test]
fn an_explicit_no_that_comes_with_a_restore_is_heard() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    world.stop("one");
    world.live(2_000, How::ByNature);
    world.edit("one", |run| {
        run.restored = Some("monday".to_owned());
        run.spec.stopped = Some(false);
    });
    world.live(600_000, How::ByNature);
    suspend(&mut world, false);
    world.run_until_settled();
    assert!(world.trace.posts.is_empty(), "{:?}", world.trace.posts);
}

// --- what is left over ---

#[test]
fn a_gateway_deleted_with_a_call_in_flight_is_forgotten() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.server.delete_gateway(&gateway_key("default"));
    world.hear_all();
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Accepted]);
    assert!(world.machine.gateways.get(&gateway_key("default")).is_none());
}

#[test]
fn nobody_wakes_for_suspects_that_were_withdrawn() {
    let mut world = World::of(&[("one", &[1])]);
    world.fake_gateway.natures.insert(1, Nature::FailsCall(500));
    world.stop("one");
    world.answered(How::ByNature);
    world.fake_gateway.secret_missing = true;
    world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
    world.withdraw("one");
    world.write_all();
    world.hear_all();
    world.trace.readings = 0;
    for _ in 0..240 {
        world.flow(How::ByNature);
        world.pass(15_000);
    }
    assert_eq!(world.machine.active(), 0);
    assert!(world.trace.posts.len() == 1, "nobody asks for a call");
    assert!(
        (20..=30).contains(&world.trace.readings),
        "{} looks for the Secret in an hour",
        world.trace.readings
    );
}

#[test]
fn a_held_verdict_does_not_wait_for_other_calls() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2]), ("three", &[3])]);
    world.edit_gateway("default", |gateway| {
        gateway.spec.batching.as_mut().expect("the fixture has one").max_plans = Some(1);
    });
    world.fake_gateway.natures.insert(1, Nature::Rejected);
    for name in ["one", "two", "three"] {
        world.stop(name);
    }
    world.pass(100);
    world.answered(How::ByNature);
    for _ in 0..20 {
        world.write_all();
        world.hear_all();
        world.pass(1_000);
    }
    assert_eq!(world.under_way(), [[2], [3]], "they hang");
    assert_eq!(world.outcomes("one"), [Rejected], "20 s later");
}

#[test]
fn a_generation_out_of_range_makes_no_run_deaf() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.run_until_settled();
    world.edit("one", |run| run.status.observed_generation = Some(i64::MIN));
    world.run_until_settled();
    assert!(!world.trace.told.contains(&"Unreadable"), "{:?}", world.trace.told);
}

#[test]
fn the_last_answer_is_told_while_others_are_served() {
    let names = ["two", "three", "four", "five", "six", "seven", "eight"];
    let plans: Vec<[i64; 1]> = (2..9).map(|plan| [plan]).collect();
    let mut runs: Vec<(&str, &[i64])> = vec![("one", &[1])];
    runs.extend(names.iter().zip(&plans).map(|(name, plans)| (*name, &plans[..])));
    let mut world = World::of(&runs);
    world.fake_gateway.natures.insert(1, Nature::FailsCall(500));
    world.stop("one");
    world.pass(2_000);
    world.write_all();
    world.hear_all();
    for name in names {
        world.stop(name);
        world.live(1_000, How::ByNature);
    }
    world.live(600_000, How::ByNature);
    assert_eq!((world.outcomes("one"), world.stopped("one")), (vec![Pending], reason::STOPPING));
    let told = world.run("one").status.plans[0].message.clone();
    let calls = world.trace.posts.iter().filter(|plans| plans.contains(&1)).count();
    assert!(told.is_some_and(|told| told.contains("HTTP 500")), "after {calls} calls");
}

/// The stop is taken back while its call hangs, the process dies, and the stop is asked for once more meanwhile.
#[test]
fn a_stop_asked_for_again_after_a_withdrawal_that_was_seen_is_new() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.pass(2_000);
    world.write_all();
    world.hear_all();
    world.pass(20_000);
    world.withdraw("one");
    world.pass(20_000);
    world.write_all();
    world.hear_all();
    world.crash();
    world.now += STOP_DEADLINE;
    world.edit_unseen("one", |run| run.spec.stopped = Some(true));
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted], 2), "asked for just now");
}

#[test]
fn one_404_to_a_status_write_loses_no_outcome() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.answered(How::ByNature);
    world.answer_write(world.request(), crate::machine::WriteResult::Gone);
    world.live(600_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted]);
}

// --- third round ---

/// The credential is read anew twice, and the same both times, while calls are under way; then the Secret changes.
#[test]
fn no_verdict_is_final_by_a_token_that_was_rotated() {
    let hurry = |world: &mut World, value: &str| {
        world.edit_gateway("default", |gateway| gateway.reconcile_annotation = Some(value.to_owned()));
    };
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    hurry(&mut world, "1");
    world.answered(How::Own(400));
    world.pass(100);
    assert_eq!(world.under_way(), [[1]], "sent again: there is another credential");
    hurry(&mut world, "2");
    (world.fake_gateway.secret, world.fake_gateway.stale) = (1, Some(How::Own(400)));
    world.trace.readings = 0;
    world.answered(How::ByNature);
    world.run_until_settled();
    assert_eq!(
        (world.outcomes("one"), world.trace.posts.len()),
        (vec![Accepted], 3),
        "readings: {}",
        world.trace.readings
    );
}

/// A person waits for the stop of a plan that was added over an earlier success.
#[test]
fn a_plan_removed_and_added_again_in_a_call_is_settled_once() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.stop("one");
    world.edit("one", |run| run.spec.plans.retain(|plan| *plan == 1));
    world.edit("one", |run| run.spec.plans.push(2));
    world.run_until_settled();
    assert_eq!(
        (world.outcomes("one"), world.unsettled()),
        (vec![Accepted; 2], None),
        "{:?}",
        world.trace.posts
    );
}

/// The stop is taken back and asked for anew while its verdict is held back and the Secret is read.
#[test]
fn a_verdict_that_is_held_crosses_a_new_request() {
    for rotated in [false, true] {
        let mut world = World::with_slow_secrets(&[("one", &[1])]);
        world.fake_gateway.natures.insert(1, Nature::Rejected);
        world.pass(60_000);
        world.stop("one");
        world.answered(How::ByNature);
        world.withdraw("one");
        world.fake_gateway.natures.clear();
        world.fake_gateway.secret += u32::from(rotated);
        world.stop("one");
        retry(&mut world, "r");
        world.run_until_settled();
        assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Accepted], None), "{rotated}");
    }
}

/// A status is wiped while a call hangs, and the process dies: the removal of the request was seen.
#[test]
fn a_status_wiped_during_a_call_is_mended() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.pass(2_000);
    world.write_all();
    world.hear_all();
    world.edit("one", |run| run.status = Default::default());
    for _ in 0..20 {
        world.pass(1_000);
        world.write_all();
        world.hear_all();
    }
    assert!(world.run("one").status.stop.is_some(), "20 s later");
}

/// The Secret is missing, and then it is there without the key: another thing to be done, though the reason's word is the
/// same. Then the connection is refused, and then the gateway answers 503.
#[test]
fn another_cause_is_told_though_its_reason_is_the_same() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.live(60_000, How::Unreachable);
    let (refused, writes) = (message(&world, "one"), world.trace.writes.len());
    world.live(400_000, How::Status(503));
    let down = message(&world, "one");
    assert_eq!(world.stopped("one"), reason::UNREACHABLE);
    assert!(down != refused && down.contains("503"), "{refused}; {down}");
    assert_eq!(world.trace.writes.len(), writes + 1, "once");
    world.live(1_000_000, How::Status(503));
    assert_eq!(world.trace.writes.len(), writes + 1, "and no more");
}
