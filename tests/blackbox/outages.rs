//! The API server fails in every way that it can, and no stop is lost, late or sent twice for it.
//!
//! A stop that was asked for during an outage is done within 10 s of its end. `TESTINIUM_FULL=1` makes outages last
//! a minute; otherwise it is a third of that, which is long enough for every time limit of the operator's but one.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_testbed::arena::{self, Arena};
use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::faults::{Break, Exchange, Fault, Verb, When};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::{self, Operator, Site};
use testinium_testbed::process::free_port;
use testinium_testbed::simulator::{Config, Simulator};
use testinium_testbed::{Error, oracles};

use crate::cluster::{OPERATOR, cluster, ok, repository, site};
use crate::operator::SOON;

/// The promise for the time after an outage.
const RECOVERY: Duration = Duration::from_secs(10);

/// The number of lists that the operator has asked for.
fn lists(api: &[Exchange]) -> usize {
    api.iter().filter(|exchange| exchange.verb == Some(Verb::List)).count()
}

fn outage() -> Duration {
    Duration::from_secs(if full() { 60 } else { 20 })
}

/// Waits until `/readyz` says so.
pub(crate) fn says(port: u16, wanted: u16, words: &str, limit: Duration) {
    ok(wait_until("/readyz to say so", limit, || {
        match operator::page(port, "/readyz").map_err(|error| error.to_string())? {
            (status, text) if status == wanted && text.contains(words) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }));
}

/// Whether tests take all the time that their claims name.
pub(crate) fn full() -> bool {
    std::env::var_os("TESTINIUM_FULL").is_some()
}

/// An arena with an operator at work, and a run called `nightly` that it has seen.
fn at_work<'a>(site: &'a Site, name: &str, config: Config) -> (Arena<'a>, Operator) {
    let arena = ok(Arena::new(site, name, config));
    let operator = ok(arena.operator());
    ok(arena.create_run("nightly", json!({"plans": [1, 2]})));
    ok(operator.start());
    ok(arena.wait_for("nightly", &["NotRequested"], SOON));
    (arena, operator)
}

fn stop(arena: &Arena<'_>, name: &str) -> Result<Value, Error> {
    arena.patch_run(name, &json!({"spec": {"stopped": true}}))
}

/// Every oracle that holds whatever happened.
#[track_caller]
fn judge(arena: &Arena<'_>, operator: &Operator) {
    let mut wrong = oracles::calm(&operator.log());
    let api = operator.api.traffic();
    wrong.extend(oracles::stays_within(&api, &arena.namespace));
    wrong.extend(oracles::honest_writes(&api));
    let truth = arena.simulator.truth();
    for run in ok(arena.runs()) {
        wrong.extend(oracles::lint(&run));
        wrong.extend(oracles::truthful(&run, &truth));
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), operator.log());
}

/// Two stops, one of them with its call under way, meet an API server that goes away and comes back.
fn survives(name: &str, down: impl FnOnce(&mut ControlPlane), up: impl FnOnce(&mut ControlPlane)) {
    let mut plane = ok(ControlPlane::start(Options::default()));
    ok(operator::install(&plane.kubectl()));
    let site = ok(Site::new(&plane, Path::new(OPERATOR)));
    let arena = ok(Arena::new(&site, name, Config::default()));
    // No proxy in between: what the operator meets is what an API server does when it goes.
    let watched = format!("--watch-namespaces={}", arena.namespace);
    let flags = ["--leader-elect=false", &watched];
    let operator = ok(site.direct_operator(arena.directory(), "operator", &flags));
    ok(arena.create_run("nightly", json!({"plans": [1, 2]})));
    ok(arena.create_run("in-flight", json!({"plans": [3]})));
    ok(operator.start());
    for run in ["nightly", "in-flight"] {
        ok(arena.wait_for(run, &["NotRequested"], SOON));
    }

    arena.simulator.set_latency(Duration::from_secs(1));
    ok(stop(&arena, "in-flight"));
    arena.simulator.wait_for_blocking(|requests| !requests.is_empty(), SOON).expect("the call arrives");
    down(&mut plane);
    let recovered = thread::scope(|scope| {
        let patient = site.client.patient_for(outage() + SOON);
        let path = arena.path("testplanruns", "nightly");
        // Where it hangs, it is done when the API server goes on; where it is refused, it is tried until it is not.
        let asked = scope.spawn(move || {
            wait_until("the stop to be taken", outage() + SOON, || {
                patient.patch(&path, &json!({"spec": {"stopped": true}}))
            })
        });
        // The outage itself, not a wait for something.
        thread::sleep(outage());
        up(&mut plane);
        let recovered = Instant::now();
        ok(asked.join().expect("the thread ends"));
        recovered
    });
    for run in ["nightly", "in-flight"] {
        let run = ok(arena.wait_for(run, &["Accepted"], RECOVERY.saturating_sub(recovered.elapsed())));
        assert_eq!(oracles::truthful(&run, &arena.simulator.truth()), [""; 0]);
    }
    assert_eq!(operator.starts(), 1);
    assert!(ok(operator.pid()).is_some(), "the operator has ended: {}", operator.log());
    let mut sent: Vec<_> = arena.simulator.calls().into_iter().flat_map(|call| call.plans).collect();
    sent.sort_unstable();
    assert_eq!(sent, [1, 2, 3]);
    judge(&arena, &operator);
}

