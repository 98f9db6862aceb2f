//! The oracles: what must be true after every scenario, whatever was done to the operator in it.
//!
//! Each oracle is a function from what was seen to violations, a sentence each; an empty list is a pass. They know
//! nothing of how the operator works, only what it promises.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use serde_json::Value;

use crate::encodings::ENCODINGS;
use crate::faults::{Exchange, Verb};
use crate::simulator::{Nature, PlanTruth};

/// Whether the status of a run or gateway can be believed: its conditions agree with each other, with the plans, and
/// with the generation.
pub fn lint(object: &Value) -> Vec<String> {
    let status = &object["status"];
    let observed = status["observedGeneration"].as_i64().unwrap_or(-1);
    if observed == -1 {
        // Nobody has looked at it yet.
        return Vec::new();
    }
    let mut wrong = lint_status(status);
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    if observed > generation {
        wrong.push(format!("observedGeneration {observed} is ahead of the generation {generation}"));
    }
    named(object, wrong)
}

/// The same for a status alone, as it is on its way to the API server.
pub fn lint_status(status: &Value) -> Vec<String> {
    let observed = status["observedGeneration"].as_i64().unwrap_or(-1);
    let conditions = conditions(status);
    let mut wrong = Vec::new();
    let mut types = BTreeSet::new();
    for condition in &conditions {
        let type_ = text(condition, "type");
        if !types.insert(type_) {
            wrong.push(format!("the condition {type_} is there twice"));
        }
        if condition["observedGeneration"].as_i64().unwrap_or(0) > observed {
            wrong.push(format!("the condition {type_} is ahead of observedGeneration {observed}"));
        }
    }
    if !types.contains("Ready") {
        wrong.push("the condition Ready is missing".to_owned());
    }
    if holds(&conditions, "Stalled", "True") && holds(&conditions, "Reconciling", "True") {
        wrong.push("Stalled stands beside Reconciling".to_owned());
    }
    if holds(&conditions, "Ready", "True") && holds(&conditions, "Stalled", "True") {
        wrong.push("Ready stands beside Stalled".to_owned());
    }
    if types.contains("Stopped") {
        wrong.extend(lint_plans(status, &conditions));
    }
    wrong
}

/// Reasons of Stopped=False that leave nothing to be done.
const AT_REST: [&str; 3] = ["NotRequested", "Withdrawn", "Restored"];

/// Whether what is said of the run as a whole follows from its plans.
fn lint_plans(status: &Value, conditions: &[&Value]) -> Vec<String> {
    let plans = plans(status);
    let count = |outcomes: &[&str]| plans.iter().filter(|(_, outcome)| outcomes.contains(outcome)).count();
    let (pending, good) = (count(&["Pending"]), count(&["Accepted", "NotRunning", "Confirmed"]));
    let bad = count(&["Rejected", "Unknown", "StillRunning", "Expired"]);
    let mut wrong = Vec::new();
    let ids: BTreeSet<i64> = plans.iter().map(|(id, _)| *id).collect();
    if ids.len() != plans.len() {
        wrong.push("a plan is there twice".to_owned());
    }
    let summary = format!("{good}/{}", plans.len());
    if !plans.is_empty() && text(status, "summary") != summary {
        wrong.push(format!("the summary is {:?}, and the plans say {summary:?}", text(status, "summary")));
    }
    let Some(stopped) = conditions.iter().find(|condition| condition["type"] == "Stopped") else {
        return wrong;
    };
    let (value, reason) = (text(stopped, "status"), text(stopped, "reason"));
    let follows = match (value, reason) {
        ("True", "Accepted") => pending + bad == 0 && count(&["Accepted"]) > 0,
        ("True", "NotRunning") => pending + bad + count(&["Accepted"]) == 0 && good > 0,
        ("True", "Confirmed") => pending + bad == 0,
        // An earlier stop may have had its outcomes; nothing of it was taken back unsent.
        ("False", "NotRequested") => pending + count(&["Withdrawn"]) == 0,
        ("False", "Withdrawn") => pending == 0 && count(&["Withdrawn", "Unknown"]) > 0,
        ("False", "Restored") => pending == 0,
        ("False", "PartiallyStopped") => pending == 0 && bad > 0 && good > 0,
        ("False", "Failed" | "Expired") => pending == 0 && bad > 0 && good == 0,
        ("Unknown", _) => pending > 0,
        _ => false,
    };
    if !follows {
        wrong.push(format!("Stopped is {value} {reason}, which does not follow from the plans {plans:?}"));
    }
    let ready = holds(conditions, "Ready", "True");
    if ready != (value == "True" || AT_REST.contains(&reason) && value == "False") {
        wrong.push(format!("Ready is {ready} beside Stopped {value} {reason}"));
    }
    if (value == "Unknown") != holds(conditions, "Reconciling", "True") {
        wrong.push(format!("Stopped is {value}, which does not fit Reconciling"));
    }
    if matches!(reason, "PartiallyStopped" | "Failed" | "Expired") != holds(conditions, "Stalled", "True") {
        wrong.push(format!("Stopped is {reason}, which does not fit Stalled"));
    }
    let complete = status["stop"]["completionTime"].is_string();
    if status["stop"]["trigger"].is_string() && complete != (pending == 0) {
        wrong.push(format!("completionTime is {complete} with {pending} plans pending"));
    }
    wrong
}

