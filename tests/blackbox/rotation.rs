//! A token that is rotated: however its predecessor is refused, the Secret is read again and the stop goes on with the
//! new one, and nothing is judged by the old one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Config, Nature, Simulator, TokenRefusal};

use crate::cluster::{cluster, ok, run};
use crate::operator::{SOON, Stage, condition, outcomes};
use crate::waiting::stopped_reason;

/// A gateway of a stage, with a Secret of its own, which refuses other tokens in one way.
struct Site {
    refusal: TokenRefusal,
    simulator: Simulator,
    name: String,
}

// === impl Site ===

impl Site {
    fn new(stage: &Stage, refusal: TokenRefusal, spec: &Value) -> Self {
        let config = Config {
            default_nature: Nature::NeverStops,
            token: YESTERDAY.to_owned(),
            token_refusal: refusal,
            ..Config::default()
        };
        let simulator = Simulator::start(config).expect("the simulator starts");
        let name = format!("{refusal:?}").to_lowercase();
        let mut whole = spec.clone();
        whole["url"] = json!(simulator.url());
        whole["auth"] = json!({"bearerToken": {"secretRef": {"name": name}}});
        let site = Self { refusal, simulator, name };
        site.secret(stage, YESTERDAY);
        stage.namespace.apply(&stage.gateway_named(&site.name, whole));
        site
    }

    fn secret(&self, stage: &Stage, token: &str) {
        stage.namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name}, "stringData": {"token": token},
        }));
    }

    fn stop(&self, stage: &Stage, what: &str, plans: &[i64]) {
        let spec = json!({"plans": plans, "stopped": true, "gatewayRef": {"name": self.name}});
        stage.namespace.apply(&run(&self.run(what), spec));
    }

    fn run(&self, what: &str) -> String {
        format!("{what}-{}", self.name)
    }

    /// Calls with a token that is not accepted.
    fn refused(&self) -> usize {
        self.simulator.calls().iter().filter(|call| !call.authorized).count()
    }
}

const YESTERDAY: &str = "yesterdays-token";
const TODAY: &str = "todays-token-is-another";

/// Every way in which a token may be refused.
fn sites(stage: &Stage) -> Vec<Site> {
    TokenRefusal::all().iter().map(|refusal| Site::new(stage, *refusal, &json!({}))).collect()
}

/// The ways that say nothing of any plan, so that a stop waits as long as the Secret stays as it is.
fn sites_that_wait(stage: &Stage) -> Vec<Site> {
    let decides = [TokenRefusal::InvalidRequest, TokenRefusal::OtherService];
    let waits = TokenRefusal::all().iter().filter(|refusal| !decides.contains(refusal));
    waits.map(|refusal| Site::new(stage, *refusal, &json!({}))).collect()
}

/// Waits until every site's run of this name is stopped, and nothing of it was judged by a token that is refused.
#[track_caller]
fn wait_until_stopped(stage: &Stage, sites: &[Site], what: &str, limit: Duration) {
    ok(wait_until(&format!("the runs {what} to be stopped"), limit, || {
        let wrong = sites.iter().filter_map(|site| {
            let status = stage.status(&site.run(what));
            assert_undecided(site, &status);
            (stopped_reason(&status) != "Accepted")
                .then(|| format!("\n{:?}: {status} {:?}", site.refusal, site.simulator.calls()))
        });
        let wrong: String = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }));
}

#[track_caller]
fn assert_undecided(site: &Site, status: &Value) {
    let judged: Vec<_> = outcomes(status)
        .into_iter()
        .filter(|plan| !plan.ends_with(" Pending") && !plan.ends_with(" Accepted"))
        .collect();
    assert!(judged.is_empty(), "{:?}: the old token has led to {judged:?}", site.refusal);
}

// --- rotated at the gateway first ---

