//! The way to a gateway: whom TLS trusts, which addresses are called, and through which proxy.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;

use serde_json::{Value, json};
use testinium_testbed::arena::Arena;
use testinium_testbed::launcher::{self, Launcher, TEXT_LOG};
use testinium_testbed::simulator::{Config, Simulator, Tls};

use crate::cluster::{OPERATOR, cluster, ok, run, site};
use crate::operator::{SOON, Stage, condition};

fn stopped_run(gateway: &str, plan: i64) -> Value {
    run(gateway, json!({"plans": [plan], "stopped": true, "gatewayRef": {"name": gateway}}))
}

fn message(status: &Value) -> &str {
    condition(status, "Stopped").and_then(|stopped| stopped["message"].as_str()).unwrap_or_default()
}

/// A TestiniumGateway over TLS, and a run that wants stopping at it.
struct Row<'a> {
    name: &'a str,
    site: &'a Simulator,
    /// Whether its spec names a client certificate.
    client: bool,
    /// Made beforehand.
    before: Vec<Value>,
    /// Why the run has to wait then, and what its message says.
    waits: Option<(&'a str, &'a str)>,
    /// Applied to end that.
    fix: Vec<Value>,
}

/// A ConfigMap that holds a row's CA.
fn ca(row: &str, pem: &str) -> Value {
    let name = format!("{row}-ca");
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": pem}})
}

/// A Secret that holds a row's client certificate: the one that clients of `site` are to show.
fn client(row: &str, site: &Simulator) -> Value {
    let identity = site.client_identity().expect("TLS is on");
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{row}-client")},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": identity.certificate_pem, "tls.key": identity.key_pem},
    })
}

fn tls_gateway(stage: &Stage, row: &str, site: &Simulator, client: bool) -> Value {
    let mut tls = json!({"caRef": {"name": format!("{row}-ca")}});
    if client {
        tls["clientCertificateRef"] = json!({"name": format!("{row}-client")});
    }
    stage.gateway_named(row, json!({"url": site.url(), "tls": tls}))
}

fn tls_site(tls: Tls) -> Simulator {
    Simulator::start(Config { tls: Some(tls), ..Config::default() }).expect("the simulator starts")
}

#[test]
fn certificates_are_checked_both_ways_and_picked_up_when_they_change() {
    let stage = Stage::start();
    let (site, other) = (tls_site(Tls::default()), tls_site(Tls::default()));
    let mutual = tls_site(Tls { client_certificate: true, ..Tls::default() });
    let pem = |site: &Simulator| site.ca_pem().expect("TLS is on").to_owned();
    let (good, wrong, of_mutual) = (pem(&site), pem(&other), pem(&mutual));
    let untrusted = Some(("Unreachable", "can't be reached over TLS; check its certificate and spec.tls"));
    // A server that wants another certificate may close the connection before its reason is read.
    let closed = Some(("Unreachable", ""));
    let row = |name, before, waits, fix| Row { name, site: &site, client: false, before, waits, fix };
    let mtls =
        |name, before, waits, fix| Row { site: &mutual, client: true, ..row(name, before, waits, fix) };
    let other_key =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "key-ca"}, "data": {"x": good}});
    let rows = [
        row("right", vec![ca("right", &good)], None, vec![]),
        row("bundle", vec![ca("bundle", &format!("{wrong}{good}"))], None, vec![]),
        row("wrong", vec![ca("wrong", &wrong)], untrusted, vec![ca("wrong", &good)]),
        row(
            "absent",
            vec![],
            Some(("SecretNotFound", "there is no ConfigMap \"absent-ca\" in its namespace; create it")),
            vec![ca("absent", &good)],
        ),
        row(
            "key",
            vec![other_key],
            Some(("SecretNotFound", "ConfigMap \"key-ca\" has no key \"ca.crt\"; add it")),
            vec![ca("key", &good)],
        ),
        row(
            "nonsense",
            vec![ca("nonsense", "nonsense")],
            Some(("InvalidCredential", "must be one or more certificates in PEM")),
            vec![ca("nonsense", &good)],
        ),
        mtls("client", vec![ca("client", &of_mutual), client("client", &mutual)], None, vec![]),
        mtls(
            "client-rotated",
            vec![ca("client-rotated", &of_mutual), client("client-rotated", &other)],
            closed,
            vec![client("client-rotated", &mutual)],
        ),
        mtls(
            "client-absent",
            vec![ca("client-absent", &of_mutual)],
            Some((
                "SecretNotFound",
                "there is no Secret \"client-absent-client\" in its namespace; create it",
            )),
            vec![client("client-absent", &mutual)],
        ),
        Row {
            client: false,
            ..mtls(
                "client-none",
                vec![ca("client-none", &of_mutual), client("client-none", &mutual)],
                closed,
                vec![tls_gateway(&stage, "client-none", &mutual, true)],
            )
        },
    ];
    let mut items = Vec::new();
    for (row, plan) in rows.iter().zip(1..) {
        items.extend(row.before.clone());
        items.push(tls_gateway(&stage, row.name, row.site, row.client));
        items.push(stopped_run(row.name, plan));
    }
    stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    let mut fixes = Vec::new();
    for row in &rows {
        let Some((reason, says)) = row.waits else { continue };
        let status = stage.wait_for(row.name, reason);
        assert!(message(&status).contains(says), "{}: {status}", row.name);
        fixes.extend(row.fix.clone());
    }
    stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": fixes}));
    for row in &rows {
        stage.wait_for(row.name, "Accepted");
    }
}

