//! The simulator as a command: it says where it is, serves, logs, and ends when asked to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);

/// The command with these arguments, and the lines that it prints.
fn start(arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gateway-simulator"))
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn client() -> reqwest::Client {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

#[tokio::test]
async fn command_serves_logs_without_the_token_and_ends_on_sigterm() {
    let (mut child, mut lines) =
        start(&["--token", "a-marked-token", "--not-running", "615", "--poisons", "618=500"]);
    let mut line = async || timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
    let url = line().await.strip_prefix("gateway  ").unwrap().to_owned();
    assert!(line().await.starts_with("rest-api http://127.0.0.1:"));
    assert!(line().await.ends_with("/Testinium.RestApi/oauth/token"));

    let client = client();
    for (plans, token, expected) in
        [("614", "a-marked-token", 200), ("614,618", "a-marked-token", 500), ("614", "x", 401)]
    {
        let request = client.post(format!("{url}/stop/execution")).bearer_auth(token);
        let request =
            request.header("content-type", "application/json").body(format!("{{\"plans\":[{plans}]}}"));
        assert_eq!(request.send().await.unwrap().status(), expected);
        let logged = line().await;
        assert!(logged.contains(&format!("[{}]", plans.replace(',', ", "))), "{logged}");
        assert!(logged.ends_with(&format!("-> {expected}")), "{logged}");
        assert!(!logged.contains("a-marked-token"), "{logged}");
    }

    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    assert!(timeout(LIMIT, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn command_plays_a_bad_replica_a_sentence_and_a_mistyped_path() {
    let (_child, mut lines) = start(&[
        "--bad-replica",
        "nginx-not-found",
        "--unknown-path",
        "spring-not-found",
        "--answer-text",
        "Database is not available",
        "--answer",
        "422",
    ]);
    let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
    let url = line.strip_prefix("gateway  ").unwrap().to_owned();

    let client = client();
    for (path, expected, says) in [
        ("/stop/execution", 404, "<center>nginx</center>"),
        ("/stop/execution", 422, "Database is not available"),
        ("/stops", 404, "\"path\":\"/stops\""),
    ] {
        let request = client.post(format!("{url}{path}")).bearer_auth("simulated-token");
        let response = request.header("content-type", "application/json").body("{\"plans\":[614]}");
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), expected, "{path}");
        let body = response.text().await.unwrap();
        assert!(body.contains(says), "{path}: {body}");
    }
}

#[tokio::test]
async fn command_refuses_a_token_with_a_login_page() {
    let (_child, mut lines) = start(&["--token-refusal", "login-page"]);
    let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
    let url = line.strip_prefix("gateway  ").unwrap().to_owned();
    let client = client();
    let request = client.post(format!("{url}/stop/execution")).bearer_auth("yesterdays-token");
    let request = request.header("content-type", "application/json").body("{\"plans\":[614]}");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.text().await.unwrap().contains("Sign in"));
}
