//! The tour, and the commands of `docs/requests.md` and `docs/faq.md` after it, walked as a newcomer would: what the demo
//! prints is pasted into a shell, then each command as the page has it, and nothing else.
//!
//! The lists of steps below say what each command is for and what must come of it, so a command that fails, that says
//! something else, or that is left out of a page is found.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testinium_testbed::kubectl::{Output, wait_until};
use testinium_testbed::launcher::{self, Launcher, TEXT_LOG};
use testinium_testbed::pages::{Step, block_commands, walk};
use testinium_testbed::process::Guarded;
use testinium_testbed::simulator::{Config, Hold, Nature, Reply, Simulator, When};
use testinium_testbed::terminal::Terminal;

use crate::cluster::{Namespace, OPERATOR, cluster, gateway, ok, page, run};
use crate::operator::{SOON, outcomes};
use crate::waiting::stopped_reason;

const TOUR: &[Step] = &[
    ("create secret generic testinium-token", &["secret/testinium-token created"]),
    ("kind: TestiniumGateway", &["testiniumgateway.testinium.io/default created"]),
    (
        "kind: TestPlanRun",
        &["testplanrun.testinium.io/nightly created", "testplanrun.testinium.io/checkout created"],
    ),
    ("patch tpr nightly", &["testplanrun.testinium.io/nightly patched"]),
    ("--for=condition=Stopped", &["testplanrun.testinium.io/nightly condition met"]),
    ("request=$(date +%s)", &[]),
    ("testinium.io/stop=\"$request\"", ANNOTATED),
    ("{.status.stop.lastHandledRequest}", MET),
    ("kubectl get tpr", &["False PartiallyStopped", "True NotRunning"]),
    ("?(@.reason)", &["999 Rejected: there is no such plan"]),
    ("retry=$(date +%s)", &[]),
    ("testinium.io/retry=\"$retry\"", &["testplanrun.testinium.io/checkout annotated"]),
    ("{.status.stop.lastHandledRetry}", &["testplanrun.testinium.io/checkout condition met"]),
    ("testinium.io/stop=no", &["testplanrun.testinium.io/checkout annotated"]),
    ("\"stopped\":false", &["testplanrun.testinium.io/nightly patched"]),
];

const REQUESTS: &[Step] = &[
    // For a fleet of which one run fails.
    ("request=$(date +%s)", &[]),
    ("testinium.io/stop=\"$request\"", ANNOTATED),
    ("{.status.stop.lastHandledRequest}", MET),
    ("--timeout=0 ||", &["testplanrun.testinium.io/nightly condition met", "checkout: 999"]),
    // After a patch.
    ("\"stopped\":true", &["testplanrun.testinium.io/nightly patched"]),
    ("generation=$(kubectl get", &[]),
    ("{.status.observedGeneration}", &["testplanrun.testinium.io/nightly condition met"]),
    ("{.status.stop.completionTime}", &["testplanrun.testinium.io/nightly condition met"]),
    ("--for=condition=Stopped --timeout=0", &["testplanrun.testinium.io/nightly condition met"]),
    // After a retry.
    ("retry=$(date +%s)", &[]),
    ("testinium.io/retry=\"$retry\"", &["testplanrun.testinium.io/checkout annotated"]),
    ("{.status.stop.lastHandledRetry}", &["testplanrun.testinium.io/checkout condition met"]),
    ("?(@.reason)", &["999 Rejected InvalidRequest there is no such plan"]),
    // The table of who uses which.
    ("\"stopped\":true", &["testplanrun.testinium.io/nightly patched (no change)"]),
    ("testinium.io/stop=\"$(date +%s)\"", &["testplanrun.testinium.io/nightly annotated"]),
    ("testinium.io/retry=\"$(date +%s)\"", &["testplanrun.testinium.io/nightly annotated"]),
];

const FAQ: &[Step] = &[
    ("auth can-i patch", &["yes"]),
    ("request=$(date +%s)", &[]),
    ("annotate tpr --all", ANNOTATED),
    ("wait tpr --all", MET),
    ("grep -w 614", &["nightly [614 615 312]"]),
    ("name: emergency", &["testplanrun.testinium.io/emergency created"]),
    ("?(@.reason)", &["999 Rejected: there is no such plan"]),
    (".items[?", &["checkout: 999"]),
    ("--for=condition=Stopped", &["testplanrun.testinium.io/nightly condition met"]),
    ("--for=condition=Stalled", &["testplanrun.testinium.io/checkout condition met"]),
    ("{.status.stop.completionTime}", &["testplanrun.testinium.io/nightly condition met"]),
    ("request=$(date +%s)", &[]),
    (
        "kubectl delete tpr nightly",
        &["testplanrun.testinium.io/nightly condition met", "testplanrun.testinium.io \"nightly\" deleted"],
    ),
    ("\"deletionPolicy\":\"Orphan\"", &["testplanrun.testinium.io/checkout patched"]),
];

