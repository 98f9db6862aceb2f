//! A bare watch, and the board on which the harness keeps what it saw.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::api::{self, List, Run, Standing};
use crate::failure::Failure;

/// A line of a watch.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    type_: &'a str,
    #[serde(borrow)]
    object: Run<'a>,
}

/// A watch that is open.
pub struct Watch {
    client: kube::Client,
    namespace: String,
    /// The newest version that was seen.
    version: String,
    body: Body,
    buffer: Vec<u8>,
}

// === impl Watch ===

impl Watch {
    /// Opens one on the runs of a namespace, from now on.
    pub async fn open(client: &kube::Client, namespace: &str) -> Result<Self, Failure> {
        let list = api::get(client, &format!("{}?limit=1", api::runs(namespace))).await?;
        let version = serde_json::from_slice::<List<'_>>(&list)?.metadata.resource_version.to_owned();
        let body = request(client, namespace, &version).await?;
        Ok(Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            version,
            body,
            buffer: Vec::new(),
        })
    }

    /// Hands on every run that is added or changed, until something breaks.
    pub async fn follow(mut self, mut seen: impl FnMut(Run<'_>)) -> Failure {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
                    if let Err(why) = self.lines(&mut seen) {
                        return why;
                    }
                }
                Some(Err(error)) => return format!("a watch broke: {error}").into(),
                // As the API server does when a reader is too slow, and some time after its CRDs have changed. Nothing
                // is lost.
                None => match request(&self.client, &self.namespace, &self.version).await {
                    Ok(body) => (self.body, self.buffer) = (body, Vec::new()),
                    Err(why) => return why,
                },
            }
        }
    }

    fn lines(&mut self, seen: &mut impl FnMut(Run<'_>)) -> Result<(), Failure> {
        let mut taken = 0;
        while let Some(length) = self.buffer[taken..].iter().position(|byte| *byte == b'\n') {
            let line = &self.buffer[taken..taken + length];
            let Event { type_, object } = serde_json::from_slice(line)
                .map_err(|error| format!("a watch could not be read: {error}"))?;
            if type_ == "ERROR" {
                return Err(format!("a watch ended: {}", String::from_utf8_lossy(line)).into());
            }
            object.metadata.resource_version.clone_into(&mut self.version);
            if let "ADDED" | "MODIFIED" = type_ {
                seen(object);
            }
            taken += length + 1;
        }
        self.buffer.drain(..taken);
        Ok(())
    }
}

async fn request(client: &kube::Client, namespace: &str, version: &str) -> Result<Body, Failure> {
    // Bookmarks, so that a silent watch is not taken for a dead one.
    let options = "watch=true&allowWatchBookmarks=true&timeoutSeconds=7200";
    let uri = format!("{}?{options}&resourceVersion={version}", api::runs(namespace));
    for _ in 0..TRIES {
        let response = client.send(Request::get(&uri).body(Body::empty())?).await?;
        match response.status().as_u16() {
            200 => return Ok(response.into_body()),
            // The API server is about to serve the kind anew, since its CRD has changed.
            429 => tokio::time::sleep(PAUSE).await,
            status => return Err(format!("a watch was answered with HTTP {status}").into()),
        }
    }
    Err("the API server has no time for a watch".into())
}

/// The number of tries lasts as long as the API server may take to serve a kind anew.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(200);

/// The runs of one namespace, as far as the harness has seen them.
#[derive(Debug)]
pub struct Board {
    state: Arc<Mutex<State>>,
    counts: tokio::sync::watch::Receiver<Counts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    runs: HashMap<String, Track>,
    counts: Counts,
}

/// How many runs stand how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub not_requested: usize,
    pub stopped: usize,
    /// Changes of any kind, the creation of a run included.
    pub events: usize,
    /// The watch has ended.
    broken: bool,
}

#[derive(Debug)]
struct Track {
    standing: Standing,
    stopped_at: Option<Instant>,
}

// === impl Board ===

impl Board {
    /// Watches a namespace from now on. Runs that are there already are not on the board.
    pub async fn open(client: &kube::Client, namespace: &str) -> Result<Self, Failure> {
        let watch = Watch::open(client, namespace).await?;
        let state = Arc::new(Mutex::new(State::default()));
        let (sender, counts) = tokio::sync::watch::channel(Counts::default());
        let kept = state.clone();
        let task = tokio::spawn(async move {
            let why = watch
                .follow(|run| {
                    let now = Instant::now();
                    let counts = lock(&kept).note(&run, now);
                    sender.send_replace(counts);
                })
                .await;
            eprintln!("the harness lost sight: {why}");
            sender.send_modify(|counts| counts.broken = true);
        });
        Ok(Self { state, counts, task })
    }

    /// Waits until the counts are as `wanted`, for at most `limit`.
    pub async fn wait(&self, wanted: impl Fn(&Counts) -> bool, limit: Duration) -> Result<Counts, Failure> {
        let mut counts = self.counts.clone();
        let counts = match timeout(limit, counts.wait_for(|counts| counts.broken || wanted(counts))).await {
            Ok(Ok(counts)) => *counts,
            Ok(Err(_)) => return Err("the harness's watch has ended".into()),
            Err(_) => return Err(format!("not reached within {limit:?}: {:?}", *self.counts.borrow()).into()),
        };
        if counts.broken { Err("the harness's watch has ended".into()) } else { Ok(counts) }
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// When a run was first seen stopped.
    pub fn stopped_at(&self, name: &str) -> Option<Instant> {
        lock(&self.state).runs.get(name)?.stopped_at
    }

    /// Waits until a run is seen stopped.
    pub async fn stopped(&self, name: &str, limit: Duration) -> Result<Instant, Failure> {
        self.wait(|_| self.stopped_at(name).is_some(), limit).await?;
        self.stopped_at(name).ok_or_else(|| "a run was stopped and forgotten".into())
    }

    /// When the last of all was first seen stopped.
    pub fn last_stopped(&self) -> Result<Instant, Failure> {
        let last = lock(&self.state).runs.values().filter_map(|run| run.stopped_at).max();
        last.ok_or_else(|| "no run was stopped".into())
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Counts ===

impl Counts {
    fn of(&mut self, standing: Standing) -> Option<&mut usize> {
        match standing {
            Standing::Open => None,
            Standing::NotRequested => Some(&mut self.not_requested),
            Standing::Stopped => Some(&mut self.stopped),
        }
    }
}

// === impl State ===

impl State {
    fn note(&mut self, run: &Run<'_>, now: Instant) -> Counts {
        let standing = run.standing();
        if !self.runs.contains_key(run.metadata.name) {
            self.runs
                .insert(run.metadata.name.to_owned(), Track { standing: Standing::Open, stopped_at: None });
        }
        if let Some(track) = self.runs.get_mut(run.metadata.name) {
            let before = std::mem::replace(&mut track.standing, standing);
            if standing == Standing::Stopped {
                track.stopped_at.get_or_insert(now);
            }
            if let Some(count) = self.counts.of(before) {
                *count -= 1;
            }
            if let Some(count) = self.counts.of(standing) {
                *count += 1;
            }
        }
        self.counts.events += 1;
        self.counts
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing in here can be left half done.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
