//! The command line of the real binary.

use std::process::{Command, Output};

use crate::cluster::{OPERATOR, cluster, ok, page, repository};

fn operator(arguments: &[&str]) -> Output {
    let mut command = Command::new(OPERATOR);
    command.args(arguments).output().expect("the binary was built for this test")
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    for (arguments, advice) in [
        (&["run", "--watch-namespaces", "Team"][..], "expected a namespace: at most 63 lower-case letters"),
        (&["run", "--watch-label-selector", "a in b"], "is no label key, such as team"),
        (
            &["run", "--metrics-bind-address", "8080"],
            "expected ':8080', '127.0.0.1:8080' or '[::1]:8080', or '0'",
        ),
        (&["run", "--log-format", "xml"], "[possible values: json, text]"),
        (&["serve"], "unrecognized subcommand 'serve'"),
        (&[], "Usage: testinium-operator <COMMAND>"),
    ] {
        let output = operator(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(advice), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn environment_variables_are_checked_as_flags_are() {
    let mut command = Command::new(OPERATOR);
    let output =
        command.arg("run").env("TESTINIUM_LEASE_NAME", "Lease!").output().expect("the binary was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("'Lease!' for '--lease-name <NAME>'"), "{said}");
}

/// A manifest that fills variables in has no other way to leave one out.
#[test]
fn empty_environment_variables_count_as_absent() {
    let flags = operator(&["run", "--help"]);
    let help = String::from_utf8(flags.stdout).expect("help is text");
    let names: Vec<_> = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split_once('=').map(|(name, _)| name.to_owned()))
        .collect();
    assert!(names.len() >= 10 && names.iter().all(|name| name.starts_with("TESTINIUM_")), "{names:?}");
    for blank in ["", " "] {
        let mut command = Command::new(OPERATOR);
        command.arg("run").envs(names.iter().map(|name| (name, blank)));
        // With all flags as they should be, what is missing is the cluster.
        command
            .env("KUBECONFIG", "/nonexistent")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env("HOME", "/nonexistent");
        command.args(["--metrics-bind-address=0", "--health-probe-bind-address=0"]);
        let output = command.output().expect("the binary was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("found no cluster to talk to"), "{said}");
    }
}

#[test]
fn printed_crds_can_be_applied_as_they_are() {
    let output = operator(&["crds"]);
    assert_eq!(output.status.code(), Some(0));
    let yaml = String::from_utf8(output.stdout).expect("YAML is text");
    let said = ok(cluster().kubectl().apply(&yaml));
    // What the manifests have brought is the same.
    assert_eq!(said.lines().filter(|line| line.ends_with(" unchanged")).count(), 3, "{said}");
}

#[test]
fn the_reference_is_printed_or_written_as_the_documents_hold_it() {
    let page = page("docs/reference.md");
    let printed = operator(&["crds", "--format", "markdown"]);
    assert_eq!(
        (printed.status.code(), String::from_utf8_lossy(&printed.stdout).as_ref()),
        (Some(0), page.as_str())
    );
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().to_str().expect("it is text");
    let written = operator(&["crds", "--format", "markdown", "--dir", path]);
    assert_eq!((written.status.code(), written.stdout.as_slice()), (Some(0), &b""[..]));
    let files: Vec<_> = std::fs::read_dir(directory.path()).expect("it is there").flatten().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(std::fs::read_to_string(files[0].path()).expect("it is text"), page);
}

#[test]
fn a_failure_ends_with_1_and_says_what_was_attempted() {
    let output = operator(&["crds", "--dir", "no/such/directory"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("failed to write no/such/directory/testplanruns.yaml: No such file"), "{said}");
}

#[test]
fn folders_of_manifests_can_be_applied_file_by_file() {
    for folder in ["crds", "deploy/manifests"] {
        ok(cluster().kubectl().apply_file(&repository(folder)));
    }
}
