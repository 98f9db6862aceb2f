//! What a stranger tried who knew the rules and not the code: words that say less than they seem to, retries that cross
//! other things, and what changes while plans wait.

use crate::api::Outcome::{Accepted, Expired, Pending, Rejected};
use crate::api::{GatewayRef, condition, reason};
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::checks::world::{How, Nature, World, key};
use crate::machine::gateways::verdict::{Verdict, verdict};
use crate::machine::{Answer, Kind, PlanId, Reply};
use crate::testinium::{Secrets, envelope};

fn message(world: &World, name: &str) -> String {
    let conditions = &world.run(name).status.conditions;
    let stopped = conditions.iter().find(|other| other.type_ == condition::STOPPED).expect("Stopped");
    stopped.message.clone()
}

fn suspend(world: &mut World, yes: bool) {
    world.edit_gateway("default", |gateway| gateway.spec.suspend = yes.then_some(true));
}

fn annotate(world: &mut World, value: Option<&str>) {
    world.edit("one", |run| run.stop_annotation = value.map(str::to_owned));
}

fn retry(world: &mut World, value: &str) {
    world.edit("one", |run| run.retry_annotation = Some(value.to_owned()));
}

/// What an answer with this status and body means for these plans.
fn judged(status: u16, body: &str, plans: &[i64]) -> String {
    let body = envelope::body(body.as_bytes(), (200..300).contains(&status), &Secrets::default());
    let plans: Vec<_> = plans.iter().copied().map(PlanId).collect();
    match verdict(&Answer::Reply(Reply { status, retry_after: None, body }), &plans, true) {
        Verdict::Settled(settled) => format!("{:?}", settled.outcome),
        Verdict::Named(named) => {
            let all: Vec<_> = named.iter().map(|(p, s)| format!("{p} {:?}", s.outcome)).collect();
            all.join(", ")
        }
        Verdict::Split(parts) => format!("{parts:?}"),
        Verdict::Wait(trouble) => format!("{:?}", trouble.kind),
    }
}

fn none_is(bad: &str, rows: &[(u16, &str, &[i64])]) {
    let wrong: Vec<_> = rows
        .iter()
        .map(|(status, body, plans)| (judged(*status, body, plans), body))
        .filter(|(told, _)| told.contains(bad))
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rows.len());
}

// --- words ---

#[test]
fn words_of_trouble_count_in_every_field_of_a_complaint() {
    none_is(
        "NotRunning",
        &[
            (
                200,
                r#"{"data":null,"errors":[{"message":"The action is not available","details":"Please try again later"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","cause":"Selenium grid is down"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","developerMessage":"Database is not available"}]}"#,
                &[614],
            ),
            (
                400,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","userMessage":"Servis çalışmıyor, lütfen tekrar deneyin"}]}"#,
                &[614],
            ),
            (
                400,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","localizedMessage":"Sistem bakım nedeniyle kapalı"}]}"#,
                &[614],
            ),
            (
                400,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","status":"SERVICE_UNAVAILABLE"}]}"#,
                &[614],
            ),
            (
                400,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","type":"DATABASE_UNAVAILABLE"}]}"#,
                &[614],
            ),
        ],
    );
}