/// Whether every plan of a run that is done has the outcome that the gateway knows to be true.
pub fn truthful(run: &Value, truth: &BTreeMap<i64, PlanTruth>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, outcome) in plans(&run["status"]) {
        let Some(plan) = truth.get(&id) else {
            if outcome != "Withdrawn" {
                wrong.push(format!("plan {id} is {outcome}, and the gateway was never asked about it"));
            }
            continue;
        };
        let stopped = plan.accepted > 0;
        let follows = match (plan.nature, outcome) {
            (_, "Withdrawn") => !stopped,
            (Nature::Unknown | Nature::Rejected | Nature::Poisons(_), outcome) => outcome == "Rejected",
            (Nature::NotRunning, outcome) => outcome == "NotRunning",
            (_, "Accepted") => stopped,
            // Somebody's first stop was accepted, and this one came after it.
            (_, "NotRunning") => stopped && !plan.running && plan.asked > 1,
            _ => false,
        };
        if !follows {
            wrong.push(format!("plan {id} is {outcome}, and the gateway knows {plan:?}"));
        }
    }
    named(run, wrong)
}

/// Whether all wanted ids have an outcome, and nothing else has one.
pub fn complete(run: &Value) -> Vec<String> {
    let wanted: BTreeSet<i64> =
        run["spec"]["plans"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    let settled = plans(&run["status"]).into_iter().filter(|(_, outcome)| *outcome != "Pending");
    let settled: BTreeSet<i64> = settled.map(|(id, _)| id).collect();
    let wrong = if wanted == settled {
        Vec::new()
    } else {
        vec![format!("{wanted:?} were asked for, {settled:?} settled")]
    };
    named(run, wrong)
}

/// Whether every status on its way to the API server could be believed, and none went back to an older generation.
pub fn honest_writes(api: &[Exchange]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut generations = BTreeMap::new();
    for (exchange, object) in status_writes(api) {
        let mut found = lint_status(&object["status"]);
        let generation = object["status"]["observedGeneration"].as_i64().unwrap_or(-1);
        if exchange.status == Some(200) {
            let uid = text(&object["metadata"], "uid").to_owned();
            let before = generations.insert(uid, generation).unwrap_or(generation);
            if before > generation {
                found.push(format!("observedGeneration went back from {before} to {generation}"));
            }
        }
        wrong.extend(found.into_iter().map(|what| format!("{exchange}: {what}")));
    }
    wrong
}

/// Whether no id was sent again after its outcome had been written. For histories in which nobody asks twice.
pub fn never_again(api: &[Exchange], gateway: &[Exchange]) -> Vec<String> {
    let mut written: BTreeMap<i64, Instant> = BTreeMap::new();
    for (exchange, object) in status_writes(api) {
        let Some(ended) = exchange.ended.filter(|_| exchange.status == Some(200)) else { continue };
        let at = exchange.at + ended.saturating_sub(exchange.elapsed);
        for (id, outcome) in plans(&object["status"]) {
            if outcome != "Pending" {
                written.entry(id).or_insert(at);
            }
        }
    }
    let mut wrong = Vec::new();
    for call in gateway {
        for id in ids(call).filter(|id| written.get(id).is_some_and(|at| *at < call.at)) {
            wrong.push(format!("{call}: plan {id} is sent although its outcome had been written"));
        }
    }
    wrong
}

/// Whether all requests were for objects of `namespace`, for the Lease, or for the API server's own addresses.
pub fn stays_within(api: &[Exchange], namespace: &str) -> Vec<String> {
    let own = format!("/namespaces/{namespace}/");
    // What it may do in all namespaces is asked once at the start.
    let rights = "/selfsubjectaccessreviews";
    let known = [&*own, "/leases", rights, "/namespaces/default/endpointslices/kubernetes"];
    let strays = api.iter().filter(|exchange| !known.iter().any(|part| exchange.path.contains(part)));
    strays.map(|exchange| format!("{exchange}: not of the namespace {namespace}")).collect()
}

/// Requests since `since` that ask for a change, Leases left out.
pub fn writes_since(api: &[Exchange], since: Instant) -> Vec<String> {
    let writes = api.iter().filter(|exchange| exchange.at > since && is_write(exchange));
    writes.map(ToString::to_string).collect()
}

/// Whether a request asks for a change, other than of a Lease.
pub fn is_write(exchange: &Exchange) -> bool {
    let changes = matches!(
        exchange.verb,
        Some(Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection)
    );
    changes && !exchange.path.contains("/leases")
}

/// The lines of an operator's log that must never be there.
pub fn calm(log: &str) -> Vec<String> {
    let bad = ["panicked", "ended unexpectedly", "RUST_BACKTRACE"];
    log.lines().filter(|line| bad.iter().any(|word| line.contains(word))).map(str::to_owned).collect()
}

/// The ids that a call to the gateway names.
pub fn ids(call: &Exchange) -> impl Iterator<Item = i64> + use<> {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    body["plans"].as_array().cloned().unwrap_or_default().into_iter().filter_map(|id| id.as_i64())
}

/// A piece of a secret of so many characters is found; shorter ones would be found by chance.
const PIECE: usize = 12;

/// Which secrets a text tells, whole or in pieces, in whatever encoding. A secret shorter than a piece is looked for as
/// a whole.
pub fn secrets_told<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let pieces: HashSet<&[u8]> = text.as_bytes().windows(PIECE).collect();
    let mut told = Vec::new();
    for secret in secrets {
        for encoding in ENCODINGS {
            let encoded = (encoding.encode)(secret);
            let found = match encoded.len() {
                ..PIECE => text.contains(&encoded).then_some(encoded.as_bytes()),
                _ => encoded.as_bytes().windows(PIECE).find(|piece| pieces.contains(piece)),
            };
            if let Some(found) = found {
                let found = String::from_utf8_lossy(found);
                told.push(format!("{secret:?} is there as {} ({found:?})", encoding.name));
            }
        }
    }
    told
}

