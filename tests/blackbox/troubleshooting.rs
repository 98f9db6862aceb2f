//! `docs/troubleshooting.md` shows what `kubectl describe` really says of each failure.
//!
//! Each failure is brought about, and what kubectl says is compared with what the page shows. `UPDATE_DOCS=1` writes it
//! into the page instead.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::page;
use testinium_testbed::pages::{Step, block_commands, walk};
use testinium_testbed::process::free_port;
use testinium_testbed::simulator::{Config, Login, Nature, Reply, Simulator, When};
use testinium_testbed::terminal::Terminal;

use crate::cluster::{Namespace, cluster, gateway, ok, repository, run, site};
use crate::operator::{SOON, condition};

/// One failure, in a namespace of its own where the run is `nightly` and the gateway `default`.
pub(crate) struct Failure {
    /// Names its place in the page.
    name: &'static str,
    /// The reason of the run's condition Stopped, once it is there.
    reason: &'static str,
    /// The reason of the gateway's condition Ready; none: the gateway is well, or not there.
    gateway: Option<&'static str>,
    /// The event that tells of it.
    event: &'static str,
    pub(crate) namespace: Namespace,
    pub(crate) simulator: Simulator,
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(
        name: &'static str,
        reason: &'static str,
        gateway: Option<&'static str>,
        event: &'static str,
    ) -> Self {
        let simulator = Simulator::start(Config::default()).expect("the simulator starts");
        Self { name, reason, gateway, event, namespace: Namespace::create(), simulator }
    }

    fn secret(&self, data: Value) {
        self.namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "testinium-token"}, "stringData": data,
        }));
    }

    fn gateway(&self, spec: Value) {
        let mut whole = json!({
            "url": self.simulator.url(),
            "allowPlainHTTP": true,
            "auth": {"bearerToken": {"secretRef": {"name": "testinium-token"}}},
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            whole[field] = value.clone();
        }
        self.namespace.apply(&gateway("default", whole));
    }

    /// Asks for the stop, and does what goes wrong with it afterwards.
    pub(crate) fn stop(&self) {
        let mut run = run("nightly", json!({"plans": [614, 615], "stopped": true}));
        match self.name {
            "expired" => run["spec"]["stopDeadlineSeconds"] = json!(1),
            "annotation" => {
                run["spec"]["stopped"] = Value::Null;
                run["metadata"]["annotations"] = json!({"testinium.io/stop": ""});
            }
            _ => {}
        }
        self.namespace.apply(&run);
        if self.name == "reverted" {
            self.wait_for("tpr/nightly", "Stopped", "Accepted");
            let patch = r#"{"spec":{"stopped":false}}"#;
            let manager = "--field-manager=kustomize-controller";
            self.namespace.run(&["patch", "tpr", "nightly", "--type=merge", manager, "--patch", patch]);
        }
    }

    pub(crate) fn wait_for(&self, resource: &str, type_: &str, reason: &str) {
        let what = format!("{type_} of {resource} ({}) to be {reason}", self.name);
        ok(wait_until(&what, LATER, || {
            let object = ok(self.namespace.kubectl.get_json(&[resource]));
            match condition(&object["status"], type_) {
                Some(condition) if condition["reason"] == reason => Ok(()),
                _ => Err(object["status"].to_string()),
            }
        }));
    }

    pub(crate) fn wait_for_event(&self, reason: &str) {
        ok(wait_until(&format!("the event {reason}"), SOON, || {
            let events = self.namespace.run(&["events"]);
            if events.contains(reason) { Ok(()) } else { Err(events) }
        }));
    }

    /// What a person at a terminal would see.
    fn shown(&self) -> String {
        self.wait_for("tpr/nightly", "Stopped", self.reason);
        self.wait_for_event(self.event);
        if let Some(reason) = self.gateway {
            self.wait_for("tgw/default", "Ready", reason);
            // So the page shows the run alone.
            assert_eq!(self.message("tgw/default", "Ready"), self.message("tpr/nightly", "Stopped"));
        }
        self.describe()
    }

    fn message(&self, resource: &str, type_: &str) -> Value {
        let object = ok(self.namespace.kubectl.get_json(&[resource]));
        condition(&object["status"], type_).map_or(Value::Null, |condition| condition["message"].clone())
    }

    fn describe(&self) -> String {
        let text = self.namespace.run(&["describe", "tpr", "nightly"]);
        let whole = excerpt(&text).replace(&self.namespace.name, "team");
        let excerpt = if self.name == WHOLE { whole } else { what_differs(&whole) };
        format!("$ kubectl describe tpr nightly\n{excerpt}")
    }
}

