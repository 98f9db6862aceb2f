//! Watches: a consistent list, then every change, as inputs of the machine in the order in which they happened.
//!
//! ```text
//!        +----------- 410, a silent watch, an error -----------+
//!        v                                                     |
//!   ListBegan -> the list -> ListDone -> watch, opened again from where it ended
//! ```
//!
//! A list comes as a stream, which is several times faster than pages and holds one object at a time; in pages where
//! the API server can't (it is off in Kubernetes 1.33, and for seconds after a CRD was changed).
//!
//! A loop of our own rather than kube's `watcher()`: the machine has to know of a list before it is requested, a 410
//! on opening must lead to a new list, and a connection that has died silently must be noticed in seconds. One task for
//! each kind in each namespace that is watched, so that one that may not be read delays nothing else.

mod ended;
mod follow;
mod list;
mod scope;
mod stream;
mod watcher;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep;

pub use self::scope::Scope;

use self::ended::Ended;
use self::follow::{PERIOD, follow};
use self::list::Lister;
use self::watcher::Watcher;
use crate::machine::{Backoff, Input, Millis};
use crate::telemetry::{Health, Metrics};

/// The pause before the next list. A stop waits for the list, so even a long outage is not waited out for long.
const BACKOFF: Backoff = Backoff { initial: Millis(100), max: Millis(2_000) };

/// The longest pause before the next list where a right is missing: nothing else mends that than somebody who grants it.
const BACKOFF_FORBIDDEN: Backoff = Backoff { initial: Millis(100), max: Millis(5_000) };

/// Lists and watches one scope until the machine takes no more inputs.
pub async fn watch(
    client: kube::Client,
    scope: Scope,
    inputs: mpsc::Sender<Input>,
    health: Health,
    metrics: Metrics,
) {
    let path = scope.path();
    let watcher = Watcher { client: &client, scope: &scope, path, inputs: &inputs, health: &health };
    let mut lister = Lister::new(&watcher);
    let mut told = None;
    // The number of rounds in a row that did not last.
    let mut short = 0_u8;
    loop {
        let began = Instant::now();
        let ended = round(&watcher, &mut lister, &mut told).await;
        // A watch that has worked for a while is opened again at once, or nearly; only one that fails again and again
        // has to wait.
        short = if began.elapsed() > PERIOD { 1 } else { short.saturating_add(1) };
        match ended {
            Ended::Closed => return,
            Ended::Expired if short == 1 => {}
            Ended::Expired | Ended::Failed(_) => sleep(pause(BACKOFF, short)).await,
            Ended::Forbidden(_) => sleep(pause(BACKOFF_FORBIDDEN, short)).await,
        }
        metrics.watch_restarted(scope.extent.kind);
    }
}

/// A list, and the watches that follow it. `told`: the failure that the machine knows of.
async fn round(watcher: &Watcher<'_>, lister: &mut Lister<'_>, told: &mut Option<String>) -> Ended {
    let path = &watcher.path;
    match lister.list().await {
        Ok(version) => {
            if told.take().is_some() {
                tracing::info!(path, "listed at last");
            }
            follow(watcher, version).await
        }
        Err(ended) => {
            if let Some(why) = ended.why().filter(|why| told.as_deref() != Some(*why)) {
                tracing::warn!(path, why, "failed to list");
                let failed = Input::ListFailed(watcher.scope.extent.clone(), why.to_owned());
                if let Err(closed) = watcher.tell(failed).await {
                    return closed;
                }
                *told = Some(why.to_owned());
            }
            ended
        }
    }
}

fn pause(backoff: Backoff, failures: u8) -> Duration {
    // Each of these states has keys of its own, which is chance enough for a pause.
    let chance = RandomState::new().build_hasher().finish();
    Duration::from_millis(backoff.delay(failures, chance, None).0)
}
