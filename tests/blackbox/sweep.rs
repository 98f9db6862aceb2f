//! Systematic search for a moment at which a crash, a lost reply or a conflict does harm.
//!
//! A scenario is played once without a fault, and every request of the operator to either side is counted. Then it is
//! played again for each of them: the operator is killed before, and after, the i-th request and started again; its
//! answer is lost; if it is a status write, it is answered with 409. Each time the end must be the same, by every
//! oracle.
//!
//! By default each scenario plays a sample of 20 points (or TESTINIUM_POINTS) that is spread evenly and is always the
//! same. All of them:
//!
//! ```sh
//! TESTINIUM_FULL=1 cargo test --test blackbox sweep -- --nocapture
//! ```

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_testbed::arena::{Arena, stopped};
use testinium_testbed::faults::{Exchange, Fault, Proxy, Then, Verb, When};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::{Killer, Operator};
use testinium_testbed::simulator::{Config, Nature};
use testinium_testbed::{Error, chain, oracles};

use crate::cluster::{cleanup, ok, run, site};
use crate::outages::full;

/// The story that is played.
struct Scenario {
    name: &'static str,
    play: fn(&Play<'_>) -> Result<(), Error>,
    /// The most calls that it may take without a fault; none if they are made until the gateway answers.
    calls: Option<usize>,
    /// Nobody asks for the same stop twice, so that an outcome once written ends it.
    asks_once: bool,
    /// The operator follows cleanup rules.
    cleans_up: bool,
}

/// Where a fault strikes, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    side: Side,
    nth: usize,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    ApiServer,
    Gateway,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    KillBefore,
    KillAfter,
    LoseReply,
    /// Of the n-th status write.
    Conflict,
}

/// A scenario being played. Whoever waits in it starts the operator again if it is down.
struct Play<'a> {
    arena: Arena<'a>,
    operator: Operator,
}

/// How a play went: what was asked of either side, and what is wrong.
struct Report {
    api: Vec<Exchange>,
    gateway: Vec<Exchange>,
    reached: bool,
    wrong: Vec<String>,
}

/// Far above what any play takes, since nobody waits for more.
const LIMIT: Duration = Duration::from_secs(60);
/// What is at rest for so long stays at rest.
const REST: Duration = Duration::from_millis(300);
/// After so long without a write nothing is to come: events have their pace, and a gateway's status is written 5 s after
/// the one before.
const LAST_WRITE: Duration = Duration::from_secs(6);
/// Points of a scenario that are played by default.
const SAMPLE: usize = 20;
/// Plays at a time: they wait more than they work. Beside other tests, fewer.
const PLAYERS: [usize; 2] = [3, 8];

const ONE_RUN: Scenario =
    Scenario { name: "one-run", play: one_run, calls: Some(1), asks_once: true, cleans_up: false };
const BAD_ID: Scenario =
    Scenario { name: "bad-id", play: bad_id, calls: Some(15), asks_once: true, cleans_up: false };
const WITHDRAWN: Scenario =
    Scenario { name: "withdrawn", play: withdrawn, calls: Some(2), asks_once: false, cleans_up: false };
const MADE_ANEW: Scenario =
    Scenario { name: "made-anew", play: made_anew, calls: Some(3), asks_once: false, cleans_up: false };
const DEADLINE: Scenario =
    Scenario { name: "deadline", play: deadline, calls: Some(1), asks_once: true, cleans_up: false };
const DELETED: Scenario =
    Scenario { name: "deleted", play: deleted, calls: Some(1), asks_once: true, cleans_up: false };
const DOWN: Scenario = Scenario { name: "down", play: down, calls: None, asks_once: true, cleans_up: false };

const CLEANED_UP: Scenario =
    Scenario { name: "cleaned-up", play: cleaned_up, calls: Some(3), asks_once: true, cleans_up: true };

fn one_run(play: &Play<'_>) -> Result<(), Error> {
    play.arena.create_run("nightly", json!({"plans": [1, 2, 3]}))?;
    play.until("nightly", &["NotRequested"])?;
    play.arena.patch_run("nightly", &json!({"spec": {"stopped": true}}))?;
    play.until("nightly", DONE)
}

