//! The limits of a gateway, the pauses after a failure, and whose turn it is.

use std::time::{Duration, Instant};

use serde_json::json;
use testinium_testbed::simulator::{Hold, Reply, When};

use crate::cluster::{gateway, run};
use crate::operator::Stage;

/// Another gateway object for the same address.
fn second_gateway(stage: &Stage, batching: serde_json::Value, limits: serde_json::Value) {
    let spec = json!({
        "url": stage.simulator.url(), "allowPlainHTTP": true, "batching": batching, "limits": limits,
        "timeoutSeconds": 300, "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
    });
    stage.namespace.apply(&gateway("second", spec));
}

/// A run with so many plans, to be stopped at once.
fn stopped(name: &str, gateway: &str, plans: impl IntoIterator<Item = i64>) -> serde_json::Value {
    let plans: Vec<_> = plans.into_iter().collect();
    run(name, json!({"plans": plans, "stopped": true, "gatewayRef": {"name": gateway}}))
}

fn sizes(stage: &Stage) -> Vec<usize> {
    stage.calls().iter().map(Vec::len).collect()
}

fn arrivals(stage: &Stage) -> Vec<Instant> {
    stage.simulator.calls().iter().map(|call| call.at).collect()
}

fn gaps(stage: &Stage) -> Vec<Duration> {
    arrivals(stage).windows(2).map(|pair| pair[1] - pair[0]).collect()
}

// --- the limits ---

/// Asserts that these calls came no faster than this rate: a second's worth at once, and a second for calls that were held
/// up on their way.
fn assert_rate(at: &[Instant], rate: u32) {
    for (index, first) in at.iter().enumerate() {
        for (count, last) in (1..).zip(&at[index..]) {
            let bound = f64::from(rate) * (2.0 + last.duration_since(*first).as_secs_f64());
            assert!(f64::from(count) <= bound, "{count} calls in {:?}", last.duration_since(*first));
        }
    }
}

/// When the calls with plans of this range came.
fn arrivals_of(stage: &Stage, plans: std::ops::RangeInclusive<i64>) -> Vec<Instant> {
    let calls = stage.simulator.calls();
    calls.iter().filter(|call| plans.contains(&call.plans[0])).map(|call| call.at).collect()
}

#[test]
fn the_rate_of_a_gateway_binds_its_own_calls_and_no_others_of_its_origin() {
    const RATE: u32 = 1;
    let batching = json!({"maxPlans": 1});
    let mut stage =
        Stage::prepare_accepting(json!({"batching": batching, "limits": {"requestsPerSecond": RATE}}));
    second_gateway(&stage, batching, json!({"requestsPerSecond": 1000, "maxInFlight": 8}));
    stage.namespace.apply(&stopped("slow", "default", 1..=8));
    stage.namespace.apply(&stopped("fast", "second", 101..=115));
    stage.start_operator();
    stage.wait_for("fast", "Accepted");
    assert!(arrivals_of(&stage, 1..=8).len() < 8, "the slow one is still at it");
    stage.wait_for("slow", "Accepted");
    assert_rate(&arrivals_of(&stage, 1..=8), RATE);
}

#[test]
fn gateways_of_one_origin_share_the_operators_rate() {
    const RATE: u32 = 5;
    let (batching, limits) = (json!({"maxPlans": 1}), json!({"requestsPerSecond": 1000}));
    let mut stage = Stage::prepare_accepting(json!({"batching": batching, "limits": limits}));
    second_gateway(&stage, batching, limits);
    stage.namespace.apply(&stopped("first", "default", 1..=15));
    stage.namespace.apply(&stopped("second", "second", 101..=115));
    let rate = format!("--origin-requests-per-second={RATE}");
    stage.start_operator_with(&["--allow-gateway-cidr=127.0.0.0/8", &rate], &[]);
    stage.wait_for("first", "Accepted");
    stage.wait_for("second", "Accepted");
    assert_eq!(arrivals(&stage).len(), 30);
    assert_rate(&arrivals(&stage), RATE);
}

/// Two gateways of one namespace and one origin, which would have eight calls under way by themselves. Yields how many
/// there were at most.
fn most_in_flight(flags: &[&str], expected: usize) -> usize {
    let batching = json!({"maxPlans": 2});
    let limits = json!({"maxInFlight": 3, "requestsPerSecond": 1000});
    let mut stage =
        Stage::prepare_accepting(json!({"timeoutSeconds": 300, "batching": batching, "limits": limits}));
    second_gateway(&stage, batching, json!({"maxInFlight": 5, "requestsPerSecond": 1000}));
    let hold = Hold::new();
    stage.simulator.script(When::always(), Reply::natural().held(&hold));
    stage.namespace.apply(&stopped("first", "default", 1..=10));
    stage.namespace.apply(&stopped("second", "second", 101..=110));
    stage.start_operator_with(&[&["--allow-gateway-cidr=127.0.0.0/8"], flags].concat(), &[]);
    stage.wait_for_calls(expected);
    // Time in which one more would have come.
    stage.wait_for("first", "Stopping");
    stage.wait_for("second", "Stopping");
    assert_eq!(stage.calls().len(), expected);
    hold.release();
    stage.wait_for("first", "Accepted");
    stage.wait_for("second", "Accepted");
    assert_eq!(sizes(&stage), [2; 10]);
    stage.simulator.in_flight_max()
}

