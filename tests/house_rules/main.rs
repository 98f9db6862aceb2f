//! House rules that no linter knows.
//!
//! The rules about imports have files of their own; what they have in common is in `graph`.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod argocd;
mod blocks;
mod chart;
mod circles;
mod commands;
mod graph;
mod imports;
mod links;
mod map;
mod rooms;
mod rules;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use testinium_operator::api;

use self::circles::circles;
use self::graph::Crate;
use self::rooms::{MACHINE_MAY_USE, MACHINE_ROOMS, ROOMS, against_order, forbidden};

/// Words that must not stand in the machine. It decides from its inputs alone: no clock, no randomness, no I/O, no
/// order that differs from run to run.
const IMPURE: [&str; 14] = [
    "tokio",
    "kube::",
    "kube_client",
    "reqwest",
    "http::",
    "hyper",
    "rand",
    "std::time",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "async fn",
    ".await",
];

/// The crates that consist of several files, by their roots.
const CRATES: &[&str] = &[
    "src/lib.rs",
    "tests/testbed/src/lib.rs",
    "tests/blackbox/main.rs",
    "tests/chart/main.rs",
    "tests/house_rules/main.rs",
    "benches/stop/main.rs",
    "benches/allocations.rs",
];

/// Most lines of a source file before its tests: as many as a reader can keep in mind.
const LONGEST_FILE: usize = 420;

/// Put together here, so that this file isn't found to hold them.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

#[test]
fn the_machine_is_pure() {
    let files = rust_files("src/machine");
    assert!(!files.is_empty(), "src/machine holds the machine");
    report(files.iter().flat_map(|file| findings(file, impurities)));
}

#[test]
fn the_machine_uses_no_crate_but_those_it_may() {
    report(forbidden(&load("src/lib.rs").outside(), "src/machine", MACHINE_MAY_USE).into_iter());
}

#[test]
fn rooms_import_from_rooms_before_them() {
    let edges = load("src/lib.rs").edges();
    assert!(edges.len() > 200, "found only {} imports", edges.len());
    report(against_order(&edges, "src", ROOMS).into_iter());
    report(against_order(&edges, "src/machine", MACHINE_ROOMS).into_iter());
}

#[test]
fn no_files_import_from_each_other() {
    for root in CRATES {
        let found = load(root);
        assert!(found.missing().is_empty(), "{root}: found no {:?}", found.missing());
        let edges = found.edges();
        assert!(edges.len() > 3, "{root}: found only {edges:?}");
        report(circles(&edges).iter().map(ToString::to_string));
    }
}

#[test]
fn files_are_short() {
    let mut files = rust_files("src");
    files.extend(rust_files("tests/testbed/src"));
    // A file of tests alone is a list; its length costs nobody anything.
    files.retain(|file| !file.to_string_lossy().ends_with("tests.rs"));
    report(files.iter().flat_map(|file| findings(file, excess)));
}

#[test]
fn every_file_says_what_it_is() {
    let mut files = rust_files("src");
    files.extend(rust_files("tests"));
    report(files.iter().flat_map(|file| findings(file, missing_introduction)));
}

#[test]
fn nothing_is_left_unfinished() {
    let mut files = Vec::new();
    for place in [
        "src",
        "tests",
        "crds",
        "deploy",
        "docs",
        ".ci",
        "Cargo.toml",
        "Dockerfile",
        "deny.toml",
        "clippy.toml",
    ] {
        walk(&root().join(place), &mut files);
    }
    for entry in fs::read_dir(root()).expect("the repository can be read").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "md") {
            files.push(entry.path());
        }
    }
    assert!(files.len() > 20, "found only {files:?}");
    report(files.iter().flat_map(|file| findings(file, unfinished)));
}

#[test]
fn every_file_has_its_place_in_the_map() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map is there");
    let mut all = Vec::new();
    for place in ["src", "tests", "docs", "benches", "deploy"] {
        walk(&root().join(place), &mut all);
    }
    let all: Vec<_> = all.iter().map(|file| name_of(file)).collect();
    let is_source = |file: &&String| {
        let is_test = file.ends_with("tests.rs") || file.starts_with("src/machine/checks/");
        file.starts_with("src/") && file.ends_with(".rs") && !is_test
    };
    let sources: Vec<_> = all.iter().filter(is_source).cloned().collect();
    assert!(sources.len() > 100, "found only {sources:?}");
    report(map::unmapped(&text, &sources).into_iter().chain(map::missing(&text, &all)));
}