/// Nobody asks but the deadline of the run, which passes once.
fn deadline(play: &Play<'_>) -> Result<(), Error> {
    play.arena.create_run("nightly", json!({"plans": [1, 2, 3], "activeDeadlineSeconds": 3}))?;
    play.until("nightly", DONE)
}

/// A hundred runs share calls, and the gateway refuses every call that names a certain one of their plans.
fn bad_id(play: &Play<'_>) -> Result<(), Error> {
    play.arena.simulator.plan(37, Nature::Unknown);
    for id in 1..=100 {
        play.arena.create_run(&format!("run-{id}"), json!({"plans": [id], "stopped": true}))?;
    }
    wait_until("every run to be done", LIMIT, || {
        // Reading a hundred runs is dear, so they are read once it seems to be over.
        play.rest(REST).map_err(|error| chain(&error))?;
        let runs = play.arena.runs().map_err(|error| chain(&error))?;
        match runs.iter().filter(|run| ["Accepted", "NotRunning", "Failed"].contains(&stopped(run))).count() {
            100 => Ok(()),
            done => Err(format!("{done} of 100")),
        }
    })
}

fn withdrawn(play: &Play<'_>) -> Result<(), Error> {
    play.arena.create_run("nightly", json!({"plans": [1, 2], "stopped": true}))?;
    play.until("nightly", DONE)?;
    play.arena.patch_run("nightly", &json!({"spec": {"stopped": false}}))?;
    play.until("nightly", &["NotRequested"])?;
    play.arena.patch_run("nightly", &json!({"spec": {"stopped": true}}))?;
    play.until("nightly", DONE)
}

/// Deleted and created under the same name while the call for the first one is under way.
fn made_anew(play: &Play<'_>) -> Result<(), Error> {
    play.arena.simulator.set_latency(Duration::from_millis(200));
    play.arena.create_run("nightly", json!({"plans": [1, 2], "stopped": true}))?;
    wait_until("a call to begin", LIMIT, || {
        play.operator.start().map_err(|error| chain(&error))?;
        if play.arena.gateway.traffic().is_empty() { Err("none yet".to_owned()) } else { Ok(()) }
    })?;
    play.arena.delete_run("nightly")?;
    play.arena.create_run("nightly", json!({"plans": [2, 3], "stopped": true}))?;
    play.until("nightly", DONE)
}

fn down(play: &Play<'_>) -> Result<(), Error> {
    let obeys = |source| Error::Io { attempt: "failed to move the gateway".to_owned(), source };
    play.arena.simulator.down().map_err(obeys)?;
    play.arena.create_run("nightly", json!({"plans": [1, 2], "stopped": true}))?;
    play.until("nightly", &["Unreachable"])?;
    play.arena.simulator.up().map_err(obeys)?;
    play.until("nightly", DONE)
}

/// The plans are stopped before the object goes, and nothing holds it up after that.
fn deleted(play: &Play<'_>) -> Result<(), Error> {
    let spec = json!({"plans": [1, 2, 3], "deletionPolicy": "Stop"});
    play.arena.create_run("nightly", spec)?;
    play.see("nightly", "it to have the finalizer", |run| {
        run["metadata"]["finalizers"][0] == "testinium.io/stop"
    })?;
    play.until("nightly", &["NotRequested"])?;
    play.arena.delete_run("nightly")?;
    play.see("nightly", "it to go", Value::is_null)?;
    // The run is gone, so they are, or never will be.
    wait_until("the plans to be stopped", REST, || {
        let truth = play.arena.simulator.truth();
        let is_stopped =
            |plan: &i64| truth.get(plan).is_some_and(|truth| truth.accepted > 0 && !truth.running);
        if [1, 2, 3].iter().all(is_stopped) { Ok(()) } else { Err(format!("{truth:?}")) }
    })
}