fn status_writes(api: &[Exchange]) -> impl Iterator<Item = (&Exchange, Value)> {
    let writes = api
        .iter()
        .filter(|exchange| exchange.verb == Some(Verb::Update) && exchange.path.ends_with("/status"));
    writes.map(|exchange| (exchange, serde_json::from_slice(&exchange.body).unwrap_or_default()))
}

/// Plans with their outcomes.
fn plans(status: &Value) -> Vec<(i64, &str)> {
    let plans = status["plans"].as_array().into_iter().flatten();
    plans.map(|plan| (plan["id"].as_i64().unwrap_or_default(), text(plan, "outcome"))).collect()
}

fn conditions(status: &Value) -> Vec<&Value> {
    status["conditions"].as_array().into_iter().flatten().collect()
}

fn holds(conditions: &[&Value], type_: &str, status: &str) -> bool {
    conditions.iter().any(|condition| condition["type"] == type_ && condition["status"] == status)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn named(object: &Value, wrong: Vec<String>) -> Vec<String> {
    let name = format!("{} {}", text(object, "kind"), text(&object["metadata"], "name"));
    wrong.into_iter().map(|what| format!("{name}: {what}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A run with conditions as "Type Status Reason", and plans as (id, outcome).
    fn run(summary: &str, plans: &[(i64, &str)], conditions: &[&str]) -> Value {
        let condition = |text: &&str| {
            let words: Vec<_> = text.split(' ').collect();
            json!({"type": words[0], "status": words[1], "reason": words[2], "observedGeneration": 2})
        };
        let complete = plans.iter().all(|(_, outcome)| *outcome != "Pending");
        json!({
            "kind": "TestPlanRun", "metadata": {"name": "r", "generation": 2},
            "spec": {"plans": [1, 2]},
            "status": {
                "observedGeneration": 2, "summary": summary,
                "plans": plans.iter().map(|(id, outcome)| json!({"id": id, "outcome": outcome})).collect::<Vec<_>>(),
                "stop": {"trigger": "Spec", "completionTime": complete.then_some("2026-01-01T00:00:00Z")},
                "conditions": conditions.iter().map(condition).collect::<Vec<_>>(),
            },
        })
    }

    #[test]
    fn the_lint_passes_what_is_right_and_finds_each_kind_of_wrong() {
        let done = ["Ready True Succeeded", "Stopped True Accepted"];
        let right = run("2/2", &[(1, "Accepted"), (2, "NotRunning")], &done);
        assert_eq!(lint(&right), [""; 0]);
        let waiting = ["Ready False Progressing", "Stopped Unknown Stopping", "Reconciling True Progressing"];
        assert_eq!(lint(&run("1/2", &[(1, "Accepted"), (2, "Pending")], &waiting)), [""; 0]);
        let withdrawn = ["Ready True Withdrawn", "Stopped False Withdrawn"];
        assert_eq!(lint(&run("1/2", &[(1, "Accepted"), (2, "Withdrawn")], &withdrawn)), [""; 0]);
        let taken_back = ["Ready True NotRequested", "Stopped False NotRequested"];
        assert_eq!(lint(&run("1/2", &[(1, "Accepted"), (2, "Rejected")], &taken_back)), [""; 0]);
        let rows = [
            (run("1/2", &[(1, "Accepted"), (2, "Accepted")], &done), "the summary is"),
            (run("1/2", &[(1, "Accepted"), (2, "Rejected")], &done), "does not follow"),
            (run("1/2", &[(1, "Accepted"), (2, "Pending")], &done), "does not follow"),
            (run("1/1", &[(1, "Accepted")], &["Stopped True Accepted"]), "Ready is missing"),
            (run("2/2", &[(1, "Accepted"), (1, "Accepted")], &done), "twice"),
            (
                run("1/1", &[(1, "Accepted")], &["Ready True Withdrawn", "Stopped False Withdrawn"]),
                "does not follow",
            ),
            (
                run("1/1", &[(1, "Withdrawn")], &["Ready True NotRequested", "Stopped False NotRequested"]),
                "does not follow",
            ),
            (
                run("1/1", &[(1, "Withdrawn")], &["Ready False Failed", "Stopped False Withdrawn"]),
                "Ready is false",
            ),
            (
                run(
                    "1/1",
                    &[(1, "Rejected")],
                    &["Ready False F", "Stopped False Failed", "Stalled True F", "Reconciling True P"],
                ),
                "beside Reconciling",
            ),
        ];
        for (object, what) in rows {
            let wrong = lint(&object);
            assert!(wrong.iter().any(|sentence| sentence.contains(what)), "{object}\n{wrong:?}");
        }
        let mut ahead = right.clone();
        ahead["status"]["observedGeneration"] = json!(3);
        assert!(lint(&ahead)[0].contains("ahead"));
    }

    #[test]
    fn the_truth_is_what_the_gateway_knows() {
        let plan = |nature, running, accepted, asked| PlanTruth { nature, running, accepted, asked };
        let truth = BTreeMap::from([
            (1, plan(Nature::Running, false, 1, 1)),
            (2, plan(Nature::Unknown, false, 0, 1)),
            (3, plan(Nature::Running, true, 0, 1)),
            (4, plan(Nature::Running, false, 1, 2)),
        ]);
        let rows = [
            ((1, "Accepted"), true),
            ((1, "NotRunning"), false),
            ((1, "Withdrawn"), false),
            ((2, "Rejected"), true),
            ((2, "Accepted"), false),
            ((3, "Accepted"), false),
            ((3, "Rejected"), false),
            ((4, "NotRunning"), true),
            ((5, "Accepted"), false),
            ((5, "Withdrawn"), true),
        ];
        for (row, right) in rows {
            assert_eq!(truthful(&run("1/1", &[row], &[]), &truth).is_empty(), right, "{row:?}");
        }
        assert!(complete(&run("2/2", &[(1, "Accepted"), (2, "Accepted")], &[])).is_empty());
        assert_eq!(complete(&run("1/2", &[(1, "Accepted"), (2, "Pending")], &[])).len(), 1);
    }

    #[test]
    fn a_calm_log_has_no_panic_in_it() {
        assert!(calm("INFO all is well\nWARN a watch broke").is_empty());
        assert_eq!(calm("x\nthread 'main' panicked at src/x.rs\n"), ["thread 'main' panicked at src/x.rs"]);
    }
}