/// A changed situation is written once it has stood for half a minute.
const LATER: Duration = SOON.saturating_mul(3);

/// What says something: conditions, plans and events, without what differs from time to time.
fn excerpt(text: &str) -> String {
    let status = text.find("\nStatus:").map_or("", |at| &text[at + 1..]);
    let mut events = false;
    let mut excerpt = String::new();
    for line in status.lines().filter(|line| !CHANGES.iter().any(|word| line.trim_start().starts_with(word)))
    {
        events |= line.starts_with("Events:");
        if events && line.starts_with("  ") {
            let mut cells: Vec<_> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            // The age.
            cells.remove(2);
            excerpt.push_str(&format!("  {}\n", cells.join("  ")));
        } else {
            excerpt.push_str(&format!("{}\n", without_times(line)));
        }
    }
    excerpt
}

/// The failure that the page shows whole. Of the others it shows what differs.
const WHOLE: &str = "no-gateway";

/// The condition that says what is, the plans of which there is something to say, and events with more than a reason.
fn what_differs(whole: &str) -> String {
    let mut kept = String::new();
    for (heading, lines) in blocks(whole) {
        match heading {
            "  Conditions:" => {
                // Each condition ends with its type.
                let mut conditions = lines.split_inclusive(|line| line.trim_start().starts_with("Type:"));
                let is_told = |lines: &&[&str]| lines.last().is_some_and(|line| line.ends_with("Stopped"));
                keep(&mut kept, heading, conditions.find(is_told).unwrap_or_default());
            }
            "  Plans:" if lines.iter().any(|line| line.trim_start().starts_with("Message:")) => {
                keep(&mut kept, heading, &lines);
            }
            "  Plans:" | "  Stop:" => {}
            "Events:" if lines.iter().any(|line| line.contains("GatewayUnavailable")) => {}
            _ if heading.starts_with("  Summary:") => {}
            _ => keep(&mut kept, heading, &lines),
        }
    }
    kept
}

fn keep(kept: &mut String, heading: &str, lines: &[&str]) {
    for line in [heading].iter().chain(lines) {
        kept.push_str(line);
        kept.push('\n');
    }
}

/// The lines under each heading of a status, and those of the events.
fn blocks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let is_below = line.starts_with("    ")
            || blocks.last().is_some_and(|(heading, _)| heading.starts_with("Events"));
        match blocks.last_mut() {
            Some((_, lines)) if is_below => lines.push(line),
            _ => blocks.push((line, Vec::new())),
        }
    }
    blocks
}

/// Lines that differ from time to time, and say nothing of a failure.
const CHANGES: &[&str] = &[
    "Last Transition Time:",
    "Observed Generation:",
    "Start Time:",
    "Request Time:",
    "Completion Time:",
    "Withdrawn Time:",
    "Attempts:",
    "UID:",
];