#[test]
fn an_api_server_that_freezes_and_goes_on_delays_a_stop_by_no_more_than_10_s() {
    survives("frozen", |plane| ok(plane.pause()), |plane| ok(plane.resume()));
}

#[test]
fn an_api_server_that_is_killed_and_started_again_delays_a_stop_by_no_more_than_10_s() {
    survives("killed", |plane| ok(plane.kill_api_server()), |plane| ok(plane.start_api_server()));
}

#[test]
fn a_watch_that_goes_silent_is_noticed_within_20_s() {
    let (arena, operator) = at_work(site(), "silent", Config::default());
    let watching = |api: &[Exchange]| {
        api.iter()
            .filter(|exchange| exchange.verb == Some(Verb::Watch) && exchange.status == Some(200))
            .count()
            > 1
    };
    operator.api.wait_for_blocking(watching, SOON).expect("both kinds are watched");
    operator.api.break_open(When::always().verb(Verb::Watch), Break::Freeze);
    let silent = Instant::now();
    ok(stop(&arena, "nightly"));
    ok(arena.wait_for("nightly", &["Accepted"], Duration::from_secs(30)));
    assert!(silent.elapsed() < Duration::from_secs(25), "took {:?}", silent.elapsed());
    judge(&arena, &operator);
}

#[test]
fn a_kind_in_which_nothing_happens_is_not_listed_anew_where_etcd_sends_no_progress() {
    let options =
        Options { etcd_args: vec!["--watch-progress-notify-interval=24h".into()], ..Options::default() };
    let plane = ok(ControlPlane::start(options));
    ok(operator::install(&plane.kubectl()));
    let site = ok(Site::new(&plane, Path::new(OPERATOR)));
    let (arena, operator) = at_work(&site, "quiet", Config::default());
    // A run has a status before gateways are listed, and an API server whose definitions are new ends watches: what is
    // judged begins after the first watch of each kind has come to its end.
    let lasted = |api: &[Exchange]| {
        ["testplanruns", "testiniumgateways"].iter().all(|kind| {
            let is_watch =
                |exchange: &&Exchange| exchange.verb == Some(Verb::Watch) && exchange.path.ends_with(kind);
            api.iter().filter(is_watch).count() > 1
        })
    };
    operator.api.wait_for_blocking(lasted, Duration::from_secs(60)).expect("each kind is watched again");
    operator.api.forget_traffic();
    // More than two watches long, after which the version is doubted.
    thread::sleep(Duration::from_secs(if full() { 75 } else { 48 }));
    let api = operator.api.traffic();
    assert_eq!(lists(&api), 0, "{api:#?}");
    assert!(api.len() < 20, "each watch takes 15 s: {api:#?}");

    // This is how the operator learns that the API server has not reached a version.
    let path = arena.path("testplanruns", "none");
    let client = site.client.patient_for(Duration::from_secs(5));
    let ahead = ok(client.send("GET", &format!("{path}?resourceVersion=999999999"), None));
    assert_eq!(ahead.status, 504, "{ahead:?}");
    ok(stop(&arena, "nightly"));
    ok(arena.wait_for("nightly", &["Accepted"], RECOVERY));
    judge(&arena, &operator);
}