#[test]
fn things_have_one_name() {
    let mut files = Vec::new();
    for place in ["src", "tests", "benches", "docs", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        walk(&root().join(place), &mut files);
    }
    let is_text = |file: &PathBuf| file.extension().is_some_and(|ext| ext == "rs" || ext == "md");
    files.retain(|file| is_text(file) && !file.ends_with(words::LIST));
    assert!(files.len() > 200, "found only {files:?}");
    report(files.iter().flat_map(|file| findings(file, words::former_words)));
}

#[test]
fn each_rule_of_the_machine_stands_once_with_its_tests() {
    let files = rust_files("src/machine").into_iter();
    let files: Vec<_> = files
        .map(|file| (name_of(&file), fs::read_to_string(&file).expect("a source file can be read")))
        .collect();
    report(rules::broken_rules(&files).into_iter());
}

#[test]
fn every_command_of_the_documents_is_run_by_a_gate() {
    let gates = fs::read_to_string(root().join(".ci/run")).expect("it can be read");
    report(commands::unrun(&pages(), &gates, &test_names()).into_iter());
}

#[test]
fn every_block_of_commands_in_the_documents_is_run_by_a_test() {
    let mut tests = BTreeMap::new();
    for folder in ["tests/blackbox", "tests/chart"] {
        for file in rust_files(folder) {
            let text = fs::read_to_string(&file).expect("a source file can be read");
            let module = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            tests.extend(
                rules::functions(&text).map(|function| (format!("{module}::{function}"), text.clone())),
            );
        }
    }
    report(blocks::unrun(&pages(), &tests).into_iter());
}

#[test]
fn every_link_leads_somewhere_and_the_index_to_every_page() {
    let mut all = Vec::new();
    for place in [".ci", "benches", "crds", "deploy", "docs", "fuzz", "src", "tests"] {
        walk(&root().join(place), &mut all);
    }
    all.extend(fs::read_dir(root()).expect("the repository can be read").flatten().map(|entry| entry.path()));
    let files: BTreeSet<_> = all.iter().map(|file| name_of(file)).collect();
    let pages = pages();
    assert!(pages.len() > 15, "found only {pages:?}");
    report(links::broken(&pages, &files).into_iter());
    report(links::not_in_the_index(&pages).into_iter());
    // The rule's own tests name pages that are none.
    let sources = all.iter().filter(|file| file.is_file() && !file.ends_with("tests/house_rules/links.rs"));
    let texts = sources.filter_map(|file| Some((name_of(file), fs::read_to_string(file).ok()?)));
    report(texts.flat_map(|(path, text)| links::named_and_missing(&path, &text, &files)));
}

/// A newcomer reads two screens of it.
#[test]
fn the_readme_is_short() {
    let lines = fs::read_to_string(root().join("README.md")).expect("it is there").lines().count();
    assert!((40..=100).contains(&lines), "it has {lines} lines: what is long belongs to a page of docs/");
}

/// The pages that people read: their paths and texts.
fn pages() -> Vec<(String, String)> {
    let mut files: Vec<_> =
        fs::read_dir(root()).expect("it can be read").flatten().map(|e| e.path()).collect();
    walk(&root().join("docs"), &mut files);
    walk(&root().join("deploy"), &mut files);
    files.retain(|file| file.is_file() && file.extension().is_some_and(|extension| extension == "md"));
    files.iter().map(|file| (name_of(file), fs::read_to_string(file).expect("it can be read"))).collect()
}

