//! The way of the log's lines to stderr: through a queue, and another thread.
//!
//! Whoever reads stderr may stop reading: then a write to it blocks for as long as that takes, and with it whatever
//! wrote. So nobody waits for it but a thread of its own. Lines beyond the queue's bound are dropped and counted, and a
//! line says so once there is room again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// The most that may wait: some seconds of a log at its busiest, and little beside the memory of the process.
const BYTES_MAX: usize = 1024 * 1024;

/// A queue of lines. Clones share it.
#[derive(Clone, Debug)]
pub struct LogQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something has come, or has been written.
    changed: Condvar,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// A line is being written.
    is_writing: bool,
    /// Lines that were dropped since a line has last said so.
    untold: u64,
}

/// A line that is being made; it is handed in, whole, when this is dropped.
#[derive(Debug)]
pub struct Line<'a> {
    queue: &'a LogQueue,
    text: Vec<u8>,
}

// === impl LogQueue ===

impl LogQueue {
    /// A queue whose lines are written to `out`. `tell`: the line that says how many were dropped.
    pub fn start(
        out: impl Write + Send + 'static,
        tell: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writing = shared.clone();
        // It ends with the process.
        thread::Builder::new().name("log".to_owned()).spawn(move || writing.write_to(out, tell))?;
        Ok(Self { shared })
    }

    /// Counts the lines that were dropped.
    pub fn dropped(&self) -> Counter {
        self.shared.dropped.clone()
    }

    /// Waits until all is written, but not for long.
    pub fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        let state = self.shared.lock();
        // Nothing is left to do about what could not be written.
        let _ = self.shared.changed.wait_timeout_while(state, limit, is_busy);
    }

    /// Hands a line in.
    pub fn push(&self, line: Vec<u8>) {
        let mut state = self.shared.lock();
        if state.bytes + line.len() > BYTES_MAX {
            state.untold += 1;
            drop(state);
            self.shared.dropped.inc();
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, text: Vec::new() }
    }
}

// === impl Shared ===

impl Shared {
    fn write_to(&self, mut out: impl Write, tell: impl Fn(u64) -> String) {
        loop {
            let (line, lost) = self.next();
            // A reader that is gone reads nothing any more, and there is nobody else to tell.
            let _ = out.write_all(&line).and_then(|()| out.flush());
            if lost > 0 {
                let _ = out.write_all(tell(lost).as_bytes());
            }
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits for a line. With the last one that was there comes how many were dropped behind it.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.is_writing = true;
                let lost = if state.lines.is_empty() { std::mem::take(&mut state.untold) } else { 0 };
                return (line, lost);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No holder can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Line ===

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.queue.push(std::mem::take(&mut self.text));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader};
    use std::time::Instant;

    use super::*;

    /// A queue before a pipe.
    fn piped() -> (LogQueue, PipeReader) {
        let (reader, writer) = io::pipe().expect("a pipe");
        let queue = LogQueue::start(writer, |lost| format!("lost {lost}\n")).expect("a thread");
        (queue, reader)
    }

    fn say(queue: &LogQueue, text: &str) {
        writeln!(queue.make_writer(), "{text}").expect("a queue takes all");
    }

    #[test]
    fn a_stopped_reader_holds_nobody_up_and_costs_lines_that_are_counted() {
        let (queue, reader) = piped();
        let (begun, long) = (Instant::now(), "x".repeat(1023));
        // Twice as much as waits; a pipe holds 64 KiB more.
        (0..2048).for_each(|_| say(&queue, &long));
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        let dropped = queue.dropped().get();
        assert!((900..=1024).contains(&dropped), "{dropped}");
        queue.flush(Duration::from_millis(10));

        let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
        let told = lines.by_ref().find(|line| line.starts_with("lost ")).expect("it is told");
        assert_eq!(told, format!("lost {dropped}"));
        say(&queue, "afterwards");
        assert_eq!(lines.next().as_deref(), Some("afterwards"));
    }

    #[test]
    fn what_was_said_is_written_before_the_end() {
        let (queue, reader) = piped();
        (0..100).for_each(|n| say(&queue, &n.to_string()));
        queue.flush(Duration::from_secs(30));
        let lines = BufReader::new(reader).lines().take(100).map_while(Result::ok);
        assert!(lines.eq((0..100).map(|n| n.to_string())));
    }

    #[test]
    fn a_reader_that_is_gone_harms_nobody() {
        let (queue, reader) = piped();
        drop(reader);
        (0..100).for_each(|_| say(&queue, "x"));
        queue.flush(Duration::from_secs(30));
        assert!(queue.shared.lock().lines.is_empty());
    }
}
