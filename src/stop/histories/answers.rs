//! Answers that come late, that differ, or that speak of the gateway rather than of a plan.

use crate::api::Outcome::{Accepted, Expired, Pending};
use crate::stop::gate::Gate;
use crate::stop::world::{How, Nature, World, key};

fn gate_is_open(world: &World) -> bool {
    world.machine.gateways.get(&key("default")).expect("the gateway is known").gate == Gate::Open
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
    world.answered(How::Truth);
    assert!(!gate_is_open(&world));
    world.live(6_000, How::Status(401));
    assert_eq!(
        (world.stopped("one"), world.outcomes("one")),
        ("AuthenticationFailed", vec![Pending, Accepted])
    );

    let mut world = two_calls();
    world.truth.secret += 1;
    world.answered(How::Status(401));
    assert!(gate_is_open(&world), "there is another credential");
    world.pass(50);
    assert_eq!(world.under_way(), [[2], [1]]);
    world.answered(How::Status(401));
    assert!(gate_is_open(&world), "that was the older one");
    world.calm();
    assert_eq!((world.outcomes("one"), world.diary.posts.len()), (vec![Accepted; 2], 4));
}

/// An answer counts whenever it comes. If none does, the stop is given up, and status says that it was sent.
#[test]
fn h18_deadline_passes_with_the_call_in_flight() {
    for (how, outcome) in [(How::Truth, Accepted), (How::Lost, Expired)] {
        let mut world = World::of(&[("one", &[1])]);
        world.edit("one", |run| run.spec.stop_deadline_seconds = Some(60));
        world.stop("one");
        world.pass(61_000);
        world.write_all();
        assert_eq!(world.outcomes("one"), [Pending]);
        world.answered(how);
        world.live(60_000, How::Truth);
        assert_eq!((world.outcomes("one"), world.diary.posts.len()), (vec![outcome], 1));
        let message = world.run("one").status.plans[0].message.clone().unwrap_or_default();
        assert_eq!(message.contains("sent, but no answer came"), outcome == Expired);
    }
}

/// The ids of a call that made the gateway fail stay together. After three failures, while others succeed, it is the
/// ids: they are split until the bad one is alone, and shut the gate no more.
#[test]
fn h27_an_id_that_makes_the_gateway_fail() {
    let mut world = World::of(&[("one", &[1, 2, 3, 4]), ("two", &[5]), ("three", &[6])]);
    world.truth.natures.insert(3, Nature::Poison);
    world.stop("one");
    world.stop("two");
    world.live(60_000, How::Truth);
    assert_eq!(world.outcomes("two"), [Accepted], "others go on");
    assert_eq!(world.outcomes("one"), [Accepted, Accepted, Pending, Accepted]);
    world.stop("three");
    assert!(world.under_way().contains(&[6].as_slice()), "the gate is open");
    world.live(3_700_000, How::Truth);
    assert_eq!(world.outcomes("one"), [Accepted, Accepted, Expired, Accepted]);
    assert_eq!((world.outcomes("three"), world.unsettled()), (vec![Accepted], None));
}
