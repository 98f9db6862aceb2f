//! The rule that every `cargo` command which the documents offer is run by a gate, if need be for some seconds.
//!
//! Tests by name are a part of `cargo test`, and there must be tests of that name: `cargo test` of a name that is none
//! succeeds. All other commands are in a list, each with the line of `.ci/run` that runs it.

/// A command as the documents have it, and a part of the gate that runs it.
type Row = (&'static str, &'static str);

const GATES: &[Row] = &[
    ("cargo bench --bench allocations", "--bench allocations -- --runs 20"),
    // A part of the one above.
    ("cargo bench --bench allocations -- waiting", "--bench allocations -- --runs 20"),
    ("cargo bench --bench machine", "--bench machine"),
    ("cargo bench --bench machine -- gateways", "--bench machine"),
    ("cargo bench --bench sizes", "--bench sizes"),
    ("cargo bench --bench stop", STOP),
    ("cargo bench --bench stop -- --docs", STOP),
    ("cargo bench --bench stop -- --only burst --runs 1000,3000", STOP),
    (
        "cargo bench --bench stop -- --only burst,restart --runs 1000 --default-limits",
        "--bench stop -- --quick --only burst,restart --default-limits",
    ),
    ("cargo bench --bench stop -- --only idle", STOP),
    ("cargo bench --bench stop -- --only neighbours", STOP),
    ("cargo bench --bench stop -- --only parts", STOP),
    ("cargo bench --bench stop -- --only policies", STOP),
    ("cargo bench --bench stop -- --only rule --runs 1000,10000", STOP),
    ("cargo bench --bench stop -- --operator PATH", STOP),
    ("cargo bench --bench stop -- --quick", STOP),
    ("cargo bench --bench stop -- --runs 100,1000,10000,100000", STOP),
    ("cargo demo", "cargo demo"),
    // The same until it would end.
    ("cargo demo --keep", "cargo demo"),
    ("cargo doc --no-deps --document-private-items --open", "cargo doc --locked --workspace --no-deps"),
    // The test `crds_are_current` makes the same files.
    ("cargo run -- crds --dir crds", "--test house_rules"),
    ("cargo run -- crds --dir deploy/chart/files/crds", "--test house_rules"),
    // The test `reference_is_current` makes the same page.
    ("cargo run -- crds --format markdown --dir docs", "--test house_rules"),
    ("cargo run -p testinium-testbed --bin control-plane", "--bin control-plane -- --build-only"),
    // Tests of the testbed run the same binary.
    ("cargo run -p testinium-testbed --bin gateway-simulator -- --listen 127.0.0.1:0", TESTS),
    // It is built by the same command without arguments, and tests run it.
    ("cargo run -p testinium-testbed --bin tool -- helm version", "--bin tool\n"),
    ("cargo run -p testinium-testbed --bin image", "--bin image"),
    (
        "cargo run -p testinium-testbed --bin release -- --rehearse --architectures here",
        "--bin release -- --rehearse --architectures here",
    ),
    // The rehearsal pushes an image by the same program.
    (
        "cargo run -p testinium-testbed --bin tool -- crane push target/image/layout \
         registry.example.com/testinium-operator:0.1.0",
        "--bin release",
    ),
    ("cargo run -p testinium-testbed --bin soak -- --seconds 3600", SOAK),
    ("cargo run -p testinium-testbed --bin soak -- --seconds 3600 --seed 7", SOAK),
    (
        "HISTORIES=1000000 CARGO_PROFILE_TEST_OPT_LEVEL=2 cargo test --lib machine::checks::simulation",
        SEARCHES,
    ),
    (
        "MODEL=large cargo test --config 'profile.test.package.testinium-operator.opt-level=2' --lib \
         machine::checks::model -- --nocapture",
        SEARCHES,
    ),
    // The main job's tests of it.
    (
        "KUBERNETES_VERSION=1.33 cargo test",
        "KUBERNETES_VERSION=$oldest_kubernetes \\\n    cargo test --locked --test blackbox",
    ),
    // The same tests compare instead of writing.
    ("UPDATE=1 cargo test --test chart manifests", TESTS),
    ("UPDATE=1 cargo test --test house_rules argocd", TESTS),
    ("UPDATE=1 cargo test --test house_rules chart", TESTS),
    ("UPDATE_DOCS=1 cargo test --lib machine::checks::messages", TESTS),
    ("UPDATE_DOCS=1 cargo test --test blackbox troubleshooting", TESTS),
    // It compares the panels of the picture.
    ("UPDATE_DOCS=1 cargo test --test chart picture", TESTS),
    ("SEED=4711 cargo test --lib machine::checks::simulation::whatever -- --nocapture", SEARCHES),
];

/// What no gate can run, and why.
const LEFT_OUT: &[Row] = &[
    ("cargo +nightly fuzz run answer", "it needs a nightly Rust; the corpus is a test"),
    ("cargo +nightly fuzz run answer <file>", "the same"),
    ("cargo deny --locked check advisories", "its database is a download that not every machine may make"),
    (
        "cargo run -p testinium-testbed --bin image -- --architectures amd64,arm64",
        "it needs a cross compiler, and minutes more; a gate builds the image for its own machine",
    ),
    ("cargo run -p testinium-testbed --bin release -- --rehearse", "the same"),
    (
        "cargo run -p testinium-testbed --bin release -- --registry registry.example.com/testinium --source \
         https://example.com/testinium-operator",
        "it pushes to a registry; a gate rehearses it",
    ),
];

