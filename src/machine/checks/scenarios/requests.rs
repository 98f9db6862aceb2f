//! Requests that cross the clock, other edits and the writing of a status; each rule by its number.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{annotate, message, move_to, put_other_gateway, retry, suspend};
use crate::api::Outcome::{self, Accepted, Expired, Pending, Rejected, Withdrawn};
use crate::api::{PlanStatus, reason};
use crate::machine::Kind;
use crate::machine::checks::fixtures::wall;
use crate::machine::checks::world::reference::documented::STOP_DEADLINE;
use crate::machine::checks::world::{How, Nature, World};

fn pending(plan: i64) -> PlanStatus {
    PlanStatus { id: plan, outcome: Outcome::Pending, reason: None, message: None, request_time: None }
}

/// A world with a second gateway of the same namespace.
fn two_gateways() -> World {
    let mut world = World::of(&[("one", &[1, 2])]);
    put_other_gateway(&mut world);
    world
}

#[test]
fn a_status_without_a_stop_sends_nothing_whatever_plans_it_lists() {
    let mut world = World::of(&[("one", &[1])]);
    world.edit("one", |run| run.status.plans = vec![pending(77)]);
    world.crash();
    world.run_until_settled();
    assert!(world.trace.posts.is_empty(), "{:?}", world.trace.posts);
    assert!(world.run("one").status.plans.is_empty());
}

#[test]
fn a_status_names_no_plan_that_the_spec_does_not() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    world.stop("one");
    world.live(2_000, How::ByNature);
    world.edit("one", |run| run.status.plans.push(pending(77)));
    world.crash();
    world.live(2_000, How::ByNature);
    suspend(&mut world, false);
    world.run_until_settled();
    assert_eq!(world.trace.posts, [[1]]);
}

#[test]
fn rule_03_a_retry_asks_for_what_was_not_stopped_and_keeps_the_rest() {
    let mut world = World::of(&[("one", &[1, 2, 3])]);
    world.fake_gateway.natures.insert(2, Nature::Rejected);
    world.stop("one");
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Accepted, Rejected, Accepted]);
    world.fake_gateway.natures.clear();
    world.trace.posts.clear();
    world.now += 5_000;
    let retry = |world: &mut World, value: &str| {
        retry(world, value);
        world.run_until_settled();
    };
    retry(&mut world, "once");
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted; 3], 1));
    assert_eq!((world.trace.posts[0].as_slice(), world.stopped("one")), (&[2][..], reason::ACCEPTED));
    let status = &world.run("one").status;
    let stop = status.stop.clone().expect("a stop");
    assert_eq!(stop.last_handled_retry.as_deref(), Some("once"));
    assert!(stop.completion_time > stop.request_time && status.plans[1].request_time.is_some(), "{status:?}");
    // Nothing is left to be retried, and the value is spent, also for the next process.
    retry(&mut world, "twice");
    world.crash();
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.trace.posts.len()), (reason::ACCEPTED, 1));
    let handled =
        |world: &World| world.run("one").status.stop.clone().and_then(|stop| stop.last_handled_retry);
    assert_eq!(handled(&world).as_deref(), Some("twice"), "nobody waits for it in vain");
}

/// What is only remembered is no news: the end of a stop is told once, and counted once.
#[test]
fn rule_07_a_removal_after_the_end_tells_the_end_no_second_time() {
    let mut world = World::of(&[("one", &[1])]);
    annotate(&mut world, Some("a"));
    world.run_until_settled();
    assert_eq!(world.trace.told, ["StopAccepted"]);
    world.machine.take_tally();
    world.now += 5_000;
    annotate(&mut world, None);
    world.run_until_settled();
    assert_eq!(world.run("one").status.stop.clone().and_then(|stop| stop.observed_request), None);
    assert_eq!(world.trace.told, ["StopAccepted"]);
    assert!(world.machine.take_tally().ended.is_empty());
}