/// A name that is none of a test runs nothing, and succeeds.
#[test]
fn every_test_of_the_main_job_exists() {
    let gates = fs::read_to_string(root().join(".ci/run")).expect("it can be read");
    let list = gates.split_once("\nmain_job=(\n").and_then(|(_, rest)| rest.split_once("\n)\n"));
    let (list, _) = list.expect(".ci/run lists the tests of the main job");
    let names = test_names();
    let asked: Vec<_> = list.lines().map(str::trim).collect();
    assert_eq!(asked.len(), 11, "{asked:?}");
    let missing = asked.iter().filter(|asked| !names.iter().any(|name| name == *asked));
    report(missing.map(|asked| format!("there is no test {asked}, which .ci/run names")));
}

/// The paths of every module and function, by the names of files: `machine::checks::model`, `stop::a_patch_is_...`.
fn test_names() -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["src", "tests/blackbox", "tests/chart", "tests/house_rules", "tests/testbed"] {
        for file in rust_files(folder) {
            let path = file.strip_prefix(root().join(folder)).unwrap_or(&file).with_extension("");
            let module = path.to_string_lossy().trim_end_matches("/mod").replace('/', "::");
            let text = fs::read_to_string(&file).unwrap_or_default();
            names.extend(rules::functions(&text).map(|function| format!("{module}::{function}")));
            names.push(module);
        }
    }
    names
}

#[test]
fn crds_are_current() {
    const COMMAND: &str = "cargo run -- crds --dir crds";
    // A chart holds all that it installs, and no link leads out of it.
    const CHART_CRDS: &str = "deploy/chart/files/crds";
    const CHART_COMMAND: &str = "cargo run -- crds --dir deploy/chart/files/crds";
    let mut expected = vec!["Kustomization".to_owned()];
    for crd in api::crds() {
        let name = api::file_name(&crd);
        let current = api::to_yaml(&crd).expect("a CRD can be written as YAML");
        let kept = fs::read_to_string(root().join("crds").join(&name)).unwrap_or_default();
        assert!(kept == current, "crds/{name} is not what the types say; refresh it: {COMMAND}");
        let kustomization = fs::read_to_string(root().join("crds/Kustomization")).unwrap_or_default();
        assert!(kustomization.contains(&format!("- {name}\n")), "crds/Kustomization doesn't list {name}");
        let of_chart = fs::read_to_string(root().join(CHART_CRDS).join(&name)).unwrap_or_default();
        assert!(
            of_chart == current,
            "{CHART_CRDS}/{name} is not what the types say; refresh it: {CHART_COMMAND}"
        );
        expected.push(name);
    }
    let mut files = Vec::new();
    walk(&root().join("crds"), &mut files);
    walk(&root().join(CHART_CRDS), &mut files);
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(expected.contains(&name), "{} belongs to no CRD; remove it", name_of(&file));
    }
}

#[test]
fn reference_is_current() {
    const COMMAND: &str = "cargo run -- crds --format markdown --dir docs";
    let file = root().join("docs").join(api::REFERENCE_FILE);
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let current = api::reference(&api::crds());
    assert!(kept == current, "{} is not what the types say; refresh it: {COMMAND}", name_of(&file));
}

#[test]
fn the_chart_says_the_same_of_its_values_everywhere() {
    let path = |name: &str| root().join("deploy/chart").join(name);
    let read = |name: &str| fs::read_to_string(path(name)).expect("the chart has it");
    let (values, kept) = (read("values.yaml"), read("README.md"));
    let schema = serde_json::from_str(&read("values.schema.json")).expect("the schema is JSON");
    report(chart::differences(&values, &schema).into_iter());
    let current = chart::readme(&kept, &values).expect("the README has a place for the table");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path("README.md"), &current).expect("it can be written");
    } else {
        assert!(
            kept == current,
            "deploy/chart/README.md is not what values.yaml says; refresh it as it says"
        );
    }
}

#[test]
fn the_chart_has_the_version_of_the_operator() {
    let chart = fs::read_to_string(root().join("deploy/chart/Chart.yaml")).expect("it is there");
    for field in ["version", "appVersion"] {
        let line = format!("{field}: {}", env!("CARGO_PKG_VERSION"));
        assert!(chart.lines().any(|known| known == line), "Chart.yaml has no line {line}");
    }
}

// === the checks: each gives its findings ===

/// A line (from 1) that breaks a rule, and how.
type Finding = (usize, String);

