//! The texts of events, and the commands in them, pasted into a shell as they stand.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_testbed::arena::Arena;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::process::Signal;
use testinium_testbed::simulator::Config;
use testinium_testbed::terminal::Terminal;

use crate::cluster::{Namespace, cluster, ok, repository, run, site};
use crate::operator::{SOON, Stage};

impl Stage {
    /// Events of a run, of this reason.
    pub(crate) fn events(&self, name: &str, reason: &str) -> Vec<Value> {
        let list = ok(self.namespace.kubectl.get_json(&["events.events.k8s.io"]));
        let mut events = list["items"].as_array().cloned().unwrap_or_default();
        events.retain(|event| event["regarding"]["name"] == name && event["reason"] == reason);
        events
    }

    /// Waits for an event of a run, and returns the last of this reason.
    #[track_caller]
    pub(crate) fn wait_for_event(&self, name: &str, reason: &str) -> Value {
        ok(wait_until(&format!("the event {reason} of {name}"), SOON, || {
            self.events(name, reason).pop().ok_or_else(|| {
                let list = self.namespace.run(&["events"]);
                format!("{list}\n{}", self.status(name))
            })
        }))
    }

    /// The same for a warning.
    #[track_caller]
    pub(crate) fn wait_for_warning(&self, name: &str, reason: &str) -> String {
        let event = self.wait_for_event(name, reason);
        assert_eq!(event["type"], "Warning", "{event}");
        note(&event)
    }
}

/// The text of an event.
pub(crate) fn note(event: &Value) -> String {
    event["note"].as_str().unwrap_or_default().to_owned()
}

/// Every command in a text that begins with kubectl.
pub(crate) fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for (at, _) in text.match_indices("kubectl ") {
        let before = text[..at].chars().next_back();
        let rest = &text[at..];
        commands.push(match before {
            Some('`') => rest.split('`').next().unwrap_or_default().to_owned(),
            _ => until_sentence_goes_on(rest).to_owned(),
        });
    }
    commands
}

/// A command ends where a comma, a semicolon, a colon, a full stop or a bracket is followed by a space or the end,
/// outside of quotes.
fn until_sentence_goes_on(text: &str) -> &str {
    let mut quote = None;
    for (at, char) in text.char_indices() {
        let next = text[at + char.len_utf8()..].chars().next();
        let ends = next.is_none_or(char::is_whitespace);
        match (quote, char) {
            (Some(open), char) if open == char => quote = None,
            (None, '\'' | '"') => quote = Some(char),
            (None, ',' | ';' | ':' | '.' | ')') if ends => return &text[..at],
            (None, '\n') => return &text[..at],
            // The cell of a table ends.
            (None, '|') if next.is_none_or(|next| next == '\n') => return text[..at].trim_end(),
            _ => {}
        }
    }
    text
}

/// Pastes a command into a shell whose kubectl is bound to this cluster, and to no namespace.
#[track_caller]
pub(crate) fn paste(namespace: &Namespace, command: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let terminal = ok(Terminal::new(cluster(), "default", directory.path()));
    let output = ok(terminal.run(command));
    assert!(output.status.success(), "{command}\nof {}: {output:?}", namespace.name);
}

/// Asserts that a text has commands, and that each can be pasted as it stands. Returns them.
#[track_caller]
pub(crate) fn assert_commands(stage: &Stage, text: &str) -> Vec<String> {
    let commands = commands(text);
    assert!(!commands.is_empty(), "no command in {text:?}");
    for command in &commands {
        let namespace = format!("-n {}", stage.namespace.name);
        assert!(command.contains(&namespace), "{command:?} names no namespace, in {text:?}");
        if command.contains(" annotate ") {
            assert!(command.contains("--overwrite"), "{command:?} fails where there is a value, in {text:?}");
        }
        if [" annotate ", " patch ", " label ", " apply "].iter().any(|verb| command.contains(verb)) {
            let manager = "--field-manager=testinium";
            assert!(command.contains(manager), "{command:?} is undone by Flux, in {text:?}");
        }
    }
    commands
}

