//! The table of answers: what each answer of a gateway makes of the plans that were asked for.
//!
//! Every row has a gateway object and a run of its own. So rows that share a simulator and an operator go on at the
//! same time without sharing a call, a gate or a proven credential.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Answer, ErrorShape, Reply, When};

use crate::cluster::{ok, run};
use crate::operator::{SOON, Stage, condition};

/// In the body of every answer that is no envelope: it may be another service's, so it is shown nowhere.
const MARK: &str = "marked-text-of-another-service";

/// A change of what a run waits for is told only once it has stood for half a minute.
const LATER: Duration = SOON.saturating_mul(3);

/// A row: an answer to calls that name a culprit, and what must come of it.
struct Row {
    name: &'static str,
    /// How many plans the run has; they are called 1, 2, ... here.
    plans: i64,
    culprit: i64,
    reply: Box<dyn Fn(i64) -> Reply>,
    /// What becomes of the plans that are not simply Accepted.
    outcomes: Vec<(i64, String)>,
    /// The reason of the condition Stopped.
    stopped: &'static str,
    /// Every call, in any order: calls of several gateways go out together.
    calls: Vec<Vec<i64>>,
}

// === impl Row ===

impl Row {
    /// One plan in the call.
    fn one(name: &'static str, reply: Reply, outcome: &str) -> Self {
        let stopped = match outcome {
            "Accepted" => "Accepted",
            "NotRunning" => "NotRunning",
            _ => "Failed",
        };
        Self {
            name,
            plans: 1,
            culprit: 1,
            reply: Box::new(move |_| reply.clone()),
            outcomes: vec![(1, outcome.to_owned())],
            stopped,
            calls: vec![vec![1]],
        }
    }

    /// One plan among four, found by splitting: the first half is accepted, so that the second one is not asked whole.
    fn split(name: &'static str, reply: Reply, outcome: &str) -> Self {
        Self {
            plans: 4,
            culprit: 3,
            outcomes: vec![(3, outcome.to_owned())],
            stopped: if outcome == "NotRunning" { "Accepted" } else { "PartiallyStopped" },
            calls: [&[1, 2, 3, 4][..], &[1, 2], &[3], &[4]].map(<[i64]>::to_vec).to_vec(),
            ..Self::one(name, reply, outcome)
        }
    }

    /// The same, found by asking for each plan alone: mostly all plans of such a call are not running.
    fn singles(name: &'static str, reply: Reply) -> Self {
        Self {
            calls: [&[1, 2, 3, 4][..], &[1], &[2], &[3], &[4]].map(<[i64]>::to_vec).to_vec(),
            ..Self::split(name, reply, "NotRunning")
        }
    }

    /// One plan among four, named by the answer, which leaves the others to be asked for again.
    fn named(name: &'static str, reply: impl Fn(i64) -> Reply + 'static, outcome: &str) -> Self {
        Self {
            reply: Box::new(reply),
            calls: vec![vec![1, 2, 3, 4], vec![1, 2, 4]],
            ..Self::split(name, Reply::natural(), outcome)
        }
    }

    /// What is to be seen, as lines.
    fn expected(&self) -> String {
        let outcomes: BTreeMap<_, _> = self.outcomes.iter().cloned().collect();
        let accepted = || "Accepted".to_owned();
        let outcomes =
            (1..=self.plans).map(|plan| (plan, outcomes.get(&plan).cloned().unwrap_or_else(accepted)));
        let ready = match self.stopped {
            "Accepted" | "NotRunning" => "Succeeded",
            _ => "Failed",
        };
        told(self.stopped, ready, outcomes, self.calls.clone())
    }
}

fn told(
    stopped: &str,
    ready: &str,
    outcomes: impl Iterator<Item = (i64, String)>,
    mut calls: Vec<Vec<i64>>,
) -> String {
    calls.sort();
    let outcomes: Vec<_> = outcomes.map(|(plan, outcome)| format!("{plan} {outcome}")).collect();
    format!("  Stopped {stopped}, Ready {ready}\n  plans {outcomes:?}\n  calls {calls:?}\n")
}

