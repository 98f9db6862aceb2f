//! What goes wrong again and again is not said again and again.

use serde_json::json;
use testinium_testbed::simulator::{Reply, When};

use crate::operator::Stage;

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