const ANNOTATED: &[&str] =
    &["testplanrun.testinium.io/checkout annotated", "testplanrun.testinium.io/nightly annotated"];
const MET: &[&str] =
    &["testplanrun.testinium.io/checkout condition met", "testplanrun.testinium.io/nightly condition met"];

/// The demo without what it shows: a simulated gateway without plan 999, the operator, and a terminal in a namespace
/// that is empty.
struct Demo {
    namespace: Namespace,
    simulator: Simulator,
    terminal: Terminal,
    _operator: Guarded,
    directory: tempfile::TempDir,
}

// === impl Demo ===

impl Demo {
    fn start(simulator: Config) -> Self {
        let namespace = Namespace::create();
        let token = simulator.token.clone();
        let simulator = Simulator::start(simulator).expect("the simulator starts");
        simulator.plan(999, Nature::Unknown);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let terminal = ok(Terminal::new(cluster(), &namespace.name, directory.path()));
        let terminal = terminal.with_gateway(&simulator, &token);
        let launcher = Launcher::new(&ok(launcher::kubeconfig(cluster())))
            .watching(&[&namespace.name])
            .flags(&["--leader-elect=false", TEXT_LOG]);
        let operator = ok(launcher.spawn(OPERATOR.as_ref(), &directory.path().join("operator.log")));
        Self { namespace, simulator, terminal, _operator: operator, directory }
    }

    /// The same after the first steps of the tour: there is a gateway with its Secret.
    fn with_gateway(simulator: Config) -> Self {
        let demo = Self::start(simulator);
        let first = &TOUR[..2];
        demo.walk(&tour()[..first.len()], first);
        demo
    }

    /// Pastes commands one after the other into one shell, and compares what they print with the steps.
    #[track_caller]
    fn walk(&self, commands: &[String], steps: &[Step]) {
        walk(&self.terminal, commands, steps).unwrap_or_else(|why| panic!("{why}\n{}", self.log()));
    }

    /// Runs one command of a page, whatever comes of it.
    fn type_in(&self, command: &str) -> Output {
        ok(self.terminal.run(command))
    }

    fn status(&self, name: &str) -> Value {
        ok(self.namespace.kubectl.get_json(&["tpr", name]))["status"].clone()
    }

    #[track_caller]
    fn wait_for_reason(&self, name: &str, reasons: &[&str]) -> Value {
        ok(wait_until(&format!("{name} to be {reasons:?}"), SOON, || {
            let status = self.status(name);
            if reasons.contains(&stopped_reason(&status)) { Ok(status) } else { Err(status) }
        }))
    }

    fn calls(&self) -> Vec<Vec<i64>> {
        self.simulator.calls().into_iter().map(|call| call.plans).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("operator.log")).unwrap_or_default()
    }
}

/// The commands of the tour.
fn tour() -> Vec<String> {
    block_commands(&page("docs/tour.md"))
}

/// The commands of `docs/requests.md`: those of its blocks, then those of its table.
fn requests() -> Vec<String> {
    let text = page("docs/requests.md");
    let rows = text.lines().filter(|line| line.starts_with('|'));
    block_commands(&text).into_iter().chain(rows.flat_map(crate::events::commands)).collect()
}