#[test]
fn events_that_wait_when_the_operator_is_asked_to_stop_are_written_before_it_ends() {
    // More than are written at once.
    const RUNS: i64 = 50;
    let arena = ok(Arena::new(site(), "last-events", Config::default()));
    let operator = ok(arena.operator());
    let name = |run| format!("run-{run}");
    for run in 1..=RUNS {
        ok(arena.create_run(&name(run), json!({"plans": [run], "stopped": true})));
    }
    ok(operator.start());
    for run in 1..=RUNS {
        ok(arena.wait_for(&name(run), &["Accepted"], SOON));
    }
    ok(operator.signal(Signal::TERM));
    let asked = Instant::now();
    assert!(ok(operator.wait(SOON)).expect("it ends").success());
    assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", arena.namespace);
    let events = ok(site().client.list(&path));
    let told = events.iter().filter(|event| event["reason"] == "StopAccepted").count();
    assert_eq!(i64::try_from(told).expect("few"), RUNS, "{}", operator.log());
}

/// The name of its event is cut there, and may not end in a dash.
#[test]
fn a_run_with_a_dash_where_its_name_is_cut_has_its_event() {
    let stage = Stage::start();
    for (name, plan) in
        [(format!("{}-{}", "x".repeat(199), "y".repeat(53)), 1), (format!("{}.y", "x".repeat(199)), 2)]
    {
        stage.settle(&name, plan);
        stage.wait_for_event(&name, "StopAccepted");
    }
}

/// What one namespace has to tell would take minutes at the pace of events.
#[test]
fn a_warning_is_not_held_up_by_three_hundred_of_another_namespace() {
    let empty = |name: &str| {
        let mut run = run(name, json!({"plans": [1]}));
        run["metadata"]["annotations"] = json!({"testinium.io/stop": ""});
        run
    };
    let (loud, quiet) = (Stage::prepare(), Stage::prepare());
    let runs: Vec<_> = (0..300).map(|number| empty(&format!("loud-{number}"))).collect();
    loud.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": runs}));
    let flags = ["--leader-elect=false", "--watch-namespaces", &quiet.namespace.name];
    let _operator = loud.spawn("operator.log", &flags);
    let told = || {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", loud.namespace.name);
        ok(site().client.list(&path)).len()
    };
    ok(wait_until("the first warnings", SOON, || if told() > 0 { Ok(()) } else { Err(loud.log()) }));
    let begun = Instant::now();
    quiet.namespace.apply(&empty("quiet"));
    quiet.wait_for_warning("quiet", "InvalidAnnotation");
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    assert!(told() < 90, "others still wait, or were dropped: {}", told());
}

#[test]
fn a_command_is_found_in_a_sentence() {
    let rows = [
        (
            "to end it: kubectl annotate tpr a -n b testinium.io/stop=no",
            "kubectl annotate tpr a -n b testinium.io/stop=no",
        ),
        ("run `kubectl get tpr` again", "kubectl get tpr"),
        (
            "| Warning | to end it, run: kubectl annotate tpr a testinium.io/stop=no |",
            "kubectl annotate tpr a testinium.io/stop=no",
        ),
        (
            "run kubectl patch tpr a -p '{\"spec\": {\"stopped\": false}}'; it ends",
            "kubectl patch tpr a -p '{\"spec\": {\"stopped\": false}}'",
        ),
        (
            "(kubectl annotate tpr a testinium.io/stop=\"$(date +%s)\")",
            "kubectl annotate tpr a testinium.io/stop=\"$(date +%s)\"",
        ),
    ];
    for (text, command) in rows {
        assert_eq!(commands(text), [command], "{text}");
    }
}