#[test]
fn words_of_trouble_beside_errors_count() {
    none_is(
        "NotRunning",
        &[
            (
                200,
                r#"{"data":null,"errors":["The action is not available"],"message":"Database is not available, try again later"}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":["NOT_AVAILABLE"],"message":"The service is temporarily unavailable"}"#,
                &[614],
            ),
            (
                422,
                r#"{"data":null,"errors":{"614":"NOT_AVAILABLE"},"detail":"Selenium grid is not running"}"#,
                &[614, 615],
            ),
            (200, r#"{"data":null,"errors":["NOT_AVAILABLE"],"message":"token has expired"}"#, &[614]),
        ],
    );
}

#[test]
fn a_sentence_with_another_code_or_text_beside_it_is_none() {
    none_is(
        "NotRunning",
        &[
            (
                200,
                r#"{"data":null,"errors":[{"code":"QUOTA_EXCEEDED","message":"The action is not available"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"code":"PLAN_STARTING","message":"The action is not available"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"message":"The action is not available","reason":"the plan is still starting"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"message":"The action is not available","detail":"Plan 614 is running"}]}"#,
                &[614],
            ),
            (200, r#"{"data":{"614":"RUNNING"},"errors":["The action is not available"]}"#, &[614]),
        ],
    );
}

#[test]
fn the_id_of_an_execution_or_an_action_is_no_plans() {
    none_is(
        "NotRunning",
        &[
            (200, r#"{"data":null,"errors":["Execution 7 is not running"]}"#, &[7, 614]),
            (200, r#"{"data":null,"errors":["Test execution 7 is not running"]}"#, &[7, 614]),
            (200, r#"{"data":null,"errors":["The action 7 is not available"]}"#, &[7, 614]),
            (200, r#"{"data":null,"errors":["7 numaralı koşum çalışmıyor"]}"#, &[7, 614]),
        ],
    );
}

#[test]
fn a_stop_operation_that_does_not_work_says_nothing_of_the_plan() {
    none_is(
        "NotRunning",
        &[
            (200, r#"{"data":null,"errors":["Durdurma işlemi çalışmıyor"]}"#, &[614]),
            (200, r#"{"data":null,"errors":["Durdurma işlemi şu anda çalışmıyor"]}"#, &[614]),
            (200, r#"{"data":null,"errors":["İşlem şu anda çalışmıyor"]}"#, &[614]),
        ],
    );
}

#[test]
fn data_that_nobody_documents_is_no_success() {
    none_is(
        "Accepted",
        &[
            (
                200,
                r#"{"data":{"status":"SUCCESS","results":[{"planId":614,"stopped":false}]},"errors":null}"#,
                &[614],
            ),
            (200, r#"{"data":{"status":"SUCCESS","notStopped":[614]},"errors":null}"#, &[614]),
            (200, r#"{"data":{"status":"SUCCESS","614":"RUNNING"},"errors":null}"#, &[614]),
        ],
    );
}

// --- retry ---

/// Taken back by an annotation two hours ago; a retry where no stop stands asks for all, now.
#[test]
fn a_retry_where_no_stop_stands_is_as_old_as_the_retry() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::Truth);
    annotate(&mut world, Some("no"));
    world.calm();
    suspend(&mut world, false);
    world.pass(2 * 3_600_000);
    retry(&mut world, "r");
    world.calm();
    assert_eq!(
        (world.outcomes("one"), world.diary.posts.len()),
        (vec![Accepted], 1),
        "{}",
        message(&world, "one")
    );
}

#[test]
fn a_retry_whose_status_was_lost_is_not_made_young() {
    let mut world = World::of(&[("one", &[1])]);
    retry(&mut world, "r");
    world.calm();
    world.pass(2 * 3_600_000);
    world.edit("one", |run| run.status = Default::default());
    world.calm();
    assert_eq!((world.outcomes("one"), world.diary.posts.len()), (vec![Expired], 1));
}

/// Plan 7 was added after the stop of an annotation was complete. Whether a retry sends it must not depend on an echo.
#[test]
fn a_retry_treats_added_plans_the_same_whatever_is_seen_meanwhile() {
    let mut sent = Vec::new();
    for way in ["quick", "echo", "restart"] {
        let mut world = World::of(&[("one", &[1])]);
        world.truth.natures.insert(1, Nature::Bad);
        annotate(&mut world, Some("a"));
        world.calm();
        world.edit("one", |run| run.spec.plans.push(7));
        world.calm();
        assert_eq!((world.stopped("one"), world.outcomes("one")), (reason::NOT_REQUESTED, vec![Rejected]));
        world.diary.posts.clear();
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
        world.calm();
        let mut ids: Vec<i64> = world.diary.posts.concat();
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
    world.calm();
    assert_eq!((world.stopped("one"), world.diary.posts.len()), (reason::RESTORED, 0));
}

// --- memory ---

#[test]
fn a_removal_that_was_seen_is_written_while_the_gateway_is_away() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::Truth);
    annotate(&mut world, None);
    world.live(600_000, How::Truth);
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert_eq!(stop.observed_request, None, "ten minutes later");
}

/// The same value after its removal was seen is a new request, with a time of its own.
#[test]
fn a_request_after_a_removal_that_was_seen_is_heard_after_a_restart() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::Truth);
    annotate(&mut world, None);
    world.live(3_000_000, How::Truth);
    world.edit_unseen("one", |run| run.stop_annotation = Some("a".to_owned()));
    world.crash();
    world.live(1_000_000, How::Truth);
    suspend(&mut world, false);
    world.calm();
    assert_eq!((world.outcomes("one"), world.diary.posts.len()), (vec![Accepted], 1), "asked 1,000 s ago");
}

#[test]
fn a_status_wiped_while_the_gateway_is_away_loses_no_stop() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::Truth);
    annotate(&mut world, None);
    world.live(2_000, How::Truth);
    world.edit("one", |run| run.status = Default::default());
    world.live(600_000, How::Truth);
    world.crash();
    world.live(60_000, How::Truth);
    suspend(&mut world, false);
    world.calm();
    assert_eq!((world.outcomes("one"), world.diary.posts.len()), (vec![Accepted], 1));
}

#[test]
fn a_withdrawal_during_a_long_call_is_told_soon() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.pass(2_000);
    world.write_all();
    world.hear_all();
    world.withdraw("one");
    world.pass(20_000);
    world.write_all();
    world.hear_all();
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert!(stop.withdrawn_time.is_some(), "20 s later: {}", message(&world, "one"));
}

#[test]
fn a_plan_removed_while_the_gateway_is_away_leaves_the_status() {
    let mut world = World::of(&[("one", &[1, 2])]);
    suspend(&mut world, true);
    world.stop("one");
    world.live(2_000, How::Truth);
    world.edit("one", |run| run.spec.plans.retain(|plan| *plan == 1));
    world.live(600_000, How::Truth);
    let run = world.run("one");
    assert_eq!(run.status.observed_generation, Some(run.generation), "ten minutes later");
    assert_eq!(world.outcomes("one"), [Pending]);
}

/// The reply to a write that was made for an earlier request.
#[test]
fn a_new_request_over_an_earlier_success_is_told_while_its_call_hangs() {
    for seen in [false, true] {
        let mut world = World::of(&[("one", &[1])]);
        annotate(&mut world, Some("a"));
        world.answered(How::Truth);
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
    world.truth.natures.insert(1, Nature::Poison);
    world.stop("one");
    world.pass(2_000);
    world.write_all();
    world.hear_all();
    world.stop("two");
    world.live(300_000, How::Truth);
    assert_eq!((world.outcomes("one"), world.outcomes("two")), (vec![Pending], vec![Accepted]));
    world.stop("three");
    world.live(300_000, How::Truth);
    let told = world.run("one").status.plans[0].message.clone();
    assert!(told.is_some_and(|told| told.contains("HTTP 500")), "after {} calls", world.diary.posts.len());
}

// --- restores, moves, messages ---

#[test]
fn a_move_together_with_a_restore_sends_nothing_to_the_old_gateway() {
    let mut world = World::of(&[("one", &[1])]);
    world.server.put_gateway(fixtures::gateway_named("team", "other"));
    world.hear(Kind::Gateways);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::Truth);
    world.edit("one", |run| {
        run.restored = Some("monday".to_owned());
        run.spec.gateway_ref = Some(GatewayRef { name: Some("other".to_owned()) });
    });
    suspend(&mut world, false);
    assert!(world.diary.posts.is_empty(), "{:?}", world.diary.posts);
}

#[test]
fn an_explicit_no_that_comes_with_a_restore_is_heard() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    world.stop("one");
    world.live(2_000, How::Truth);
    world.edit("one", |run| {
        run.restored = Some("monday".to_owned());
        run.spec.stopped = Some(false);
    });
    world.live(600_000, How::Truth);
    suspend(&mut world, false);
    world.calm();
    assert!(world.diary.posts.is_empty(), "{:?}", world.diary.posts);
}

// --- what is left over ---

#[test]
fn a_gateway_deleted_with_a_call_in_flight_is_forgotten() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.server.delete_gateway(&key("default"));
    world.hear_all();
    world.calm();
    assert_eq!(world.outcomes("one"), [Accepted]);
    assert!(world.machine.gateways.get(&key("default")).is_none());
}

#[test]
fn nobody_wakes_for_suspects_that_were_withdrawn() {
    let mut world = World::of(&[("one", &[1])]);
    world.truth.natures.insert(1, Nature::Poison);
    world.stop("one");
    world.answered(How::Truth);
    world.truth.secret_missing = true;
    world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
    world.withdraw("one");
    world.write_all();
    world.hear_all();
    world.diary.readings = 0;
    for _ in 0..240 {
        world.flow(How::Truth);
        world.pass(15_000);
    }
    assert_eq!(world.machine.active(), 0);
    assert_eq!((world.machine.wake_at(), world.diary.readings), (None, 0), "an hour");
}

#[test]
fn a_held_verdict_does_not_wait_for_other_calls() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2]), ("three", &[3])]);
    world.edit_gateway("default", |gateway| {
        gateway.spec.batching.as_mut().expect("the fixture has one").max_plans = Some(1);
    });
    world.truth.natures.insert(1, Nature::Bad);
    for name in ["one", "two", "three"] {
        world.stop(name);
    }
    world.pass(100);
    world.answered(How::Truth);
    for _ in 0..20 {
        world.write_all();
        world.hear_all();
        world.pass(1_000);
    }
    assert_eq!(world.under_way(), [[2], [3]], "they hang");
    assert_eq!(world.outcomes("one"), [Rejected], "20 s later");
}

