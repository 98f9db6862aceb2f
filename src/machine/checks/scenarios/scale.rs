//! Many runs at once, in numbers that a test can afford.

use crate::api::Outcome::Accepted;
use crate::machine::OriginLimits;
use crate::machine::checks::fixtures;
use crate::machine::checks::world::{How, World};
use crate::machine::limits::WRITES_MAX;

/// Each run is told once why it waits. There is one retry for all of them, and the first success lets the calls begin
/// that were kept back.
#[test]
fn h20_many_runs_wait_on_a_dead_gateway() {
    const RUNS: usize = 200;
    let names: Vec<_> = (0..RUNS).map(|number| format!("run-{number}")).collect();
    let plans: Vec<_> = (1..=200).map(|plan| [plan]).collect();
    let runs: Vec<_> = names.iter().map(String::as_str).zip(plans.iter().map(<[i64; 1]>::as_slice)).collect();
    let mut world = World::of(&runs);
    world.edit_gateway("default", |gateway| (gateway.spec.batching, gateway.spec.retry) = (None, None));
    names.iter().for_each(|name| world.edit_unseen(name, |run| run.spec.stopped = Some(true)));
    world.hear_all();
    world.live(600_000, How::Status(429));
    assert_eq!(world.trace.writes.len(), RUNS, "one write a run");
    let calls = world.trace.posts.len();
    assert!(calls < 40, "{calls} calls in ten minutes");
    world.trace.posts.clear();
    world.live(301_000, How::ByNature);
    let sizes: Vec<_> = world.trace.posts.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 100, 99], "the probe, then full calls");
    assert!(names.iter().all(|name| world.outcomes(name) == [Accepted]));
}

/// Each gateway is of one namespace. Gateways that share an address have limits of their own, so that the flood of one
/// namespace holds up no single id of another.
#[test]
fn h21_one_id_behind_a_flood_of_another_namespace() {
    let flood: Vec<_> = (1..=1000).collect();
    let mut world = World::of(&[("a/flood", &flood), ("b/small", &[7])]);
    for gateway in ["a/default", "b/default"] {
        world.edit_gateway(gateway, |gateway| {
            gateway.spec.url = "https://shared.example.com".to_owned();
            gateway.spec.limits.as_mut().expect("the fixture has limits").max_in_flight = Some(1);
        });
    }
    world.stop("a/flood");
    world.stop("b/small");
    assert_eq!(world.under_way(), [[1, 2, 3, 4].as_slice(), &[7]]);
}

/// Neighbours whose calls hang, or whose gates are shut, hold up no other namespace, however many they are.
#[test]
fn neighbours_that_hang_on_the_same_origin_cost_a_healthy_gateway_nothing() {
    for neighbours in [0, 1, 5, 20, 60] {
        let names: Vec<_> = (0..neighbours).map(|number| format!("n{number:02}/run")).collect();
        let plans: Vec<_> = (1..=neighbours).map(|plan| [plan]).collect();
        let runs = names.iter().map(String::as_str).zip(plans.iter().map(<[i64; 1]>::as_slice));
        let runs: Vec<_> = runs.chain([("z/small", [1000].as_slice())]).collect();
        let mut world = World::of(&runs);
        let gateways: Vec<_> = world.server.gateways.keys().cloned().collect();
        for gateway in gateways {
            world.edit_gateway(&gateway.to_string(), |gateway| {
                gateway.spec.url = "https://shared.example.com".to_owned();
            });
        }
        names.iter().for_each(|name| world.stop(name));
        // Their calls hang until they are given up; then their gates are shut, and each probe hangs as well.
        for _ in 0..3 {
            let hanging: Vec<_> = world.calls.keys().copied().collect();
            hanging.into_iter().for_each(|call| world.answer(call, How::Late));
            world.pass(6_000);
        }
        let before = world.now;
        world.stop("z/small");
        assert!(world.under_way().contains(&[1000].as_slice()), "{neighbours} neighbours");
        assert_eq!(world.now, before, "{neighbours} neighbours");
    }
}

/// Sixty gateways of one namespace share the cap, and leave another namespace its slot.
#[test]
fn gateways_of_one_namespace_share_the_cap_of_their_origin() {
    let cap = OriginLimits::default().max_in_flight;
    let names: Vec<_> = (0..60).map(|number| format!("a/run-{number:02}")).collect();
    let plans: Vec<_> = (1..=60).map(|plan| [plan]).collect();
    let runs = names.iter().map(String::as_str).zip(plans.iter().map(<[i64; 1]>::as_slice));
    let runs: Vec<_> = runs.chain([("b/small", [1000].as_slice())]).collect();
    let mut world = World::of(&runs);
    for number in 0..60 {
        let mut gateway = fixtures::gateway_named("a", &format!("g{number:02}"));
        gateway.spec.url = "https://shared.example.com".to_owned();
        world.server.put_gateway(gateway);
    }
    world.edit_gateway("b/default", |gateway| gateway.spec.url = "https://shared.example.com".to_owned());
    for (number, name) in names.iter().enumerate() {
        let gateway = format!("g{number:02}");
        world.edit(name, |run| {
            run.spec.gateway_ref = serde_json::from_value(serde_json::json!({"name": gateway})).ok();
            run.spec.stopped = Some(true);
        });
    }
    assert_eq!(world.calls.len(), cap);
    world.stop("b/small");
    assert_eq!((world.calls.len(), world.under_way().contains(&[1000].as_slice())), (cap + 1, true));
}

/// Status writes take turns too: behind the flood's outcomes, one outcome of another namespace is written after at most
/// one more of the flood's.
#[test]
fn one_outcome_behind_a_flood_of_another_namespace() {
    let names: Vec<_> = (0..100).map(|number| format!("a/run-{number}")).collect();
    let plans: Vec<_> = (1..=100).map(|plan| [plan]).collect();
    let runs = names.iter().map(String::as_str).zip(plans.iter().map(<[i64; 1]>::as_slice));
    let runs: Vec<_> = runs.chain([("b/small", [101].as_slice())]).collect();
    let mut world = World::of(&runs);
    world.edit_gateway("a/default", |gateway| gateway.spec.batching = None);
    names.iter().for_each(|name| world.edit_unseen(name, |run| run.spec.stopped = Some(true)));
    world.hear_all();
    world.pass(1_000);
    while !world.under_way().is_empty() {
        world.answered(How::ByNature);
    }
    world.stop("b/small");
    world.answered(How::ByNature);
    world.trace.writes.clear();
    for _ in 0..WRITES_MAX + 2 {
        world.reply(world.request());
    }
    let written = world.trace.writes.iter().position(|key| *key.namespace == *"b");
    assert!(written.is_some_and(|place| place <= WRITES_MAX + 1), "{:?}", world.trace.writes);
}
