//! Reports of the operator about itself: its log, its health and its metrics.
//!
//! Nothing here decides anything, and nothing here may hold the operator up: the log goes to stderr, health and
//! metrics are read from memory by two small servers of bounded size.

mod health;
mod labels;
mod log_queue;
mod logging;
mod metrics;
#[cfg(test)]
mod page_tests;
mod server;

pub use health::Health;
pub use logging::{LogError, end as end_logging, init as init_logging};
pub use metrics::Metrics;
pub use server::{Page, Pages, bind, serve};
