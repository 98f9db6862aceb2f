//! Guarded children: how they end, and what is known of them then.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use testinium_testbed::kubectl::wait_until;
use testinium_testbed::process::{Guarded, Signal, temporary_directory};

const LIMIT: Duration = Duration::from_secs(30);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_child_that_ignores_being_asked_is_killed() {
    let directory = temporary_directory("process-test-").expect("a directory");
    let log = directory.path().join("log");
    let mut child =
        Guarded::spawn(shell("trap '' TERM; echo deaf; while :; do sleep 1; done"), &log).expect("it starts");
    wait_until("the trap to be set", LIMIT, || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if text == "deaf\n" { Ok(()) } else { Err(text) }
    })
    .expect("it is set");

    let status = child.stop(Duration::from_millis(100)).expect("it ends");
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn a_child_that_obeys_ends_in_its_own_way() {
    let directory = temporary_directory("process-test-").expect("a directory");
    let log = directory.path().join("log");
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut child = Guarded::spawn(shell(script), &log).expect("it starts");
    wait_until("the trap to be set", LIMIT, || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if text == "ready\n" { Ok(()) } else { Err(text) }
    })
    .expect("it is set");

    let status = child.stop(LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(7));
    assert_eq!(child.log_tail(), "ready\nbye");
    child.signal(Signal::KILL).expect("nobody is hit once it has ended");
    assert_eq!(child.wait(LIMIT).expect("its status is kept"), Some(status));
}
