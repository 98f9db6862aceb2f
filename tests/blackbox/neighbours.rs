//! Neighbours: what one namespace makes the operator read doesn't hold up another's stop, the Lease or the probes.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::page;
use testinium_testbed::process::free_port;
use testinium_testbed::simulator::{Config, Nature, Reply, Tls, When};

use crate::cluster::{ok, run};
use crate::operator::{SOON, Stage, condition};

/// Nothing here takes a second; what is looked for took 47.
const AT_ONCE: Duration = Duration::from_secs(10);

/// The longest that a credential may be.
const LONGEST: usize = 16 * 1024;

/// The most that a Secret or a ConfigMap may hold.
const LARGEST: usize = 1024 * 1024;

/// Two namespaces, and one operator with a Lease for both.
struct Street {
    hostile: Stage,
    quiet: Stage,
    probes: u16,
    _operator: testinium_testbed::process::Guarded,
}

impl Street {
    /// `hostile` is prepared before the operator starts, so that its worst comes first.
    fn new(hostile: Stage) -> Self {
        let quiet = Stage::prepare();
        let probes = ok(free_port());
        hostile.namespace.run(&[
            "create",
            "role",
            "lease",
            "--verb=get,create,update",
            "--resource=leases.coordination.k8s.io",
        ]);
        let account = "--serviceaccount=testinium-system:testinium-operator";
        hostile.namespace.run(&["create", "rolebinding", "lease", "--role=lease", account]);
        let operator = hostile.spawn(
            "operator.log",
            &[
                "--watch-namespaces",
                &quiet.namespace.name,
                "--lease-namespace",
                &hostile.namespace.name,
                &format!("--health-probe-bind-address=127.0.0.1:{probes}"),
            ],
        );
        quiet.run("warm", &[1]);
        quiet.wait_for("warm", "NotRequested");
        Self { hostile, quiet, probes, _operator: operator }
    }

    /// Stops plans in the quiet namespace, one run after the other, and asks the probes between, while the hostile one
    /// does what it can.
    fn assert_undisturbed(&self, mut provoke: impl FnMut(usize)) {
        for number in 0..5 {
            provoke(number);
            let name = format!("quiet-{number}");
            let begun = Instant::now();
            self.quiet.namespace.apply(&run(&name, json!({"plans": [number + 1], "stopped": true})));
            self.quiet.wait_for(&name, "Accepted");
            let (status, text) = ok(page(self.probes, "/healthz"));
            assert_eq!(status, 200, "{text}");
            let took = begun.elapsed();
            assert!(took < AT_ONCE, "the stop of {name} took {took:?}\n{}", self.hostile.log());
        }
        let log = self.hostile.log();
        assert!(!log.contains("lost the Lease") && !log.contains("panic"), "{log}");
    }

    /// Waits until a gateway of the hostile namespace says this.
    fn wait_for_gateway(&self, name: &str, part: &str) {
        ok(wait_until(&format!("{name} to say {part:?}"), SOON, || {
            let status = ok(self.hostile.namespace.kubectl.get_json(&["tgw", name]))["status"].clone();
            let ready = condition(&status, "Ready").cloned().unwrap_or_default().to_string();
            if ready.contains(part) { Ok(()) } else { Err(ready) }
        }));
    }
}

/// Applied with the whole object in a file, since an annotation with all of it would be too large.
fn create(stage: &Stage, object: &Value) {
    let output = ok(stage.namespace.kubectl.run_with_input(&["create", "--filename=-"], &object.to_string()));
    ok(output.success());
}

fn secret(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
}

fn gateway_of(stage: &Stage, name: &str, spec: Value) {
    stage.namespace.apply(&stage.gateway_named(name, spec));
    let spec = json!({"plans": [1], "stopped": true, "gatewayRef": {"name": name}});
    stage.namespace.apply(&run(&format!("at-{name}"), spec));
}

fn bearer(secret: &str) -> Value {
    json!({"bearerToken": {"secretRef": {"name": secret}}})
}

/// No two pieces of it are the same.
fn long_token(length: usize) -> String {
    let number = |n: u32| format!("{:08x}", n.wrapping_mul(2_654_435_761));
    (0..).flat_map(|n| number(n).into_bytes()).map(char::from).take(length).collect()
}

#[test]
fn a_server_that_quotes_the_longest_token_disturbs_nobody() {
    let token = long_token(LONGEST);
    let config = Config { token: token.clone(), ..Config::default() };
    let hostile =
        Stage::prepare_with(config, json!({"limits": {"requestsPerSecond": 1000, "maxInFlight": 8}}));
    create(&hostile, &secret("longest", json!({"token": STANDARD.encode(&token)})));
    hostile.namespace.run(&["delete", "secret", "token"]);
    hostile.gateway(
        json!({"auth": bearer("longest"), "retry": {"initialDelaySeconds": 1, "maxDelaySeconds": 1}}),
    );
    // As much as is read, all of it the token's.
    let pieces: Vec<_> = (0..900).map(|at| json!(&token[at..at + 64])).collect();
    let long: Vec<_> = (0..60).map(|at| json!(&token[at..at + 1000])).collect();
    for (number, errors) in (1_i64..).zip([pieces, long].into_iter().cycle().take(400)) {
        hostile
            .simulator
            .script(When::next(1).naming(number), Reply::json(500, &json!({"data": null, "errors": errors})));
    }
    hostile.namespace.apply(&run("many", json!({"plans": (1..=400).collect::<Vec<_>>(), "stopped": true})));
    let street = Street::new(hostile);
    street.assert_undisturbed(|_| {});
    assert!(!street.hostile.simulator.calls().is_empty(), "the hostile server was asked");
}

