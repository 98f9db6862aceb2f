//! Answers that come late, that differ, or that speak of the gateway rather than of a plan.

use std::collections::BTreeMap;

use crate::api::Outcome::{Accepted, Expired, Pending, Rejected};
use crate::machine::checks::world::reference::documented::STOP_DEADLINE;
use crate::machine::checks::world::{How, Nature, World, gateway_key};
use crate::machine::gateways::gate::Gate;
use crate::machine::{CallId, Input};

fn gate_is_open(world: &World) -> bool {
    world.machine.gateways.get(&gateway_key("default")).expect("the gateway is known").gate == Gate::Open
}

/// The calls under way, and whether they carry this plan.
fn calls_with(world: &World, plan: i64) -> Vec<(CallId, bool)> {
    world.calls.iter().map(|(id, call)| (*id, call.plans.contains(&plan))).collect()
}

/// A world whose calls carry one plan each, with two of them under way.
fn two_calls() -> World {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.edit_gateway("default", |gateway| {
        gateway.spec.batching.as_mut().expect("the fixture has one").max_plans = Some(1);
    });
    world.stop("one");
    assert_eq!(world.under_way(), [[1], [2]]);
    world
}

/// The success gives its verdicts, but does not open the gate. A 401 to a call with an older credential does not shut
/// it.
#[test]
fn h12_one_of_two_calls_is_unauthorized() {
    let mut world = two_calls();
    world.answered(How::Status(401));
    world.answered(How::ByNature);
    assert!(!gate_is_open(&world));
    world.live(6_000, How::Status(401));
    assert_eq!(
        (world.stopped("one"), world.outcomes("one")),
        ("AuthenticationFailed", vec![Pending, Accepted])
    );

    let mut world = two_calls();
    world.fake_gateway.secret += 1;
    world.answered(How::Status(401));
    assert!(gate_is_open(&world), "there is another credential");
    world.pass(50);
    assert_eq!(world.under_way(), [[2], [1]]);
    world.answered(How::Status(401));
    assert!(gate_is_open(&world), "that was the older one");
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Accepted; 2], 4));
}

/// An answer counts whenever it comes. If none does, the stop is given up, and status says that it was sent.
#[test]
fn h18_deadline_passes_with_the_call_in_flight() {
    for (how, outcome) in [(How::ByNature, Accepted), (How::Lost, Expired)] {
        let mut world = World::of(&[("one", &[1])]);
        world.edit("one", |run| run.spec.stop_deadline_seconds = Some(60));
        world.stop("one");
        world.pass(61_000);
        world.write_all();
        assert_eq!(world.outcomes("one"), [Pending]);
        world.answered(how);
        world.live(60_000, How::ByNature);
        assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![outcome], 1));
        let message = world.run("one").status.plans[0].message.clone().unwrap_or_default();
        assert_eq!(message.contains("sent, but no answer came"), outcome == Expired);
    }
}

/// The ids of a call that made the gateway fail stay together. After three failures, while others succeed, it is the
/// ids: they are split until the bad one is alone, and shut the gate no more.
#[test]
fn h27_an_id_that_makes_the_gateway_fail() {
    let mut world = World::of(&[("one", &[1, 2, 3, 4]), ("two", &[5]), ("three", &[6])]);
    world.fake_gateway.natures.insert(3, Nature::FailsCall(500));
    world.stop("one");
    world.stop("two");
    world.live(60_000, How::ByNature);
    assert_eq!(world.outcomes("two"), [Accepted], "others go on");
    assert_eq!(world.outcomes("one"), [Accepted, Accepted, Pending, Accepted]);
    world.stop("three");
    assert!(world.under_way().contains(&[6].as_slice()), "the gate is open");
    world.live(STOP_DEADLINE + 100_000, How::ByNature);
    assert_eq!(world.outcomes("one"), [Accepted, Accepted, Expired, Accepted]);
    assert_eq!((world.outcomes("three"), world.unsettled()), (vec![Accepted], None));
}