#[test]
fn a_stop_that_waits_with_an_old_token_goes_on_within_seconds_of_the_new_one() {
    let mut stage = Stage::prepare();
    let sites = sites_that_wait(&stage);
    stage.start_operator();
    for site in &sites {
        site.stop(&stage, "before", &[1]);
    }
    wait_until_stopped(&stage, &sites, "before", SOON);
    for site in &sites {
        site.simulator.set_token(TODAY);
        site.stop(&stage, "nightly", &[2, 3, 4]);
    }
    // Long enough for three strikes of each, and longer: nothing is decided by the old token.
    ok(wait_until("five refusals of each", SOON * 2, || {
        let seen: Vec<_> = sites.iter().map(|site| (site.refusal, site.refused())).collect();
        if seen.iter().all(|(_, refused)| *refused >= 5) { Ok(()) } else { Err(format!("{seen:?}")) }
    }));
    for site in &sites {
        let status = stage.status(&site.run("nightly"));
        assert_undecided(site, &status);
        let stopped = condition(&status, "Stopped").expect("Stopped");
        assert_eq!(stopped["status"], "Unknown", "{:?}", site.refusal);
    }
    for site in &sites {
        site.secret(&stage, TODAY);
    }
    let rotated = Instant::now();
    wait_until_stopped(&stage, &sites, "nightly", Duration::from_secs(20));
    eprintln!("went on within {:?} of the rotation", rotated.elapsed());
    for site in &sites {
        let calls = site.simulator.calls();
        let first = calls.iter().position(|call| call.authorized && call.plans != [1]).expect("a call");
        assert!(calls[first..].iter().all(|call| call.authorized), "{:?}: {calls:?}", site.refusal);
    }
}

#[test]
fn an_old_token_that_was_never_accepted_here_is_replaced_as_well() {
    let mut stage = Stage::prepare();
    let sites = sites_that_wait(&stage);
    for site in &sites {
        site.simulator.set_token(TODAY);
        site.stop(&stage, "nightly", &[1]);
    }
    stage.start_operator();
    ok(wait_until("three refusals of each", SOON, || {
        let seen: Vec<_> = sites.iter().map(|site| (site.refusal, site.refused())).collect();
        if seen.iter().all(|(_, refused)| *refused >= 3) { Ok(()) } else { Err(format!("{seen:?}")) }
    }));
    for site in &sites {
        site.secret(&stage, TODAY);
    }
    wait_until_stopped(&stage, &sites, "nightly", Duration::from_secs(20));
}

// --- rotated in the Secret first ---

#[test]
fn a_token_that_changed_while_nothing_was_stopped_costs_a_refusal_or_two() {
    let mut stage = Stage::prepare();
    let sites = sites(&stage);
    stage.start_operator();
    for site in &sites {
        site.stop(&stage, "before", &[1]);
    }
    wait_until_stopped(&stage, &sites, "before", SOON);
    for site in &sites {
        site.secret(&stage, TODAY);
        site.simulator.set_token(TODAY);
        site.stop(&stage, "nightly", &[2, 3, 4]);
    }
    wait_until_stopped(&stage, &sites, "nightly", Duration::from_secs(20));
    for site in &sites {
        assert!(site.refused() <= 6, "{:?}: {:?}", site.refusal, site.simulator.calls());
    }
}

#[test]
fn a_token_that_changed_moments_after_it_was_read_decides_nothing() {
    for refusal in [TokenRefusal::InvalidRequest, TokenRefusal::OtherService, TokenRefusal::Forbidden] {
        let config = Config {
            default_nature: Nature::NeverStops,
            token: YESTERDAY.to_owned(),
            token_refusal: refusal,
            ..Config::default()
        };
        let mut stage = Stage::prepare_with(config, json!({}));
        stage.token(YESTERDAY);
        stage.run("nightly", &[2]);
        stage.namespace.apply(&run("before", json!({"plans": [1], "stopped": true})));
        stage.start_operator();
        stage.wait_for_calls(1);
        stage.token(TODAY);
        stage.simulator.set_token(TODAY);
        stage.stop("nightly");
        let status = stage.wait_for_status("nightly", &format!("{refusal:?}"), |status| {
            status["stop"]["completionTime"].is_string()
        });
        assert_eq!(outcomes(&status), ["2 Accepted"], "{refusal:?}: {:?}", stage.simulator.calls());
    }
}