#[test]
fn each_gateway_has_as_many_calls_under_way_as_it_allows() {
    assert_eq!(most_in_flight(&[], 8), 8);
}

#[test]
fn gateways_of_one_origin_share_the_operators_number_of_calls_at_a_time() {
    assert_eq!(most_in_flight(&["--origin-max-in-flight=3"], 3), 3);
}

#[test]
fn the_first_call_goes_at_once_and_the_next_waits_for_company() {
    const WINDOW: Duration = Duration::from_secs(8);
    let mut stage = Stage::prepare_accepting(json!({"batching": {"windowMilliseconds": WINDOW.as_millis()}}));
    stage.start_operator();
    for plan in 1..=3 {
        stage.run(&format!("run-{plan}"), &[plan]);
    }
    stage.catch_up();
    stage.annotate("run-1", "now");
    stage.wait_for_calls(1);
    stage.namespace.run(&["annotate", "tpr", "run-2", "run-3", "testinium.io/stop=now"]);
    stage.wait_for("run-2", "Accepted");
    stage.wait_for("run-3", "Accepted");
    assert_eq!(stage.calls(), vec![vec![1], vec![2, 3]]);
    // Half a second for a call that was held up on its way.
    assert!(gaps(&stage)[0] > WINDOW - Duration::from_millis(500), "{:?}", gaps(&stage));
}

#[test]
fn one_plan_beside_two_thousand_of_another_namespace_waits_for_none_of_them() {
    let limits = json!({"timeoutSeconds": 300, "limits": {"maxInFlight": 1}});
    let (crowd, single) = (Stage::prepare_accepting(limits.clone()), Stage::prepare_accepting(json!({})));
    let mut same_site = limits;
    same_site["url"] = json!(crowd.simulator.url());
    single.gateway(same_site);
    crowd.namespace.apply(&stopped("one", "default", 1..=1000));
    crowd.namespace.apply(&stopped("two", "default", 1001..=2000));
    let hold = Hold::new();
    crowd.simulator.script(When::nth(1), Reply::natural().held(&hold));
    let _operator = crowd.spawn_with(&single);
    crowd.wait_for_calls(1);
    single.namespace.apply(&stopped("nightly", "default", [5000]));
    single.wait_for("nightly", "Accepted");
    assert_eq!(crowd.calls()[1], [5000], "while the first call still hangs");
    hold.release();
    crowd.wait_for("one", "Accepted");
    crowd.wait_for("two", "Accepted");
    assert_eq!(sizes(&crowd).iter().sum::<usize>(), 2001);
}

// --- after a failure ---

#[test]
fn a_gateway_that_fails_is_probed_with_one_plan_until_it_answers() {
    let mut stage = Stage::prepare_accepting(json!({}));
    stage.simulator.script(When::next(3), Reply::refusal(503));
    stage.namespace.apply(&stopped("nightly", "default", 1..=50));
    stage.start_operator();
    stage.wait_for("nightly", "Accepted");
    assert_eq!(sizes(&stage), [50, 1, 1, 1, 49]);
}

#[test]
fn pauses_are_drawn_by_chance_and_stay_within_their_bounds() {
    const LONGEST: Duration = Duration::from_secs(2);
    let retry = json!({"initialDelaySeconds": 2, "maxDelaySeconds": LONGEST.as_secs()});
    let mut stage = Stage::prepare_accepting(json!({"retry": retry}));
    stage.simulator.script(When::always(), Reply::refusal(503));
    stage.namespace.apply(&stopped("nightly", "default", [1]));
    stage.start_operator();
    // Without its bound, the seventh pause alone would take a minute and more.
    stage.wait_for_calls(12);
    let gaps = gaps(&stage);
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(40)), "{gaps:?}");
    // One in two hundred thousand histories draws eleven long ones.
    assert!(gaps.iter().any(|gap| *gap < LONGEST * 2 / 3), "{gaps:?}");
}

#[test]
fn a_thousand_runs_that_wait_for_a_token_cost_a_few_probes_and_then_one_burst() {
    let mut stage =
        Stage::prepare_accepting(json!({"retry": {"initialDelaySeconds": 1, "maxDelaySeconds": 300}}));
    stage.token("wrong");
    let runs: Vec<_> = (1..=1000).map(|plan| stopped(&format!("run-{plan}"), "default", [plan])).collect();
    stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": runs}));
    stage.start_operator();
    stage.wait_for_all("AuthenticationFailed", 1000);
    let calls = stage.simulator.calls();
    let (began, probes) = calls.split_at(2.min(calls.len()));
    assert!(calls.iter().all(|call| !call.authorized), "{calls:?}");
    // Two calls may have begun before the first answer; then one plan at a time, at growing intervals: as many as
    // doublings of a second fit in, and as many again for pauses that chance made short.
    let waited = began[0].at.elapsed().as_secs_f64();
    let steps = (waited + 1.0).log2().ceil() as usize;
    assert!(probes.iter().all(|call| call.plans.len() == 1), "{probes:?}");
    assert!(probes.len() <= 2 * steps + 4, "{} probes in {waited} s", probes.len());
    stage.token("simulated-token");
    stage.wait_for_all("Accepted", 1000);
    let burst: Vec<_> = stage.simulator.calls().into_iter().filter(|call| call.authorized).collect();
    assert_eq!(burst.iter().map(|call| call.plans.len()).sum::<usize>(), 1000);
    assert!(burst.len() <= 11, "{} calls", burst.len());
}