/// A token is refused, in whatever way, after its Secret has changed: the new one is found within one backoff, and no
/// plan is given up.
#[test]
fn h28_a_rotated_token_is_found_however_the_old_one_is_refused() {
    let ways = [200, 302, 400, 401, 403, 404, 405, 500, 502].map(How::Status).into_iter();
    let ways =
        ways.chain([200, 400, 403, 404, 409].map(How::Json)).chain([200, 400, 401, 422].map(How::Expired));
    for way in ways.chain([200, 400, 403, 404, 413, 422, 500].map(How::Own)) {
        let mut world = World::of(&[("first", &[9]), ("one", &[1, 2, 3])]);
        world.stop("first");
        world.live(60_000, How::ByNature);
        assert_eq!(world.outcomes("first"), [Accepted]);
        (world.fake_gateway.secret, world.fake_gateway.stale) = (1, Some(way));
        world.trace.posts.clear();
        world.stop("one");
        world.live(3_000, How::ByNature);
        assert_eq!(world.outcomes("one"), [Accepted; 3], "{way:?}");
        let calls = world.trace.posts.len();
        assert!(calls <= 9, "{way:?}: {calls} calls");
    }
}

/// A plan that is refused under the new token too is refused. Each answer has a look of its own, which begins after it.
#[test]
fn a_second_look_is_taken_once() {
    for (rotated, calls, readings) in [(false, vec![vec![1]], 1), (true, vec![vec![1], vec![1]], 2)] {
        let mut world = World::of(&[("one", &[1])]);
        world.fake_gateway.natures.insert(1, Nature::Rejected);
        world.pass(60_000);
        world.fake_gateway.secret += u32::from(rotated);
        world.trace.readings = 0;
        world.stop("one");
        world.live(60_000, How::ByNature);
        assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Rejected], None));
        assert_eq!((&world.trace.posts, world.trace.readings), (&calls, readings), "rotated: {rotated}");
    }
}

/// While the Secret is read, the plan counts as in its call, and nothing loses it.
#[test]
fn a_verdict_that_is_held_back_is_not_lost() {
    let held = || {
        let mut world = World::with_slow_secrets(&[("one", &[1])]);
        world.fake_gateway.natures.insert(1, Nature::Rejected);
        world.pass(60_000);
        world.stop("one");
        world.answered(How::ByNature);
        assert!(world.under_way().is_empty());
        assert_eq!(world.ops.len(), 1, "the Secret is being read");
        world
    };
    let mut world = held();
    world.lose(world.request());
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Rejected], None), "a reading that fails");

    let mut world = held();
    world.withdraw("one");
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Rejected], "withdrawn, it has its answer");

    let mut world = held();
    world.fake_gateway.secret += 1;
    world.withdraw("one");
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.trace.posts.len()), (vec![Rejected], 1), "and is sent no more");

    let mut world = held();
    world.edit("one", |run| run.spec.stop_deadline_seconds = Some(60));
    world.fake_gateway.secret += 1;
    world.pass(1_000_000);
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [Expired], "an answer to a former credential is no word on it");

    let mut world = held();
    world.withdraw("one");
    world.edit_gateway("default", |gateway| gateway.spec.url.push_str("/v2"));
    world.run_until_settled();
    assert_ne!(world.outcomes("one"), [Rejected], "an answer from a former address says nothing");

    for moves in [true, false] {
        let mut world = held();
        world.edit_gateway("default", |gateway| {
            gateway.spec.timeout_seconds = Some(9);
            gateway.spec.url.push_str(if moves { "/v2" } else { "" });
        });
        world.run_until_settled();
        assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Rejected], None));
        assert_eq!(world.trace.posts.len(), 2, "an edit is worth another try; moves: {moves}");
    }

    let mut world = held();
    let gateway = world.server.gateways[&gateway_key("default")].clone();
    world.server.delete_gateway(&gateway.key);
    world.hear_all();
    world.write_all();
    assert_eq!(world.machine.queued(), 1, "it waits for a gateway");
    let mut again = (*gateway).clone();
    again.uid = "made-again".into();
    world.server.put_gateway(again);
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Rejected], None));

    let mut world = held();
    world.feed(Input::Drain);
    world.pass(1_000);
    assert!(world.trace.drained, "an end does not wait for it");
    world.crash();
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Rejected], None));
}

