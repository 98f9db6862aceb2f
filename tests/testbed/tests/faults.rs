//! The fault proxy between a client and servers of a few lines, over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall say where")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, ClientBuilder, Response};
use serde_json::Value;
use testinium_testbed::faults::{self, Break, Exchange, Fault, Outcome, Proxy, Reach, Then, Verb, When};
use testinium_testbed::simulator::{self, Simulator};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Long enough for a busy machine, short enough for a person to wait.
const LIMIT: Duration = Duration::from_secs(10);
/// How long something must not happen. A machine too slow to let it happen in time hides a fault, and makes none up.
const SILENCE: Duration = Duration::from_millis(100);

fn builder() -> ClientBuilder {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

fn gateway() -> (Simulator, Proxy) {
    let simulator = Simulator::start(simulator::Config::default()).unwrap();
    let proxy = Proxy::start(faults::Config::new(&simulator.url())).unwrap();
    (simulator, proxy)
}

async fn stop(url: &str, client: &reqwest::Client, plan: i64) -> reqwest::Result<Response> {
    let request = client.post(format!("{url}/stop/execution?a=b")).bearer_auth("simulated-token");
    request.header(CONTENT_TYPE, "application/json").body(format!("{{\"plans\":[{plan}]}}")).send().await
}

async fn stop_anew(proxy: &Proxy, plan: i64) -> reqwest::Result<Response> {
    stop(&proxy.url(), &builder().build().unwrap(), plan).await
}

/// A server that answers one request with a chunked body, a chunk a message, and ends it with the last sender.
async fn streaming_server() -> (String, mpsc::UnboundedSender<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut chunks) = mpsc::unbounded_channel::<&'static str>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        while let Some(chunk) = chunks.recv().await {
            // A client that went away is what some tests want.
            let _ = stream.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).await;
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
    });
    (url, sender)
}

const WATCH: &str = "/apis/testinium.io/v1alpha1/testplanruns?watch=true";

async fn watch(proxy: &Proxy) -> Response {
    builder().build().unwrap().get(format!("{}{WATCH}", proxy.url())).send().await.unwrap()
}

async fn next(response: &mut Response) -> reqwest::Result<Option<String>> {
    let chunk = timeout(LIMIT, response.chunk()).await.unwrap()?;
    Ok(chunk.map(|chunk| String::from_utf8(chunk.to_vec()).unwrap()))
}

async fn is_silent(response: &mut Response) -> bool {
    timeout(SILENCE, response.chunk()).await.is_err()
}