#[test]
fn a_version_that_is_too_old_leads_to_a_new_list_however_it_is_told() {
    let (arena, operator) = at_work(site(), "expired", Config::default());
    for (fault, plan) in [(Fault::reject(410), 10), (Fault::watch_error(410), 11)] {
        let name = format!("plan-{plan}");
        ok(arena.create_run(&name, json!({"plans": [plan]})));
        ok(arena.wait_for(&name, &["NotRequested"], SOON));
        // Both kinds, twice each: a first failure that is repaired tells nothing of a second.
        operator.api.rule(When::next(4).verb(Verb::Watch), fault);
        operator.api.break_open(When::always().verb(Verb::Watch), Break::End);
        ok(stop(&arena, &name));
        ok(arena.wait_for(&name, &["Accepted"], RECOVERY));
    }
    // A stop may be done before the other kind's watch has failed a second time.
    let struck = |api: &[Exchange]| api.iter().filter(|exchange| exchange.rule.is_some()).count() == 8;
    operator.api.wait_for_blocking(struck, RECOVERY).expect("each of the eight watches fails");
    judge(&arena, &operator);
}

#[test]
fn watches_that_always_fail_do_not_become_a_storm_of_lists() {
    let (arena, operator) = at_work(site(), "storm", Config::default());
    for fault in [Fault::reject(410), Fault::reject(500)] {
        let rule = operator.api.rule(When::always().verb(Verb::Watch), fault);
        operator.api.break_open(When::always().verb(Verb::Watch), Break::End);
        operator.api.forget_traffic();
        let began = Instant::now();
        operator.api.wait_for_blocking(|api| lists(api) > 20, Duration::from_secs(60)).expect("lists go on");
        // Two kinds, and pauses that grow to 1 s on average: ten lists of each take 6.5 s on average, and fractions of a
        // second without pauses.
        assert!(began.elapsed() > Duration::from_secs(3), "20 lists in {:?}", began.elapsed());
        operator.api.remove_rule(rule);
    }
    ok(stop(&arena, "nightly"));
    ok(arena.wait_for("nightly", &["Accepted"], RECOVERY));
    judge(&arena, &operator);
}

#[test]
fn a_write_that_hangs_or_is_told_to_wait_for_an_hour_holds_up_nobody() {
    let (arena, operator) = at_work(site(), "held-up", Config::default());
    let hour = Duration::from_secs(3600);
    for (name, plan, fault) in
        [("hangs", 20, Fault::hang()), ("waits", 21, Fault::reject(429).retry_after(hour))]
    {
        ok(arena.create_run(name, json!({"plans": [plan]})));
        ok(arena.wait_for(name, &["NotRequested"], SOON));
        let its_own = format!("**/testplanruns/{name}/status");
        operator.api.rule(When::next(1).verb(Verb::Update).path(&its_own), fault);
        ok(stop(&arena, name));
        operator
            .api
            .wait_for_blocking(|api| api.iter().any(|exchange| exchange.rule.is_some()), SOON)
            .expect("the write is struck");
        let others = format!("beside-{name}");
        ok(arena.create_run(&others, json!({"plans": [plan + 10], "stopped": true})));
        ok(arena.wait_for(&others, &["Accepted"], RECOVERY));
        ok(arena.wait_for(name, &["Accepted"], Duration::from_secs(60)));
    }
    judge(&arena, &operator);
}

#[test]
fn a_start_that_meets_hangs_and_long_waits_goes_on_within_a_minute() {
    let arena = ok(Arena::new(site(), "bad-start", Config::default()));
    let operator = ok(arena.operator());
    let hour = Duration::from_secs(3600);
    let of = |resource: &str| format!("**/{resource}");
    operator.api.rule(When::next(3).verb(Verb::List), Fault::reject(429).retry_after(hour));
    operator.api.rule(When::next(1).verb(Verb::List).path(&of("testplanruns")), Fault::hang());
    operator.api.rule(When::next(1).path(&of("secrets/*")), Fault::reject(429).retry_after(hour));
    ok(arena.create_run("nightly", json!({"plans": [1], "stopped": true})));
    ok(operator.start());
    ok(arena.wait_for("nightly", &["Accepted"], Duration::from_secs(60)));
    judge(&arena, &operator);
}