/// The command of a page that has this part.
#[track_caller]
fn command_with(commands: &[String], part: &str) -> String {
    commands.iter().find(|command| command.contains(part)).expect("the page has such a command").clone()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

// --- the pages, walked ---

#[test]
fn the_tour_and_the_commands_of_requests_and_questions_do_what_they_say_when_pasted() {
    let demo = Demo::start(Config::default());
    demo.walk(&tour(), TOUR);
    let at_rest = ["NotRequested", "Withdrawn"];
    let (nightly, checkout) =
        (demo.wait_for_reason("nightly", &at_rest), demo.wait_for_reason("checkout", &at_rest));
    assert_eq!(outcomes(&nightly), ["614 NotRunning", "615 NotRunning", "312 NotRunning"]);
    // Both runs may have been in one call, of which the gateway had stopped some plans before it named a bad one.
    let stopped = |outcome: &String| outcome.ends_with(" Accepted") || outcome.ends_with(" NotRunning");
    assert!(outcomes(&checkout)[..2].iter().all(stopped), "{checkout}");
    // Who asks again within one second asks for nothing.
    let request =
        nightly["stop"]["request"].as_str().and_then(|value| value.parse().ok()).unwrap_or(u64::MAX);
    ok(wait_until("another second", Duration::from_secs(5), || match now() {
        now if now > request + 1 => Ok(()),
        now => Err(now),
    }));
    demo.walk(&requests(), REQUESTS);
    let alone = demo.calls().into_iter().filter(|plans| *plans == [999]).count();
    assert!(alone >= 2, "each retry asks for what failed, and for nothing else: {:?}", demo.calls());
    demo.walk(&block_commands(&page("docs/faq.md")), FAQ);
    assert_eq!(outcomes(&demo.wait_for_reason("emergency", &["Accepted"])), ["801 Accepted", "802 Accepted"]);
}

#[test]
fn the_readme_stops_a_run_by_commands_of_the_tour() {
    let readme = page("README.md");
    let part = readme.split("\n## Stop a run\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let (commands, tour) = (block_commands(part.expect("the README has this part")), tour());
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in commands {
        assert!(tour.contains(&command), "docs/tour.md lacks {command}");
    }
}

// --- what the pages say of them ---

#[test]
fn a_patch_that_is_typed_twice_asks_once_and_an_annotation_asks_beside_it() {
    let demo = Demo::with_gateway(Config { default_nature: Nature::NeverStops, ..Config::default() });
    demo.namespace.apply(&run("nightly", json!({"plans": [614]})));
    let patch = command_with(&tour(), "\"stopped\":true");
    assert_eq!(ok(demo.type_in(&patch).success()), "testplanrun.testinium.io/nightly patched\n");
    demo.wait_for_reason("nightly", &["Accepted"]);
    assert_eq!(ok(demo.type_in(&patch).success()), "testplanrun.testinium.io/nightly patched (no change)\n");
    let annotate = command_with(&requests(), "testinium.io/stop=\"$(date +%s)\"");
    ok(demo.type_in(&annotate).success());
    ok(wait_until("the annotation to be handled", SOON, || {
        let status = demo.status("nightly");
        if status["stop"]["lastHandledRequest"].is_string() { Ok(()) } else { Err(status) }
    }));
    assert_eq!(demo.calls(), [[614], [614]]);
}

#[test]
fn the_plans_that_failed_of_300_are_found_by_one_command() {
    let demo = Demo::with_gateway(Config::default());
    let failed: Vec<i64> = (1..=15).map(|nth| nth * 20).collect();
    demo.simulator.plans(failed.clone(), Nature::Unknown);
    // What was not running has not failed.
    demo.simulator.plans([1, 2, 3], Nature::NotRunning);
    demo.namespace
        .apply(&run("checkout", json!({"plans": (1..=300).collect::<Vec<i64>>(), "stopped": true})));
    demo.wait_for_reason("checkout", &["PartiallyStopped"]);
    let which = command_with(&requests(), "{range .status.plans[?(@.reason)]}");
    let printed = ok(demo.type_in(&which).success());
    let rows: Vec<Vec<_>> = printed.lines().map(|line| line.split('\t').collect()).collect();
    let ids: Vec<i64> = rows.iter().filter_map(|row| row[0].parse().ok()).collect();
    assert_eq!(ids, failed, "{printed}");
    assert!(rows.iter().all(|row| row.len() == 4 && row[1] == "Rejected"), "{printed}");
}

#[test]
fn a_wait_sees_the_end_of_a_retry_and_no_earlier_one() {
    let demo = Demo::with_gateway(Config::default());
    demo.namespace.apply(&run("checkout", json!({"plans": [703, 999], "stopped": true})));
    demo.wait_for_reason("checkout", &["PartiallyStopped"]);
    let hold = Hold::new();
    demo.simulator.plan(999, Nature::Running);
    demo.simulator.script(When::always(), Reply::natural().held(&hold));
    let all = requests();
    let annotate = command_with(&all, "testinium.io/retry=\"$retry\"");
    let ended = command_with(&all, "{.status.stop.lastHandledRetry}");
    ok(demo.type_in(&format!("retry=a && {annotate}")).success());
    let asked = demo.type_in(&format!("retry=a && {}", ended.replace("--timeout=60s", "--timeout=1s")));
    assert!(!asked.status.success(), "{asked:?}");
    hold.release();
    ok(demo.type_in(&format!("retry=a && {ended}")).success());
    assert_eq!(outcomes(&demo.status("checkout")), ["703 Accepted", "999 Accepted"]);
}

/// Each command that a message advises, as the pages show the messages, does what it says when it is pasted. The pages
/// have `team` for the namespace.
#[test]
fn every_command_that_a_message_advises_can_be_pasted() {
    let page = ["docs/messages.md", "docs/troubleshooting.md"].map(page).concat();
    // In a table a cell ends the line, and one message has a place for its command.
    let commands: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| Some(line.split_once(", run: ")?.1.trim_end_matches(" |")))
        .filter(|command| !command.starts_with('['))
        .collect();
    assert!(commands.len() >= 9, "{commands:#?}");
    for command in commands {
        let namespace = Namespace::create();
        let directory = tempfile::tempdir().expect("a temporary directory");
        namespace.apply(&run("nightly", json!({"plans": [614]})));
        namespace.apply(&gateway(
            "default",
            json!({
                "url": "https://testinium.example.com", "suspend": true,
                "auth": {"bearerToken": {"secretRef": {"name": "testinium-token"}}},
            }),
        ));
        if command.contains(" patch secret ") {
            namespace.run(&["create", "secret", "generic", "testinium-token"]);
        }
        let terminal = ok(Terminal::new(cluster(), &namespace.name, directory.path()));
        assert!(command.contains(" -n team"), "{command} names no namespace");
        let pasted = command.replace(" -n team", &format!(" -n {}", namespace.name));
        // An editor that changes nothing; a secret that somebody has put into the variable.
        let typed = format!("export EDITOR=true TOKEN=secret USERNAME=u PASSWORD=p; {pasted}");
        let output = ok(terminal.run(&typed));
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

/// As `docs/faq.md` says of a run that is deleted.
#[test]
fn deleting_a_run_whose_stop_waits_stops_nothing_and_says_so() {
    let demo = Demo::with_gateway(Config::default());
    let suspend = |value: bool| {
        let patch = json!({"spec": {"suspend": value}}).to_string();
        demo.namespace.run(&["patch", "tgw", "default", "--type=merge", "--patch", &patch]);
    };
    suspend(true);
    demo.namespace.apply(&run("gone", json!({"plans": [614, 615], "stopped": true})));
    demo.wait_for_reason("gone", &["Suspended"]);
    ok(demo.type_in("kubectl delete tpr gone --timeout=10s").success());
    ok(wait_until("the event StopAbandoned", SOON, || {
        let events = demo.namespace.run(&["events"]);
        if events.contains("StopAbandoned") && events.contains("2 pending") { Ok(()) } else { Err(events) }
    }));
    suspend(false);
    demo.namespace.apply(&run("other", json!({"plans": [616], "stopped": true})));
    demo.wait_for_reason("other", &["Accepted"]);
    assert_eq!(demo.calls(), [[616]], "what is deleted asks for nothing");
}

/// What `docs/requests.md` warns of, so that it is known if a later kubectl does better.
#[test]
fn a_wait_for_success_times_out_at_the_first_run_that_failed_and_tells_nothing_of_the_others() {
    let demo = Demo::with_gateway(Config::default());
    for (name, plan) in [("checkout", 999), ("nightly", 614)] {
        let mut run = run(name, json!({"plans": [plan], "stopped": true}));
        run["metadata"]["labels"] = json!({"load": "heavy"});
        demo.namespace.apply(&run);
    }
    demo.wait_for_reason("checkout", &["Failed"]);
    demo.wait_for_reason("nightly", &["Accepted"]);
    let wait = "kubectl wait tpr -l load=heavy --for=condition=Stopped --timeout=";
    let sat_out = demo.type_in(&format!("{wait}1s"));
    assert!(!sat_out.status.success() && sat_out.stdout.is_empty(), "{sat_out:?}");
    for name in ["checkout", "nightly"] {
        assert!(
            sat_out.stderr.contains(&format!("timed out waiting for the condition on testplanruns/{name}"))
        );
    }
    let at_once = demo.type_in(&format!("{wait}0"));
    assert!(!at_once.status.success(), "{at_once:?}");
    assert_eq!(at_once.stdout, "testplanrun.testinium.io/nightly condition met\n");
    assert!(at_once.stderr.contains("condition not met for testplanruns/checkout"), "{at_once:?}");
}
