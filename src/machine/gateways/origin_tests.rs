//! The things that gateways of one origin share: the smallest limits, turns, and a rate that is not forgotten.

use super::*;
use crate::machine::checks::fixtures;

fn settings(url: &str, rate: i64, slots: i64) -> Settings {
    let mut spec = fixtures::gateway("team").spec;
    spec.url = url.to_owned();
    let limits = spec.limits.as_mut().expect("the fixture has limits");
    (limits.requests_per_second, limits.max_in_flight) = (Some(rate), Some(slots));
    Settings::of(&spec)
}

fn key(name: &str) -> GatewayKey {
    GatewayKey::new("team", name)
}

const URL: &str = "https://one.example.com/api";
const NAME: &str = "https://one.example.com";

/// Calls that may begin at this moment.
fn burst(origins: &mut Origins, now: u64) -> usize {
    let origin = origins.get_mut(NAME).expect("it has members");
    let free = |origin: &Origin| origin.free_at().is_some_and(|at| at <= Millis(now));
    let mut count = 0;
    while free(origin) {
        origin.call_began(&key("a"), Millis(now));
        count += 1;
    }
    count
}

#[test]
fn the_smallest_limits_of_its_gateways_count() {
    let mut origins = Origins::default();
    origins.update(&key("a"), None, &settings(URL, 100, 50));
    origins.update(&key("b"), None, &settings(URL, 10, 5));
    assert_eq!(burst(&mut origins, 10_000), 5);
    origins.leave(&key("b"), &settings(URL, 10, 5));
    assert_eq!(burst(&mut origins, 10_000), 45);
}

#[test]
fn a_quiet_second_is_worth_a_seconds_calls() {
    let mut origins = Origins::default();
    origins.update(&key("a"), None, &settings(URL, 4, 1_000));
    assert_eq!(burst(&mut origins, 10_000), 4);
    assert_eq!(burst(&mut origins, 10_249), 0);
    assert_eq!(burst(&mut origins, 10_250), 1);
    assert_eq!(burst(&mut origins, 20_000), 4);
}

#[test]
fn an_edit_of_a_gateway_does_not_forget_what_its_origin_was_asked() {
    let mut origins = Origins::default();
    let before = settings(URL, 2, 1_000);
    origins.update(&key("a"), None, &before);
    assert_eq!(burst(&mut origins, 10_000), 2);
    origins.update(&key("a"), Some(&before), &settings(URL, 4, 1_000));
    assert_eq!(burst(&mut origins, 10_000), 0, "the calls of before are not paid yet");
}

#[test]
fn an_origin_without_gateways_is_kept_while_its_calls_last() {
    let mut origins = Origins::default();
    let settings = settings(URL, 10, 2);
    origins.update(&key("a"), None, &settings);
    origins.get_mut(NAME).expect("it has a member").call_began(&key("a"), Millis(0));
    origins.leave(&key("a"), &settings);
    origins.settle(&settings.origin);
    assert!(origins.get(NAME).is_some());
    origins.call_ended(&settings.origin);
    origins.settle(&settings.origin);
    assert!(origins.get(NAME).is_none());
}

#[test]
fn its_gateways_take_turns() {
    let mut origins = Origins::default();
    for name in ["a", "b", "c"] {
        origins.update(&key(name), None, &settings(URL, 1_000, 1_000));
        origins.set_ready(&key(name), &Arc::from(NAME), name != "b");
    }
    let origin = origins.get_mut(NAME).expect("it has members");
    let mut served = Vec::new();
    for _ in 0..3 {
        let next = origin.next_ready().cloned().expect("two are ready");
        origin.call_began(&next, Millis(10_000));
        served.push(next);
    }
    assert_eq!(served, [key("a"), key("c"), key("a")]);
}

#[test]
fn an_origin_wakes_when_it_is_paid_and_a_gateway_is_ready() {
    let mut origins = Origins::default();
    let settings = settings(URL, 1, 10);
    origins.update(&key("a"), None, &settings);
    burst(&mut origins, 10_000);
    origins.settle(&settings.origin);
    assert_eq!(origins.wake_at(), None, "nobody waits");
    origins.set_ready(&key("a"), &settings.origin, true);
    origins.settle(&settings.origin);
    assert_eq!(origins.wake_at(), Some(Millis(11_000)));
    assert!(origins.take_touched(Millis(10_999)).contains(NAME), "it was touched");
    assert!(origins.take_touched(Millis(10_999)).is_empty());
    assert!(origins.take_touched(Millis(11_000)).contains(NAME));
}