#[test]
fn a_ca_may_be_in_a_secret_under_another_key() {
    let config = Config { tls: Some(Tls::default()), ..Config::default() };
    let ca_ref = json!({"caRef": {"kind": "Secret", "name": "ca", "key": "root.pem"}});
    let mut stage = Stage::prepare_with(config, json!({"tls": ca_ref}));
    let pem = stage.simulator.ca_pem().expect("TLS is on");
    stage.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "stringData": {"root.pem": pem},
    }));
    stage.start_operator();
    // One after the other, so that nothing but keeping it explains that there is one connection.
    for plan in 1..=4 {
        let name = format!("run-{plan}");
        stage.settle(&name, plan);
    }
    assert_eq!(stage.simulator.connections(), 1);
}

#[test]
fn inner_addresses_are_not_called_unless_a_flag_allows_them() {
    // Of a network for documentation: whether it is refused or tried tells whether it is known as the API server's.
    const API_SERVER: &str = "198.51.100.7";
    let mut stage = Stage::prepare();
    let url = stage.simulator.url();
    let port = url.rsplit(':').next().expect("it has a port");
    let rows = [
        ("loopback", url.clone()),
        ("name", format!("http://localhost:{port}")),
        ("mapped", format!("http://[::ffff:127.0.0.1]:{port}")),
        ("unspecified", format!("http://0.0.0.0:{port}")),
        ("metadata", "http://169.254.169.254".to_owned()),
        ("api-server", format!("http://{API_SERVER}")),
    ];
    let mut items: Vec<_> = rows
        .iter()
        .zip(1..)
        .flat_map(|((name, url), plan)| {
            [stage.gateway_named(name, json!({"url": url})), stopped_run(name, plan)]
        })
        .collect();
    let password = json!({"tokenURL": stage.simulator.token_url(), "secretRef": {"name": "login"}});
    let spec = json!({"url": "http://198.51.100.8", "auth": {"password": password}});
    items.extend([stage.gateway_named("login", spec), stopped_run("login", 100), login_secret("login")]);
    stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    stage.start_operator_with(&[], &[("KUBERNETES_SERVICE_HOST", API_SERVER)]);
    for (name, _) in &rows {
        let status = stage.wait_for(name, "Misconfigured");
        assert!(message(&status).contains("--allow-gateway-cidr permits it"), "{name}: {status}");
    }
    let status = stage.wait_for("login", "Unreachable");
    assert!(
        message(&status).contains("the token endpoint has an address that gateways must not have"),
        "{status}"
    );
    assert!(message(&status).contains("--allow-gateway-cidr"), "{status}");
    assert_eq!(stage.simulator.connections(), 0);
    assert!(stage.simulator.requests().is_empty());

    stage.kill_operator();
    stage.start_operator();
    stage.wait_for("loopback", "Accepted");
}

#[test]
fn a_network_that_is_allowed_does_not_open_the_api_server() {
    // Of a network for documentation.
    const ENDPOINT: &str = "203.0.113.9";
    let mut stage = Stage::prepare();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "endpoints": [{"addresses": [ENDPOINT]}], "ports": [{"name": "https", "port": 6443}],
    });
    ok(cluster().kubectl().apply(&slice.to_string()));
    let rows = [
        ("service", "http://198.51.100.7", "Misconfigured"),
        ("endpoint", "http://203.0.113.9:6443", "Misconfigured"),
        ("mapped", "http://[::ffff:203.0.113.9]:6443", "Misconfigured"),
        // On a developer's machine the API server is on loopback, as everything else is.
        ("loopback", &*stage.simulator.url(), "Accepted"),
    ];
    let mut items = Vec::new();
    for ((name, url, _), plan) in rows.iter().zip(1..) {
        items.push(stage.gateway_named(name, json!({"url": url})));
        items.push(stopped_run(name, plan));
    }
    stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    let flags = ["--allow-gateway-cidr=198.51.100.0/24,203.0.113.0/24,127.0.0.0/8,::/0"];
    stage.start_operator_with(&flags, &[("KUBERNETES_SERVICE_HOST", "198.51.100.7")]);
    for (name, _, reason) in rows {
        stage.wait_for(name, reason);
    }
}