// --- second round ---

#[test]
fn a_removal_together_with_a_retry_is_told() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::Truth);
    world.edit("one", |run| (run.stop_annotation, run.retry_annotation) = (None, Some("r".to_owned())));
    assert!(world.diary.told.contains(&"StopContinues"), "{:?}", world.diary.told);
}

#[test]
fn a_generation_out_of_range_makes_no_run_deaf() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.calm();
    world.edit("one", |run| run.status.observed_generation = Some(i64::MIN));
    world.calm();
    assert!(!world.diary.told.contains(&"Unreadable"), "{:?}", world.diary.told);
}

#[test]
fn the_last_answer_is_told_while_others_are_served() {
    let names = ["two", "three", "four", "five", "six", "seven", "eight"];
    let plans: Vec<[i64; 1]> = (2..9).map(|plan| [plan]).collect();
    let mut runs: Vec<(&str, &[i64])> = vec![("one", &[1])];
    runs.extend(names.iter().zip(&plans).map(|(name, plans)| (*name, &plans[..])));
    let mut world = World::of(&runs);
    world.truth.natures.insert(1, Nature::Poison);
    world.stop("one");
    world.pass(2_000);
    world.write_all();
    world.hear_all();
    for name in names {
        world.stop(name);
        world.live(1_000, How::Truth);
    }
    world.live(600_000, How::Truth);
    assert_eq!((world.outcomes("one"), world.stopped("one")), (vec![Pending], reason::STOPPING));
    let told = world.run("one").status.plans[0].message.clone();
    let calls = world.diary.posts.iter().filter(|plans| plans.contains(&1)).count();
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
    world.now += 3_600_000;
    world.edit_unseen("one", |run| run.spec.stopped = Some(true));
    world.calm();
    assert_eq!((world.outcomes("one"), world.diary.posts.len()), (vec![Accepted], 2), "asked for just now");
}

