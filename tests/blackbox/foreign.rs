//! Answers of whatever stands before the gateway: they say nothing about plans, so stops wait and go on by themselves.

use std::time::Duration;

use serde_json::json;
use testinium_testbed::simulator::{Config, Foreign, Nature, Reply, Request, Simulator, When};

use crate::cluster::run;
use crate::operator::{Stage, condition, outcomes};
use crate::rows::{Becomes, Row, Table};

fn config() -> Config {
    Config { default_nature: Nature::NeverStops, ..Config::default() }
}

fn prepare(spec: serde_json::Value) -> Stage {
    Stage::prepare_with(config(), spec)
}

/// How many probes of a shut gate may come in a time, where the pauses double from a second on: as many as doublings
/// fit in, and as many again for pauses that chance made short.
fn probes_within(time: Duration) -> usize {
    2 * ((time.as_secs_f64() + 1.0).log2().ceil() as usize) + 4
}

// --- every call ---

#[test]
fn a_page_is_no_verdict_on_any_plan() {
    const PATH: &str = "/stop/execution";
    let mut rows = Vec::new();
    for foreign in Foreign::all() {
        let says = match foreign {
            // Another service's JSON with a 200 may have done anything.
            Foreign::OtherService => continue,
            Foreign::LoginPage | Foreign::MaintenancePage => "",
            Foreign::LoginRedirect => "HTTP 302",
            Foreign::NginxBadRequest | Foreign::TextBadRequest | Foreign::SpringBadRequest => "HTTP 400",
            Foreign::Firewall | Foreign::NginxForbidden => "HTTP 403",
            Foreign::NginxNotFound
            | Foreign::TraefikNotFound
            | Foreign::IstioNotFound
            | Foreign::SpringNotFound => "HTTP 404",
            Foreign::NginxTooLarge => "HTTP 413",
            Foreign::BadGateway => "HTTP 502",
            Foreign::Unavailable | Foreign::IstioUnavailable => "HTTP 503",
            Foreign::GatewayTimeout => "HTTP 504",
        };
        let row =
            |name: &str| Row::new(format!("{foreign:?}, {name}"), foreign.reply(PATH), Becomes::Waits(says));
        rows.extend([row("one plan"), row("four plans").of_four()]);
    }
    let table = Table::play(rows);
    table.recover();
    for row in &table.rows {
        let requests = row.simulator.requests();
        assert!(requests.iter().all(|request| request.path == PATH), "{}: {requests:?}", row.name);
    }
}

#[test]
fn a_404_is_told_as_a_wrong_address_even_of_a_gateway_that_was_well() {
    let row = |foreign: Foreign| {
        let reply = foreign.reply("/stop/execution");
        Row::new(format!("{foreign:?}"), reply, Becomes::WaitsAs("Misconfigured")).proven()
    };
    let rows = [
        Foreign::NginxNotFound,
        Foreign::TraefikNotFound,
        Foreign::IstioNotFound,
        Foreign::SpringNotFound,
        Foreign::LoginRedirect,
    ];
    Table::play(rows.into_iter().map(row).collect()).recover();
}

#[test]
fn what_is_no_json_object_is_waited_for_with_any_status() {
    const ENVELOPE: &str = r#"{"data":null,"errors":null}"#;
    let cut = &ENVELOPE[..ENVELOPE.len() - 1];
    let twice = r#"{"data":null,"errors":"NOT_AVAILABLE","errors":null}"#;
    let waits = |status: u16, what: &str, reply: Reply| {
        Row::new(format!("{status} {what}"), reply.not_acting(), Becomes::Waits(""))
    };
    let mut rows = Vec::new();
    for status in [200, 201, 206, 400, 404, 409, 422] {
        rows.extend([
            waits(status, "nothing", Reply::empty(status)),
            waits(status, "cut off", Reply::raw(status, cut)),
            waits(status, "a key twice", Reply::raw(status, twice)),
            waits(status, "a list", Reply::raw(status, format!("[{ENVELOPE}]"))),
            waits(status, "text", Reply::raw(status, "NOT_AVAILABLE")),
        ]);
    }
    rows.push(waits(204, "nothing", Reply::empty(204)));
    rows.push(waits(200, "too large", Reply::huge(1 << 20)));
    rows.push(waits(200, "two in a row", Reply::raw(200, format!("{ENVELOPE}{ENVELOPE}"))));
    Table::play(rows).recover();
}

#[test]
fn statuses_that_nobody_expects_are_told_as_a_wrong_address() {
    let row = |status: u16| {
        let html = Reply::raw(status, "<html></html>").header("content-type", "text/html");
        Row::new(format!("{status}"), html, Becomes::WaitsAs("Misconfigured")).of_four()
    };
    let statuses = [402, 405, 406, 407, 414, 415, 418, 421, 426, 431, 451, 499];
    Table::play(statuses.into_iter().map(row).collect()).recover();
}