fn without_times(line: &str) -> String {
    let is_time = |word: &str| word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let words = line.split(' ').map(|word| if is_time(word) { "2026-11-24T08:15:30Z" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn docs_page() -> PathBuf {
    repository("docs/troubleshooting.md")
}

/// The page with what was seen put into the code blocks that follow its marks.
fn filled(page: &str, seen: &[(&str, String)]) -> String {
    let mut filled = page.to_owned();
    for (name, shown) in seen {
        let mark = format!("<!-- shown: {name} -->\n```console\n");
        let start = filled.find(&mark).unwrap_or_else(|| panic!("the page has no {mark:?}")) + mark.len();
        let end = start + filled[start..].find("```").expect("a code block ends");
        filled.replace_range(start..end, shown);
    }
    filled
}

/// Their names, the reason of the run's condition Stopped, of the gateway's condition Ready, and of the event.
const FAILURES: &[(&str, &str, Option<&str>, &str)] = &[
    ("no-gateway", "GatewayNotFound", None, "GatewayUnavailable"),
    ("no-secret", "SecretNotFound", Some("SecretNotFound"), "GatewayUnavailable"),
    ("bad-token", "InvalidCredential", Some("InvalidCredential"), "GatewayUnavailable"),
    ("old-token", "AuthenticationFailed", Some("AuthenticationFailed"), "GatewayUnavailable"),
    ("login", "AuthenticationFailed", Some("AuthenticationFailed"), "GatewayUnavailable"),
    ("forbidden", "Forbidden", Some("Forbidden"), "GatewayUnavailable"),
    ("down", "Unreachable", Some("Unreachable"), "GatewayUnavailable"),
    ("overloaded", "Unreachable", Some("Unreachable"), "GatewayUnavailable"),
    ("redirect", "Misconfigured", Some("Misconfigured"), "GatewayUnavailable"),
    ("suspended", "Suspended", Some("Suspended"), "GatewayUnavailable"),
    ("rejected", "PartiallyStopped", None, "PartiallyStopped"),
    ("unrecognized", "Failed", None, "StopFailed"),
    ("expired", "Expired", None, "StopExpired"),
    ("reverted", "NotRequested", None, "StopReverted"),
    ("annotation", "NotRequested", None, "InvalidAnnotation"),
];

/// The commands with which to look for a failure, or to do without the operator, typed where the Secret is missing.
const LOOK: &[Step] = &[
    ("get tpr,tgw", &["Unknown SecretNotFound", "False SecretNotFound"]),
    ("describe tpr nightly", &["Name: nightly", "Reason: SecretNotFound"]),
    ("get events", &["GatewayUnavailable"]),
    ("curl ", &[r#""errors":null"#]),
    ("annotate tgw default", &["testiniumgateway.testinium.io/default annotated"]),
];

pub(crate) fn prepare(failure: &Failure) {
    let simulator = &failure.simulator;
    if failure.name != "no-secret" {
        failure.secret(json!({"token": "simulated-token"}));
    }
    if failure.name != "no-gateway" {
        failure.gateway(json!({"suspend": failure.name == "suspended"}));
    }
    match failure.name {
        "bad-token" => failure.secret(json!({"token": "two\nlines"})),
        "old-token" => failure.secret(json!({"token": "expired-token"})),
        "login" => {
            failure.secret(json!({
                "username": Login::default().username, "password": "no longer right",
                "clientId": "client1", "clientSecret": "secret1",
            }));
            failure.gateway(json!({"auth": {"password": {
                "tokenURL": simulator.token_url(), "secretRef": {"name": "testinium-token"},
            }}}));
        }
        "forbidden" => simulator.script(When::always(), Reply::refusal(403)),
        "down" | "expired" => simulator.down().expect("it goes down"),
        "overloaded" => simulator.script(When::always(), Reply::empty(503)),
        "redirect" => {
            simulator.script(When::always(), Reply::redirect(302, "https://login.example.com/"));
        }
        "rejected" => simulator.plan(615, Nature::Unknown),
        "unrecognized" => simulator.script(When::always(), Reply::json(200, &json!({"status": "SUCCESS"}))),
        _ => {}
    }
}

/// The flag of an operator that serves the namespaces of these failures alone.
pub(crate) fn watching<'a>(failures: impl IntoIterator<Item = &'a Failure>) -> String {
    let namespaces: Vec<_> = failures.into_iter().map(|failure| failure.namespace.name.as_str()).collect();
    format!("--watch-namespaces={}", namespaces.join(","))
}

#[test]
fn the_page_shows_what_kubectl_says() {
    let failures: Vec<_> = FAILURES
        .iter()
        .map(|(name, reason, gateway, event)| Failure::new(name, reason, *gateway, event))
        .collect();
    failures.iter().for_each(prepare);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let flag = watching(&failures);
    let port = ok(free_port());
    let probes = format!("--health-probe-bind-address=127.0.0.1:{port}");
    let flags = ["--leader-elect=false", &probes, &flag];
    let operator = ok(site().direct_operator(directory.path(), "operator", &flags));
    ok(operator.start());
    // Else a busy machine may show that gateways have not been listed yet, which is no failure.
    ok(wait_until("the operator to be ready", LATER, || match page(port, "/readyz") {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    }));
    failures.iter().for_each(Failure::stop);
    let seen: Vec<_> = failures.iter().map(|failure| (failure.name, failure.shown())).collect();
    let old = std::fs::read_to_string(docs_page()).expect("the page can be read");
    let no_secret = failures.iter().find(|failure| failure.name == "no-secret").expect("it is there");
    let terminal = ok(Terminal::new(cluster(), &no_secret.namespace.name, directory.path()));
    let terminal = terminal.with_gateway(&no_secret.simulator, "simulated-token");
    walk(&terminal, &block_commands(&old), LOOK).unwrap_or_else(|why| panic!("{why}"));
    let new = filled(&old, &seen);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(docs_page(), new).expect("the page can be written");
        return;
    }
    assert_eq!(old, new, "UPDATE_DOCS=1 cargo test --test blackbox troubleshooting would mend it");
}
