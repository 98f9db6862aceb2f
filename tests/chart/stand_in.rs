//! What the stand-ins for parts of a cluster have in common: they look again and again, until they are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that works until this is dropped.
pub(crate) struct StandIn {
    what: &'static str,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

// === impl StandIn ===

impl StandIn {
    /// Takes a turn after the other. `what`: the part of a cluster that it stands for.
    pub(crate) fn start(what: &'static str, mut turn: impl FnMut() + Send + 'static) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                turn();
                std::thread::sleep(PAUSE);
            }
        });
        Self { what, end, thread: Some(thread) }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        // A test that fails anyway tells its own reason.
        assert!(
            std::thread::panicking() || !matches!(ended, Some(Err(_))),
            "the stand-in for {} panicked",
            self.what
        );
    }
}
