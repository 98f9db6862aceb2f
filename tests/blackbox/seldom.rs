//! What goes wrong again and again is not said again and again.

use serde_json::json;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Config, Reply, Simulator, Tls, When};

use crate::cluster::ok;
use crate::operator::{SOON, Stage};

/// A gateway that breaks each connection is called once a second. The log tells of the first time, and of the end.
#[test]
fn calls_that_fail_alike_are_one_line_of_the_log() {
    let mut stage = Stage::prepare_accepting(json!({}));
    stage.simulator.script(When::next(8), Reply::dropped());
    stage.start_operator();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for_calls(9);
    stage.wait_for("nightly", "Accepted");
    let log = stage.log();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert!((1..=3).contains(&lines("a call got no answer")), "{log}");
    assert_eq!(lines("calls are answered again"), 1, "{log}");
}

/// A gateway whose certificate is of another authority is called once a second.
#[test]
fn a_certificate_that_is_not_trusted_is_a_few_lines_of_the_log() {
    let config = || Config { tls: Some(Tls::default()), ..Config::default() };
    let mut stage = Stage::prepare_with(config(), json!({"tls": {"caRef": {"name": "ca"}}}));
    let other = Simulator::start(config()).expect("the simulator starts");
    stage.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"},
        "data": {"ca.crt": other.ca_pem().expect("TLS is on")},
    }));
    stage.start_operator();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    ok(wait_until("fifteen calls to fail", SOON * 2, || {
        let page = stage.metrics();
        let failed =
            page.lines().find_map(|line| line.strip_prefix("testinium_gateway_calls_total{result=\"Tls\"} "));
        if failed.is_some_and(|count| count.parse::<u32>().is_ok_and(|count| count >= 15)) {
            Ok(())
        } else {
            Err(page)
        }
    }));
    let log = stage.log();
    let about = log.lines().filter(|line| line.contains(&stage.namespace.name) && !line.contains(" DEBUG "));
    assert!((1..=3).contains(&about.count()), "{log}");
}