/// The time that a retry took counts from the retry, and not from the stop.
#[test]
fn the_time_of_a_retry_counts_from_the_retry() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.fake_gateway.natures.insert(2, Nature::Rejected);
    world.stop("one");
    world.run_until_settled();
    world.fake_gateway.natures.clear();
    world.now += 86_400_000;
    world.machine.take_tally();
    retry(&mut world, "again");
    world.run_until_settled();
    let ended = world.machine.take_tally().ended;
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(ended[0].1.0 < 5_000, "{ended:?}");
}

/// The same value is set once more, after its removal was seen: who waits for its end must not see the earlier one.
#[test]
fn rule_14_a_retry_with_a_value_that_was_handled_is_told_at_once() {
    let mut world = World::of(&[("one", &[1])]);
    world.fake_gateway.natures.insert(1, Nature::Rejected);
    world.stop("one");
    world.run_until_settled();
    retry(&mut world, "again");
    world.run_until_settled();
    world.edit("one", |run| run.retry_annotation = None);
    world.run_until_settled();
    world.now += 5_000;
    retry(&mut world, "again");
    world.write_all();
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert_eq!((stop.last_handled_retry, world.under_way().len()), (None, 1), "no time has passed");
    world.run_until_settled();
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert_eq!(stop.last_handled_retry.as_deref(), Some("again"));
}

#[test]
fn rule_04_a_retry_leaves_alone_what_is_being_stopped() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    retry(&mut world, "impatient");
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted], 1));
}

#[test]
fn rule_06_a_move_sends_nothing_to_the_other_gateway() {
    let mut world = two_gateways();
    annotate(&mut world, Some("a"));
    world.run_until_settled();
    world.trace.posts.clear();
    move_to(&mut world, "one", "other");
    world.run_until_settled();
    assert!(world.trace.posts.is_empty(), "{:?}", world.trace.posts);
    assert_eq!((world.stopped("one"), world.outcomes("one")), (reason::NOT_REQUESTED, vec![Accepted; 2]));
    assert!(message(&world, "one").contains("2 accepted"), "{}", message(&world, "one"));
    annotate(&mut world, Some("b"));
    world.run_until_settled();
    assert_eq!(world.trace.posts, [[1, 2]]);
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert_eq!(stop.gateway.map(|gateway| gateway.name).as_deref(), Some("other"));
}

#[test]
fn rule_06_a_move_withdraws_what_was_not_sent() {
    let mut world = two_gateways();
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    move_to(&mut world, "one", "other");
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.outcomes("one")), (reason::WITHDRAWN, vec![Withdrawn; 2]));
    assert!(world.trace.told.contains(&"StopWithdrawn"), "{:?}", world.trace.told);
    suspend(&mut world, false);
    world.run_until_settled();
    assert!(world.trace.posts.is_empty());
}

#[test]
fn rule_07_a_removal_is_told_while_plans_are_unsent_and_takes_nothing_back() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    annotate(&mut world, Some("a"));
    world.live(2_000, How::ByNature);
    annotate(&mut world, None);
    assert!(world.trace.told.contains(&"StopContinues"), "{:?}", world.trace.told);
    suspend(&mut world, false);
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Accepted]);
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert_eq!((stop.observed_request, stop.last_handled_request.as_deref()), (None, Some("a")));
    world.trace.told.clear();
    annotate(&mut world, Some("a"));
    annotate(&mut world, None);
    world.run_until_settled();
    assert_eq!(world.trace.posts, [[1], [1]], "the same value after its removal is a new request");
}

#[test]
fn rule_09_what_was_in_flight_gets_its_answer_and_the_rest_is_withdrawn() {
    let mut world = World::of(&[("one", &[1, 2, 3, 4, 5])]);
    world.edit_gateway("default", |gateway| {
        gateway.spec.limits.as_mut().expect("the fixture has them").max_in_flight = Some(1);
    });
    world.stop("one");
    assert_eq!(world.under_way(), [[1, 2, 3, 4]]);
    world.withdraw("one");
    world.answered(How::ByNature);
    world.run_until_settled();
    let outcomes = [Accepted, Accepted, Accepted, Accepted, Withdrawn];
    assert_eq!((world.stopped("one"), world.outcomes("one")), (reason::WITHDRAWN, outcomes.to_vec()));
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert!(stop.withdrawn_time.is_some(), "{stop:?}");
    assert_eq!(stop.withdrawn_by.as_deref(), Some("kubectl-edit"));
    world.crash();
    world.run_until_settled();
    assert_eq!(world.run("one").status.stop, Some(stop), "a restart changes nothing");
}