/// One plan in a hundred makes its call take as long as a call can: the last of the others is done after three.
#[test]
fn h29_an_id_that_is_never_answered() {
    for culprit in [1, 42, 77, 100] {
        let plans: Vec<_> = (1..=100).collect();
        let mut world = World::of(&[("one", &plans)]);
        world.edit_gateway("default", |gateway| gateway.spec.batching = None);
        world.stop("one");
        let (began, mut since) = (world.now, BTreeMap::new());
        while world.now < began + 92_000 {
            for (call, hangs) in calls_with(&world, culprit) {
                match hangs {
                    false => world.answer(call, How::ByNature),
                    // A call may take thirty seconds.
                    true if world.now >= *since.entry(call).or_insert(world.now) + 30_000 => {
                        world.answer(call, How::Late)
                    }
                    true => {}
                }
            }
            world.write_all();
            world.hear_all();
            world.pass(100);
        }
        let done = world.outcomes("one").iter().filter(|outcome| **outcome == Accepted).count();
        assert_eq!(done, 99, "culprit {culprit}: {:?}", world.trace.posts);
    }
}

/// A plan that is forbidden in Testinium's form is found out while others are served. A page in front says nothing.
#[test]
fn forbidden_is_a_verdict_only_in_testiniums_form_and_only_if_others_are_served() {
    for (way, outcome) in [(How::Own(403), Rejected), (How::Status(403), Pending), (How::Json(404), Pending)]
    {
        let mut world = World::of(&[("one", &[1, 2, 3, 4])]);
        world.stop("one");
        for _ in 0..400 {
            for (call, is_culprit) in calls_with(&world, 3) {
                world.answer(call, if is_culprit { way } else { How::ByNature });
            }
            world.write_all();
            world.hear_all();
            if world.now < 300_000 {
                world.tick();
            }
        }
        assert_eq!(world.outcomes("one"), [Accepted, Accepted, outcome, Accepted], "{way:?}");
        assert!(gate_is_open(&world), "{way:?}: it shuts the gate no more");
    }
}

/// A page that answers for the gateway gives nothing up, however long it does.
#[test]
fn a_foreign_answer_is_waited_for() {
    for way in [
        How::Status(200),
        How::Status(400),
        How::Status(403),
        How::Status(404),
        How::Json(404),
        How::Json(400),
    ] {
        let mut world = World::of(&[("one", &[1, 2, 3, 4, 5])]);
        world.edit_gateway("default", |gateway| gateway.spec.retry = None);
        world.stop("one");
        world.live(900_000, way);
        assert_eq!(world.outcomes("one"), [Pending; 5], "{way:?}");
        let calls = world.trace.posts.len();
        assert!(calls < 40, "{way:?}: {calls} calls");
        world.run_until_settled();
        assert_eq!(world.outcomes("one"), [Accepted; 5], "{way:?}");
    }
}

/// One plan of a hundred makes its calls hang until they are given up. The other 99 are done within three such times,
/// whichever plan it is.
#[test]
fn one_plan_that_hangs_costs_the_others_no_more_than_three_time_outs() {
    const TIME_OUT: u64 = 30_000;
    for hanging in [1, 2, 50, 77, 100] {
        let plans: Vec<_> = (1..=100).collect();
        let mut world = World::of(&[("one", &plans)]);
        world.edit_gateway("default", |gateway| {
            gateway.spec.batching = None;
            gateway.spec.limits.as_mut().expect("the fixture has limits").max_in_flight = None;
        });
        let began = world.now;
        world.stop("one");
        let done =
            |world: &World| world.outcomes("one").iter().filter(|outcome| **outcome == Accepted).count();
        let mut hangs: BTreeMap<CallId, u64> = BTreeMap::new();
        while done(&world) < 99 {
            assert!(world.now <= began + 3 * TIME_OUT + 1_000, "plan {hanging}: {} done", done(&world));
            world.hear_all();
            world.write_all();
            let calls: Vec<_> =
                world.calls.iter().map(|(id, call)| (*id, call.plans.contains(&hanging))).collect();
            for (call, hangs_now) in calls {
                let until = *hangs.entry(call).or_insert(world.now + if hangs_now { TIME_OUT } else { 20 });
                if until <= world.now {
                    world.answer(call, if hangs_now { How::Late } else { How::ByNature });
                }
            }
            world.pass(10);
        }
    }
}
