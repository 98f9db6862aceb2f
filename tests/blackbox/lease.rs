//! Two replicas: one acts, and the other takes over when it ends.

use std::time::Instant;

use testinium_testbed::kubectl::wait_until;
use testinium_testbed::process::Signal;

use crate::cluster::{cluster, ok};
use crate::operator::{SOON, Stage};

const FLAGS: [&str; 2] = ["--leader-elect", "--lease-namespace=testinium-system"];

fn holder() -> String {
    let kubectl = cluster().kubectl().in_namespace("testinium-system");
    let lease = kubectl.get_json(&["lease", "testinium-operator"]).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Waits until somebody else than `before` holds the Lease.
fn next_holder(before: &str) -> String {
    ok(wait_until("the Lease to change hands", SOON, || match holder() {
        holder if holder.is_empty() || holder == before => Err(format!("held by '{holder}'")),
        holder => Ok(holder),
    }))
}

#[test]
fn one_replica_acts_and_the_other_takes_over() {
    let stage = Stage::prepare();
    let mut first = stage.spawn("first.log", &FLAGS);
    let one = next_holder("");
    let mut second = stage.spawn("second.log", &FLAGS);

    stage.settle("while-the-first-acts", 1);
    assert_eq!(holder(), one);

    let asked = Instant::now();
    ok(first.signal(Signal::TERM));
    assert!(ok(first.wait(SOON)).expect("the first ends").success());
    let two = next_holder(&one);
    assert!(asked.elapsed().as_secs() < 10, "a Lease that was given back is not waited for");
    stage.settle("while-the-second-acts", 2);

    let third = stage.spawn("third.log", &FLAGS);
    ok(second.kill());
    next_holder(&two);
    stage.settle("after-the-crash", 3);
    drop(third);
    assert_eq!(stage.calls(), [[1], [2], [3]]);
}
