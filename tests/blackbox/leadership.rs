//! Two replicas: one that is cut off, frozen or asked to stop is replaced, and never acts beside the other.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_testbed::arena::{self, Arena};
use testinium_testbed::faults::{Exchange, Fault, Reach, Verb, When as On};
use testinium_testbed::launcher::PROBES_OFF;
use testinium_testbed::operator::{self, Operator};
use testinium_testbed::oracles;
use testinium_testbed::process::{Signal, free_port};
use testinium_testbed::simulator::{Config, Reply, When};

use crate::cluster::{ok, site};
use crate::operator::SOON;
use crate::outages::{full, says};

/// How long the holder may act on a renewal.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// What a call may need from its beginning until it is on record.
const WAY: Duration = Duration::from_millis(500);

/// An arena whose namespace holds the Lease too.
fn arena(name: &str) -> Arena<'static> {
    let arena = ok(Arena::new(site(), name, Config::default()));
    let group = "rbac.authorization.k8s.io";
    let path = format!("/apis/{group}/v1/namespaces/{}", arena.namespace);
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": "lease"},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}],
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": "lease"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "lease"},
        "subjects": [{"kind": "ServiceAccount", "name": "testinium-operator", "namespace": "testinium-system"}],
    });
    ok(site().client.create(&format!("{path}/roles"), &role));
    ok(site().client.create(&format!("{path}/rolebindings"), &binding));
    arena
}

fn replica(arena: &Arena<'_>, name: &str, probes: &str) -> Operator {
    replica_with(arena, name, &[probes])
}

fn replica_with(arena: &Arena<'_>, name: &str, flags: &[&str]) -> Operator {
    let lease = format!("--lease-namespace={}", arena.namespace);
    ok(arena.operator_with(name, &[&["--leader-elect", &lease], flags].concat()))
}

fn renewals(api: &[Exchange]) -> impl Iterator<Item = &Exchange> {
    api.iter().filter(|exchange| {
        exchange.path.contains("/leases")
            && matches!(exchange.verb, Some(Verb::Create | Verb::Update))
            && matches!(exchange.status, Some(200 | 201))
    })
}

/// Waits until this replica has taken the Lease; when it did.
fn leads(operator: &Operator, limit: Duration) -> Instant {
    let api = operator.api.wait_for_blocking(|api| renewals(api).next().is_some(), limit);
    let api = api.unwrap_or_else(|error| panic!("{error}\n{}", operator.log()));
    renewals(&api).next().expect("a renewal").at
}

/// The first leads and has seen the run `nightly`; the second stands by.
fn two(arena: &Arena<'_>, probes: &str) -> (Operator, Operator) {
    let (one, two) = (replica(arena, "one", probes), replica(arena, "two", PROBES_OFF));
    ok(arena.create_run("nightly", json!({"plans": [1, 2]})));
    ok(one.start());
    leads(&one, SOON);
    ok(arena.wait_for("nightly", &["NotRequested"], SOON));
    ok(two.start());
    let looked = |api: &[Exchange]| api.iter().any(|exchange| exchange.status == Some(200));
    two.api.wait_for_blocking(looked, SOON).expect("the second looks at the Lease");
    (one, two)
}

fn stop(arena: &Arena<'_>, name: &str) {
    ok(arena.patch_run(name, &json!({"spec": {"stopped": true}})));
}

fn calls_arrive(arena: &Arena<'_>, count: usize) {
    arena.simulator.wait_for_blocking(|requests| requests.len() >= count, SOON).expect("calls arrive");
}