#[tokio::test]
async fn without_rules_all_goes_through_and_is_on_record() {
    let (simulator, proxy) = gateway();
    let client = builder().build().unwrap();
    for plan in [614, 615] {
        let response = stop(&proxy.url(), &client, plan).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.text().await.unwrap(), r#"{"data":null,"errors":null}"#);
    }
    let calls = simulator.calls();
    assert!(
        calls.iter().all(|call| call.authorization.as_deref() == Some("Bearer simulated-token")),
        "{calls:?}"
    );
    assert_eq!(simulator.connections(), 1, "the connection to the server is kept");

    let traffic = proxy.traffic();
    let [first, second] = &traffic[..] else { panic!("expected two: {traffic:?}") };
    assert_eq!(
        (first.method.as_str(), first.path.as_str(), first.query.as_str()),
        ("POST", "/stop/execution", "a=b")
    );
    assert_eq!(first.body, r#"{"plans":[614]}"#);
    assert_eq!((first.status, first.outcome, first.forwarded), (Some(200), Outcome::Complete, true));
    assert!(first.authorized && first.rule.is_none() && first.verb.is_none());
    assert_eq!((first.connection, second.connection), (0, 0), "the connection of the client is kept");
    assert!(first.ended.unwrap() <= second.elapsed, "{traffic:?}");
    proxy.forget_traffic();
    assert!(proxy.traffic().is_empty());
}

#[tokio::test]
async fn rejection_looks_like_an_api_server_s() {
    let (simulator, proxy) = gateway();
    proxy.rule(When::nth(2), Fault::reject(429).retry_after(Duration::from_secs(7)));
    assert_eq!(stop_anew(&proxy, 1).await.unwrap().status(), 200);
    let response = stop_anew(&proxy, 2).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(
        (&body["kind"], &body["reason"], &body["code"]),
        (&"Status".into(), &"TooManyRequests".into(), &429.into())
    );
    assert_eq!(stop_anew(&proxy, 3).await.unwrap().status(), 200);
    assert_eq!(simulator.calls().len(), 2);
    let traffic = proxy.traffic();
    assert_eq!(
        (traffic[1].status, traffic[1].forwarded, traffic[1].rule.is_some()),
        (Some(429), false, true)
    );
}

#[tokio::test]
async fn rules_count_what_they_match_and_can_be_taken_away() {
    let (_simulator, proxy) = gateway();
    proxy.rule(When::next(1).path("/other/*"), Fault::reject(500));
    proxy.rule(When::always().method("GET"), Fault::reject(501));
    let third =
        proxy.rule(When::nth(2).matching(|exchange| exchange.body.ends_with(b"[7]}")), Fault::reject(409));
    let always = proxy.rule(When::always().path("**/execution"), Fault::reject(503));
    let mut seen = Vec::new();
    for plan in [7, 8, 7, 7] {
        seen.push(stop_anew(&proxy, plan).await.unwrap().status().as_u16());
    }
    assert_eq!(seen, [503, 503, 409, 503]);
    proxy.remove_rule(always);
    assert_eq!(stop_anew(&proxy, 7).await.unwrap().status(), 200);
    assert!(proxy.traffic()[..4].iter().all(|exchange| [Some(third), Some(always)].contains(&exchange.rule)));
    proxy.rule(When::always(), Fault::reject(500));
    proxy.clear_rules();
    assert_eq!(stop_anew(&proxy, 9).await.unwrap().status(), 200);
}

#[tokio::test]
async fn lost_requests_and_lost_replies_differ_at_the_server() {
    let (simulator, proxy) = gateway();
    for (plan, fault) in [(1, Fault::cut()), (2, Fault::drop_reply())] {
        proxy.rule(
            When::always()
                .matching(move |exchange| exchange.body.ends_with(format!("[{plan}]}}").as_bytes())),
            fault,
        );
        assert!(stop_anew(&proxy, plan).await.is_err());
    }
    for (plan, fault, status) in [(3, Fault::hang(), None), (4, Fault::hang_reply(), Some(200))] {
        proxy.clear_rules();
        proxy.rule(When::always(), fault);
        let arrived = |traffic: &[Exchange]| traffic.len() == plan && traffic[plan - 1].status == status;
        tokio::select! {
            answer = stop_anew(&proxy, plan as i64) => panic!("answered: {answer:?}"),
            seen = proxy.wait_for(arrived, LIMIT) => drop(seen.unwrap()),
        }
    }
    let stopped: Vec<i64> = simulator.truth().into_keys().collect();
    assert_eq!(stopped, [2, 4]);
    let ended = |traffic: &[Exchange]| traffic.iter().all(|exchange| exchange.outcome != Outcome::Pending);
    let traffic = proxy.wait_for(ended, LIMIT).await.unwrap();
    let outcomes: Vec<_> = traffic.iter().map(|exchange| (exchange.forwarded, exchange.outcome)).collect();
    let (broken, abandoned) = (Outcome::Broken, Outcome::Abandoned);
    assert_eq!(outcomes, [(false, broken), (true, broken), (false, abandoned), (true, abandoned)]);
}

#[tokio::test]
async fn delay_holds_a_request_back() {
    let (_simulator, proxy) = gateway();
    proxy.rule(When::nth(1), Fault::delay(SILENCE));
    let begin = Instant::now();
    assert_eq!(stop_anew(&proxy, 1).await.unwrap().status(), 200);
    assert!(begin.elapsed() >= SILENCE, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn callbacks_come_before_and_after_the_server_has_acted() {
    let (simulator, proxy) = gateway();
    let simulator = Arc::new(simulator);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let (seen, simulator) = (seen.clone(), simulator.clone());
        move |exchange: &Exchange| seen.lock().unwrap().push((name, simulator.calls().len(), exchange.status))
    };
    let (before, after) = (note("before"), note("after"));
    let going_on = move |exchange: &Exchange| {
        before(exchange);
        Then::GoOn
    };
    proxy.rule(When::nth(1), Fault::none().calling_before(going_on).calling_after(after));
    assert_eq!(stop_anew(&proxy, 1).await.unwrap().status(), 200);
    assert_eq!(*seen.lock().unwrap(), [("before", 0, None), ("after", 1, Some(200))]);

    proxy.rule(When::nth(1), Fault::none().calling_before(|_| Then::Cut));
    assert!(stop_anew(&proxy, 2).await.is_err());
    assert_eq!(simulator.calls().len(), 1);
}

#[tokio::test]
async fn watch_is_handed_on_event_by_event() {
    let (url, server) = streaming_server().await;
    let proxy = Proxy::start(faults::Config::new(&url)).unwrap();
    let mut response = watch(&proxy).await;
    for event in ["one\n", "two\n", "three\n"] {
        // The next is sent only when this one has arrived, so a proxy that gathers them ends this test.
        server.send(event).unwrap();
        assert_eq!(next(&mut response).await.unwrap().as_deref(), Some(event));
    }
    drop(server);
    assert_eq!(next(&mut response).await.unwrap(), None);
    let [exchange] = &proxy.traffic()[..] else { panic!("expected one: {:?}", proxy.traffic()) };
    assert_eq!((exchange.verb, exchange.lines, exchange.outcome), (Some(Verb::Watch), 3, Outcome::Complete));
}

#[tokio::test]
async fn watch_breaks_after_so_many_events() {
    for how in [Break::Cut, Break::End, Break::Freeze] {
        let (url, server) = streaming_server().await;
        let proxy = Proxy::start(faults::Config::new(&url)).unwrap();
        proxy.rule(When::nth(1).verb(Verb::Watch), Fault::break_after(2, how));
        server.send("one\ntwo\nthree\n").unwrap();
        let mut response = watch(&proxy).await;
        assert_eq!(next(&mut response).await.unwrap().as_deref(), Some("one\ntwo\n"), "{how:?}");
        match how {
            Break::Cut => assert!(next(&mut response).await.is_err()),
            Break::End => assert_eq!(next(&mut response).await.unwrap(), None),
            Break::Freeze => assert!(is_silent(&mut response).await),
        }
        assert_eq!(proxy.traffic()[0].lines, 2, "{how:?}");
    }
}

#[tokio::test]
async fn open_watch_breaks_when_told() {
    for how in [Break::Cut, Break::End, Break::Freeze] {
        let (url, server) = streaming_server().await;
        let proxy = Proxy::start(faults::Config::new(&url)).unwrap();
        let mut response = watch(&proxy).await;
        server.send("one\n").unwrap();
        assert_eq!(next(&mut response).await.unwrap().as_deref(), Some("one\n"));
        proxy.break_open(When::always().verb(Verb::List), how);
        server.send("two\n").unwrap();
        assert_eq!(next(&mut response).await.unwrap().as_deref(), Some("two\n"), "{how:?} is for others");
        proxy.break_open(When::always().verb(Verb::Watch), how);
        match how {
            Break::Cut => assert!(next(&mut response).await.is_err()),
            Break::End => assert_eq!(next(&mut response).await.unwrap(), None),
            Break::Freeze => {
                server.send("three\n").unwrap();
                assert!(is_silent(&mut response).await);
            }
        }
    }
}

#[tokio::test]
async fn watch_error_comes_inside_the_stream() {
    let (_simulator, proxy) = gateway();
    proxy.rule(When::nth(1).verb(Verb::Watch), Fault::watch_error(410));
    let response = watch(&proxy).await;
    assert_eq!(response.status(), 200);
    let event: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &410.into()));
    assert_eq!(event["object"]["reason"], "Expired");
}

