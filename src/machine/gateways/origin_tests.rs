//! The things that gateways of one origin share: a cap and a rate of the operator's, turns by namespace, calls before
//! probes.

use super::*;

fn key(name: &str) -> GatewayKey {
    let (namespace, name) = name.split_once('/').unwrap_or((name, "default"));
    GatewayKey::new(namespace, name)
}

fn name() -> Arc<str> {
    "https://one.example.com".into()
}

fn origins(max_in_flight: usize, ready: &[(&str, Readiness)]) -> Origins {
    let limits = OriginLimits { max_in_flight, calls_per_second: 1_000 };
    let mut origins = Origins { limits, ..Origins::default() };
    for (gateway, readiness) in ready {
        origins.update(&key(gateway), None, &name());
        origins.set_ready(&key(gateway), &name(), *readiness);
    }
    origins
}

/// Begins every call that may begin at this moment.
fn begin_all(origins: &mut Origins, is_probe: impl Fn(&GatewayKey) -> bool) -> Vec<String> {
    let mut begun = Vec::new();
    while let Some(next) = origins.next(&name(), Millis(10_000)) {
        origins.call_began(&next, &name(), is_probe(&next), Millis(10_000));
        begun.push(next.to_string());
    }
    begun
}

#[test]
fn namespaces_take_turns() {
    use Readiness::Call;
    let mut origins =
        origins(9, &[("a/1", Call), ("a/2", Call), ("a/3", Call), ("b/1", Call), ("c/1", Call)]);
    assert_eq!(begin_all(&mut origins, |_| false), ["a/1", "b/1", "c/1", "a/2", "a/3"]);
}

#[test]
fn a_namespace_with_nothing_in_flight_always_finds_a_slot() {
    use Readiness::Call;
    let mut origins =
        origins(2, &[("a/1", Call), ("a/2", Call), ("a/3", Call), ("b/1", Call), ("c/1", Call)]);
    let expected = ["a/1", "b/1", "c/1"];
    assert_eq!(begin_all(&mut origins, |_| false), expected, "the cap is two, and each namespace has one");
    origins.call_ended(&key("b/1"), &name(), false);
    assert!(begin_all(&mut origins, |_| false).is_empty(), "two are still under way");
    origins.call_ended(&key("a/1"), &name(), false);
    assert_eq!(begin_all(&mut origins, |_| false), ["a/2"]);
}

#[test]
fn calls_go_before_probes_and_probes_take_one_slot_beyond_each_namespaces_first() {
    use Readiness::{Call, Probe};
    let mut origins =
        origins(9, &[("a/1", Probe), ("a/2", Probe), ("a/3", Probe), ("b/1", Probe), ("c/1", Call)]);
    let is_probe = |key: &GatewayKey| *key.namespace != *"c";
    assert_eq!(begin_all(&mut origins, is_probe), ["c/1", "a/1", "b/1"]);
    origins.call_ended(&key("b/1"), &name(), true);
    assert!(begin_all(&mut origins, is_probe).is_empty(), "a probe is under way");
    origins.call_ended(&key("a/1"), &name(), true);
    assert_eq!(begin_all(&mut origins, is_probe), ["a/2"]);
}

#[test]
fn gateways_of_a_namespace_take_turns_however_soon_the_first_of_them_is_ready_again() {
    use Readiness::{Call, Probe};
    for readiness in [Call, Probe] {
        let is_probe = readiness == Probe;
        let mut origins = origins(1, &[("a/1", readiness), ("a/2", readiness), ("a/3", readiness)]);
        let mut begun = Vec::new();
        for _ in 0..6 {
            let [next] = begin_all(&mut origins, |_| is_probe).try_into().expect("there is one slot");
            origins.call_ended(&key(&next), &name(), is_probe);
            origins.set_ready(&key(&next), &name(), readiness);
            begun.push(next);
        }
        assert_eq!(begun, ["a/1", "a/2", "a/3", "a/1", "a/2", "a/3"], "{readiness:?}");
    }
}

#[test]
fn an_origin_keeps_what_it_was_asked_when_a_gateway_stays_or_goes() {
    let mut origins = origins(9, &[("a/1", Readiness::Call)]);
    origins.limits.calls_per_second = 1;
    assert_eq!(begin_all(&mut origins, |_| false), ["a/1"]);
    origins.update(&key("a/1"), Some(&name()), &name());
    origins.set_ready(&key("a/1"), &name(), Readiness::Call);
    assert!(begin_all(&mut origins, |_| false).is_empty(), "the call of before is not paid yet");
    origins.leave(&key("a/1"), &name());
    origins.settle(&name(), Millis(10_000));
    assert!(origins.get(&name()).is_some(), "its call is under way");
    origins.call_ended(&key("a/1"), &name(), false);
    origins.settle(&name(), Millis(10_000));
    assert!(origins.get(&name()).is_none());
}

#[test]
fn an_origin_wakes_when_it_is_paid_and_a_gateway_is_ready() {
    let mut origins = origins(9, &[("a/1", Readiness::Call)]);
    origins.limits.calls_per_second = 1;
    begin_all(&mut origins, |_| false);
    origins.settle(&name(), Millis(10_000));
    assert_eq!(origins.wake_at(), None, "nobody waits");
    origins.set_ready(&key("a/1"), &name(), Readiness::Call);
    origins.settle(&name(), Millis(10_000));
    assert_eq!(origins.wake_at(), Some(Millis(11_000)));
    origins.touched.clear();
    assert!(origins.take_touched(Millis(10_999)).is_empty());
    assert!(origins.take_touched(Millis(11_000)).contains(&name()));
}
