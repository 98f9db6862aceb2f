//! Many runs at once, in numbers that a test can afford.

use crate::api::Outcome::Accepted;
use crate::stop::world::{How, World};

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
    world.live(600_000, How::Status(503));
    assert_eq!(world.diary.writes.len(), RUNS, "one write a run");
    let calls = world.diary.posts.len();
    assert!(calls < 40, "{calls} calls in ten minutes");
    world.diary.posts.clear();
    world.live(301_000, How::Truth);
    let sizes: Vec<_> = world.diary.posts.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 100, 99], "the probe, then full calls");
    assert!(names.iter().all(|name| world.outcomes(name) == [Accepted]));
}

/// Gateways are of one namespace each; those that share an address take turns, so that one namespace's flood holds up
/// no other's single id.
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
    assert_eq!(world.under_way(), [[1, 2, 3, 4]]);
    world.answered(How::Truth);
    assert_eq!(world.under_way(), [[7]]);
}