/// Flux takes over what managers named kubectl have set, and undoes it; a value that was there before asks for nothing;
/// and whoever pastes a command must know which namespace it is about.
#[test]
fn commands_in_the_documents_that_ask_for_a_stop_do_so_each_time_and_last_under_flux() {
    let docs = std::fs::read_dir(repository("docs")).expect("docs can be read").flatten();
    let docs = docs.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "md"));
    let own = ["README.md", "tests/testbed/src/bin/demo.rs"].map(repository);
    for page in docs.chain(own) {
        let text = std::fs::read_to_string(&page).expect("a page can be read").replace("\\\n", " ");
        let asking = asking_commands(&text);
        let offers = page == repository("README.md")
            || ["tour.md", "requests.md", "faq.md", "demo.rs"].iter().any(|name| page.ends_with(name));
        assert!(!offers || !asking.is_empty(), "{} offers no command", page.display());
        for command in asking {
            if let Some(why) = fault(&command, &text) {
                panic!("{}: {command}: {why}", page.display());
            }
        }
    }
}

/// The commands in a text that ask for a stop, or take one back.
fn asking_commands(text: &str) -> Vec<String> {
    // In a source file a command ends with its literal, and in a page it may go on in the next line.
    let found = match text.contains("\"#") {
        true => text
            .lines()
            .flat_map(commands)
            .filter_map(|line| Some(line.split("\"#").next()?.into()))
            .collect(),
        false => commands(text),
    };
    let is_about_runs = |command: &String| [" tpr", " testplanrun"].iter().any(|kind| command.contains(kind));
    let asks = |command: &String| {
        // What spares a run from cleanup asks for nothing.
        command.contains("annotate ")
            && command.contains("testinium.io/")
            && !command.contains("/keep-until=")
            || command.contains("patch ") && command.contains("stopped")
    };
    found.into_iter().filter(|command: &String| is_about_runs(command) && asks(command)).collect()
}

/// The reason why a command must not be offered in this text, if there is one.
fn fault(command: &str, text: &str) -> Option<&'static str> {
    let has_namespace = command.contains(" -n ") || text.contains("set-context --current --namespace=");
    if !command.contains("--field-manager=testinium") {
        return Some("Flux undoes it");
    }
    if !has_namespace {
        return Some("it is about an unknown namespace");
    }
    if !command.contains("annotate ") {
        return None;
    }
    let value = command.split_once("testinium.io/").and_then(|(_, rest)| rest.split_once('='));
    let value = value.map_or("", |(_, value)| value);
    let is_set_to_the_time = |name: &str| text.contains(&format!("{name}=$(date +%s)\n"));
    let variable = value.strip_prefix("\"$").and_then(|rest| rest.split_once('"'));
    let changes = value == "no"
        || value.starts_with("\"$(date +%s)\"")
        || variable.is_some_and(|(name, _)| is_set_to_the_time(name));
    match (command.contains("--overwrite"), changes) {
        (false, _) => Some("it fails where there is a value"),
        (true, false) => Some("it asks for nothing the second time"),
        (true, true) => None,
    }
}

#[test]
fn a_command_that_must_not_be_offered_is_found() {
    let good = "kubectl -n qa annotate tpr a --overwrite --field-manager=testinium testinium.io/stop=\"$(date +%s)\"";
    assert_eq!(fault(good, ""), None);
    let by_variable = good.replace("$(date +%s)", "$request");
    assert_eq!(fault(&by_variable, "request=$(date +%s)\n"), None);
    assert_eq!(fault(&good.replace("\"$(date +%s)\"", "no"), ""), None);
    assert_eq!(
        fault(&good.replace("-n qa ", ""), "kubectl config set-context --current --namespace=N"),
        None
    );
    for bad in [
        good.replace("-n qa ", ""),
        good.replace("--overwrite ", ""),
        good.replace("--field-manager=testinium ", ""),
        good.replace("\"$(date +%s)\"", "incident-4711"),
        good.replace("$(date +%s)", "now"),
        by_variable,
    ] {
        assert!(fault(&bad, "request=now\n").is_some(), "{bad}");
        assert_eq!(asking_commands(&format!("    r#\"{bad}\"#,\n    \"--overwrite\"")), [bad]);
    }
}
