//! The simulated gateway over real sockets: it refuses what the published API refuses, and breaks as told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall say where")]

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use testinium_testbed::simulator::{
    Answer, Config, Endpoint, ErrorShape, Hold, Nature, Reach, Reply, Report, Simulator, When,
};

/// Long enough for a busy machine, short enough for a person to wait.
const LIMIT: Duration = Duration::from_secs(10);

fn start(config: Config) -> Simulator {
    Simulator::start(config).unwrap()
}

fn client() -> Client {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

async fn post(sim: &Simulator, body: &str) -> reqwest::Result<Response> {
    post_with(sim, &client(), body).await
}

async fn post_with(sim: &Simulator, client: &Client, body: &str) -> reqwest::Result<Response> {
    client
        .post(format!("{}/stop/execution", sim.url()))
        .header(AUTHORIZATION, "Bearer simulated-token")
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_owned())
        .send()
        .await
}

async fn stop(sim: &Simulator, plans: &[i64]) -> (StatusCode, Value) {
    read(post(sim, &json!({"plans": plans}).to_string()).await.unwrap()).await
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
}

#[tokio::test]
async fn clean_stop_is_answered_as_published_and_stops_the_plans() {
    let sim = start(Config::default());
    let (status, body) = stop(&sim, &[614, 615, 312]).await;
    assert_eq!(status, 200);
    assert_eq!(body, json!({"data": null, "errors": null}));
    let truth = sim.truth();
    assert_eq!(truth.keys().copied().collect::<Vec<_>>(), [312, 614, 615]);
    assert!(truth.values().all(|plan| !plan.running && plan.accepted == 1 && plan.asked == 1), "{truth:?}");

    let [call] = &sim.calls()[..] else { panic!("expected one call: {:?}", sim.calls()) };
    assert_eq!(call.plans, [614, 615, 312]);
    assert_eq!(call.method, "POST");
    assert_eq!(call.path, "/stop/execution");
    assert_eq!(call.authorization.as_deref(), Some("Bearer simulated-token"));
    assert!(call.authorized);
    assert_eq!(call.content_type.as_deref(), Some("application/json"));
    assert_eq!(call.body, r#"{"plans":[614,615,312]}"#);
    assert_eq!(call.answer, Answer::Status(200));
    assert_eq!(sim.in_flight_max(), 1);
}

#[tokio::test]
async fn what_the_published_api_refuses_is_refused() {
    let sim = start(Config { base_path: "/gw".to_owned(), max_plans: Some(3), ..Config::default() });
    let good = r#"{"plans":[614]}"#;
    let bearer = Some("Bearer simulated-token");
    let json_type = Some("application/json");
    let rows = [
        ("no token", "POST", "/gw/stop/execution", None, json_type, good, 401),
        ("wrong token", "POST", "/gw/stop/execution", Some("Bearer other"), json_type, good, 401),
        ("wrong scheme", "POST", "/gw/stop/execution", Some("Basic simulated-token"), json_type, good, 401),
        ("token alone", "POST", "/gw/stop/execution", Some("simulated-token"), json_type, good, 401),
        ("no content type", "POST", "/gw/stop/execution", bearer, None, good, 400),
        ("text", "POST", "/gw/stop/execution", bearer, Some("text/plain"), good, 400),
        ("no JSON", "POST", "/gw/stop/execution", bearer, json_type, "{", 400),
        ("no body", "POST", "/gw/stop/execution", bearer, json_type, "", 400),
        ("no plans", "POST", "/gw/stop/execution", bearer, json_type, "{}", 400),
        ("a bare list", "POST", "/gw/stop/execution", bearer, json_type, "[614]", 400),
        ("empty plans", "POST", "/gw/stop/execution", bearer, json_type, r#"{"plans":[]}"#, 400),
        ("null plans", "POST", "/gw/stop/execution", bearer, json_type, r#"{"plans":null}"#, 400),
        ("a string", "POST", "/gw/stop/execution", bearer, json_type, r#"{"plans":["614"]}"#, 400),
        ("a fraction", "POST", "/gw/stop/execution", bearer, json_type, r#"{"plans":[614.0]}"#, 400),
        (
            "beyond Long",
            "POST",
            "/gw/stop/execution",
            bearer,
            json_type,
            r#"{"plans":[9223372036854775808]}"#,
            400,
        ),
        ("another field", "POST", "/gw/stop/execution", bearer, json_type, r#"{"plans":[614],"x":1}"#, 400),
        ("too many", "POST", "/gw/stop/execution", bearer, json_type, r#"{"plans":[1,2,3,4]}"#, 400),
        ("unknown path", "POST", "/stop/execution", bearer, json_type, good, 404),
        ("slash at the end", "POST", "/gw/stop/execution/", bearer, json_type, good, 404),
        ("wrong method", "GET", "/gw/stop/execution", bearer, None, "", 405),
        ("RestApi's path", "GET", "/Testinium.RestApi/api/plans/614/stop", bearer, None, "", 404),
        (
            "all well",
            "POST",
            "/gw/stop/execution",
            bearer,
            Some("application/json; charset=utf-8"),
            good,
            200,
        ),
    ];
    for (name, method, path, authorization, content_type, body, expected) in rows {
        let url = format!("{}{path}", sim.url().strip_suffix("/gw").unwrap());
        let mut request = client().request(method.parse().unwrap(), url).body(body);
        let headers = [(AUTHORIZATION, authorization), (CONTENT_TYPE, content_type)];
        for (header, value) in headers {
            request =
                request.headers(value.map(|value| (header, value.parse().unwrap())).into_iter().collect());
        }
        let status = request.send().await.unwrap().status();
        assert_eq!(status, expected, "{name}");
        let accepted = sim.truth().get(&614).map_or(0, |plan| plan.accepted);
        assert_eq!(accepted, u32::from(expected == 200), "{name}");
    }
}

#[tokio::test]
async fn refusals_carry_the_published_codes() {
    let sim = start(Config::default());
    sim.revoke_tokens();
    let (_, body) = stop(&sim, &[614]).await;
    assert_eq!(body["errors"][0]["code"], "UNAUTHORIZED");
    sim.set_token("simulated-token");
    let (_, body) = read(post(&sim, "{}").await.unwrap()).await;
    assert_eq!(body["errors"][0]["code"], "INVALID_REQUEST");
}

#[tokio::test]
async fn company_header_is_demanded_only_if_asked_for() {
    let sim = start(Config { company_id: Some("42".to_owned()), ..Config::default() });
    let call = |company: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        if let Some(company) = company {
            headers.insert("x-company-id", company.parse().unwrap());
        }
        client()
            .post(format!("{}/stop/execution", sim.url()))
            .headers(headers)
            .header(AUTHORIZATION, "Bearer simulated-token")
            .header(CONTENT_TYPE, "application/json")
            .body(r#"{"plans":[614]}"#)
            .send()
    };
    assert_eq!(call(None).await.unwrap().status(), 400);
    assert_eq!(call(Some("41")).await.unwrap().status(), 400);
    assert_eq!(call(Some("42")).await.unwrap().status(), 200);
    let companies: Vec<_> = sim.calls().into_iter().map(|call| call.company_id).collect();
    assert_eq!(companies, [None, Some("41".to_owned()), Some("42".to_owned())]);
}

#[tokio::test]
async fn natures_decide_what_a_call_is_answered() {
    let sim = start(Config::default());
    sim.plan(1, Nature::NotRunning);
    sim.plan(2, Nature::Unknown);
    sim.plan(3, Nature::Rejected);
    sim.plan(4, Nature::Poisons(500));
    sim.plan(5, Nature::Poisons(403));
    sim.plan(6, Nature::NeverStops);
    let rows: [(&str, &[i64], u16, Value); 7] = [
        ("running", &[614], 200, Value::Null),
        ("not running", &[1, 700], 200, json!([1])),
        ("unknown", &[2, 701], 400, json!([2])),
        ("rejected", &[3, 702], 200, json!([3])),
        ("poison", &[4, 703], 500, json!([4])),
        ("forbidden", &[5, 704], 403, json!([5])),
        ("never stops", &[6, 705], 200, Value::Null),
    ];
    for (name, plans, expected, named) in rows {
        let (status, body) = stop(&sim, plans).await;
        assert_eq!(status, expected, "{name}: {body}");
        let ids =
            body["errors"].as_array().map(|errors| errors.iter().map(|error| error["id"].clone()).collect());
        assert_eq!(ids.unwrap_or(Value::Null), named, "{name}: {body}");
    }
    let truth = sim.truth();
    let running: Vec<i64> = truth.iter().filter(|(_, plan)| plan.running).map(|(id, _)| *id).collect();
    // The plans that shared a call with an unknown plan or a poison run on; the others are stopped.
    assert_eq!(running, [3, 4, 5, 6, 701, 703, 704]);
    assert_eq!(truth[&6].accepted, 1);
}

#[tokio::test]
async fn slow_plan_is_seen_running_until_it_has_terminated() {
    let sim = start(Config::default());
    sim.plan(7, Nature::TerminatesSlowly(Duration::from_secs(3600)));
    sim.plan(8, Nature::TerminatesSlowly(Duration::ZERO));
    assert_eq!(stop(&sim, &[7, 8]).await.0, 200);
    let running = async |id| {
        let url = format!("{}/Testinium.RestApi/api/plans/{id}/checkIsRunning", sim.rest_api_url());
        read(client().get(url).header(AUTHORIZATION, "Bearer simulated-token").send().await.unwrap()).await
    };
    assert_eq!(running(7).await, (StatusCode::OK, json!({"status": "SUCCESS", "running": true})));
    assert_eq!(running(8).await, (StatusCode::OK, json!({"status": "SUCCESS", "running": false})));
    sim.plan(9, Nature::Unknown);
    assert_eq!(running(9).await.0, 404);
    sim.revoke_tokens();
    assert_eq!(running(7).await.0, 401);
}

#[tokio::test]
async fn open_points_of_the_api_are_settings() {
    let with = async |config: Config, plans: &[i64]| {
        let sim = start(config);
        sim.plan(1, Nature::NotRunning);
        sim.plan(2, Nature::Unknown);
        let (status, body) = stop(&sim, plans).await;
        (status.as_u16(), body, sim.truth()[&614].running)
    };
    let fault = json!([{"id": 2, "code": "PLAN_NOT_FOUND", "message": "there is no such plan"}]);
    let config = Config { unknown: Report::Errors, ..Config::default() };
    assert_eq!(with(config, &[2, 614]).await, (200, json!({"data": null, "errors": fault}), false));
    let config = Config { unknown: Report::Errors, stops_the_others: false, ..Config::default() };
    assert!(with(config, &[2, 614]).await.2);
    let config = Config { not_running: Report::Status, ..Config::default() };
    assert_eq!(with(config, &[1, 614]).await.1["status"], "NOT_AVAILABLE");
    let config = Config { not_running: Report::Refusal(409), ..Config::default() };
    assert_eq!(with(config, &[1, 614]).await.0, 409);

    let shapes = [
        (ErrorShape::Text, true, json!("plan 1: the action is not available")),
        (ErrorShape::Texts, false, json!(["the action is not available"])),
        (
            ErrorShape::Objects,
            false,
            json!([{"code": "NOT_AVAILABLE", "message": "the action is not available"}]),
        ),
        (ErrorShape::Map, true, json!({"1": "NOT_AVAILABLE: the action is not available"})),
    ];
    for (error_shape, errors_name_plans, expected) in shapes {
        let config = Config { error_shape, errors_name_plans, ..Config::default() };
        assert_eq!(with(config, &[1, 614]).await.1["errors"], expected, "{error_shape:?}");
    }
}

#[tokio::test]
async fn scripts_answer_the_requests_they_are_for() {
    let sim = start(Config::default());
    sim.script(When::nth(2), Reply::refusal(503));
    sim.script(When::always().naming(13), Reply::refusal(409));
    sim.script(When::next(1).matching(|call| call.plans.len() > 1), Reply::refusal(429));
    let mut seen = Vec::new();
    for plans in [&[10][..], &[11], &[12, 14], &[12, 14], &[13], &[13]] {
        seen.push(stop(&sim, plans).await.0.as_u16());
    }
    assert_eq!(seen, [200, 503, 429, 200, 409, 409]);
    assert_eq!(sim.truth()[&10].accepted, 1);
    assert!(!sim.truth().contains_key(&11), "a scripted refusal acts on nothing");
    sim.clear_scripts();
    assert_eq!(stop(&sim, &[13]).await.0, 200);
    sim.script(When::next(2), Reply::natural().after(Duration::from_millis(1)));
    assert_eq!(stop(&sim, &[13]).await.1["errors"][0]["code"], "NOT_AVAILABLE");
}

#[tokio::test]
async fn scripted_shapes_arrive_as_scripted() {
    let sim = start(Config::default());
    let rows = [
        (Reply::success(), 200, r#"{"data":null,"errors":null}"#),
        (Reply::errors(json!("x")), 200, r#"{"data":null,"errors":"x"}"#),
        (Reply::result_code(0), 200, r#"{"data":null,"result":{"code":0,"message":"success"}}"#),
        (Reply::result_code(7), 200, r#"{"data":null,"result":{"code":7,"message":"failure"}}"#),
        (Reply::empty(200), 200, ""),
        (Reply::empty(504), 504, ""),
        (Reply::raw(200, "nonsense"), 200, "nonsense"),
        (Reply::raw(200, "nonsense").dripping(3, Duration::ZERO), 200, "nonsense"),
    ];
    for (reply, status, body) in rows {
        sim.script(When::next(1), reply.clone());
        let response = post(&sim, r#"{"plans":[614]}"#).await.unwrap();
        assert_eq!(response.status(), status, "{reply:?}");
        assert_eq!(response.text().await.unwrap(), body, "{reply:?}");
    }
    sim.script(When::next(1), Reply::html(502));
    let response = post(&sim, r#"{"plans":[614]}"#).await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    sim.script(When::next(1), Reply::refusal(429).retry_after(Duration::from_secs(7)));
    assert_eq!(post(&sim, r#"{"plans":[614]}"#).await.unwrap().headers()["retry-after"], "7");
    let date = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    sim.script(When::next(1), Reply::refusal(503).retry_after_date(date));
    let response = post(&sim, r#"{"plans":[614]}"#).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "Sun, 09 Sep 2001 01:46:40 GMT");
    assert_eq!(sim.truth()[&614].asked, 2, "only the two that say success have acted");
}

#[tokio::test]
async fn huge_body_has_its_length_and_is_one_envelope() {
    let sim = start(Config::default());
    sim.script(When::next(1), Reply::huge(300_000));
    let response = post(&sim, r#"{"plans":[614]}"#).await.unwrap();
    let bytes = response.bytes().await.unwrap();
    assert_eq!(bytes.len(), 300_000);
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(body["errors"], Value::Null);
}

#[tokio::test]
async fn broken_connections_differ_in_whether_the_plan_is_stopped() {
    let sim = start(Config::default());
    sim.script(When::next(1), Reply::dropped());
    assert!(post(&sim, r#"{"plans":[1]}"#).await.is_err());
    sim.script(When::next(1), Reply::natural().lost());
    assert!(post(&sim, r#"{"plans":[2]}"#).await.is_err());
    sim.script(When::next(1), Reply::success().truncated(5));
    assert!(post(&sim, r#"{"plans":[3]}"#).await.unwrap().bytes().await.is_err());
    let answers: Vec<_> = sim.calls().iter().map(|call| call.answer).collect();
    assert_eq!(answers, [Answer::Dropped; 3]);
    let truth = sim.truth();
    assert!(!truth.contains_key(&1), "{truth:?}");
    assert!(!truth[&2].running && !truth[&3].running, "{truth:?}");
}

#[tokio::test]
async fn unanswered_call_is_in_flight_until_the_client_gives_up() {
    let sim = start(Config::default());
    sim.script(When::always(), Reply::never());
    {
        let two = async { tokio::join!(post(&sim, r#"{"plans":[1]}"#), post(&sim, r#"{"plans":[2]}"#)) };
        let seen = sim.wait_for(|requests| requests.len() == 2, LIMIT);
        tokio::select! {
            answers = two => panic!("nothing should have been answered: {answers:?}"),
            seen = seen => assert!(seen.unwrap().iter().all(|call| call.answer == Answer::Pending)),
        }
    }
    let given_up = |call: &testinium_testbed::simulator::Request| call.answer == Answer::Abandoned;
    sim.wait_for(|requests| requests.iter().all(given_up), LIMIT).await.unwrap();
    assert_eq!(sim.in_flight_max(), 2);
    sim.forget_requests();
    assert_eq!((sim.in_flight_max(), sim.requests().len()), (0, 0));
}

#[tokio::test]
async fn latency_delays_the_answer_but_not_the_stop() {
    let sim = start(Config { latency: Duration::from_secs(3600), ..Config::default() });
    tokio::select! {
        answer = post(&sim, r#"{"plans":[1]}"#) => panic!("answered before its time: {answer:?}"),
        seen = sim.wait_for(|requests| requests.len() == 1, LIMIT) => drop(seen.unwrap()),
    }
    assert!(!sim.truth()[&1].running);
    sim.set_latency(Duration::from_millis(50));
    let begin = Instant::now();
    assert_eq!(stop(&sim, &[2]).await.0, 200);
    assert!(begin.elapsed() >= Duration::from_millis(50), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn gateway_that_is_down_refuses_and_comes_back_at_its_address() {
    let sim = start(Config::default());
    let warm = client();
    assert!(post_with(&sim, &warm, r#"{"plans":[1]}"#).await.is_ok());
    for _ in 0..3 {
        sim.down().unwrap();
        assert!(post_with(&sim, &warm, r#"{"plans":[2]}"#).await.is_err());
        assert!(post(&sim, r#"{"plans":[2]}"#).await.unwrap_err().is_connect());
        sim.up().unwrap();
        assert!(post_with(&sim, &warm, r#"{"plans":[2]}"#).await.is_ok());
    }
    assert_eq!(sim.calls().len(), 4);
    assert_eq!(sim.connections(), 4);
}

#[tokio::test]
async fn black_hole_swallows_new_and_open_connections() {
    let sim = start(Config::default());
    let warm = client();
    assert!(post_with(&sim, &warm, r#"{"plans":[1]}"#).await.is_ok());
    sim.set_reach(Reach::BlackHole).unwrap();
    let cold = client();
    let calls = [post_with(&sim, &warm, r#"{"plans":[2]}"#), post_with(&sim, &cold, r#"{"plans":[3]}"#)];
    let mut calls = calls.map(Box::pin);
    let [open, new] = &mut calls;
    let both = async {
        tokio::select! {
            answer = open => panic!("answered out of a black hole: {answer:?}"),
            answer = new => panic!("answered out of a black hole: {answer:?}"),
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(100), both).await.is_err());
    assert_eq!(sim.connections(), 2, "the new connection was accepted");
    sim.up().unwrap();
    for call in calls {
        assert!(call.await.is_err(), "what was swallowed stays swallowed");
    }
    assert_eq!(sim.calls().len(), 1);
    assert!(post_with(&sim, &warm, r#"{"plans":[4]}"#).await.is_ok());
}

#[tokio::test]
async fn whoever_follows_a_redirect_is_on_record() {
    let sim = start(Config::default());
    sim.script(When::always(), Reply::redirect(307, &format!("{}/stop/execution", sim.elsewhere_url())));
    assert_eq!(post(&sim, r#"{"plans":[1]}"#).await.unwrap().status(), 307);
    assert!(sim.elsewhere().is_empty());
    let follower = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    assert_eq!(post_with(&sim, &follower, r#"{"plans":[1]}"#).await.unwrap().status(), 404);
    let [stray] = &sim.elsewhere()[..] else { panic!("expected one stray: {:?}", sim.elsewhere()) };
    assert_eq!((stray.endpoint, stray.plans.as_slice()), (Endpoint::Elsewhere, &[1][..]));
}

#[tokio::test]
async fn one_connection_serves_many_calls() {
    let sim = start(Config::default());
    let client = client();
    for plan in 0..5 {
        let response = post_with(&sim, &client, &json!({"plans": [plan]}).to_string()).await.unwrap();
        response.bytes().await.unwrap();
    }
    assert_eq!(sim.connections(), 1);
    assert!(sim.calls().iter().all(|call| call.connection == 0 && !call.http2));
}

#[tokio::test]
async fn records_show_no_credentials() {
    let sim = start(Config::default());
    stop(&sim, &[614]).await;
    let call = &sim.calls()[0];
    let shown = format!("{call} {call:?}");
    assert!(shown.contains("POST /stop/execution [614] (valid credential) -> 200"), "{shown}");
    assert!(!shown.contains("simulated-token"), "{shown}");
}

#[test]
fn simulator_serves_those_without_a_runtime() {
    let sim = start(Config::default());
    let stream = std::net::TcpStream::connect(sim.url().strip_prefix("http://").unwrap()).unwrap();
    use std::io::Write as _;
    (&stream).write_all(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let seen = sim.wait_for_blocking(|requests| requests.iter().any(|r| r.answer != Answer::Pending), LIMIT);
    assert_eq!(seen.unwrap()[0].answer, Answer::Status(404));
    assert!(sim.wait_for_blocking(|requests| requests.len() > 1, Duration::ZERO).is_err());
}

#[tokio::test]
async fn a_held_answer_leaves_when_it_is_released() {
    let sim = start(Config::default());
    let hold = Hold::new();
    sim.script(When::nth(1), Reply::natural().held(&hold));
    let held = tokio::spawn({
        let url = format!("{}/stop/execution", sim.url());
        async move { client().post(url).header(AUTHORIZATION, "Bearer simulated-token").send().await }
    });
    sim.wait_for(|requests| requests.len() == 1, LIMIT).await.unwrap();
    // A later call is not held up, and shows that time has passed.
    assert_eq!(stop(&sim, &[2]).await.0, 200);
    assert_eq!(sim.calls()[0].answer, Answer::Pending);
    hold.release();
    assert_eq!(held.await.unwrap().unwrap().status(), 400);
}