/// The id at the gateway of a row's plan.
fn id(row: usize, plan: i64) -> i64 {
    i64::try_from(row + 1).expect("few rows") * 1000 + plan
}

/// The calls that named plans of a row, by the plans' names in the row.
fn calls(stage: &Stage, row: usize) -> Vec<(Vec<i64>, Answer)> {
    let local = |plan: &i64| plan - id(row, 0);
    let of_row = |plan: &i64| (1..100).contains(&local(plan));
    let calls = stage.simulator.calls().into_iter().filter(|call| call.plans.iter().any(of_row));
    calls.map(|call| (call.plans.iter().map(local).collect(), call.answer)).collect()
}

/// Declares what calls that name the culprit alone or beside others of its row are answered.
fn script(stage: &Stage, row: usize, culprit: i64, reply: Reply) {
    stage.simulator.script(When::always().naming(id(row, culprit)), reply);
}

/// A gateway for each row, without limits that would make them wait for each other.
fn gateways(stage: &Stage, specs: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let limits = json!({"requestsPerSecond": 1000, "maxInFlight": 64});
    let with_limits = |(row, mut spec): (usize, Value)| {
        spec["limits"] = limits.clone();
        stage.gateway_named(&format!("row-{row}"), spec)
    };
    specs.into_iter().enumerate().map(with_limits).collect()
}

fn stopped_run(name: &str, row: usize, plans: impl IntoIterator<Item = i64>) -> Value {
    let ids: Vec<_> = plans.into_iter().map(|plan| id(row, plan)).collect();
    run(name, json!({"plans": ids, "stopped": true, "gatewayRef": {"name": format!("row-{row}")}}))
}

fn apply(stage: &Stage, items: Vec<Value>) {
    stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
}

/// Waits until every run is as wanted, and returns their statuses by name. `wanted` says what is wrong with one.
#[track_caller]
fn wait_for_runs(
    stage: &Stage,
    what: &str,
    wanted: impl Fn(&str, &Value) -> Result<(), String>,
) -> BTreeMap<String, Value> {
    ok(wait_until(what, LATER, || {
        let list = ok(stage.namespace.kubectl.get_json(&["tpr"]));
        let runs = list["items"].as_array().into_iter().flatten();
        let statuses: BTreeMap<_, _> = runs
            .map(|run| {
                (run["metadata"]["name"].as_str().unwrap_or_default().to_owned(), run["status"].clone())
            })
            .collect();
        let wrong: Vec<_> = statuses
            .iter()
            .filter_map(|(name, status)| Some(format!("\n{name}: {}", wanted(name, status).err()?)))
            .collect();
        if wrong.is_empty() { Ok(statuses) } else { Err(wrong.concat()) }
    }))
}

fn is_complete(_: &str, status: &Value) -> Result<(), String> {
    if status["stop"]["completionTime"].is_string() { Ok(()) } else { Err(status.to_string()) }
}

/// Reason of a condition.
fn reason<'a>(status: &'a Value, type_: &str) -> &'a str {
    condition(status, type_).and_then(|condition| condition["reason"].as_str()).unwrap_or("absent")
}

/// Outcome, reason and message of each plan, with the plans' names in the row.
fn outcomes(row: usize, status: &Value) -> Vec<(i64, String)> {
    let plans = status["plans"].as_array().cloned().unwrap_or_default();
    let text = |plan: &Value| {
        let word = |field: &str| plan[field].as_str().map(str::to_owned);
        let mut text = word("outcome").unwrap_or_default();
        text.extend(word("reason").map(|reason| format!(" {reason}")));
        text.extend(word("message").map(|message| format!(": {message}")));
        let real = plan["id"].as_i64().unwrap_or_default();
        let local = real - id(row, 0);
        (local, text.replace(&real.to_string(), &local.to_string()))
    };
    plans.iter().map(text).collect()
}