#[test]
fn one_404_to_a_status_write_loses_no_outcome() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.answered(How::Truth);
    world.answer_write(world.request(), crate::machine::WriteResult::Gone);
    world.live(600_000, How::Truth);
    assert_eq!(world.outcomes("one"), [Accepted]);
}

/// Moved without a stop of its own there; a retry asks for all at the new gateway.
#[test]
fn a_retry_after_a_move_is_as_old_as_the_retry() {
    let mut world = World::of(&[("one", &[1])]);
    world.server.put_gateway(fixtures::gateway_named("team", "other"));
    world.hear(Kind::Gateways);
    annotate(&mut world, Some("a"));
    world.calm();
    world.pass(2 * 3_600_000);
    world.edit("one", |run| run.spec.gateway_ref = Some(GatewayRef { name: Some("other".to_owned()) }));
    world.calm();
    retry(&mut world, "r");
    world.calm();
    assert_eq!(
        (world.outcomes("one"), world.diary.posts.len()),
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
    world.calm();
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert!(stop.field_manager.is_some(), "{stop:?}");
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
    (world.truth.secret, world.truth.stale) = (1, Some(How::Own(400)));
    world.diary.readings = 0;
    world.answered(How::Truth);
    world.calm();
    assert_eq!(
        (world.outcomes("one"), world.diary.posts.len()),
        (vec![Accepted], 3),
        "readings: {}",
        world.diary.readings
    );
}

/// Nobody looks while a person first retries in vain and then takes the stop back.
#[test]
fn a_retry_with_nothing_left_does_not_outweigh_a_no() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    world.stop("one");
    world.live(2_000, How::Truth);
    world.edit_unseen("one", |run| run.retry_annotation = Some("impatient".to_owned()));
    world.now += 60_000;
    world.edit_unseen("one", |run| run.spec.stopped = Some(false));
    world.crash();
    world.live(2_000, How::Truth);
    suspend(&mut world, false);
    world.calm();
    assert!(world.diary.posts.is_empty(), "{:?}", world.diary.posts);
}

