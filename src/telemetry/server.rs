//! A small HTTP server for pages made from memory.
//!
//! It is open to everybody who reaches the pod, so everything about it is bounded: connections, the time each may take,
//! and the size of a request. One request a connection keeps that simple; probes and scrapers are content with it.
//!
//! Whoever comes is let in, since the next to come may be the kubelet, which restarts a pod that does not answer. For
//! that, those who have said nothing have to go.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::{Health, Metrics};
use crate::cli::BindAddress;

/// Most connections at a time; the next one takes the place of the idlest.
const MAX_CONNECTIONS: usize = 64;

/// The longest time for a request's line and headers, which probes and scrapers send in one piece.
const HEADER_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest time for a connection as a whole, so that a peer that doesn't read can't keep it.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a request's line and headers; hyper takes no less than 8 KiB.
const MAX_REQUEST: usize = 8 * 1024;

/// The pause after a failure to accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The answer to a GET.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    pub good: bool,
    pub content_type: &'static str,
    pub body: String,
}

/// The pages of one server.
#[derive(Clone)]
pub enum Pages {
    /// `/healthz` and `/readyz`.
    Health(Health),
    /// `/metrics`.
    Metrics(Box<Metrics>),
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Health(_) => "Health",
            Self::Metrics(_) => "Metrics",
        })
    }
}

impl Pages {
    fn get(&self, path: &str, now: Instant) -> Option<Page> {
        match (self, path) {
            (Self::Health(health), "/healthz") => Some(verdict(health.alive(now))),
            (Self::Health(health), "/readyz") => Some(verdict(health.ready(now))),
            (Self::Metrics(metrics), "/metrics") => {
                let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                let (good, body) = metrics.encode().map_or((false, String::new()), |text| (true, text));
                Some(Page { good, content_type, body })
            }
            _ => None,
        }
    }
}

fn verdict(verdict: Result<(), String>) -> Page {
    let (good, line) = verdict.map_or_else(|wrong| (false, wrong), |()| (true, "ok".to_owned()));
    Page { good, content_type: "text/plain; charset=utf-8", body: line + "\n" }
}

/// Binds the first of the address's candidates that can be bound; `None` if the server is turned off.
pub async fn bind(address: BindAddress) -> io::Result<Option<TcpListener>> {
    let candidates = address.candidates();
    if candidates.is_empty() {
        return Ok(None);
    }
    // Tries each in turn, and tells the last failure.
    TcpListener::bind(&candidates[..]).await.map(Some)
}

/// Answers requests until it is dropped.
pub async fn serve(listener: TcpListener, pages: Pages) -> Infallible {
    let mut peers = Peers::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => peers.admit(stream, pages.clone()),
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection to {pages:?}, trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        // Whoever has just come, and has asked already, is answered before a crowd behind can take the place.
        tokio::task::yield_now().await;
    }
}

/// The connections, all of which end when it is dropped.
#[derive(Default)]
struct Peers {
    tasks: JoinSet<()>,
    by_age: VecDeque<Peer>,
}

struct Peer {
    task: AbortHandle,
    /// Its request has come, whole.
    has_asked: Arc<AtomicBool>,
}

// === impl Peers ===

