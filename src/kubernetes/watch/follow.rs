//! Watches: every change after a list, until one of them can't go on.

use std::time::{Duration, Instant};

use super::ended::Ended;
use super::watcher::Watcher;

/// The API server ends a watch after this long, with a bookmark before: so its silence is noticed soon.
pub(super) const PERIOD: Duration = Duration::from_secs(15);
/// The time for which a watch may be silent beyond its period.
const GRACE: Duration = Duration::from_secs(5);
/// The number of watches without any sign of life after which the version they start from is not believed.
const SILENT_MAX: u32 = 2;

/// Watches from a version on, until a watch can't go on: then all is listed anew.
pub(super) async fn follow(watcher: &Watcher<'_>, mut version: String) -> Ended {
    let mut silent = 0;
    loop {
        let before = version.clone();
        if let Err(ended) = watch_once(watcher, &mut version).await {
            watcher.note(&ended);
            return ended;
        }
        watcher.health.watch_works(&watcher.path);
        silent = if version == before { silent + 1 } else { 0 };
        if silent >= SILENT_MAX {
            // A watch from a version that the server has not reached says nothing, not even that.
            return Ended::Expired;
        }
    }
}

/// One watch, from `version` until the API server ends it. `version` moves along.
async fn watch_once(watcher: &Watcher<'_>, version: &mut String) -> Result<(), Ended> {
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
    let opened = Instant::now();
    loop {
        let left = (PERIOD + GRACE).saturating_sub(opened.elapsed());
        let Some(line) = stream.line(left).await.map_err(Ended::Failed)? else { return Ok(()) };
        watcher.event(line, version).await?;
        watcher.health.watch_works(&watcher.path);
    }
}