/// The same over a stop that is complete.
#[test]
fn a_spent_retry_does_not_swallow_a_no() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.calm();
    world.edit("one", |run| {
        run.retry_annotation = Some("r".to_owned());
        run.spec.stopped = Some(false);
    });
    world.calm();
    assert_eq!(world.stopped("one"), reason::NOT_REQUESTED);
}

#[test]
fn a_code_of_trouble_in_the_body_counts() {
    none_is(
        "NotRunning",
        &[
            (200, r#"{"data":null,"errors":["NOT_AVAILABLE"],"statusCode":503}"#, &[614]),
            (200, r#"{"data":null,"errors":["NOT_AVAILABLE"],"code":401}"#, &[614]),
            (200, r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","status":503}]}"#, &[614]),
            (200, r#"{"data":null,"errors":[{"message":"The action is not available","code":500}]}"#, &[614]),
            (200, r#"{"data":null,"errors":[{"message":"The action is not available","code":403}]}"#, &[614]),
        ],
    );
}

/// What an id in a complaint's fields is not.
#[test]
fn another_plans_id_in_a_field_with_another_name_counts() {
    none_is(
        "NotRunning",
        &[
            (200, r#"{"data":null,"errors":[{"message":"Plan is not running","planIds":"615"}]}"#, &[614]),
            (200, r#"{"data":null,"errors":[{"message":"Plan is not running","plans":"615"}]}"#, &[614]),
            (
                200,
                r#"{"data":null,"errors":[{"message":"Plan is not running","testPlanNumber":615}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"message":"Plan is not running","id":614,"executionId":9}]}"#,
                &[9],
            ),
        ],
    );
}

/// A wait for the stop of a plan that was added over an earlier success.
#[test]
fn a_plan_removed_and_added_again_in_a_call_is_settled_once() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.stop("one");
    world.edit("one", |run| run.spec.plans.retain(|plan| *plan == 1));
    world.edit("one", |run| run.spec.plans.push(2));
    world.calm();
    assert_eq!(
        (world.outcomes("one"), world.unsettled()),
        (vec![Accepted; 2], None),
        "{:?}",
        world.diary.posts
    );
}

/// Held, and taken back, and asked for anew, while the Secret is read.
#[test]
fn a_verdict_that_is_held_crosses_a_new_request() {
    for rotated in [false, true] {
        let mut world = World::with_slow_secrets(&[("one", &[1])]);
        world.truth.natures.insert(1, Nature::Bad);
        world.pass(60_000);
        world.stop("one");
        world.answered(How::Truth);
        world.withdraw("one");
        world.truth.natures.clear();
        world.truth.secret += u32::from(rotated);
        world.stop("one");
        retry(&mut world, "r");
        world.calm();
        assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Accepted], None), "{rotated}");
    }
}

// --- fourth round ---

/// Stopped, retried, taken back. Three days later the status is lost; the annotation of the retry is still there.
#[test]
fn a_spent_retry_stops_nothing_when_a_status_is_lost() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.calm();
    retry(&mut world, "r");
    world.calm();
    world.withdraw("one");
    world.calm();
    assert_eq!(world.diary.posts.len(), 1);
    world.pass(3 * 24 * 3_600_000);
    world.edit("one", |run| run.status = Default::default());
    world.calm();
    assert_eq!(world.diary.posts.len(), 1, "{:?} {}", world.outcomes("one"), message(&world, "one"));
}

/// A status that is wiped while a call hangs, and the process dies: the removal of what asked was seen.
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

/// The annotation of a request and its withdrawal are of the same manager; the field manager of a retry is told.
#[test]
fn two_retries_in_a_row_while_the_first_is_under_way() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.truth.natures.insert(1, Nature::Bad);
    world.truth.natures.insert(2, Nature::Bad);
    world.stop("one");
    world.calm();
    world.truth.natures.clear();
    world.diary.posts.clear();
    retry(&mut world, "a");
    retry(&mut world, "b");
    world.withdraw("one");
    retry(&mut world, "c");
    world.calm();
    assert_eq!(
        (world.outcomes("one"), world.unsettled()),
        (vec![Accepted; 2], None),
        "{:?}",
        world.diary.posts
    );
}