#[test]
fn the_largest_secrets_disturb_nobody() {
    let hostile = Stage::prepare();
    let large = long_token(LARGEST - 64);
    create(&hostile, &secret("one-value", json!({"token": STANDARD.encode(&large)})));
    let many: serde_json::Map<_, _> =
        (0..12_000).map(|n| (format!("key-{n:06}"), json!(STANDARD.encode(long_token(16))))).collect();
    create(&hostile, &secret("many-keys", Value::Object(many)));
    gateway_of(&hostile, "one-value", json!({"auth": bearer("one-value")}));
    gateway_of(&hostile, "many-keys", json!({"auth": bearer("many-keys")}));
    for (name, text) in
        [("key-file", "-----BEGIN KEY-----\nMC4CAQAwBQYDK2Vw\n"), ("control", "to\u{7}ken-of-mine")]
    {
        create(&hostile, &secret(name, json!({"token": STANDARD.encode(text)})));
        gateway_of(&hostile, name, json!({"auth": bearer(name)}));
    }
    let street = Street::new(hostile);
    // Whatever is asked for again is read again.
    street.assert_undisturbed(|number| {
        let value = format!("reconcile.fluxcd.io/requestedAt={number}");
        street.hostile.namespace.run(&["annotate", "tgw", "--all", "--overwrite", &value]);
    });
    street.wait_for_gateway("one-value", "is longer than 16384 bytes");
    street.wait_for_gateway("many-keys", "has no key \\\"token\\\"");
    street.wait_for_gateway("key-file", "contains a line break");
    street.wait_for_gateway("control", "can't be printed");
    street.hostile.assert_silent(&[&large[..32]]);
    // To be searched for in every encoding, at the test's end, they are too large.
    street.hostile.namespace.run(&["delete", "secret", "one-value", "many-keys"]);
}

#[test]
fn the_largest_bundles_disturb_nobody() {
    let (tls, default_nature) = (Some(Tls::default()), Nature::NeverStops);
    let hostile = Stage::prepare_with(Config { tls, default_nature, ..Config::default() }, json!({}));
    let pem = hostile.simulator.ca_pem().expect("TLS is on").to_owned();
    let bundle = pem.repeat((LARGEST - 1024) / pem.len());
    let map = |name: &str, text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": text}});
    create(&hostile, &map("whole", &bundle));
    create(&hostile, &map("broken", &format!("{}nonsense", &bundle[..bundle.len() - pem.len() / 2])));
    for name in ["whole", "broken"] {
        for number in 0..4 {
            let tls = json!({"caRef": {"name": name}});
            gateway_of(&hostile, &format!("{name}-{number}"), json!({"tls": tls}));
        }
    }
    let street = Street::new(hostile);
    street.assert_undisturbed(|number| {
        let value = format!("reconcile.fluxcd.io/requestedAt={number}");
        street.hostile.namespace.run(&["annotate", "tgw", "--all", "--overwrite", &value]);
    });
    for number in 0..4 {
        street.hostile.wait_for(&format!("at-whole-{number}"), "Accepted");
    }
}

#[test]
fn the_largest_statuses_disturb_nobody() {
    // Each plan has its own words in the answer, and in the status.
    let config = Config { default_nature: Nature::NotRunning, ..Config::default() };
    let hostile = Stage::prepare_with(config, json!({"batching": {"maxPlans": 1000}}));
    let plans: Vec<_> = (1..=1000).collect();
    for number in 0..8 {
        let mut object = run(&format!("large-{number}"), json!({"plans": plans, "stopped": true}));
        object["metadata"]["annotations"] = json!({"note": "x".repeat(200_000)});
        create(&hostile, &object);
    }
    let street = Street::new(hostile);
    street.assert_undisturbed(|_| {});
    for number in 0..8 {
        street.hostile.wait_for(&format!("large-{number}"), "NotRunning");
    }
}

/// They are as many as a scanner opens, or a node whose network drops the ends of connections leaves.
#[test]
fn a_thousand_silent_connections_keep_no_probe_waiting() {
    let street = Street::new(Stage::prepare());
    let mut silent = Vec::new();
    street.assert_undisturbed(|number| {
        let more = (0..1_000).map(|_| TcpStream::connect(("127.0.0.1", street.probes)));
        silent.extend(more.map(|stream| stream.expect("everybody is let in")));
        let begun = Instant::now();
        assert_eq!(ok(page(street.probes, "/healthz")), (200, "ok".to_owned()), "{number}");
        // The kubelet waits for five seconds, by the manifests that ship, and for one by default.
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    });
}
