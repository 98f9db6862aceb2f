//! The command `tool`: it becomes the tool that it is asked for, with the arguments as they are.

use std::process::{Command, Output};

use testinium_testbed::tools::Tool;

fn tool(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tool")).args(arguments).output().expect("it was built for this test")
}

#[test]
fn it_becomes_the_pinned_helm() {
    let output = tool(&["helm", "version", "--template", "{{.Version}}"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "v4.3.1", "{output:?}");
    assert_eq!(tool(&["helm", "no-such-command"]).status.code(), Some(1), "the status is Helm's");
}

#[test]
fn a_name_that_is_no_tools_is_refused_with_those_that_are() {
    let output = tool(&["kubectl"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(Tool::ALL.iter().all(|tool| said.contains(tool.name())), "{said}");
}