/// A rule is told to run at once, and its three runs are marked in turn.
fn cleaned_up(play: &Play<'_>) -> Result<(), Error> {
    let create = |resource: &str, object: &Value| {
        play.arena.site.client.create(&play.arena.path(resource, ""), object).map(drop)
    };
    for (name, plan) in [("one", 1), ("two", 2), ("three", 3)] {
        let mut object = run(name, json!({ "plans": [plan] }));
        object["metadata"]["labels"] = json!({"load": "heavy"});
        create("testplanruns", &object)?;
    }
    let mut rule = cleanup("sweep", json!({}));
    rule["metadata"]["annotations"] = json!({"testinium.io/run-now": "1"});
    create("testplancleanups", &rule)?;
    for name in ["one", "two", "three"] {
        play.until(name, DONE)?;
    }
    let path = play.arena.path("testplancleanups", "sweep");
    wait_until("the rule to say so", LIMIT, || {
        play.operator.start().map_err(|error| chain(&error))?;
        let rule = play.arena.site.client.get(&path).map_err(|error| chain(&error))?.unwrap_or_default();
        let last = &rule["status"]["lastRun"];
        // What an earlier life of the operator has marked counts, too.
        let is_done = last["completionTime"].is_string() && last["matched"] == 3 && last["failed"] == 0;
        if is_done { Ok(()) } else { Err(rule["status"].to_string()) }
    })
}

const DONE: &[&str] = &["Accepted", "NotRunning"];

#[test]
fn one_run_survives_a_fault_anywhere() {
    sweep(&ONE_RUN);
}

#[test]
fn a_hundred_runs_with_a_bad_id_survive_a_fault_anywhere() {
    sweep(&BAD_ID);
}

#[test]
fn a_stop_by_deadline_survives_a_fault_anywhere() {
    sweep(&DEADLINE);
}

#[test]
fn a_withdrawn_stop_survives_a_fault_anywhere() {
    sweep(&WITHDRAWN);
}

#[test]
fn a_run_made_anew_survives_a_fault_anywhere() {
    sweep(&MADE_ANEW);
}

#[test]
fn a_gateway_that_is_down_survives_a_fault_anywhere() {
    sweep(&DOWN);
}

#[test]
fn a_deletion_survives_a_fault_anywhere() {
    sweep(&DELETED);
}

#[test]
fn a_cleanup_rule_survives_a_fault_anywhere() {
    sweep(&CLEANED_UP);
}

/// Plays the scenario without a fault, and then with one at each of its points.
fn sweep(scenario: &Scenario) {
    let began = Instant::now();
    let clean = Play::of(scenario).report(scenario, None);
    assert!(clean.wrong.is_empty(), "without a fault: {}", clean.wrong.join("\n"));
    let all = points(&clean);
    let step = all.len().div_ceil(if full() { all.len() } else { sample() });
    let chosen: Vec<Point> = all.iter().copied().step_by(step).collect();
    let (next, reached) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PLAYERS[usize::from(full())] {
            scope.spawn(|| {
                while let Some(point) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = Play::of(scenario).report(scenario, Some(*point));
                    reached.fetch_add(usize::from(report.reached), Ordering::Relaxed);
                    if !report.wrong.is_empty() {
                        // At once: a search of an hour may be broken off.
                        eprintln!("\n{}, {point}: {}", scenario.name, report.wrong.join("\n"));
                        failures.lock().expect("no player panicked").push(*point);
                    }
                }
            });
        }
    });
    eprintln!(
        "sweep of {}: {} requests to the API server, {} to the gateway, {} points, {} played, {} reached, {:.0} s",
        scenario.name,
        clean.api.len(),
        clean.gateway.len(),
        all.len(),
        chosen.len(),
        reached.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
    );
    let failures = failures.into_inner().expect("no player panicked");
    assert!(failures.is_empty(), "{} of {} points failed: {failures:?}", failures.len(), chosen.len());
    // Requests come in another order now and then; a search that misses most of its points proves little.
    let reached = reached.into_inner();
    assert!(reached * 10 >= chosen.len() * 8, "only {reached} of {} points were reached", chosen.len());
}

/// Points that are played unless all are.
fn sample() -> usize {
    let asked = std::env::var("TESTINIUM_POINTS").ok();
    asked.map_or(SAMPLE, |points| points.parse().expect("TESTINIUM_POINTS is a number above 0"))
}