/// Runs every row to its end and compares.
fn check(rows: &[Row]) {
    let mut stage = Stage::prepare();
    apply(&stage, gateways(&stage, rows.iter().map(|_| json!({}))));
    stage.start_operator();
    let mut runs = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        script(&stage, number, row.culprit, (row.reply)(id(number, row.culprit)));
        runs.push(stopped_run(&format!("row-{number}"), number, 1..=row.plans));
    }
    apply(&stage, runs);
    let statuses = wait_for_runs(&stage, "every plan to have its outcome", is_complete);

    let mut wrong = String::new();
    for (number, row) in rows.iter().enumerate() {
        let status = &statuses[&format!("row-{number}")];
        let calls = calls(&stage, number).into_iter().map(|(plans, _)| plans).collect();
        let outcomes = outcomes(number, status).into_iter();
        let seen = told(reason(status, "Stopped"), reason(status, "Ready"), outcomes, calls);
        let expected = row.expected();
        if seen != expected {
            wrong = format!("{wrong}{}: expected\n{expected}but saw\n{seen}", row.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    stage.assert_silent(&[MARK]);
}

/// A page of somebody else's.
fn page(status: u16) -> Reply {
    Reply::raw(status, format!("<html><body><h1>{MARK}</h1></body></html>"))
        .header("content-type", "text/html; charset=utf-8")
}

const SHAPES: [(ErrorShape, &str); 4] = [
    (ErrorShape::Text, "a text"),
    (ErrorShape::Texts, "a list of texts"),
    (ErrorShape::Objects, "a list of objects"),
    (ErrorShape::Map, "a map"),
];
const UNAVAILABLE: (&str, &str) = ("NOT_AVAILABLE", "the action is not available");
const LOCKED: (&str, &str) = ("PLAN_LOCKED", "the plan is locked");
const UNRECOGNIZED: &str =
    "Unknown UnrecognizedAnswer: the gateway's answer is not one that Testinium documents";

#[test]
fn success_is_accepted() {
    let several = |name, reply| Row {
        plans: 3,
        outcomes: Vec::new(),
        calls: vec![vec![1, 2, 3]],
        ..Row::one(name, reply, "Accepted")
    };
    let envelope = |errors: Value| Reply::errors(errors).acting();
    check(&[
        several("documented", Reply::success()),
        several("result.code 0", Reply::result_code(0)),
        several("an empty list", envelope(json!([]))),
        several("an empty text", envelope(json!(""))),
        several("an empty map", envelope(json!({}))),
        several("false", envelope(json!(false))),
        several("201", Reply::json(201, &json!({"data": null, "errors": null}))),
        several("202", Reply::json(202, &json!({"data": null, "errors": null}))),
        several("a byte order mark", Reply::raw(200, "\u{feff}{\"data\": null, \"errors\": null}")),
    ]);
}

#[test]
fn reported_errors_are_about_one_plan_whatever_their_shape() {
    let mut rows = Vec::new();
    let locked = format!("Rejected GatewayError: {}", LOCKED.1);
    for (shape, name) in SHAPES {
        let fault = move |plan, named, (code, text)| Reply::faults(shape, named, &[(plan, code, text)]);
        // A text or a list of texts has no place for a code, and a map of the simulator's holds it in its text.
        let (alone, named) = match shape {
            ErrorShape::Text | ErrorShape::Texts => {
                (locked.clone(), format!("Rejected GatewayError: plan 3: {}", LOCKED.1))
            }
            ErrorShape::Objects => (locked.clone(), locked.clone()),
            ErrorShape::Map => {
                let text = format!("Rejected GatewayError: {}: {}", LOCKED.0, LOCKED.1);
                (text.clone(), text)
            }
        };
        rows.extend([
            Row::one(name, fault(0, false, UNAVAILABLE), "NotRunning"),
            Row::one(name, fault(0, false, LOCKED), &alone),
            Row::split(name, fault(0, false, LOCKED), &alone),
            Row::named(name, move |plan| fault(plan, true, LOCKED), &named),
            Row::named(name, move |plan| fault(plan, true, UNAVAILABLE), "NotRunning"),
        ]);
    }
    check(&rows);
}

#[test]
fn a_plan_that_does_not_run_is_told_in_words() {
    check(&[
        Row::one("a code", Reply::errors(json!("NOT_AVAILABLE")), "NotRunning"),
        Row::one("a sentence", Reply::errors(json!(["The plan is not running."])), "NotRunning"),
        Row::one("Turkish", Reply::turkish(), "NotRunning"),
        Row::one("Turkish capitals", Reply::errors(json!("PLAN ÇALIŞMIYOR")), "NotRunning"),
        Row::one("Turkish in ASCII", Reply::errors(json!("plan calismiyor")), "NotRunning"),
        Row::one(
            "and something else",
            Reply::errors(json!([{"code": "NOT_AVAILABLE"}, {"code": "PLAN_LOCKED"}])),
            "Rejected GatewayError: PLAN_LOCKED",
        ),
        Row::one("a code of result", Reply::result_code(4003), "Rejected GatewayError: failure"),
        Row::one(
            "for a role",
            Reply::errors(json!(["the action is not available for your role"])),
            "Rejected GatewayError: the action is not available for your role",
        ),
        Row::one(
            "without a subject",
            Reply::errors(json!("not running")),
            "Rejected GatewayError: not running",
        ),
        Row::singles("Turkish, split", Reply::turkish()),
        Row::singles("a code, split", Reply::errors(json!("NOT_AVAILABLE"))),
        Row::split("a code of result, split", Reply::result_code(4003), "Rejected GatewayError: failure"),
        Row::split(
            "of a plan that was not asked for",
            Reply::errors(json!([{"id": 77, "code": "PLAN_LOCKED"}])),
            "Rejected GatewayError: PLAN_LOCKED",
        ),
        Row {
            outcomes: vec![
                (2, "NotRunning".to_owned()),
                (3, "Rejected GatewayError: the plan is locked".to_owned()),
            ],
            calls: vec![vec![1, 2, 3, 4], vec![1, 4]],
            ..Row::named(
                "two named",
                |plan| {
                    let other = (plan - 1, UNAVAILABLE.0, UNAVAILABLE.1);
                    Reply::faults(ErrorShape::Objects, true, &[other, (plan, LOCKED.0, LOCKED.1)])
                },
                "Rejected",
            )
        },
    ]);
}

#[test]
fn what_nobody_documents_is_unknown_and_never_accepted() {
    let answers = [
        ("other JSON", Reply::json(200, &json!({"message": MARK, "data": null}))),
        ("half of the mark", Reply::json(200, &json!({"errors": null, "note": MARK}))),
        ("version 1.16", Reply::not_available()),
        ("data", Reply::json(200, &json!({"data": [MARK], "errors": null}))),
        ("203", Reply::json(203, &json!({"data": null, "errors": null}))),
        ("207", Reply::json(207, &json!({"note": MARK}))),
    ];
    let rows: Vec<_> = answers
        .into_iter()
        .flat_map(|(name, reply)| {
            [Row::one(name, reply.clone(), UNRECOGNIZED), Row::split(name, reply, UNRECOGNIZED)]
        })
        .collect();
    check(&rows);
}

#[test]
fn refusals_are_about_a_plan_in_testiniums_form() {
    let mut rows = Vec::new();
    for (name, status, reason, words) in [
        ("400", 400, "InvalidRequest", "the request is malformed or contained errors"),
        ("404", 404, "NotFound", "there is nothing at this address"),
        ("409", 409, "Conflict", "the request conflicts with another"),
        ("410", 410, "Gone", "the request failed"),
        ("413", 413, "TooLarge", "the request is too large"),
        ("422", 422, "Unprocessable", "the request cannot be processed"),
    ] {
        let with_words = format!("Rejected {reason}: {words}");
        let idle = Reply::json(status, &json!({"data": null, "errors": ["plan is not running"]}));
        // What is too large says nothing of a plan, whatever its words.
        let alone = if status == 413 { "Rejected TooLarge: plan is not running" } else { "NotRunning" };
        rows.extend([
            Row::one(name, Reply::refusal(status), &with_words),
            Row::split(name, Reply::refusal(status), &with_words),
            Row::one(name, idle, alone),
        ]);
    }
    check(&rows);
}

/// The plan is found out while the probes, which are other plans, are served.
#[test]
fn forbidden_is_about_a_plan_while_others_are_served() {
    check(&[Row {
        calls: [&[1, 2, 3, 4][..], &[1], &[2, 3, 4], &[2], &[3, 4], &[3], &[4]].map(<[i64]>::to_vec).to_vec(),
        ..Row::split("among others", Reply::refusal(403), "Rejected Forbidden: access is denied")
    }]);
}

/// An answer that says nothing of any plan: its gateway is waited for.
struct Wait {
    name: &'static str,
    reply: Reply,
    /// Reason of the condition Stopped meanwhile, and what its message says.
    reason: &'static str,
    says: &'static str,
}

#[test]
fn a_gateway_that_can_not_answer_is_waited_for() {
    let wait = |name, reply, reason, says| Wait { name, reply, reason, says };
    let down = |name, reply, says| wait(name, reply, "Unreachable", says);
    let slowly = Duration::from_millis(200);
    check_waits(|elsewhere| {
        let elsewhere = |status| Reply::redirect(status, elsewhere);
        let wrong = |name, reply, says| wait(name, reply, "Misconfigured", says);
        vec![
            down("408", page(408), "HTTP 408"),
            down("425", Reply::refusal(425), "HTTP 425"),
            down("429", Reply::refusal(429), "HTTP 429"),
            down("500", Reply::refusal(500), "HTTP 500"),
            down("500, a clean envelope", Reply::json(500, &json!({"errors": null})), "HTTP 500"),
            down("502", page(502), "HTTP 502"),
            down("503", page(503), "HTTP 503"),
            down("504", Reply::empty(504), "HTTP 504"),
            down("599", page(599), "HTTP 599"),
            down("200, nothing", Reply::empty(200), "HTTP 200, not in Testinium's form"),
            down("200, a page", page(200), "HTTP 200, not in Testinium's form"),
            down("200, a list", Reply::json(200, &json!([MARK])), "HTTP 200, not in Testinium's form"),
            down(
                "200, half of it",
                Reply::raw(200, format!(r#"{{"errors": null, "data": "{MARK}"#)),
                "HTTP 200",
            ),
            down(
                "200, a key twice",
                Reply::raw(200, r#"{"data": null, "errors": null, "errors": null}"#),
                "HTTP 200",
            ),
            down("200, too large", Reply::huge(65 * 1024).not_acting(), "HTTP 200"),
            down("200, far too large", Reply::huge(1 << 30).not_acting(), "HTTP 200"),
            down("204", Reply::empty(204), "HTTP 204, not in Testinium's form"),
            down("400, a page", page(400), "HTTP 400, not in Testinium's form"),
            down(
                "400, other JSON",
                Reply::json(400, &json!({"note": MARK})),
                "HTTP 400, not in Testinium's form",
            ),
            down("403, a page", page(403), "HTTP 403, not in Testinium's form"),
            down(
                "403, other JSON",
                Reply::json(403, &json!({"note": MARK})),
                "HTTP 403, not in Testinium's form",
            ),
            down("409, a page", page(409), "HTTP 409, not in Testinium's form"),
            down(
                "422, other JSON",
                Reply::json(422, &json!({"note": MARK})),
                "HTTP 422, not in Testinium's form",
            ),
            wrong("404, a page", page(404), "HTTP 404, not in Testinium's form"),
            wrong(
                "404, Spring",
                Reply::json(
                    404,
                    &json!({"status": 404, "error": "Not Found",
                "message": "The requested resource [/stop/execution] is not available"}),
                ),
                "HTTP 404",
            ),
            down(
                "a service",
                Reply::errors(json!("SERVICE_NOT_AVAILABLE")),
                "something it needs does not work",
            ),
            down("a grid", Reply::errors(json!("Selenium grid is not running")), "something it needs"),
            down(
                "a grid in Turkish",
                Reply::errors(json!(["Selenium grid çalışmıyor"])),
                "something it needs",
            ),
            down(
                "a database",
                Reply::json(400, &json!({"data": null, "errors": "Database is not available"})),
                "something it needs",
            ),
            down(
                "a licence",
                Reply::json(422, &json!({"data": null, "errors": ["Licence is not available"]})),
                "something it needs",
            ),
            wait(
                "400, a token that expired",
                Reply::json(400, &json!({"data": null, "errors": "TOKEN_EXPIRED"})),
                "AuthenticationFailed",
                "does not accept the credential (HTTP 400)",
            ),
            down("no answer", Reply::never(), "did not answer in time"),
            down(
                "a body in drops",
                Reply::success().not_acting().dripping(1, slowly),
                "did not answer in time",
            ),
            down("dropped", Reply::dropped(), "closed the connection"),
            down("broken off", Reply::success().not_acting().truncated(10), "closed the connection"),
            wrong("301", elsewhere(301), "answered with a redirect (HTTP 301)"),
            wrong("302", elsewhere(302), "HTTP 302"),
            wrong("303", elsewhere(303), "HTTP 303"),
            wrong("307", elsewhere(307), "HTTP 307"),
            wrong("308", elsewhere(308), "HTTP 308"),
            wrong("405", page(405), "answered (HTTP 405)"),
            wrong("415", Reply::refusal(415), "HTTP 415"),
            wrong("451", page(451), "HTTP 451"),
            wait("401", page(401), "AuthenticationFailed", "does not accept the credential (HTTP 401)"),
            wait("403", Reply::refusal(403), "Forbidden", "forbids this credential to stop plans (HTTP 403)"),
        ]
    });
}

fn check_waits(rows: impl FnOnce(&str) -> Vec<Wait>) {
    let mut stage = Stage::prepare();
    let rows = rows(&stage.simulator.elsewhere_url());
    let spec = json!({"timeoutSeconds": 1});
    let mut items = gateways(&stage, rows.iter().map(|_| spec.clone()));
    for (number, row) in rows.iter().enumerate() {
        (1..=3).for_each(|plan| script(&stage, number, plan, row.reply.clone()));
        items.push(stopped_run(&format!("row-{number}"), number, 1..=3));
    }
    apply(&stage, items);
    stage.start_operator();
    let row_of = |name: &str| {
        let number = name.trim_start_matches("row-").parse::<usize>().expect("runs are named after rows");
        (number, &rows[number])
    };
    wait_for_runs(&stage, "every run to say what it waits for", |name, status| {
        let (number, row) = row_of(name);
        let stopped = condition(status, "Stopped").cloned().unwrap_or_default();
        let says = stopped["message"].as_str().is_some_and(|message| message.contains(row.says));
        let is_waiting = stopped["reason"] == row.reason
            && stopped["status"] == "Unknown"
            && reason(status, "Ready") == "DependencyNotReady"
            && reason(status, "Reconciling") == "ProgressingWithRetry"
            && outcomes(number, status).iter().all(|(_, outcome)| outcome.starts_with("Pending"));
        let calls = calls(&stage, number).len();
        let said = is_waiting && says && calls > 3;
        if said { Ok(()) } else { Err(format!("{}: {calls} calls, {status}", row.name)) }
    });
    stage.simulator.clear_scripts();
    wait_for_runs(&stage, "every stop to be accepted", |name, status| {
        let (number, row) = row_of(name);
        let accepted = outcomes(number, status).iter().all(|(_, outcome)| outcome == "Accepted");
        let done = accepted && reason(status, "Stopped") == "Accepted";
        if done { Ok(()) } else { Err(format!("{}: {status}", row.name)) }
    });

    let mut wrong = String::new();
    for (number, row) in rows.iter().enumerate() {
        let calls = calls(&stage, number);
        let answered = |(_, answer): &&(Vec<i64>, Answer)| *answer == Answer::Status(200);
        let succeeded = calls.iter().filter(answered).count();
        let failed: Vec<_> = calls[..calls.len() - succeeded].iter().map(|(plans, _)| plans).collect();
        if failed.is_empty() {
            // These answers have the status of a success: which calls failed can't be told by it.
            continue;
        }
        let is_probe = |call: &&Vec<i64>| call.len() == 1;
        let take_turns = failed.windows(2).all(|two| two[0] != two[1]);
        if *failed[0] != [1, 2, 3] || !failed[1..].iter().all(is_probe) || !take_turns {
            wrong = format!("{wrong}{}: {calls:?}\n", row.name);
        }
    }
    assert!(wrong.is_empty(), "after a call of three, probes of one plan each in turn:\n{wrong}");
    assert!(stage.simulator.elsewhere().is_empty(), "a redirect was followed");
    stage.assert_silent(&[MARK]);
}

#[test]
fn a_credential_that_is_not_accepted_waits_for_its_secret() {
    let mut stage = Stage::prepare();
    stage.token("wrong-token");
    stage.start_operator();
    stage.run("nightly", &[1, 2]);
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "AuthenticationFailed");
    assert_eq!(reason(&status, "Ready"), "DependencyNotReady");
    assert_eq!(crate::operator::outcomes(&status), ["1 Pending", "2 Pending"]);
    stage.token("simulated-token");
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(crate::operator::outcomes(&status), ["1 Accepted", "2 Accepted"]);
}

/// The Secret has been changed, and the token that the operator holds is refused in every way there is.
#[test]
fn a_token_that_was_rotated_is_found_however_the_old_one_is_refused() {
    let mut stage = Stage::prepare();
    let elsewhere = stage.simulator.elsewhere_url();
    let own = |status, errors: Value| Reply::json(status, &json!({"data": null, "errors": errors}));
    let rows = [
        ("401", page(401)),
        ("403, a page", page(403)),
        ("403", Reply::refusal(403)),
        ("400, a page", page(400)),
        ("400, a word", own(400, json!("TOKEN_EXPIRED"))),
        ("400", Reply::refusal(400)),
        ("404", Reply::refusal(404)),
        ("302", Reply::redirect(302, &elsewhere)),
        ("200, a login page", page(200)),
        ("200, other JSON", Reply::json(200, &json!({"note": MARK}))),
        ("200, a word", own(200, json!(["The token has expired"]))),
        ("200, something else", own(200, json!(["no"]))),
        ("500", page(500)),
    ];
    let mut items = gateways(&stage, rows.iter().map(|_| json!({})));
    let runs: Vec<_> = (0..rows.len()).map(|row| stopped_run(&format!("row-{row}"), row, 1..=3)).collect();
    for (row, (_, reply)) in rows.iter().enumerate() {
        for plan in 1..=3 {
            let stale = When::always().naming(id(row, plan)).matching(|call| !call.authorized);
            stage.simulator.script(stale, reply.clone());
        }
    }
    stage.token("the-token-of-yesterday");
    apply(&stage, std::mem::take(&mut items));
    stage.start_operator();
    let read = Instant::now();
    ok(wait_until("the gateways to have been read, some seconds ago", SOON, || {
        let list = ok(stage.namespace.kubectl.get_json(&["tgw"]));
        let gateways = list["items"].as_array().cloned().unwrap_or_default();
        let known = gateways.iter().filter(|gateway| gateway["status"]["conditions"].is_array()).count();
        let settled = known == gateways.len() && read.elapsed() > Duration::from_secs(4);
        if settled { Ok(()) } else { Err(format!("{known} of {}", gateways.len())) }
    }));
    stage.token("simulated-token");
    apply(&stage, runs);
    let statuses = wait_for_runs(&stage, "every stop to be accepted", is_complete);
    let wrong: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(row, (name, _))| (name, outcomes(row, &statuses[&format!("row-{row}")])))
        .filter(|(_, outcomes)| outcomes.iter().any(|(_, outcome)| outcome != "Accepted"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    stage.assert_silent(&[MARK, "the-token-of-yesterday"]);
}

#[test]
fn retry_after_is_honoured_up_to_the_longest_delay() {
    let mut stage = Stage::prepare();
    let longest = |seconds: i64| json!({"retry": {"initialDelaySeconds": 1, "maxDelaySeconds": seconds}});
    let date = SystemTime::now() + Duration::from_secs(25);
    let at_date = Instant::now() + Duration::from_secs(25);
    let day = Duration::from_secs(86_400);
    let rows = [
        ("seconds", longest(300), Reply::refusal(429).retry_after(Duration::from_secs(4)), 4),
        ("more than the longest", longest(3), Reply::refusal(503).retry_after(day), 3),
        ("a date", longest(300), Reply::refusal(503).retry_after_date(date), 0),
        ("a date beyond the longest", longest(3), page(503).retry_after_date(date + day), 3),
        ("after 500", longest(300), Reply::refusal(500).retry_after(Duration::from_secs(4)), 4),
    ];
    let mut items = gateways(&stage, rows.iter().map(|(_, spec, ..)| spec.clone()));
    for (number, (_, _, reply, _)) in rows.iter().enumerate() {
        stage.simulator.script(When::nth(1).naming(id(number, 1)), reply.clone());
        items.push(stopped_run(&format!("row-{number}"), number, [1]));
    }
    apply(&stage, items);
    stage.start_operator();
    wait_for_runs(&stage, "every stop to be accepted", is_complete);
    let calls = stage.simulator.calls();
    for (number, (name, _, _, seconds)) in rows.iter().enumerate() {
        let at: Vec<_> =
            calls.iter().filter(|call| call.plans == [id(number, 1)]).map(|call| call.at).collect();
        assert_eq!(at.len(), 2, "{name}: {calls:?}");
        let waited = at[1] - at[0];
        // Without the header it would be a second at most. The answer leaves a little after the call has come.
        assert!(waited >= Duration::from_secs(*seconds), "{name}: {waited:?}");
        if *name == "a date" {
            // Dates are whole seconds.
            assert!(at[1] + Duration::from_secs(1) >= at_date, "{name}: called too early, after {waited:?}");
        }
    }
}

#[test]
fn a_plan_that_makes_the_gateway_fail_is_found_and_the_others_are_done() {
    let mut stage = Stage::prepare();
    let rows = [
        ("500", Reply::refusal(500)),
        ("502", page(502)),
        ("504", page(504)),
        ("no answer", Reply::never()),
        ("dropped", Reply::dropped()),
        ("404, a page", page(404)),
        ("403, other JSON", Reply::json(403, &json!({"note": MARK}))),
        ("200, a page", page(200)),
    ];
    let spec = json!({"timeoutSeconds": 1});
    let mut items = gateways(&stage, rows.iter().map(|_| spec.clone()));
    for (number, (_, reply)) in rows.iter().enumerate() {
        script(&stage, number, 3, reply.clone());
        items.push(stopped_run(&format!("row-{number}"), number, 1..=4));
    }
    apply(&stage, items);
    stage.start_operator();
    let number_of = |name: &str| name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let is_isolated = |name: &str, status: &Value| {
        let outcomes: Vec<_> =
            outcomes(number_of(name), status).into_iter().map(|(_, outcome)| outcome).collect();
        // From the first bad answer on the plan's message names it.
        let told = outcomes.iter().map(|outcome| outcome.split(": the gateway's last answer: ").next());
        let done = told.eq(["Accepted", "Accepted", "Pending", "Accepted"].map(Some))
            && outcomes.get(2).is_some_and(|outcome| outcome.len() > "Pending".len());
        if done { Ok(()) } else { Err(status.to_string()) }
    };
    wait_for_runs(&stage, "all but the third plan to be done", is_isolated);

    // A gateway that such a plan is at is open to others.
    let later = |number| stopped_run(&format!("later-{number}"), number, [5]);
    apply(&stage, (0..rows.len()).map(later).collect());
    wait_for_runs(&stage, "runs that come later to be done", |name, status| {
        if name.starts_with("later") { is_complete(name, status) } else { is_isolated(name, status) }
    });
    stage.simulator.clear_scripts();
    wait_for_runs(&stage, "the third plan to be done once it can be", is_complete);
    for (number, (name, _)) in rows.iter().enumerate() {
        let with_others: Vec<_> = calls(&stage, number)
            .into_iter()
            .map(|(plans, _)| plans)
            .filter(|plans| plans.contains(&3) && plans.len() > 1)
            .collect();
        assert!(with_others.len() <= 4, "{name}: {with_others:?}");
    }
    stage.assert_silent(&[MARK]);
}