#[track_caller]
fn judge(arena: &Arena<'_>, replicas: [&Operator; 2]) {
    let mut wrong = Vec::new();
    for operator in replicas {
        let api = operator.api.traffic();
        wrong.extend(oracles::calm(&operator.log()));
        wrong.extend(oracles::stays_within(&api, &arena.namespace));
        wrong.extend(oracles::honest_writes(&api));
    }
    let truth = arena.simulator.truth();
    for run in ok(arena.runs()) {
        wrong.extend(oracles::lint(&run));
        wrong.extend(oracles::complete(&run));
        wrong.extend(oracles::truthful(&run, &truth));
    }
    assert!(wrong.is_empty(), "{}\n{}\n{}", wrong.join("\n"), replicas[0].log(), replicas[1].log());
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_within_20_s_and_begins_no_call_after_its_deadline() {
    let arena = arena("cut-off");
    let port = ok(free_port());
    let (one, two) = two(&arena, &format!("--health-probe-bind-address=127.0.0.1:{port}"));

    // What the leader is about to write when it is cut off.
    ok(arena.create_run("late", json!({"plans": [3]})));
    ok(arena.wait_for("late", &["NotRequested"], SOON));
    let late = On::always().verb(Verb::Update).path("**/testplanruns/late/status");
    one.api.rule(late.clone(), Fault::hang());
    stop(&arena, "late");
    let held = |api: &[Exchange]| api.iter().any(|exchange| exchange.rule.is_some());
    let api = one.api.wait_for_blocking(held, SOON).expect("the write is held");
    let late = api.into_iter().find(|exchange| exchange.rule.is_some()).expect("a write that is held");
    // And something that it tries about once a second.
    arena.simulator.script(When::always(), Reply::empty(503));
    stop(&arena, "nightly");
    calls_arrive(&arena, 3);

    one.api.set_reach(Reach::BlackHole).expect("the proxy obeys");
    let cut = Instant::now();
    ok(arena.create_run("meanwhile", json!({"plans": [4], "stopped": true})));
    let taken = leads(&two, Duration::from_secs(20));
    arena.simulator.clear_scripts();
    for run in ["nightly", "meanwhile", "late"] {
        // The plan of the late one is not running any more, and in one call with it the others may be asked twice.
        ok(arena.wait_for(run, &["Accepted", "NotRunning"], SOON));
    }
    assert!(cut.elapsed() < Duration::from_secs(20), "the other needed {:?}", cut.elapsed());

    let renewed = renewals(&one.api.traffic()).last().expect("a renewal").at;
    let calls = arena.simulator.calls();
    assert!(
        calls.iter().any(|call| call.at > cut),
        "the leader tries until its deadline, or this proves nothing"
    );
    let late_calls: Vec<_> =
        calls.iter().filter(|call| call.at > renewed + RENEW_DEADLINE + WAY && call.at < taken).collect();
    assert!(late_calls.is_empty(), "begun after the deadline: {late_calls:?}");
    // The outage goes on; the one that is cut off goes on doing nothing.
    let outage = Duration::from_secs(if full() { 60 } else { 25 });
    thread::sleep(outage.saturating_sub(cut.elapsed()));
    one.api.set_reach(Reach::Up).expect("the proxy obeys");
    one.api.clear_rules();
    one.api.forget_traffic();
    one.api.wait_for_blocking(|api| api.len() > 2, SOON).expect("it looks at the Lease again");
    assert_eq!(renewals(&one.api.traffic()).count(), 0);
    assert_eq!(ok(operator::page(port, "/readyz")), (200, "ok".to_owned()), "a standby is ready");

    // What it was about to write arrives after all.
    let before = ok(arena.run("late"));
    let body: Value = serde_json::from_slice(&late.body).expect("JSON");
    let refused = ok(site().client.send("PUT", &late.path, Some(&body)));
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(ok(arena.run("late")), before);
    let sent: Vec<_> = arena.simulator.calls().into_iter().skip(calls.len()).collect();
    assert!(sent.is_empty(), "sent after everything was settled: {sent:?}");
    judge(&arena, [&one, &two]);
}

#[test]
fn a_standby_is_ready_once_it_has_read_the_lease_and_not_when_it_has_not_for_30_s() {
    let arena = arena("blind-standby");
    let port = ok(free_port());
    let one = replica(&arena, "one", PROBES_OFF);
    let two = replica(&arena, "two", &format!("--health-probe-bind-address=127.0.0.1:{port}"));
    ok(one.start());
    leads(&one, SOON);
    let leases = || On::always().path("**/leases/*");
    let cut = two.api.rule(leases(), Fault::reject(403));
    ok(two.start());
    says(port, 503, "the Lease has not been read yet: ", SOON);
    two.api.remove_rule(cut);
    says(port, 200, "ok", SOON);

    let cut = two.api.rule(leases(), Fault::hang());
    let began = Instant::now();
    says(port, 503, "the Lease has not been read for ", Duration::from_secs(40));
    assert!(began.elapsed() > Duration::from_secs(25), "after {:?} already", began.elapsed());
    assert_eq!(ok(operator::page(port, "/healthz")).0, 200, "a restart would not help");
    two.api.remove_rule(cut);
    says(port, 200, "ok", SOON);
    assert_eq!(renewals(&two.api.traffic()).count(), 0, "the other leads");
}

#[test]
fn a_replica_whose_lease_is_in_a_namespace_that_is_not_there_is_never_ready_and_says_why() {
    let arena = arena("nowhere");
    let port = ok(free_port());
    let probes = format!("--health-probe-bind-address=127.0.0.1:{port}");
    let flags = ["--leader-elect", "--lease-namespace=there-is-no-such-namespace", &probes];
    let one = ok(arena.operator_with("one", &flags));
    ok(one.start());
    one.api.wait_for_blocking(|api| api.len() > 4, SOON).expect("it looks at the Lease");
    says(port, 503, "there-is-no-such-namespace", SOON);
    assert_eq!(one.log().matches("failed to take or renew the Lease").count(), 1, "{}", one.log());
}

#[test]
fn a_leader_that_was_frozen_wakes_up_as_a_standby() {
    let arena = arena("frozen-leader");
    let (one, two) = two(&arena, PROBES_OFF);
    arena.simulator.script(When::always(), Reply::empty(503));
    stop(&arena, "nightly");
    calls_arrive(&arena, 2);
    ok(one.signal(Signal::STOP));
    leads(&two, Duration::from_secs(25));
    arena.simulator.clear_scripts();
    ok(arena.wait_for("nightly", &["Accepted"], SOON));
    let calls = arena.simulator.calls().len();
    ok(one.signal(Signal::CONT));
    ok(arena::until("it to notice", SOON, || Ok(one.log().contains("lost the Lease"))));
    one.api.forget_traffic();
    one.api.wait_for_blocking(|api| api.len() > 2, SOON).expect("it looks at the Lease again");
    assert_eq!(arena.simulator.calls().len(), calls);
    judge(&arena, [&one, &two]);
}

#[test]
fn a_leader_that_is_asked_to_stop_writes_what_its_call_brings_and_hands_over_at_once() {
    let arena = arena("handed-over");
    let (one, two) = two(&arena, PROBES_OFF);
    arena.simulator.set_latency(Duration::from_secs(3));
    stop(&arena, "nightly");
    calls_arrive(&arena, 1);
    ok(one.signal(Signal::TERM));
    ok(arena.create_run("too-late", json!({"plans": [3], "stopped": true})));
    let status = ok(one.wait(SOON)).expect("it ends by itself");
    let ended = Instant::now();
    assert!(status.success(), "{status}");
    assert_eq!(arena::stopped(&ok(arena.run("nightly"))), "Accepted", "{}", one.log());
    let sent: Vec<_> = arena.simulator.calls().into_iter().flat_map(|call| call.plans).collect();
    assert_eq!(sent, [1, 2], "nothing is begun after the signal");
    let taken = leads(&two, SOON);
    let gap = taken.saturating_duration_since(ended);
    assert!(gap < Duration::from_secs(2), "the other took over after {gap:?}");
    ok(arena.wait_for("too-late", &["Accepted"], SOON));
    judge(&arena, [&one, &two]);
}

#[test]
fn a_second_signal_ends_the_operator_at_once() {
    let arena = arena("twice-asked");
    let one = replica(&arena, "one", PROBES_OFF);
    ok(one.start());
    arena.simulator.script(When::always(), Reply::never());
    ok(arena.create_run("nightly", json!({"plans": [1], "stopped": true})));
    calls_arrive(&arena, 1);
    ok(one.signal(Signal::TERM));
    assert_eq!(ok(one.wait(Duration::from_secs(1))), None, "the call is not answered yet");
    ok(one.signal(Signal::INT));
    let asked = Instant::now();
    ok(one.wait(SOON)).expect("it ends");
    assert!(asked.elapsed() < Duration::from_secs(1), "took {:?}", asked.elapsed());
    assert!(one.log().contains("a second signal"), "{}", one.log());
}

#[test]
fn a_leader_that_was_asked_to_stop_ends_although_it_loses_the_lease_meanwhile() {
    let arena = arena("asked-and-lost");
    let one = replica(&arena, "one", PROBES_OFF);
    ok(one.start());
    arena.simulator.script(When::always(), Reply::never());
    ok(arena.create_run("nightly", json!({"plans": [1], "stopped": true})));
    calls_arrive(&arena, 1);
    let cut = one.api.rule(On::always().path("**/leases/*"), Fault::hang());
    let renewed = renewals(&one.api.traffic()).last().expect("a renewal").at;
    // The Lease runs out with the call in flight, a second after the signal; then it could be had again.
    thread::sleep(
        (renewed + RENEW_DEADLINE - Duration::from_secs(1)).saturating_duration_since(Instant::now()),
    );
    ok(one.signal(Signal::TERM));
    let asked = Instant::now();
    one.api.remove_rule(cut);
    let status = ok(one.wait(SOON)).unwrap_or_else(|| panic!("it goes on:\n{}", one.log()));
    assert!(status.success() && asked.elapsed() < Duration::from_secs(8), "{status} {:?}", asked.elapsed());
    assert_eq!(arena.simulator.calls().len(), 1, "{}", one.log());
}

#[test]
fn a_leader_whose_lease_another_has_taken_stops_acting_at_its_next_look() {
    let arena = arena("taken-away");
    let one = replica(&arena, "one", PROBES_OFF);
    ok(one.start());
    ok(arena.create_run("nightly", json!({"plans": [1]})));
    ok(arena.wait_for("nightly", &["NotRequested"], SOON));
    let lease =
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/testinium-operator", arena.namespace);
    // The number is the last one that a record may have.
    let another =
        json!({"holderIdentity": "another", "leaseDurationSeconds": 5, "leaseTransitions": i32::MAX});
    ok(site().client.patch(&lease, &json!({"spec": another})));
    let taken = Instant::now();
    ok(arena::until("it to notice", SOON, || Ok(one.log().contains("lost the Lease"))));
    assert!(taken.elapsed() < Duration::from_secs(5), "took {:?}", taken.elapsed());
    // The other is never heard of again.
    stop(&arena, "nightly");
    ok(arena.wait_for("nightly", &["Accepted"], SOON));
    let spec = ok(site().client.get(&lease)).expect("the Lease")["spec"].clone();
    assert_eq!(spec["leaseTransitions"], i32::MAX, "{spec}");
}

#[test]
fn a_standby_that_is_asked_to_stop_while_it_takes_the_lease_gives_it_back() {
    let arena = arena("half-taken");
    let one = replica(&arena, "one", PROBES_OFF);
    let late = On::next(1).verb(Verb::Create).path("**/leases");
    one.api.rule(late, Fault::delay(Duration::from_millis(1500)));
    ok(one.start());
    let struck = |api: &[Exchange]| api.iter().any(|exchange| exchange.rule.is_some());
    one.api.wait_for_blocking(struck, SOON).expect("the write is under way");
    ok(one.signal(Signal::TERM));
    assert!(ok(one.wait(SOON)).expect("it ends").success());
    let lease =
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/testinium-operator", arena.namespace);
    let spec = ok(site().client.get(&lease)).expect("the Lease")["spec"].clone();
    assert_eq!(spec["holderIdentity"], "", "{spec}");
}

#[test]
fn a_call_that_hangs_for_300_s_holds_up_no_other_namespace_in_a_rollout() {
    let (arena, other) = (arena("hangs-on"), ok(Arena::new(site(), "not-held", Config::default())));
    let served = format!("--watch-namespaces={}", other.namespace);
    let [one, two] = ["one", "two"].map(|name| replica_with(&arena, name, &[&served, PROBES_OFF]));
    ok(arena.patch_gateway(&json!({"spec": {"timeoutSeconds": 300}})));
    ok(arena.create_run("hangs", json!({"plans": [1]})));
    ok(other.create_run("nightly", json!({"plans": [2]})));
    ok(one.start());
    leads(&one, SOON);
    ok(arena.wait_for("hangs", &["NotRequested"], SOON));
    ok(two.start());
    let looked = |api: &[Exchange]| api.iter().any(|exchange| exchange.status == Some(200));
    two.api.wait_for_blocking(looked, SOON).expect("the second looks at the Lease");
    arena.simulator.script(When::nth(1), Reply::never());
    stop(&arena, "hangs");
    calls_arrive(&arena, 1);

    ok(one.signal(Signal::TERM));
    let asked = Instant::now();
    stop(&other, "nightly");
    ok(other.wait_for("nightly", &["Accepted"], SOON));
    assert!(asked.elapsed() < Duration::from_secs(8), "took {:?}\n{}", asked.elapsed(), one.log());
    assert!(ok(one.wait(SOON)).expect("it ends by itself").success());
    // What was in flight is sent again, as after a crash.
    ok(arena.wait_for("hangs", &["Accepted"], SOON));
    let sent: Vec<_> = arena.simulator.calls().into_iter().flat_map(|call| call.plans).collect();
    assert_eq!(sent, [1, 1]);
}