/// Every point of what was recorded.
fn points(clean: &Report) -> Vec<Point> {
    let mut points = Vec::new();
    for (side, traffic) in [(Side::ApiServer, &clean.api), (Side::Gateway, &clean.gateway)] {
        for nth in 1..=traffic.len() {
            for what in [What::KillBefore, What::KillAfter, What::LoseReply] {
                points.push(Point { side, nth, what });
            }
        }
    }
    let updates = clean.api.iter().filter(|exchange| exchange.verb == Some(Verb::Update)).count();
    points.extend((1..=updates).map(|nth| Point { side: Side::ApiServer, nth, what: What::Conflict }));
    points
}

// === impl Point ===

impl Point {
    /// Has the proxy of this side do it.
    fn arm(self, proxy: &Proxy, killer: Killer) {
        let Point { nth, what, .. } = self;
        let fault = match what {
            What::KillBefore => Fault::none().calling_before(move |_| {
                killer.kill();
                Then::Cut
            }),
            What::KillAfter => Fault::none().calling_after(move |_| killer.kill()),
            What::LoseReply => Fault::drop_reply(),
            What::Conflict => Fault::reject(409),
        };
        let when = if what == What::Conflict { When::nth(nth).verb(Verb::Update) } else { When::nth(nth) };
        proxy.rule(when, fault);
    }

    fn kills(self) -> bool {
        matches!(self.what, What::KillBefore | What::KillAfter)
    }

    /// Whether calls may have to be made again for it, and how many of those that `clean` takes.
    fn more_calls(self, clean: usize) -> usize {
        match (self.what, self.side) {
            // Whatever was not written is asked again.
            (What::KillBefore | What::KillAfter, _) => clean,
            // One that only finds out whether the gateway is there again, and the call itself.
            (What::LoseReply, Side::Gateway) => 2,
            (What::LoseReply, Side::ApiServer) | (What::Conflict, _) => 0,
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} to {:?}", self.what, self.nth, self.side)
    }
}

// === impl Play ===