impl Peers {
    fn admit(&mut self, stream: TcpStream, pages: Pages) {
        while self.tasks.try_join_next().is_some() {}
        self.by_age.retain(|peer| !peer.task.is_finished());
        if self.by_age.len() >= MAX_CONNECTIONS {
            self.drop_idlest();
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let asked = has_asked.clone();
        let task = self.tasks.spawn(async move {
            // A failure concerns the peer alone, and it sees its connection end.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, answer(stream, pages, &asked)).await;
        });
        self.by_age.push_back(Peer { task, has_asked });
    }

    /// Drops who has been silent for the longest; if nobody is, whoever takes longest to read the answer.
    fn drop_idlest(&mut self) {
        let silent = self.by_age.iter().position(|peer| !peer.has_asked.load(Ordering::Relaxed));
        if let Some(idlest) = self.by_age.remove(silent.unwrap_or(0)) {
            idlest.task.abort();
        }
    }
}

async fn answer(stream: TcpStream, pages: Pages, has_asked: &AtomicBool) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let response = respond(&pages, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_REQUEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn respond(pages: &Pages, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let plain = |status, text: &str| (status, "text/plain; charset=utf-8", text.to_owned());
    let (status, content_type, body) = match pages.get(path, Instant::now()) {
        _ if method != Method::GET && method != Method::HEAD => {
            plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n")
        }
        None => plain(StatusCode::NOT_FOUND, "not found\n"),
        Some(page) if page.good => (StatusCode::OK, page.content_type, page.body),
        Some(page) => (StatusCode::SERVICE_UNAVAILABLE, page.content_type, page.body),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::machine::Kind;

    /// Far more than anything here takes; only a hang reaches it.
    const LIMIT: Duration = Duration::from_secs(60);

    async fn start(pages: Pages) -> SocketAddr {
        let address = BindAddress::At(([127, 0, 0, 1], 0).into());
        let listener = bind(address).await.expect("loopback can be bound").expect("it is turned on");
        let address = listener.local_addr().expect("a bound socket has an address");
        tokio::spawn(serve(listener, pages));
        address
    }

    /// Sends these bytes and reads until the server closes.
    async fn send(address: SocketAddr, request: &str) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            stream.write_all(request.as_bytes()).await.expect("the server reads");
            let mut response = String::new();
            // A server that refuses a request may reset the connection after its answer.
            let _ = stream.read_to_string(&mut response).await;
            response
        };
        tokio::time::timeout(LIMIT, exchange).await.expect("the server closes the connection")
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        send(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }

    #[tokio::test]
    async fn health_is_told_with_its_reason() {
        let health = Health::new(Instant::now());
        let address = start(Pages::Health(health.clone())).await;
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
        let unready = get(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503 ") && unready.ends_with("\r\n\r\nstarting\n"), "{unready}");
        health.set_ready(true, "");
        assert!(get(address, "/readyz").await.ends_with("\r\n\r\nok\n"));
        if let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(90)) {
            health.watches_began([(Kind::Runs, "/testplanruns".to_owned())]);
            health.watch_listed("/testplanruns");
            health.watch_failed("/testplanruns", "no answer", long_ago);
            let broken = get(address, "/readyz").await;
            assert!(broken.contains("\r\n\r\nthe watch of /testplanruns has not worked for "), "{broken}");
        }
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[tokio::test]
    async fn metrics_are_told_in_the_format_of_openmetrics() {
        let metrics = Metrics::default();
        let address = start(Pages::Metrics(Box::new(metrics.clone()))).await;
        metrics.set_leader(true);
        let page = get(address, "/metrics").await;
        assert!(
            page.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
            "{page}"
        );
        assert!(page.contains("\ntestinium_leader 1\n") && page.ends_with("# EOF\n"), "{page}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let address = start(Pages::Metrics(Box::default())).await;
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 404 "));
        let post = send(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
        let head = send(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[tokio::test]
    async fn a_huge_request_is_refused() {
        let address = start(Pages::Metrics(Box::default())).await;
        let huge = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(MAX_REQUEST));
        let refused = send(address, &huge).await;
        assert!(!refused.starts_with("HTTP/1.1 200 "), "{refused}");
    }

    /// Time stands still, so no time-out lets anybody go.
    #[tokio::test(start_paused = true)]
    async fn probes_are_answered_while_a_thousand_connections_are_silent() {
        let address = start(Pages::Health(Health::new(Instant::now()))).await;
        let mut silent = Vec::new();
        for _ in 0..1_000 {
            silent.push(TcpStream::connect(address).await.expect("everybody is let in"));
        }
        let begun = tokio::time::Instant::now();
        for _ in 0..10 {
            assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let mut rest = Vec::new();
        assert_eq!(silent[0].read_to_end(&mut rest).await.ok(), Some(0), "the idlest had to go");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed_after_a_second() {
        let address = start(Pages::Health(Health::new(Instant::now()))).await;
        for said in ["", "GET /healthz HTTP/1.1\r\nHost:"] {
            let begun = tokio::time::Instant::now();
            assert!(!send(address, said).await.starts_with("HTTP/1.1 200"), "{said:?}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{said:?}: {:?}", begun.elapsed());
        }
    }

    #[tokio::test]
    async fn who_does_not_read_an_answer_makes_room_for_who_asks() {
        let address = start(Pages::Metrics(Box::default())).await;
        let mut unread = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.expect("everybody is let in");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it is read");
            unread.push(stream);
        }
        assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[tokio::test]
    async fn nothing_listens_where_it_is_turned_off() {
        assert!(bind(BindAddress::Off).await.expect("turned off is no failure").is_none());
    }

    #[tokio::test]
    async fn an_address_in_use_is_told() {
        let taken = bind(BindAddress::At(([127, 0, 0, 1], 0).into())).await.expect("loopback can be bound");
        let address =
            taken.as_ref().expect("it is turned on").local_addr().expect("a bound socket has an address");
        let error = bind(BindAddress::At(address)).await.expect_err("two servers can't share it");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