#[test]
fn rule_10_a_plan_added_while_stopped_is_true_has_a_request_of_its_own() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.run_until_settled();
    world.pass(2 * STOP_DEADLINE);
    world.edit("one", |run| run.spec.plans.push(2));
    assert_eq!(world.under_way(), [[2]], "the stop of the first is two hours old");
    world.crash();
    world.now += 1_000;
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Accepted; 2]);
    let times: Vec<_> =
        world.run("one").status.plans.iter().map(|plan| plan.request_time.is_some()).collect();
    assert_eq!(times, [false, true]);
    assert_eq!(world.trace.posts, [vec![1], vec![2], vec![2]], "the process died before it was answered");
}

#[test]
fn rule_10_the_deadline_of_a_plan_counts_from_its_own_request_also_after_a_restart() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.run_until_settled();
    suspend(&mut world, true);
    world.pass(2 * STOP_DEADLINE);
    world.edit("one", |run| run.spec.plans.push(2));
    world.live(1_800_000, How::ByNature);
    world.crash();
    world.live(1_700_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted, Pending]);
    world.live(200_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted, Expired]);
}

#[test]
fn rule_10_a_plan_added_after_the_stop_of_an_event_is_not_sent() {
    let mut world = World::of(&[("one", &[1])]);
    annotate(&mut world, Some("a"));
    world.run_until_settled();
    assert_eq!(world.stopped("one"), reason::ACCEPTED);
    world.edit("one", |run| run.spec.plans.extend([7, 8]));
    world.run_until_settled();
    let expected = (reason::NOT_REQUESTED, vec![Accepted]);
    assert_eq!((world.stopped("one"), world.outcomes("one")), expected);
    assert!(message(&world, "one").contains("plans 7, 8 were added"), "{}", message(&world, "one"));
    assert_eq!(world.run("one").status.summary.as_deref(), Some("1/3"));
    world.crash();
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.outcomes("one")), expected, "nor after a restart");
    world.edit("one", |run| run.spec.plans.retain(|plan| *plan == 1));
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.trace.posts.len()), (reason::ACCEPTED, 1));
}

#[test]
fn rule_10_a_plan_added_while_a_stop_is_under_way_is_sent() {
    let mut world = World::of(&[("one", &[1])]);
    annotate(&mut world, Some("a"));
    world.edit("one", |run| run.spec.plans.push(2));
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.outcomes("one")), (reason::ACCEPTED, vec![Accepted; 2]));
}

#[test]
fn rule_11_a_lost_status_makes_no_old_request_young() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.run_until_settled();
    world.pass(2 * STOP_DEADLINE);
    world.edit("one", |run| run.status = Default::default());
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.outcomes("one")), (reason::EXPIRED, vec![Expired]));
    assert_eq!(world.trace.posts.len(), 1);
}

#[test]
fn rule_11_what_is_seen_by_the_watch_is_of_now_whatever_the_clock_says() {
    for skew in [120_000, -120_000, 86_400_000] {
        let mut world = World::of(&[("one", &[1])]);
        world.edit("one", |run| run.spec.stop_deadline_seconds = Some(60));
        world.jump(skew);
        world.stop("one");
        world.run_until_settled();
        assert_eq!(world.outcomes("one"), [Accepted], "a clock that is {skew} ms off");
    }
}