#[test]
fn readiness_says_no_before_the_first_list_and_while_the_watch_is_broken() {
    let arena = ok(Arena::new(site(), "health", Config::default()));
    let port = ok(free_port());
    let probes = format!("--health-probe-bind-address=127.0.0.1:{port}");
    let operator = ok(arena.operator_with("operator", &["--leader-elect=false", &probes]));
    let readiness = |wanted: u16, words: &str, limit: u64| {
        says(port, wanted, words, Duration::from_secs(limit));
        assert_eq!(ok(operator::page(port, "/healthz")).0, 200, "a broken watch is no reason for a restart");
    };
    let listing = operator.api.rule(When::always().verb(Verb::List), Fault::reject(503));
    ok(operator.start());
    readiness(503, "listing", 30);
    operator.api.remove_rule(listing);
    readiness(200, "", 30);
    let watching = operator.api.rule(When::always().verb(Verb::Watch), Fault::reject(500));
    operator.api.break_open(When::always(), Break::Cut);
    // Lists still work, so stops are done; but what is not watched is not seen at once, which somebody must know.
    readiness(503, "watch", 60);
    operator.api.remove_rule(watching);
    readiness(200, "", 60);
    judge(&arena, &operator);
}

/// An operator whose ServiceAccount may do all but what `left_out` names.
fn without(account: &str, left_out: &str) -> Site {
    let kubectl = cluster().kubectl().in_namespace("testinium-system");
    let mut role = ok(kubectl.get_json(&["clusterrole", "testinium-operator"]));
    let rules = role["rules"].as_array_mut().expect("rules");
    for rule in rules.iter_mut() {
        rule["resources"].as_array_mut().expect("resources").retain(|resource| resource != left_out);
    }
    rules.retain(|rule| rule["resources"].as_array().is_some_and(|resources| !resources.is_empty()));
    let metadata = json!({"name": account, "namespace": "testinium-system"});
    let group = "rbac.authorization.k8s.io";
    let items = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": account}, "rules": rules}),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": account},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "testinium-system"}],
        }),
    ];
    ok(kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()));
    ok(Site::with_account(cluster(), Path::new(OPERATOR), account))
}

#[test]
fn without_a_right_to_secrets_the_status_says_so_and_the_rest_goes_on() {
    let site = without("no-secrets", "secrets");
    let (arena, operator) = at_work(&site, "no-secrets", Config::default());
    ok(stop(&arena, "nightly"));
    let message = ok(wait_until("the run to say what is missing", SOON, || {
        let run = ok(arena.run("nightly"));
        let conditions = run["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let stopped = conditions.into_iter().find(|condition| condition["type"] == "Stopped");
        let message =
            stopped.and_then(|stopped| Some(stopped["message"].as_str()?.to_owned())).unwrap_or_default();
        if message.contains("secrets \"token\" is forbidden") { Ok(message) } else { Err(message) }
    }));
    assert!(message.contains("no-secrets"), "who may not do it is not told: {message}");
    ok(arena.create_run("other", json!({"plans": [5]})));
    ok(arena.wait_for("other", &["NotRequested"], SOON));
    ok(arena.patch_run("nightly", &json!({"spec": {"stopped": false}})));
    ok(arena.wait_for("nightly", &["Withdrawn"], SOON));
    assert_eq!(arena.simulator.calls().len(), 0);
    judge(&arena, &operator);
}

/// An operator's ServiceAccount that has its rights in this namespace alone.
pub(crate) fn bound_in(account: &str, namespace: &str) -> Site {
    let kubectl = cluster().kubectl().in_namespace("testinium-system");
    let metadata = json!({"name": account, "namespace": "testinium-system"});
    let account_of_its_own = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    ok(kubectl.apply(&account_of_its_own.to_string()));
    bind(account, namespace);
    ok(Site::with_account(cluster(), Path::new(OPERATOR), account))
}

/// Grants the operator's rights in one more namespace.
fn bind(account: &str, namespace: &str) {
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": account},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "testinium-operator"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "testinium-system"}],
    });
    ok(site().client.create(&format!("/apis/{group}/v1/namespaces/{namespace}/rolebindings"), &binding));
}