#[test]
fn a_401_is_told_as_a_refused_credential_whoever_says_so() {
    let told = Becomes::WaitsAs("AuthenticationFailed");
    let rows = vec![
        Row::new("a page", Reply::html(401), told),
        Row::new("nothing", Reply::empty(401).header("www-authenticate", "Basic realm=\"proxy\""), told),
        Row::new("the envelope", Reply::refusal(401), told).of_four(),
        Row::new("a page of a gateway that was well", Reply::html(401), told).proven(),
    ];
    Table::play(rows).recover();
}

#[test]
fn a_200_of_another_service_is_unknown_and_never_accepted() {
    let reply = || Foreign::OtherService.reply("/stop/execution");
    let rows = vec![
        Row::new("one plan", reply(), Becomes::All("Unknown")),
        Row::new("four plans", reply(), Becomes::All("Unknown")).of_four(),
        Row::new("proven", reply(), Becomes::All("Unknown")).proven(),
    ];
    Table::play(rows);
}

#[test]
fn an_address_that_is_mistyped_is_corrected_and_the_stop_goes_on_by_itself() {
    let simulator = Config { unknown_path: Some(Foreign::SpringNotFound), ..config() };
    let mut stage = Stage::prepare_with(simulator, json!({}));
    stage.gateway(json!({"url": format!("{}/gatway", stage.simulator.url())}));
    stage.start_operator();
    stage.run("nightly", &[1, 2, 3]);
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "Misconfigured");
    assert_eq!(outcomes(&status), ["1 Pending", "2 Pending", "3 Pending"]);
    let gateway = stage.wait_for_gateway("Misconfigured");
    let message = condition(&gateway, "Ready").expect("Ready")["message"].clone();
    assert!(message.as_str().unwrap_or_default().contains("HTTP 404"), "{message}");
    stage.gateway(json!({}));
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted", "2 Accepted", "3 Accepted"]);
    // A plan that was just trying the old address goes alone, and each is sent once.
    let mut sent = stage.calls().concat();
    sent.sort_unstable();
    assert_eq!(sent, [1, 2, 3], "{:?}", stage.calls());
    stage.wait_for_gateway("Succeeded");
}

#[test]
fn three_hundred_plans_behind_a_page_cost_a_few_probes_and_then_one_burst() {
    let mut stage = prepare(json!({"retry": {"initialDelaySeconds": 1, "maxDelaySeconds": 300}}));
    stage.simulator.script(When::always(), Foreign::NginxNotFound.reply("/stop/execution"));
    stage.run("nightly", &(1..=300).collect::<Vec<_>>());
    stage.stop("nightly");
    stage.start_operator();
    let status = stage.wait_for("nightly", "Misconfigured");
    stage.wait_for_calls(6);
    assert!(outcomes(&status).iter().all(|plan| plan.ends_with(" Pending")), "{status}");
    let calls = stage.simulator.calls();
    let most = 3 + probes_within(calls[0].at.elapsed());
    assert!(calls.len() <= most, "{} calls, {most} at most: {:?}", calls.len(), stage.calls());
    stage.simulator.clear_scripts();
    stage.wait_for("nightly", "Accepted");
    let answered: Vec<_> = stage.calls().into_iter().skip(calls.len()).collect();
    assert_eq!(answered.iter().map(Vec::len).sum::<usize>(), 300, "{answered:?}");
    assert!(answered.len() <= 6, "{} calls after the page was gone", answered.len());
}

#[test]
fn a_new_request_is_worth_a_probe_at_once_and_takes_the_others_with_it() {
    let mut stage = prepare(json!({"retry": {"initialDelaySeconds": 300, "maxDelaySeconds": 300}}));
    stage.simulator.script(When::always(), Foreign::NginxNotFound.reply("/stop/execution"));
    stage.start_operator();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Misconfigured");
    stage.simulator.clear_scripts();
    stage.settle("later", 2);
    stage.wait_for("nightly", "Accepted");
}

// --- some calls ---

/// Plays one bad replica of two that answers in several ways, each at a stage of its own.
fn lose_no_stop(bad: &When) {
    let stage = |foreign: &Foreign| {
        let mut stage = prepare(json!({"batching": {"maxPlans": 10}}));
        stage.simulator.script(bad.clone(), foreign.reply("/stop/execution"));
        stage.run("nightly", &(1..=60).collect::<Vec<_>>());
        stage.stop("nightly");
        stage.start_operator();
        stage
    };
    let foreign = [Foreign::NginxNotFound, Foreign::Firewall, Foreign::BadGateway, Foreign::LoginPage];
    let stages: Vec<_> = foreign.iter().map(stage).collect();
    for (foreign, stage) in foreign.iter().zip(&stages) {
        let status = stage.wait_for_status("nightly", &format!("{foreign:?}"), |status| {
            status["stop"]["completionTime"].is_string()
        });
        let lost: Vec<_> =
            outcomes(&status).into_iter().filter(|plan| !plan.ends_with(" Accepted")).collect();
        assert!(lost.is_empty(), "{foreign:?} lost {lost:?}");
        let calls = stage.calls().len();
        assert!(calls <= 60, "{foreign:?}: {calls} calls");
    }
}