impl Play<'_> {
    fn of(scenario: &Scenario) -> Self {
        let arena = ok(Arena::new(site(), &format!("sweep-{}", scenario.name), Config::default()));
        let flags: &[_] = match scenario.cleans_up {
            true => &["--leader-elect=false", "--cleanup"],
            false => &["--leader-elect=false"],
        };
        let operator = ok(arena.operator_with("operator", flags));
        Self { arena, operator }
    }

    /// Waits for the run's condition Stopped to have one of these reasons.
    fn until(&self, run: &str, reasons: &[&str]) -> Result<(), Error> {
        wait_until(&format!("{run} to be {}", reasons.join(" or ")), LIMIT, || {
            self.operator.start().map_err(|error| chain(&error))?;
            let run = self.arena.run(run).map_err(|error| chain(&error))?;
            if reasons.contains(&stopped(&run)) { Ok(()) } else { Err(run["status"].to_string()) }
        })
    }

    /// Waits for the run, which is null once it is gone, to be so.
    fn see(&self, run: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<(), Error> {
        wait_until(what, LIMIT, || {
            self.operator.start().map_err(|error| chain(&error))?;
            let run = self.arena.run(run).map_err(|error| chain(&error))?;
            if is_so(&run) { Ok(()) } else { Err(run.to_string()) }
        })
    }

    /// Plays the scenario to its end and judges it.
    fn report(self, scenario: &Scenario, point: Option<Point>) -> Report {
        if let Some(point) = point {
            let proxy = match point.side {
                Side::ApiServer => &self.operator.api,
                Side::Gateway => &self.arena.gateway,
            };
            point.arm(proxy, self.operator.killer());
        }
        let played = (scenario.play)(&self).and_then(|()| self.rest(REST));
        let (api, gateway) = (self.operator.api.traffic(), self.arena.gateway.traffic());
        // After a request that is never answered, nothing is called back.
        let after = point.is_some_and(|point| point.what == What::KillAfter);
        let struck = |exchange: &Exchange| exchange.rule.is_some() && (exchange.status.is_some() || !after);
        let reached = api.iter().chain(&gateway).any(struck);
        let mut wrong: Vec<_> = played.err().iter().map(|error| chain(error)).collect();
        wrong.extend(
            self.judge(scenario, point, reached, &api, &gateway).unwrap_or_else(|error| vec![chain(&error)]),
        );
        if point.is_none() {
            wrong.extend(self.silence().unwrap_or_else(|error| vec![chain(&error)]));
        }
        if !wrong.is_empty() {
            wrong.push(self.operator.log());
            wrong.extend(api.iter().chain(&gateway).map(ToString::to_string));
        }
        let _ = self.arena.clear();
        Report { api, gateway, reached, wrong }
    }

    /// Every oracle.
    fn judge(
        &self,
        scenario: &Scenario,
        point: Option<Point>,
        reached: bool,
        api: &[Exchange],
        gateway: &[Exchange],
    ) -> Result<Vec<String>, Error> {
        let mut wrong = oracles::calm(&self.operator.log());
        let truth = self.arena.simulator.truth();
        for run in self.arena.runs()? {
            wrong.extend(oracles::lint(&run));
            wrong.extend(oracles::complete(&run));
            wrong.extend(oracles::truthful(&run, &truth));
        }
        wrong.extend(oracles::stays_within(api, &self.arena.namespace));
        wrong.extend(oracles::honest_writes(api));
        if scenario.asks_once {
            wrong.extend(oracles::never_again(api, gateway));
        }
        let more = point.map_or(0, |point| point.more_calls(scenario.calls.unwrap_or_default()));
        if let Some(most) = scenario.calls.map(|calls| calls + more).filter(|most| gateway.len() > *most) {
            wrong.push(format!("{} calls, at most {most} are due", gateway.len()));
        }
        let starts = 1 + usize::from(reached && point.is_some_and(Point::kills));
        if self.operator.starts() != starts {
            wrong.push(format!("the operator was started {} times, not {starts}", self.operator.starts()));
        }
        Ok(wrong)
    }

    /// Waits until nothing has happened for this long, but for events, which have their own pace.
    fn rest(&self, time: Duration) -> Result<(), Error> {
        quiet("the operator to come to rest", time, || {
            self.operator.start().map_err(|error| chain(&error))?;
            let api = self.operator.api.traffic();
            let told = api.iter().filter(|exchange| !exchange.path.contains("/events")).count();
            Ok(told + self.arena.gateway.traffic().len())
        })
    }

    /// Whoever has converged writes nothing more, once the events that waited are written.
    fn silence(&self) -> Result<Vec<String>, Error> {
        quiet("the last write", LAST_WRITE, || {
            Ok(self.operator.api.traffic().iter().filter(|exchange| oracles::is_write(exchange)).count())
        })?;
        let since = Instant::now();
        // The silence is the claim.
        thread::sleep(Duration::from_secs(if full() { 30 } else { 1 }));
        Ok(oracles::writes_since(&self.operator.api.traffic(), since))
    }
}

/// Waits until a count has stayed the same for this long.
fn quiet(what: &str, time: Duration, count: impl Fn() -> Result<usize, String>) -> Result<(), Error> {
    let mut last = (0, Instant::now());
    wait_until(what, LIMIT, || {
        let now = count()?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() > time { Ok(()) } else { Err("something happens".to_owned()) }
    })
}

/// The sweep finds what it looks for: an operator that is not started again leaves its run undone.
#[test]
fn a_play_that_ends_wrong_is_reported() {
    let play = Play::of(&ONE_RUN);
    ok(play.arena.create_run("nightly", json!({"plans": [1]})));
    ok(play.until("nightly", &["NotRequested"]));
    // As if somebody had written an outcome that no call has brought.
    let run = ok(play.arena.run("nightly"));
    let mut forged: Value = run.clone();
    forged["status"]["plans"] = json!([{"id": 1, "outcome": "Accepted"}]);
    play.operator.killer().kill();
    let path = format!("{}/status", play.arena.path("testplanruns", "nightly"));
    let answer = ok(play.arena.site.client.send("PUT", &path, Some(&forged)));
    assert!(answer.is_success(), "{answer:?}");
    let scenario = Scenario { play: |_| Ok(()), ..ONE_RUN };
    let wrong = ok(play.judge(&scenario, None, false, &[], &[])).join("\n");
    assert!(wrong.contains("never asked about it") && wrong.contains("the summary is"), "{wrong}");
}