#[test]
fn a_request_repeated_after_the_rotation_uses_the_new_token() {
    let mut stage = Stage::prepare();
    let sites = sites(&stage);
    stage.start_operator();
    for site in &sites {
        site.stop(&stage, "nightly", &[1]);
    }
    wait_until_stopped(&stage, &sites, "nightly", SOON);
    for site in &sites {
        site.simulator.set_token(TODAY);
        site.secret(&stage, TODAY);
        stage.annotate(&site.run("nightly"), "again");
    }
    ok(wait_until("each to be stopped again", SOON, || {
        let wrong = sites.iter().filter_map(|site| {
            let status = stage.status(&site.run("nightly"));
            assert_undecided(site, &status);
            (status["stop"]["lastHandledRequest"] != "again").then(|| format!("{:?}: {status}", site.refusal))
        });
        let wrong: String = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }));
}

// --- what it costs ---

/// How often the operator has read the Secret of the stage.
fn readings(stage: &Stage) -> usize {
    secret_entries(stage).len()
}

fn secret_entries(stage: &Stage) -> Vec<String> {
    let audit = ok(cluster().audit());
    let ours = audit.iter().filter(|entry| {
        !entry.is_write()
            && entry.resource == "secrets"
            && entry.namespace == stage.namespace.name
            && entry.user.contains("testinium-operator")
    });
    ours.map(|entry| format!("{} {} {}", entry.time, entry.verb, entry.name)).collect()
}

#[test]
fn a_bad_id_with_an_unchanged_secret_is_rejected_and_costs_one_reading() {
    let mut stage = Stage::prepare_accepting(json!({}));
    stage.simulator.plan(77, Nature::Unknown);
    stage.start_operator();
    stage.settle("before", 1);
    let before = readings(&stage);
    stage.run("nightly", &[77]);
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "Failed");
    assert_eq!(outcomes(&status), ["77 Rejected"]);
    assert_eq!(stage.calls(), [[1], [77]], "a verdict with the Secret as it was is not asked for twice");
    // The audit log is written a little later.
    ok(wait_until("the audit log to tell of the reading", SOON, || match readings(&stage) - before {
        0 => Err(format!("none yet after {before}: {:?}", secret_entries(&stage))),
        _ => Ok(()),
    }));
    assert_eq!(readings(&stage) - before, 1);
}

#[test]
fn many_bad_ids_with_an_unchanged_secret_cost_few_readings() {
    let mut stage = Stage::prepare_accepting(json!({"limits": {"requestsPerSecond": 1000}}));
    stage.simulator.plans((1..=300).step_by(10), Nature::Unknown);
    stage.start_operator();
    stage.settle("before", 1000);
    let (before, began) = (readings(&stage), Instant::now());
    stage.run("nightly", &(1..=300).collect::<Vec<_>>());
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "PartiallyStopped");
    let rejected = outcomes(&status).into_iter().filter(|plan| plan.ends_with(" Rejected")).count();
    assert_eq!(rejected, 30);
    let (count, seconds) = (readings(&stage) - before, began.elapsed().as_secs_f64());
    // At most every few seconds a gateway.
    assert!(count >= 1 && count as f64 <= 2.0 + seconds / 2.0, "{count} readings in {seconds} s");
}

#[test]
fn a_missing_secret_leaves_a_verdict_as_it_is() {
    let mut stage = Stage::prepare_accepting(json!({}));
    stage.simulator.plan(77, Nature::Unknown);
    stage.start_operator();
    stage.settle("before", 1);
    stage.namespace.run(&["delete", "secret", "token"]);
    stage.run("nightly", &[77]);
    stage.stop("nightly");
    let status = stage.wait_for_status("nightly", "an end or a wait for the Secret", |status| {
        ["Failed", "SecretNotFound"].contains(&stopped_reason(status))
    });
    assert!(["77 Rejected", "77 Pending"].contains(&outcomes(&status)[0].as_str()), "{status}");
    stage.token("simulated-token");
    let status = stage.wait_for("nightly", "Failed");
    assert_eq!(outcomes(&status), ["77 Rejected"]);
}