#[tokio::test]
async fn black_hole_silences_an_open_watch() {
    let (url, server) = streaming_server().await;
    let proxy = Proxy::start(faults::Config::new(&url)).unwrap();
    let mut response = watch(&proxy).await;
    server.send("one\n").unwrap();
    assert_eq!(next(&mut response).await.unwrap().as_deref(), Some("one\n"));
    proxy.set_reach(Reach::BlackHole).unwrap();
    server.send("two\n").unwrap();
    assert!(is_silent(&mut response).await);
    proxy.set_reach(Reach::Up).unwrap();
    assert!(next(&mut response).await.is_err());
}

#[tokio::test]
async fn server_that_is_gone_is_gone_through_the_proxy_too() {
    let (simulator, proxy) = gateway();
    simulator.down().unwrap();
    assert!(stop_anew(&proxy, 1).await.is_err());
    simulator.up().unwrap();
    assert_eq!(stop_anew(&proxy, 1).await.unwrap().status(), 200);
    proxy.set_reach(Reach::Refusing).unwrap();
    assert!(stop_anew(&proxy, 1).await.unwrap_err().is_connect());
}

#[tokio::test]
async fn tls_is_spoken_on_both_sides() {
    let tls = Some(simulator::Tls::default());
    let simulator = Simulator::start(simulator::Config { tls, ..simulator::Config::default() }).unwrap();
    let upstream_ca_pem = simulator.ca_pem().map(str::to_owned);
    let config = faults::Config { upstream_ca_pem, tls: true, ..faults::Config::new(&simulator.url()) };
    let proxy = Proxy::start(config).unwrap();
    let ca = Certificate::from_pem(proxy.ca_pem().unwrap().as_bytes()).unwrap();
    let client = builder().tls_certs_only([ca]).build().unwrap();
    assert_eq!(stop(&proxy.url(), &client, 1).await.unwrap().status(), 200);
    assert!(stop(&proxy.url(), &builder().build().unwrap(), 1).await.unwrap_err().is_connect());

    let distrusting = faults::Config { upstream_ca_pem: None, ..faults::Config::new(&simulator.url()) };
    let distrusting = Proxy::start(distrusting).unwrap();
    assert!(stop_anew(&distrusting, 1).await.is_err());
    assert_eq!(simulator.calls().len(), 1);
}

#[test]
fn upstream_that_is_no_url_is_refused() {
    for upstream in ["", "/path", "127.0.0.1:6443", "https://"] {
        let error = Proxy::start(faults::Config::new(upstream)).unwrap_err().to_string();
        assert!(error.contains("must be like https://127.0.0.1:6443"), "{upstream}: {error}");
    }
}