#[test]
fn one_bad_replica_of_two_that_take_turns_by_request_loses_no_stop() {
    lose_no_stop(&When::every_other());
}

/// A connection that is kept open would lead to the bad one for ever.
#[test]
fn one_bad_replica_of_two_that_take_turns_by_connection_loses_no_stop() {
    lose_no_stop(&When::every_other_connection());
}

#[test]
fn a_page_that_only_one_plan_gets_holds_up_that_plan_alone_and_condemns_nobody() {
    let foreign = [
        Foreign::NginxNotFound,
        Foreign::Firewall,
        Foreign::TextBadRequest,
        Foreign::SpringNotFound,
        Foreign::NginxTooLarge,
        Foreign::LoginPage,
        Foreign::BadGateway,
    ];
    let stages: Vec<_> = foreign
        .iter()
        .map(|foreign| {
            let mut stage = prepare(json!({}));
            stage.simulator.script(When::always().naming(3), foreign.reply("/stop/execution"));
            stage.run("nightly", &[1, 2, 3, 4]);
            stage.stop("nightly");
            stage.start_operator();
            stage
        })
        .collect();
    for (foreign, stage) in foreign.iter().zip(&stages) {
        let status =
            stage.wait_for_outcomes("nightly", &["1 Accepted", "2 Accepted", "3 Pending", "4 Accepted"]);
        let stopped = condition(&status, "Stopped").expect("Stopped");
        assert_eq!(stopped["status"], "Unknown", "{foreign:?}");
        // A gateway that such a plan is at is open to others.
        stage.run("later", &[5]);
        stage.stop("later");
    }
    for stage in &stages {
        stage.wait_for("later", "Accepted");
        assert_eq!(outcomes(&stage.status("nightly"))[2], "3 Pending");
        stage.simulator.clear_scripts();
        stage.wait_for("nightly", "Accepted");
    }
}

// --- a 400 ---

#[test]
fn a_lone_plan_that_gets_a_400_in_plain_text_expires_with_the_last_answer_named() {
    let mut stage = prepare(json!({}));
    stage.simulator.script(When::always(), Foreign::TextBadRequest.reply("/stop/execution"));
    stage.start_operator();
    stage.namespace.apply(&run("nightly", json!({"plans": [1], "stopped": true, "stopDeadlineSeconds": 10})));
    let told = stage.wait_for_status("nightly", "the answer to be told", |status| {
        let stopped = condition(status, "Stopped").cloned().unwrap_or_default();
        stopped["status"] == "Unknown"
            && stopped["message"].as_str().is_some_and(|message| message.contains("HTTP 400"))
    });
    assert_eq!(outcomes(&told), ["1 Pending"]);
    let status = stage.wait_for("nightly", "Expired");
    assert_eq!(outcomes(&status), ["1 Expired"]);
    assert!(status.to_string().contains("HTTP 400, not in Testinium's form"), "{status}");
    assert!(stage.calls().iter().all(|call| *call == [1]));
}

#[test]
fn a_400_in_json_counts_for_plans_once_the_endpoint_has_spoken_as_testinium_does() {
    let spring = || Foreign::SpringBadRequest.reply("/stop/execution");
    let rows = vec![
        Row::new("never spoken", spring(), Becomes::Waits("HTTP 400")),
        Row::new("spoken", spring(), Becomes::All("Rejected")).proven(),
        Row::new("spoken, four plans", spring(), Becomes::All("Rejected")).proven().of_four(),
    ];
    let table = Table::play(rows);
    table.recover();
    drop(table);

    // An edit of the gateway leaves nothing of what its endpoint had said before.
    let mut stage = prepare(json!({}));
    stage.start_operator();
    stage.settle("before", 1);
    let other = Simulator::start(config()).expect("the other address is served");
    other.script(When::always(), spring());
    stage.gateway(json!({"url": other.url()}));
    stage.run("after", &[2]);
    stage.stop("after");
    let status = stage.wait_for_status("after", "a wait that is told", |status| {
        condition(status, "Stopped").is_some_and(|stopped| stopped["reason"] != "Stopping")
            && condition(status, "Ready").is_some_and(|ready| ready["reason"] == "DependencyNotReady")
    });
    assert_eq!(outcomes(&status), ["2 Pending"]);
    other.clear_scripts();
    stage.wait_for("after", "Accepted");
}

// --- a redirect ---

#[test]
fn a_login_redirect_is_never_followed_with_a_credential() {
    let mut stage = prepare(json!({}));
    stage.simulator.script(When::always(), Foreign::LoginRedirect.reply("/stop/execution"));
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.start_operator();
    stage.wait_for("nightly", "Misconfigured");
    stage.wait_for_calls(3);
    let astray = |request: &Request| request.path.starts_with("/login");
    assert!(!stage.simulator.requests().iter().any(astray), "{:?}", stage.simulator.requests());
    stage.simulator.clear_scripts();
    stage.wait_for("nightly", "Accepted");
}
