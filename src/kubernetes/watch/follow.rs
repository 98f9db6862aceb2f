//! Watches: every change after a list, until one of them can't go on.

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::ended::Ended;
use super::watcher::Watcher;

/// The API server ends a watch after this long, with a bookmark before: so its silence is noticed soon.
pub(super) const PERIOD: Duration = Duration::from_secs(15);
/// The time for which a watch may be silent beyond its period.
const GRACE: Duration = Duration::from_secs(5);
/// The number of watches without any sign of life after which the version they start from is not believed.
const SILENT_MAX: u32 = 2;

/// Watches every namespace until one of them can't go on: then all are listed anew.
pub(super) async fn follow(watcher: &Watcher<'_>, versions: Vec<(String, String)>) -> Ended {
    let mut watches: futures::stream::FuturesUnordered<_> =
        versions.into_iter().map(|(path, version)| follow_path(watcher, path, version)).collect();
    watches.next().await.unwrap_or(Ended::Closed)
}

async fn follow_path(watcher: &Watcher<'_>, path: String, mut version: String) -> Ended {
    let mut silent = 0;
    loop {
        let before = version.clone();
        if let Err(ended) = watch_once(watcher, &path, &mut version).await {
            watcher.note(&path, &ended);
            return ended;
        }
        watcher.health.watch_works(&path);
        silent = if version == before { silent + 1 } else { 0 };
        if silent >= SILENT_MAX {
            // A watch from a version that the server has not reached says nothing, not even that.
            return Ended::Expired;
        }
    }
}

/// One watch, from `version` until the API server ends it. `version` moves along.
async fn watch_once(watcher: &Watcher<'_>, path: &str, version: &mut String) -> Result<(), Ended> {
    let query = vec![
        ("watch", "true".to_owned()),
        ("allowWatchBookmarks", "true".to_owned()),
        ("timeoutSeconds", PERIOD.as_secs().to_string()),
        ("resourceVersion", version.clone()),
    ];
    let mut stream = match watcher.open(path, query).await? {
        Ok(stream) => stream,
        Err(410) => return Err(Ended::Expired),
        Err(status) => return Err(Ended::Failed(format!("a watch was answered with HTTP {status}"))),
    };
    let opened = Instant::now();
    loop {
        let left = (PERIOD + GRACE).saturating_sub(opened.elapsed());
        let Some(line) = stream.line(left).await.map_err(Ended::Failed)? else { return Ok(()) };
        watcher.event(line, version).await?;
        watcher.health.watch_works(path);
    }
}