/// What a login needs, though this one is never made.
fn login_secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "stringData": {
            "username": "jane@qa.example", "password": "simulated-password",
            "clientId": "client", "clientSecret": "simulated-secret",
        },
    })
}

#[test]
fn the_environments_proxy_is_used_for_gateways_alone() {
    let names = ["gateway.example.com", "127.0.0.1"].map(str::to_owned).to_vec();
    let config = Config { tls: Some(Tls { names, ..Tls::default() }), ..Config::default() };
    let tls = json!({"caRef": {"name": "site-ca"}});
    let mut stage = Stage::prepare_with(config, json!({"tls": tls}));
    let site = stage.simulator.url();
    let address = site.strip_prefix("https://").and_then(|site| site.parse().ok()).expect("an address");
    let proxy = Proxy::start(address);
    stage.namespace.apply(&ca("site", stage.simulator.ca_pem().expect("TLS is on")));
    let behind = json!({"url": "https://gateway.example.com", "tls": tls});
    stage.namespace.apply(&stage.gateway_named("behind", behind));
    let environment = [("HTTPS_PROXY", &*proxy.url), ("NO_PROXY", "127.0.0.1")];
    stage.start_operator_with(&["--allow-gateway-cidr=127.0.0.0/8"], &environment);

    stage.namespace.apply(&stopped_run("behind", 1));
    stage.wait_for("behind", "Accepted");
    stage.namespace.apply(&stopped_run("default", 2));
    stage.wait_for("default", "Accepted");
    let asked: Vec<_> = proxy.asked.try_iter().collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("CONNECT gateway.example.com:443 HTTP/1.1"), "{asked:?}");
    assert!(!asked[0].contains("simulated-token"), "{asked:?}");
}

#[test]
fn the_kubeconfigs_proxy_is_used_for_the_kubernetes_api_alone() {
    let arena = ok(Arena::new(site(), "behind-proxy", Config::default()));
    let address = cluster().url().strip_prefix("https://").and_then(|url| url.parse().ok());
    let proxy = Proxy::start(address.expect("an address"));
    let original = ok(launcher::kubeconfig(cluster()));
    let mut kubeconfig: Value =
        serde_json::from_slice(&std::fs::read(original).expect("it can be read")).expect("JSON");
    kubeconfig["clusters"][0]["cluster"]["proxy-url"] = json!(proxy.url);
    let path = arena.directory().join("proxied.kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).expect("it can be written");
    // What the environment says is about gateways.
    let environment = [("HTTPS_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "127.0.0.1")];
    let launcher = Launcher::new(&path).watching(&[&arena.namespace]).environment(&environment);
    let log = arena.directory().join("proxied.log");
    let operator = ok(launcher.flags(&["--leader-elect=false", TEXT_LOG]).spawn(Path::new(OPERATOR), &log));
    ok(arena.create_run("nightly", json!({"plans": [1], "stopped": true})));
    let accepted = arena.wait_for("nightly", &["Accepted"], SOON);
    assert!(accepted.is_ok(), "{accepted:?}\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    drop(operator);
    let asked: Vec<_> = proxy.asked.try_iter().collect();
    let tunnel = format!("CONNECT {} ", cluster().url().trim_start_matches("https://"));
    assert!(!asked.is_empty() && asked.iter().all(|head| head.starts_with(&tunnel)), "{asked:?}");
}

/// A forward proxy that opens tunnels, all of them to one address.
struct Proxy {
    url: String,
    /// The head of each request.
    asked: mpsc::Receiver<String>,
}

// === impl Proxy ===

impl Proxy {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (record, asked) = mpsc::channel();
        // Ends with the test's process, as the threads of its tunnels do.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let record = record.clone();
                std::thread::spawn(move || {
                    // A client that goes away in the middle shows as a call that fails.
                    let _ = tunnel(stream, to, &record);
                });
            }
        });
        Self { url, asked }
    }
}

fn tunnel(mut client: TcpStream, to: SocketAddr, record: &mpsc::Sender<String>) -> std::io::Result<()> {
    // A client says nothing more until it is answered, so nothing but the head can be read too far.
    let lines = BufReader::new(&client).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let head: Vec<_> = lines.collect();
    // Nobody listens only once the test is over.
    let _ = record.send(head.join("\n"));
    let server = TcpStream::connect(to)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    std::io::copy(&mut &server, &mut client).map(drop)
}
