//! The log on stderr.

use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

use super::log_queue::LogQueue;
use crate::cli::{LogFormat, LogLevel};

/// How long the end of the process waits for its last lines to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The log of this process, once it is set up.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("failed to start the log's thread")]
    Thread(#[from] io::Error),
    #[error("failed to set up the log")]
    Twice(#[from] TryInitError),
}

/// Sets up the log of the whole process; fails if it is set up already. Panics are logged from then on, so that they
/// too are one JSON object where everything else is.
pub fn init(format: LogFormat, level: LogLevel) -> Result<(), LogError> {
    let queue = LogQueue::start(io::stderr(), move |lost| dropped_line(format, lost))?;
    let layer = match format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(queue.clone()).boxed(),
        LogFormat::Text => {
            fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(queue.clone()).boxed()
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter(level))).try_init()?;
    // There is none yet, or the line above had failed.
    let _ = QUEUE.set(queue);
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Waits until the log is written, or its reader has had a moment for it. `last`: a line for people to end with.
pub fn end(last: Option<&str>) {
    let queue = match QUEUE.get() {
        Some(queue) => queue.clone(),
        None => match LogQueue::start(io::stderr(), |_| String::new()) {
            Ok(queue) => queue,
            Err(_) => return,
        },
    };
    if let Some(last) = last {
        queue.push(format!("{last}\n").into_bytes());
    }
    queue.flush(LAST_WORDS);
}

/// Counts the lines that were dropped since nobody read them.
pub(super) fn lines_dropped() -> Counter {
    QUEUE.get().map(LogQueue::dropped).unwrap_or_default()
}

/// The line that says that lines were dropped. It is made beside the log, which would only queue it up again.
fn dropped_line(format: LogFormat, lost: u64) -> String {
    let (time, target) = (jiff::Timestamp::now(), env!("CARGO_CRATE_NAME"));
    let message = "lines of this log were dropped, since nobody read it";
    match format {
        LogFormat::Json => format!(
            "{}\n",
            serde_json::json!({
                "timestamp": time.to_string(), "level": "WARN", "message": message, "lines": lost, "target": target,
            })
        ),
        LogFormat::Text => format!("{time}  WARN {target}: {message} lines={lost}\n"),
    }
}

/// The filter of the log: our own messages pass from `level` up, and those of libraries from info at most, since their
/// debug output shows headers and bodies, and so tokens.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::INFO)).with_target(env!("CARGO_CRATE_NAME"), level)
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let reason = unquoted(panic.payload_as_str().unwrap_or("unknown"));
    tracing::error!(location, reason, "a panic, which is a bug");
}

/// A panic's message up to what it quotes: that may be of an answer or a Secret, such as the text that was cut within
/// a character. Where it happened tells the rest.
fn unquoted(reason: &str) -> &str {
    reason.split(['`', '"', '\'']).next().unwrap_or_default().trim_end_matches([' ', ':'])
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn only_our_own_messages_go_below_info() {
        let filter = filter(LogLevel::Trace);
        assert!(filter.would_enable("testinium_operator::operator", &Level::TRACE));
        assert!(filter.would_enable("kube_client", &Level::INFO));
        assert!(!filter.would_enable("hyper_util", &Level::DEBUG));
    }

    #[test]
    fn a_panic_quotes_nothing() {
        let text = String::from("5ecret-şey");
        let refused: fn(&str) -> Result<(), String> = |text| Err(text.to_owned());
        for panic in [
            std::panic::catch_unwind(|| text[..8].len()).expect_err("it is within a character"),
            std::panic::catch_unwind(|| refused(&text).expect("it is there")).expect_err("it is not"),
        ] {
            let message = panic.downcast_ref::<String>().expect("a formatted message");
            assert!(message.contains("5ecret"), "{message}");
            assert!(!unquoted(message).contains("5ecret") && unquoted(message).len() > 10, "{message}");
        }
        assert_eq!(unquoted("attempt to add with overflow"), "attempt to add with overflow");
    }

    #[test]
    fn a_higher_level_silences_the_libraries_too() {
        let filter = filter(LogLevel::Error);
        assert!(filter.would_enable("kube_client", &Level::ERROR));
        assert!(!filter.would_enable("kube_client", &Level::WARN));
        assert!(!filter.would_enable("testinium_operator", &Level::WARN));
    }
}