const STOP: &str = "--bench stop -- --quick --only idle";
const SOAK: &str = "--bin soak -- --seconds";
const SEARCHES: &str = "env MODEL=large STATES=3000 HISTORIES=20 cargo test --locked --lib --";
const TESTS: &str = "cargo test --locked\n";

/// What is wrong with the commands of these documents: those that no gate runs, and rows that nobody needs.
///
/// `names`: of every test and module, such as `machine::checks::model`.
pub(crate) fn unrun(documents: &[(String, String)], gates: &str, names: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut offered = Vec::new();
    for (document, text) in documents {
        for command in commands(text) {
            if let Some(why) = reason_not_run(&command, gates, names) {
                found.push(format!("{document}: `{command}`: {why}"));
            }
            offered.push(command);
        }
    }
    let rows = GATES.iter().chain(LEFT_OUT).map(|(command, _)| *command);
    let unneeded = rows.filter(|row| !offered.iter().any(|command| command == row));
    found.extend(unneeded.map(|row| format!("no document offers `{row}`, which {LIST} lists")));
    found
}

/// Where the lists stand.
const LIST: &str = "tests/house_rules/commands.rs";

/// The reason why no gate runs this command, if none does.
fn reason_not_run(command: &str, gates: &str, names: &[String]) -> Option<String> {
    if LEFT_OUT.iter().any(|(left_out, _)| *left_out == command) {
        return None;
    }
    if let Some((_, gate)) = GATES.iter().find(|(listed, _)| *listed == command) {
        return (!gates.contains(gate)).then(|| format!("no gate of .ci/run is `{}`", gate.trim()));
    }
    let Some(arguments) = plain_test(command) else {
        return Some(format!("name the gate that runs it in {LIST}"));
    };
    let filter = arguments.last().filter(|last| is_filter(&arguments, last));
    let is_known = filter.is_none_or(|filter| names.iter().any(|name| name.contains(filter)));
    if !gates.contains(TESTS) {
        return Some("no gate of .ci/run is `cargo test`".to_owned());
    }
    (!is_known).then(|| "there is no test of that name".to_owned())
}

/// The arguments of a command that is a part of `cargo test`.
fn plain_test(command: &str) -> Option<Vec<&str>> {
    let command = command.strip_prefix("TESTINIUM_FULL=1 ").unwrap_or(command);
    let command = command.strip_suffix(" -- --nocapture").unwrap_or(command);
    let arguments: Vec<_> = command.strip_prefix("cargo test")?.split_whitespace().collect();
    let is_plain =
        |argument: &&str| !argument.starts_with('-') || ["--lib", "--test", "-p"].contains(argument);
    arguments.iter().all(is_plain).then_some(arguments)
}

/// Whether the last argument is a part of tests' names, rather than what a flag is about.
fn is_filter(arguments: &[&str], last: &str) -> bool {
    let before = arguments.len().checked_sub(2).map(|index| arguments[index]);
    !last.starts_with('-') && !matches!(before, Some("--test" | "-p"))
}

/// Every `cargo` command of a text: in a span, an indented line or a fence.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split("    #").next().unwrap_or_default());
    let spans = text.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
    let all = lines.chain(spans).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_variable = |word: &&&str| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let is_command = |words: &Vec<&str>| {
        let after = words.iter().skip_while(is_variable).collect::<Vec<_>>();
        *after.first().copied().unwrap_or(&"") == "cargo" && after.len() > 1
    };
    all.filter(is_command).map(|words| words.join(" ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_wherever_they_stand() {
        let text = "Type `cargo a\nb` or `cargo`, not `go build`.\n\n```sh\ncargo c --d    # why\n```\n\n    A=1 B=2 cargo e\n";
        let mut found = commands(text);
        found.sort();
        assert_eq!(found, ["A=1 B=2 cargo e", "cargo a b", "cargo c --d"]);
    }

    #[test]
    fn a_command_that_no_gate_runs_is_found() {
        let names = ["machine::checks::model".to_owned()];
        let gates = "gate 'tests' cargo test --locked\ngate 'demo' cargo demo\n";
        for good in [
            "cargo demo",
            "cargo test",
            "cargo test --test blackbox",
            "TESTINIUM_FULL=1 cargo test --lib checks::model -- --nocapture",
        ] {
            assert_eq!(reason_not_run(good, gates, &names), None, "{good}");
        }
        for bad in [
            "cargo bench --bench stop",
            "cargo run --bin other",
            "cargo test --lib checks::models",
            "MODEL=huge cargo test",
        ] {
            assert!(reason_not_run(bad, gates, &names).is_some(), "{bad}");
        }
        assert!(reason_not_run("cargo test", "gate 'demo' cargo demo\n", &names).is_some());
    }
}
