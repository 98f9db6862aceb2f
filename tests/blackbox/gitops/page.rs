//! `docs/gitops.md`, tried as it is written: its objects are applied, and its commands are pasted.

use serde_json::{Value, json};
use testinium_testbed::pages::{Step, block_commands, blocks, walk};
use testinium_testbed::simulator::Nature;
use testinium_testbed::terminal::Terminal;

use super::argocd;
use super::situations::situations;
use crate::cluster::{cluster, ok, page};
use crate::events::commands;
use crate::operator::Stage;

/// The page.
fn text() -> String {
    page("docs/gitops.md")
}

/// The YAML blocks.
fn yaml() -> Vec<String> {
    blocks(&text(), "yaml").map(str::to_owned).collect()
}

/// The object in the YAML block that contains this.
#[track_caller]
pub(crate) fn block(part: &str) -> Value {
    let block = yaml().into_iter().find(|block| block.contains(part));
    let block = block.unwrap_or_else(|| panic!("no block of docs/gitops.md has {part}"));
    serde_saphyr::from_str(&block).unwrap_or_else(|error| panic!("{error}\n{block}"))
}

/// The rows of the page on how tools read a status: the situation, kstatus, Argo CD.
fn readings() -> Vec<[String; 3]> {
    let page = text();
    let (_, table) = page.split_once("| situation |").expect("the page has this table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells =
        |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    rows.map(|row| cells(row).try_into().unwrap_or_else(|cells| panic!("{cells:?} are not three"))).collect()
}

/// Those of the blocks, which a person types beside Git.
const TYPED: &[Step] = &[
    ("request=$(date +%s)", &[]),
    ("testinium.io/stop=\"$request\"", &["testplanrun.testinium.io/nightly annotated"]),
    ("{.status.stop.lastHandledRequest}", &["testplanrun.testinium.io/nightly condition met"]),
    ("patch configmap argocd-cm", &["configmap/argocd-cm patched"]),
];

/// Those of the table: what to wait for.
fn waits() -> [String; 3] {
    let page = text();
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains("kubectl wait"));
    let found: Vec<String> = rows.flat_map(commands).collect();
    found.try_into().unwrap_or_else(|found| panic!("three rows have a command each, not {found:?}"))
}

/// The other tests compare the situations with what the tools say.
#[test]
fn the_page_says_how_tools_read_each_situation_and_none_besides() {
    let readings = readings();
    for found in situations() {
        let row = readings.iter().find(|[situation, ..]| situation.starts_with(found.seen.row));
        let [_, kstatus, argocd] = row.unwrap_or_else(|| panic!("{}: no row {}", found.name, found.seen.row));
        assert_eq!(
            (kstatus.as_str(), argocd.as_str()),
            (found.seen.kstatus, found.seen.argocd),
            "{}",
            found.name
        );
    }
    for [situation, ..] in &readings {
        assert!(
            situations().iter().any(|found| situation.starts_with(found.seen.row)),
            "nothing is {situation}"
        );
    }
}

#[test]
fn the_runs_of_the_page_stop_as_it_says() {
    let stage = Stage::start_accepting(json!({}));
    let runs: Vec<_> =
        yaml().into_iter().filter(|block| block.contains("kind: TestPlanRun\nmetadata")).collect();
    assert_eq!(runs.len(), 2, "{runs:?}");
    runs.iter().for_each(|run| drop(ok(stage.namespace.kubectl.apply(run))));
    stage.wait_for("nightly", "Accepted");
    stage.wait_for("soak", "NotRequested");
    assert_eq!(stage.calls(), [[614, 615]]);
    // Nobody waits for four hours here.
    assert_eq!(block("activeDeadlineSeconds")["spec"]["activeDeadlineSeconds"], 14400);
    stage.patch("soak", r#"{"spec":{"activeDeadlineSeconds":1}}"#);
    assert_eq!(stage.wait_for("soak", "Accepted")["stop"]["trigger"], "Deadline");
}

#[test]
fn the_commands_of_the_page_do_what_they_say_when_pasted() {
    let stage = Stage::start_accepting(json!({}));
    stage.run("nightly", &[614]);
    let settings = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"url": "https://argocd.example.com"},
            "metadata": {"name": "argocd-cm", "namespace": "argocd",
                "labels": {"app.kubernetes.io/part-of": "argocd"}}},
    ]});
    ok(cluster().kubectl().apply(&settings.to_string()));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let terminal = ok(Terminal::new(cluster(), &stage.namespace.name, directory.path()));
    walk(&terminal, &block_commands(&text()), TYPED).unwrap_or_else(|why| panic!("{why}\n{}", stage.log()));

    let map = ok(cluster().kubectl().get_json(&["configmap", "argocd-cm", "--namespace=argocd"]));
    assert_eq!(map["data"]["url"], "https://argocd.example.com", "other settings stay");
    assert_eq!(map["metadata"]["labels"]["app.kubernetes.io/part-of"], "argocd");
    let ours = argocd::patch()["data"].as_object().cloned().unwrap_or_default();
    assert_eq!(ours.len(), 4);
    assert!(ours.iter().all(|(name, script)| map["data"][name] == *script), "{map}");
}

#[test]
fn each_wait_of_the_page_returns_at_what_it_is_for_and_at_nothing_else() {
    let stage = Stage::start_accepting(json!({}));
    stage.simulator.plan(2, Nature::Unknown);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let terminal = ok(Terminal::new(cluster(), &stage.namespace.name, directory.path()));
    for (name, plan, reason) in [("good", 1, "Accepted"), ("bad", 2, "Failed")] {
        stage.run(name, &[plan]);
        stage.stop(name);
        stage.wait_for(name, reason);
    }
    stage.run("neither", &[3]);
    stage.wait_for("neither", "NotRequested");
    let [success, failure, either] = waits();
    for (command, returns_for) in
        [(success, ["good"].as_slice()), (failure, ["bad"].as_slice()), (either, ["good", "bad"].as_slice())]
    {
        for name in ["good", "bad", "neither"] {
            let returns = returns_for.contains(&name);
            // What does not return would be waited for in vain.
            let limit = if returns { "--timeout=60s" } else { "--timeout=1s" };
            let here = command.replace("tpr/nightly", &format!("tpr/{name}")).replace("--timeout=60s", limit);
            assert!(here.contains(name) && here.ends_with(limit), "{here}");
            let output = ok(terminal.run(&here));
            assert_eq!(output.status.success(), returns, "{here}: {output:?}");
        }
    }
}
