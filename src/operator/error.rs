//! Reasons for which the operator ends by itself.

use std::io;

use tokio::task::JoinError;

use crate::kubernetes::ClientError;

/// The reason for which the operator ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("failed to listen for the {what}")]
    Bind { what: &'static str, source: io::Error },
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    #[error("a part of the operator ended unexpectedly: {0}")]
    Ended(String),
}

// === impl OperatorError ===

impl From<JoinError> for OperatorError {
    /// A task that did not end by itself.
    fn from(error: JoinError) -> Self {
        // The words of a panic have been logged, without what they quote.
        let why = if error.is_panic() { "a task panicked" } else { "a task was cancelled" };
        Self::Ended(why.to_owned())
    }
}
