//! Objects in every situation that a status tells of, made by the operator that ships.

use std::sync::OnceLock;

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::process::free_port;
use testinium_testbed::simulator::{Hold, Nature, Reply, When};

use crate::cluster::{cleanup, ok, run};
use crate::operator::{SOON, Stage, condition};

/// What tools shall make of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// The beginning of the row that says so in the page on GitOps.
    pub(crate) row: &'static str,
    /// By kstatus, which Flux waits by.
    pub(crate) kstatus: &'static str,
    /// By the health check of that page, which waits until a run is stopped; empty for other kinds.
    pub(crate) until_stopped: &'static str,
    /// By the scripts for Argo CD.
    pub(crate) argocd: &'static str,
}

// Of runs.
const DONE: Seen = Seen::new("stopped", "Current", "Current", "Healthy");
const AT_REST: Seen = Seen::new("no stop is asked for", "Current", "InProgress", "Healthy");
const ON_ITS_WAY: Seen = Seen::new("being stopped", "InProgress", "InProgress", "Progressing");
const FAILED: Seen = Seen::new("some plans were not", "Failed", "Failed", "Degraded");
const UNSEEN: Seen = Seen::new("not seen", "InProgress", "InProgress", "Progressing");

// Of gateways and rules.
const READY: Seen = Seen::new("a gateway or rule that works", "Current", "", "Healthy");
const HELD: Seen = Seen::new("a gateway or rule that is suspended", "Current", "", "Suspended");
const OUT_OF_REACH: Seen = Seen::new("a gateway that can't be reached", "InProgress", "", "Progressing");
const BROKEN: Seen = Seen::new("a gateway or rule that somebody has to mend", "Failed", "", "Degraded");
const NEW: Seen = Seen::new("not seen", "InProgress", "", "Progressing");

/// A kind, a name, the reason that it comes to, which is of Stopped for a run and of Ready for the others, and what tools
/// shall make of it.
type Row = (&'static str, &'static str, &'static str, Seen);

const ROWS: &[Row] = &[
    ("tpr", "not-requested", "NotRequested", AT_REST),
    ("tpr", "being-stopped", "Stopping", ON_ITS_WAY),
    ("tpr", "without-gateway", "GatewayNotFound", ON_ITS_WAY),
    ("tpr", "without-secret", "SecretNotFound", ON_ITS_WAY),
    ("tpr", "refused", "AuthenticationFailed", ON_ITS_WAY),
    ("tpr", "unreachable", "Unreachable", ON_ITS_WAY),
    ("tpr", "suspended", "Suspended", ON_ITS_WAY),
    ("tpr", "accepted", "Accepted", DONE),
    ("tpr", "not-running", "NotRunning", DONE),
    ("tpr", "rejected", "Failed", FAILED),
    ("tpr", "unknown", "Failed", FAILED),
    ("tpr", "partial", "PartiallyStopped", FAILED),
    ("tpr", "expired", "Expired", FAILED),
    ("tpr", "withdrawn", "Withdrawn", AT_REST),
    ("tpr", "stopped-once", "NotRequested", AT_REST),
    ("tpr", "restored", "Restored", AT_REST),
    // The spec was changed when no operator ran.
    ("tpr", "stale", "Accepted", UNSEEN),
    ("tpr", "unseen", "", UNSEEN),
    ("tgw", "default", "Succeeded", READY),
    ("tgw", "fresh", "NotTried", READY),
    ("tgw", "suspended", "Suspended", HELD),
    ("tgw", "without-secret", "SecretNotFound", BROKEN),
    ("tgw", "refused", "AuthenticationFailed", BROKEN),
    ("tgw", "invalid", "InvalidCredential", BROKEN),
    ("tgw", "unreachable", "Unreachable", OUT_OF_REACH),
    ("tgw", "unseen", "", NEW),
    ("tpc", "scheduled", "Scheduled", READY),
    ("tpc", "suspended", "Suspended", HELD),
    ("tpc", "never", "InvalidSchedule", BROKEN),
    ("tpc", "nowhere", "UnknownTimeZone", BROKEN),
    ("tpc", "unseen", "", NEW),
];

/// An object in a situation.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    pub(crate) name: String,
    pub(crate) object: Value,
    pub(crate) seen: Seen,
}

// === impl Seen ===

impl Seen {
    const fn new(
        row: &'static str,
        kstatus: &'static str,
        until_stopped: &'static str,
        argocd: &'static str,
    ) -> Self {
        Self { row, kstatus, until_stopped, argocd }
    }
}

/// All of them. They are made once, and the operator is gone by then.
pub(crate) fn situations() -> &'static [Situation] {
    static ALL: OnceLock<Vec<Situation>> = OnceLock::new();
    ALL.get_or_init(make)
}

/// What tools say of situations and should not: a line for each that is otherwise.
pub(crate) fn differences<'a>(
    what: &str,
    said: impl Iterator<Item = (&'a Situation, String, &'static str)>,
) -> String {
    let wrong = said.filter(|(_, said, wanted)| said != wanted);
    let lines = wrong.map(|(situation, said, wanted)| {
        let (name, status) = (&situation.name, &situation.object["status"]);
        format!("{what}: {name} is {said} instead of {wanted}: {status}\n")
    });
    lines.collect()
}

