//! A record that grows while tests look at it, and that can be waited on.

use std::fmt::Debug;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// An event that was waited for and did not happen in time.
#[derive(Debug, thiserror::Error)]
#[error("failed to see what was waited for within {limit:?}; seen instead: {seen}")]
pub struct LimitPassed {
    limit: Duration,
    seen: String,
}

/// Entries in the order in which they came, each of which may change later.
#[derive(Debug)]
pub(crate) struct Record<T> {
    start: Instant,
    entries: Mutex<Entries<T>>,
    changed: Condvar,
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct Entries<T> {
    kept: Vec<T>,
    forgotten: usize,
}

// === impl Record ===

impl<T: Clone + Debug> Record<T> {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            entries: Mutex::new(Entries { kept: Vec::new(), forgotten: 0 }),
            changed: Condvar::new(),
            version: watch::channel(0).0,
        }
    }

    /// How long after the record's beginning `at` was.
    pub(crate) fn elapsed(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// Adds an entry, and returns what it is known by.
    pub(crate) fn push(&self, entry: T) -> usize {
        let mut entries = self.lock();
        let serial = entries.forgotten + entries.kept.len();
        entries.kept.push(entry);
        self.announce(entries);
        serial
    }

    /// Changes an entry, and returns it as it is then; none if it was forgotten.
    pub(crate) fn update(&self, serial: usize, change: impl FnOnce(&mut T)) -> Option<T> {
        let mut entries = self.lock();
        let index = serial.checked_sub(entries.forgotten)?;
        let entry = entries.kept.get_mut(index)?;
        change(entry);
        let entry = entry.clone();
        self.announce(entries);
        Some(entry)
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.lock().kept.clone()
    }

    pub(crate) fn forget(&self) {
        let mut entries = self.lock();
        entries.forgotten += entries.kept.len();
        entries.kept.clear();
        self.announce(entries);
    }

    /// Waits until the entries are as `wanted`, and returns them.
    pub(crate) async fn wait_for(
        &self,
        wanted: impl Fn(&[T]) -> bool,
        limit: Duration,
    ) -> Result<Vec<T>, LimitPassed> {
        let mut changes = self.version.subscribe();
        let seen = async {
            loop {
                changes.mark_unchanged();
                if let Some(entries) = self.all_if(&wanted) {
                    return entries;
                }
                // The sender lives as long as `self`.
                let _ = changes.changed().await;
            }
        };
        tokio::time::timeout(limit, seen).await.map_err(|_| self.limit_passed(limit))
    }

    /// [`Record::wait_for`] for those without a runtime.
    pub(crate) fn wait_for_blocking(
        &self,
        wanted: impl Fn(&[T]) -> bool,
        limit: Duration,
    ) -> Result<Vec<T>, LimitPassed> {
        let unwanted = |entries: &mut Entries<T>| !wanted(&entries.kept);
        let waited = self.changed.wait_timeout_while(self.lock(), limit, unwanted);
        let (entries, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let seen = entries.kept.clone();
        drop(entries);
        if timeout.timed_out() { Err(self.limit_passed(limit)) } else { Ok(seen) }
    }

    fn all_if(&self, wanted: impl Fn(&[T]) -> bool) -> Option<Vec<T>> {
        let entries = self.lock();
        wanted(&entries.kept).then(|| entries.kept.clone())
    }

    fn limit_passed(&self, limit: Duration) -> LimitPassed {
        LimitPassed { limit, seen: format!("{:#?}", self.all()) }
    }

    fn announce(&self, entries: MutexGuard<'_, Entries<T>>) {
        drop(entries);
        self.changed.notify_all();
        self.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        // A predicate that panicked in a test has left nothing half done in here.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