#[test]
fn rule_14_a_request_over_an_earlier_success_is_told_at_once() {
    let mut world = World::of(&[("one", &[1])]);
    annotate(&mut world, Some("a"));
    world.run_until_settled();
    annotate(&mut world, None);
    world.run_until_settled();
    annotate(&mut world, Some("a"));
    world.write_all();
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert_eq!((world.stopped("one"), stop.last_handled_request), (reason::STOPPING, None));
    world.run_until_settled();
    let stop = world.run("one").status.stop.clone().expect("a stop");
    assert_eq!(stop.last_handled_request.as_deref(), Some("a"));
}

#[test]
fn rule_15_a_restored_run_is_not_stopped_by_what_it_carries() {
    let mut world = World::of(&[("one", &[1])]);
    world.recreate_unseen("one", |run| {
        (run.created, run.restored) = (Some(wall(2_000)), Some("monday".to_owned()));
        run.spec.stopped = Some(true);
        // The status of the object that was backed up.
        run.status.start_time = Some(Time(wall(0)));
        run.status.plans = vec![pending(1)];
    });
    world.hear_all();
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.trace.posts.len()), (reason::RESTORED, 0));
    assert!(world.trace.told.contains(&"Restored"), "{:?}", world.trace.told);
    assert_eq!(world.run("one").status.start_time, Some(Time(wall(2_000))));
    world.crash();
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.trace.posts.len()), (reason::RESTORED, 0));
    annotate(&mut world, Some("now"));
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Accepted]);
}

#[test]
fn a_status_that_is_wiped_before_its_write_is_acknowledged_is_written_again() {
    let mut world = World::of(&[("one", &[1])]);
    world.edit("one", |run| run.status = Default::default());
    world.write_all();
    world.edit("one", |run| run.status = Default::default());
    // The write lands, somebody wipes it, and only a list tells of that, before the write's reply comes.
    let write = world.request();
    world.land(write);
    world.edit_unseen("one", |run| run.status = Default::default());
    world.relist(Kind::Runs);
    world.hear(Kind::Runs);
    world.reply(write);
    world.run_until_settled();
    assert_eq!(world.stopped("one"), reason::NOT_REQUESTED);
}

// --- the run and the queue agree on who waits ---

#[test]
fn a_deadline_raised_while_it_passes_leaves_no_plan_behind() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    world.edit("one", |run| run.spec.stop_deadline_seconds = Some(5));
    world.stop("one");
    world.live(2_000, How::ByNature);
    world.now += 10_000;
    world.edit_unseen("one", |run| run.spec.plans.push(2));
    world.edit_unseen("one", |run| run.spec.stop_deadline_seconds = Some(600_000));
    world.hear(Kind::Runs);
    suspend(&mut world, false);
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Expired, Accepted]);
    assert_eq!(world.machine.active(), 0);
}

#[test]
fn a_clock_that_jumps_for_a_moment_loses_nobody() {
    let mut world = World::of(&[("one", &[1])]);
    suspend(&mut world, true);
    world.stop("one");
    world.live(2_000, How::ByNature);
    world.jump(86_400_000);
    suspend(&mut world, false);
    world.jump(-86_400_000);
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Accepted]);
}

#[test]
fn a_plan_that_was_given_up_in_flight_is_not_sent_when_the_deadline_is_raised() {
    let mut world = World::of(&[("one", &[1])]);
    world.edit("one", |run| run.spec.stop_deadline_seconds = Some(5));
    world.stop("one");
    world.pass(6_000);
    world.answered(How::Lost);
    world.write_all();
    assert_eq!(world.outcomes("one"), [Expired]);
    world.edit("one", |run| run.spec.stop_deadline_seconds = Some(600_000));
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Expired], 1));
}

/// A run waits for nothing while its call is in flight past its deadline: its answer decides.
#[test]
fn a_call_in_flight_past_its_deadline_wakes_nobody() {
    let mut world = World::of(&[("one", &[1])]);
    world.edit("one", |run| run.spec.stop_deadline_seconds = Some(5));
    world.stop("one");
    world.pass(4_000);
    world.write_all();
    world.hear_all();
    world.pass(10_000);
    assert_eq!(world.machine.wake_at(), None);
    world.answered(How::Lost);
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Expired]);
    assert_eq!(world.machine.active(), 0);
}