fn impurities(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        for word in IMPURE.iter().filter(|word| mentions(code(line), word)) {
            found.push((
                number,
                format!("'{word}' has no place in the machine: pass what it is needed for as input"),
            ));
        }
    }
    found
}

fn excess(text: &str) -> Vec<Finding> {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    let message = format!("{lines} lines before its tests, at most {LONGEST_FILE} are wanted: split it");
    if lines > LONGEST_FILE { vec![(lines, message)] } else { Vec::new() }
}

fn missing_introduction(text: &str) -> Vec<Finding> {
    if text.is_empty() || text.starts_with("//!") {
        return Vec::new();
    }
    vec![(1, "the file must begin with a line '//! ...' that says what it is".to_owned())]
}

fn unfinished(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        for word in UNFINISHED.iter().filter(|word| mentions(line, word)) {
            found.push((number, format!("'{word}' is not for the main branch: finish it, or open an issue")));
        }
    }
    found
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// The line without its comment. Good enough here: a '//' in a string only hides what follows it.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// Whether the word is there as a word, not as a part of a longer name.
fn mentions(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let cut_before = word.starts_with(in_name) && before.is_some_and(in_name);
        let cut_after = word.ends_with(in_name) && after.is_some_and(in_name);
        !cut_before && !cut_after
    })
}

// === files ===

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load(crate_root: &str) -> Crate {
    Crate::load(crate_root, &|file| fs::read_to_string(root().join(file)).ok())
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(&root().join(folder), &mut files);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
    }
    let mut inner: Vec<_> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    inner.sort();
    for path in inner {
        walk(&path, files);
    }
}

fn name_of(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).to_string_lossy().into_owned()
}

fn findings(file: &Path, check: impl Fn(&str) -> Vec<Finding>) -> Vec<String> {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("failed to read {}: {error}", file.display()));
    let name = file.strip_prefix(root()).unwrap_or(file).display();
    check(&text).into_iter().map(|(line, message)| format!("{name}:{line}: {message}")).collect()
}

fn report(findings: impl Iterator<Item = String>) {
    let findings: Vec<_> = findings.collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// The checks can fail.
mod checks {
    use super::*;

    fn lines(findings: Vec<Finding>) -> Vec<usize> {
        findings.into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn impurity_is_found_where_it_is() {
        for bad in [
            "use std::time::Duration;",
            "let now = Instant::now();",
            "use tokio::sync::mpsc;",
            "use kube::Client;",
            "let x: kube::Api<Foo>;",
            "use std::collections::{BTreeMap, HashMap};",
            "pub async fn go() {}",
            "thing.await;",
            "rand::random()",
            "http::StatusCode::OK",
            "let t = 1; let u = SystemTime::now(); // why",
        ] {
            assert_eq!(lines(impurities(&format!("\n{bad}\n"))), [2], "{bad}");
        }
    }

    #[test]
    fn pure_code_is_left_alone() {
        for good in [
            "use crate::api::TestPlanRun;",
            "// the tokio side awaits it: `x.await`, kube::Client",
            "let operand = brand;",
            "use crate::kubernetes::x;",
            "let instant = InstantLike;",
            "/// HTTP and hyper are elsewhere.",
        ] {
            assert!(impurities(good).is_empty(), "{good}");
        }
    }

    #[test]
    fn long_files_are_found_and_tests_are_not_counted() {
        let long = "let x;\n".repeat(LONGEST_FILE + 1);
        assert_eq!(excess(&long).len(), 1);
        let tested = format!("{}#[cfg(test)]\n{long}", "let x;\n".repeat(LONGEST_FILE));
        assert!(excess(&tested).is_empty());
    }

    #[test]
    fn missing_introductions_are_found() {
        assert_eq!(lines(missing_introduction("use std::fs;\n")), [1]);
        assert!(missing_introduction("//! Files.\n").is_empty());
    }

    #[test]
    fn unfinished_work_is_found() {
        let [first, second, _] = UNFINISHED;
        assert_eq!(lines(unfinished(&format!("ok\n// {first}: later\n# {second}\n"))), [2, 3]);
        assert!(unfinished("mastodons, fixed\n").is_empty());
    }
}