fn make() -> Vec<Situation> {
    let mut stage = Stage::prepare_accepting(json!({}));
    let hold = Hold::new();
    stage.simulator.script(When::always().naming(20), Reply::natural().held(&hold));
    stage.simulator.script(When::always().naming(21), Reply::success_with(203));
    stage.simulator.plan(30, Nature::NotRunning);
    stage.simulator.plan(31, Nature::Unknown);
    stage.start_operator_with(&["--cleanup", "--allow-gateway-cidr=127.0.0.0/8"], &[]);
    apply(&stage, [gateways(&stage), runs(), cleanups()].concat());
    for name in ["withdrawn", "stopped-once"] {
        stage.wait_for(name, if name == "withdrawn" { "Suspended" } else { "Accepted" });
        stage.rearm(name);
    }
    for (kind, name, reason, _) in ROWS {
        if !reason.is_empty() {
            wait_for(&stage, kind, name, reason);
        }
    }
    stage.kill_operator();
    stage.patch("stale", r#"{"spec":{"plans":[9,10]}}"#);
    let unseen = [run("unseen", json!({"plans": [1]})), stage.gateway_named("unseen", json!({}))];
    apply(&stage, [&unseen[..], &[cleanup("unseen", json!({}))]].concat());
    let found = |(kind, name, reason, seen): &Row| {
        let object = get(&stage, kind, name);
        assert_eq!(reason_of(&object), *reason, "{object}");
        Situation { name: format!("{kind} {name}"), object, seen: *seen }
    };
    ROWS.iter().map(found).collect()
}

fn gateways(stage: &Stage) -> Vec<Value> {
    let of_secret = |name: &str| json!({"auth": {"bearerToken": {"secretRef": {"name": name}}}});
    let nobody = format!("http://127.0.0.1:{}", ok(free_port()));
    for (name, token) in [("wrong", "wrong"), ("invalid", "two\nlines")] {
        stage.namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"token": token},
        }));
    }
    vec![
        stage.gateway_named("fresh", json!({})),
        stage.gateway_named("suspended", json!({"suspend": true})),
        stage.gateway_named("without-secret", of_secret("nowhere")),
        stage.gateway_named("refused", of_secret("wrong")),
        stage.gateway_named("invalid", of_secret("invalid")),
        stage.gateway_named("unreachable", json!({"url": nobody})),
        // So that what is held, or odd, shuts no other's gate.
        stage.gateway_named("slow", json!({"timeoutSeconds": 300})),
        stage.gateway_named("odd", json!({})),
    ]
}

fn runs() -> Vec<Value> {
    let stopped = |name: &str, plans: &[i64], gateway: &str| {
        run(name, json!({"plans": plans, "stopped": true, "gatewayRef": {"name": gateway}}))
    };
    let mut expired = stopped("expired", &[8], "suspended");
    expired["spec"]["stopDeadlineSeconds"] = json!(1);
    let mut restored = stopped("restored", &[1], "default");
    restored["metadata"]["labels"] = json!({"velero.io/restore-name": "after-the-fire"});
    vec![
        run("not-requested", json!({"plans": [1]})),
        stopped("being-stopped", &[20], "slow"),
        stopped("without-gateway", &[2], "missing"),
        stopped("without-secret", &[3], "without-secret"),
        stopped("refused", &[4], "refused"),
        stopped("unreachable", &[5], "unreachable"),
        stopped("suspended", &[6], "suspended"),
        stopped("accepted", &[7], "default"),
        stopped("not-running", &[30], "default"),
        stopped("rejected", &[31], "default"),
        stopped("unknown", &[21], "odd"),
        stopped("partial", &[7, 31], "default"),
        expired,
        stopped("withdrawn", &[11], "suspended"),
        stopped("stopped-once", &[12], "default"),
        restored,
        stopped("stale", &[9], "default"),
    ]
}

fn cleanups() -> Vec<Value> {
    vec![
        cleanup("scheduled", json!({})),
        cleanup("suspended", json!({"suspend": true})),
        // There is no such day.
        cleanup("never", json!({"schedule": "0 0 31 2 *"})),
        cleanup("nowhere", json!({"timeZone": "Mars/Olympus"})),
    ]
}

fn apply(stage: &Stage, items: Vec<Value>) {
    stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
}

/// With its managed fields, which kubectl leaves out otherwise, as GitOps tools read it.
fn get(stage: &Stage, kind: &str, name: &str) -> Value {
    ok(stage.namespace.kubectl.get_json(&[kind, name, "--show-managed-fields"]))
}

fn reason_of(object: &Value) -> String {
    let status = &object["status"];
    let found = condition(status, "Stopped").or_else(|| condition(status, "Ready"));
    found.and_then(|condition| condition["reason"].as_str()).unwrap_or_default().to_owned()
}

#[track_caller]
fn wait_for(stage: &Stage, kind: &str, name: &str, reason: &str) {
    // A change of what a run waits for is told only once it has stood for half a minute.
    ok(wait_until(&format!("{kind} {name} to be {reason}"), SOON * 2, || {
        let object = get(stage, kind, name);
        if reason_of(&object) == reason { Ok(()) } else { Err(format!("{object}\n{}", stage.log())) }
    }));
}
