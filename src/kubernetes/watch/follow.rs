//! Watches: every change after a list, until one of them can't go on.

use std::time::{Duration, Instant};

use super::ended::Ended;
use super::watcher::Watcher;
use crate::kubernetes::request;
use crate::seldom::Seldom;

/// The API server ends a watch after this long, with a bookmark before: so its silence is noticed soon.
pub(super) const PERIOD: Duration = Duration::from_secs(15);
/// The time for which a watch may be silent beyond its period.
const GRACE: Duration = Duration::from_secs(5);
/// The number of watches without any sign of life after which the version they start from is doubted.
const SILENT_MAX: u32 = 2;
/// The API server waits three seconds for a version before it says that it has not reached it.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// The watches of which the log says that they broke.
static BROKEN: Seldom = Seldom::new();

/// Watches from a version on, until a watch can't go on: then all is listed anew.
pub(super) async fn follow(watcher: &Watcher<'_>, mut version: String) -> Ended {
    let path = &watcher.path;
    let mut silent = 0;
    loop {
        match watch_once(watcher, &mut version).await {
            Ok(is_silent) => silent = if is_silent { silent + 1 } else { 0 },
            Err(ended) => {
                watcher.note(&ended);
                if let Some(why) = ended.why()
                    && let Some(left_out) = BROKEN.is_due(path, "", why)
                {
                    tracing::warn!(path, why, left_out, "a watch broke; listing again");
                }
                return ended;
            }
        }
        // A watch that was opened says nothing yet; this one has lasted to its end.
        if BROKEN.is_over(path, "") {
            tracing::info!(path, "a watch works again");
        }
        watcher.health.watch_works(&watcher.path);
        if silent >= SILENT_MAX {
            // A watch from a version that the server has not reached says nothing, not even that. But neither does one
            // of a kind in which nothing happens, where etcd sends no progress: a version that is known already is no
            // news to the API server, not even in a bookmark.
            if !has_reached(watcher, &version).await {
                return Ended::Expired;
            }
            silent = 0;
        }
    }
}

/// Asks whether the API server knows this version: if it does not, the datastore has gone back.
async fn has_reached(watcher: &Watcher<'_>, version: &str) -> bool {
    let Ok(request) = watcher.scope.probe(version) else { return false };
    let reply = request::send(watcher.client, request, PROBE_LIMIT).await;
    reply.is_ok_and(|reply| reply.is_success() || reply.status == 404)
}

/// One watch, from `version` until the API server ends it. `version` moves along. Yields whether nothing came, not even a
/// bookmark.
async fn watch_once(watcher: &Watcher<'_>, version: &mut String) -> Result<bool, Ended> {
    let query = vec![
        ("watch", "true".to_owned()),
        ("allowWatchBookmarks", "true".to_owned()),
        ("timeoutSeconds", PERIOD.as_secs().to_string()),
        ("resourceVersion", version.clone()),
    ];
    let mut stream = match watcher.open(query).await? {
        Ok(stream) => stream,
        Err(410) => return Err(Ended::Expired),
        Err(403) => return Err(Ended::Forbidden("a watch was answered with HTTP 403".to_owned())),
        Err(status) => return Err(Ended::Failed(format!("a watch was answered with HTTP {status}"))),
    };
    let (opened, mut is_silent) = (Instant::now(), true);
    loop {
        let left = (PERIOD + GRACE).saturating_sub(opened.elapsed());
        let Some(line) = stream.line(left).await.map_err(Ended::Failed)? else { return Ok(is_silent) };
        watcher.event(line, version).await?;
        watcher.health.watch_works(&watcher.path);
        is_silent = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;

    use super::*;
    use crate::kubernetes::Clients;
    use crate::kubernetes::watch::Scope;
    use crate::machine::{Extent, Kind};
    use crate::telemetry::Health;

    /// An API server whose watches bring these lines and end at once, and whose answer to a probe has this status.
    async fn answer(mut stream: TcpStream, line: &str, probe: u16, asked: Arc<Mutex<Vec<&'static str>>>) {
        let mut request = vec![0; 8192];
        let length = stream.read(&mut request).await.unwrap_or_default();
        let is_watch = String::from_utf8_lossy(&request[..length]).contains("watch=true");
        asked.lock().expect("no test panics with it").push(if is_watch { "watch" } else { "probe" });
        let (status, body) = if is_watch { (200, line) } else { (probe, "{}") };
        let length = body.len();
        let reply =
            format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let _ = stream.write_all(reply.as_bytes()).await;
    }

    /// What is asked while runs are watched from version 5 on, up to so many requests.
    async fn asked(line: &'static str, probe: u16, count: usize) -> (Vec<&'static str>, Option<Ended>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clients = Clients::new(kube::Config::new(url.parse().expect("a url"))).expect("clients");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let serve = async {
            while asked.lock().expect("no test panics with it").len() < count {
                let (stream, _) = listener.accept().await.expect("a connection");
                answer(stream, line, probe, asked.clone()).await;
            }
        };
        let scope = Scope { extent: Extent::all(Kind::Runs), label_selector: String::new() };
        let (inputs, _kept) = mpsc::channel(1);
        let health = Health::new(Instant::now());
        let watcher = Watcher {
            client: &clients.watches,
            scope: &scope,
            path: scope.path(),
            inputs: &inputs,
            health: &health,
        };
        let ended = tokio::select! {
            () = serve => None,
            ended = follow(&watcher, "5".to_owned()) => Some(ended),
        };
        let asked = asked.lock().expect("no test panics with it").clone();
        (asked, ended)
    }

    #[tokio::test]
    async fn a_bookmark_even_of_the_same_version_is_a_sign_of_life() {
        let bookmark = "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"5\"}}}\n";
        let (asked, ended) = asked(bookmark, 504, 8).await;
        assert!(ended.is_none(), "{ended:?}");
        assert_eq!(asked, ["watch"; 8]);
    }

    #[tokio::test]
    async fn a_version_is_doubted_after_two_silent_watches_and_given_up_only_if_it_is_not_reached() {
        let (known, ended) = asked("", 404, 6).await;
        assert!(ended.is_none(), "{ended:?}");
        assert_eq!(known, ["watch", "watch", "probe", "watch", "watch", "probe"]);
        let (ahead, ended) = asked("", 504, 6).await;
        assert!(matches!(ended, Some(Ended::Expired)), "{ended:?}");
        assert_eq!(ahead, ["watch", "watch", "probe"]);
    }
}