#[test]
fn without_a_right_to_one_namespace_the_others_are_served_and_it_is_served_once_the_right_is_there() {
    let (one, two) = (
        ok(Arena::new(site(), "may", Config::default())),
        ok(Arena::new(site(), "may-not", Config::default())),
    );
    let site = bound_in("one-namespace", &one.namespace);
    let port = ok(free_port());
    let flags = [
        &format!("--watch-namespaces={},{}", two.namespace, one.namespace),
        &format!("--health-probe-bind-address=127.0.0.1:{port}"),
        "--leader-elect=false",
    ];
    let operator = ok(site.operator(one.directory(), "operator", &flags));
    for arena in [&one, &two] {
        ok(arena.create_run("nightly", json!({"plans": [1], "stopped": true})));
    }
    ok(operator.start());
    ok(one.wait_for("nightly", &["Accepted"], SOON));
    ok(arena::until("to be ready", SOON, || Ok(operator::page(port, "/readyz")?.0 == 200)));

    // Long enough for several more lists that are refused.
    let refused = |api: &[Exchange]| {
        let lists = api.iter().filter(|exchange| exchange.verb == Some(Verb::List));
        lists.filter(|exchange| exchange.status == Some(403)).count() >= 8
    };
    operator.api.wait_for_blocking(refused, SOON * 2).expect("it is looked at again");
    let log = operator.log();
    assert_eq!(log.matches("failed to list").count(), 2, "once for each kind: {log}");
    let missing = format!(
        "cannot list resource \\\"testplanruns\\\" in API group \\\"testinium.io\\\" in the namespace \\\"{}\\\"",
        two.namespace
    );
    assert!(log.contains(&missing), "what is missing is not said: {log}");
    assert_eq!(two.simulator.calls().len(), 0);

    bind("one-namespace", &two.namespace);
    ok(two.wait_for("nightly", &["Accepted"], RECOVERY));
    assert_eq!(ok(operator::page(port, "/readyz")).0, 200);
    for arena in [&one, &two] {
        ok(arena.create_run("later", json!({"plans": [2], "stopped": true})));
        ok(arena.wait_for("later", &["Accepted"], RECOVERY));
        let sent: Vec<_> = arena.simulator.calls().into_iter().flat_map(|call| call.plans).collect();
        assert_eq!(sent, [1, 2]);
    }
    assert_eq!(oracles::calm(&operator.log()), [""; 0]);
}

#[test]
fn without_a_right_to_events_the_log_says_so_once_and_stops_go_on() {
    let site = without("no-events", "events");
    let (arena, operator) = at_work(&site, "no-events", Config::default());
    for plan in 1..=3 {
        let name = format!("run-{plan}");
        ok(arena.create_run(&name, json!({"plans": [plan], "stopped": true})));
        ok(arena.wait_for(&name, &["Accepted"], SOON));
    }
    let refused = "failed to write an event";
    ok(arena::until("the log to say so", SOON, || Ok(operator.log().contains(refused))));
    assert_eq!(operator.log().matches(refused).count(), 1, "{}", operator.log());
    judge(&arena, &operator);
}

#[test]
fn without_the_gateways_definition_runs_say_so_until_it_is_there() {
    let plane = ok(ControlPlane::start(Options::default()));
    let kubectl = plane.kubectl();
    let apply = |path: &str| ok(kubectl.apply_file(&repository(path)));
    apply("deploy/manifests/namespace.yaml");
    apply("deploy/manifests/rbac.yaml");
    apply("crds/testplanruns.yaml");
    let namespace = kubectl.in_namespace("qa");
    ok(kubectl.run(&["create", "namespace", "qa"]).and_then(|output| output.success()));
    let site = ok(Site::new(&plane, Path::new(OPERATOR)));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let flags = ["--watch-namespaces=qa", "--leader-elect=false"];
    let operator = ok(site.operator(directory.path(), "operator", &flags));
    ok(operator.start());
    let run = crate::cluster::run("nightly", json!({"plans": [1], "stopped": true}));
    ok(wait_until("the definition to be served", SOON, || namespace.apply(&run.to_string())));
    let wait = |reason: &str| {
        ok(wait_until(reason, SOON, || {
            let run = namespace.get_json(&["tpr", "nightly"]).map_err(|error| error.to_string())?;
            if arena::stopped(&run) == reason { Ok(run) } else { Err(run["status"].to_string()) }
        }))
    };
    let run = wait("GatewayNotListed");
    let missing = "does not serve testiniumgateways.testinium.io: apply its CustomResourceDefinition";
    assert!(run["status"].to_string().contains(missing), "{}", run["status"]);
    apply("crds/testiniumgateways.yaml");
    let simulator = Simulator::start(Config::default()).expect("the simulator starts");
    let auth = json!({"bearerToken": {"secretRef": {"name": "token"}}});
    let spec = json!({"url": simulator.url(), "allowPlainHTTP": true, "auth": auth});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": "simulated-token"},
    });
    ok(namespace.apply(&secret.to_string()));
    let gateway = crate::cluster::gateway("default", spec).to_string();
    ok(wait_until("the definition to be served", SOON, || namespace.apply(&gateway)));
    let run = wait("Accepted");
    assert_eq!(oracles::lint(&run), [""; 0]);
    assert_eq!(oracles::calm(&operator.log()), [""; 0]);
}
