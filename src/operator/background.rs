//! Tasks that run as long as the process does, and must never end by themselves.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::error::OperatorError;
use crate::cli::BindAddress;
use crate::telemetry::{self, Pages};

/// The tasks in the background: servers of pages, and the writer of events. All of them end when it is dropped.
#[derive(Default)]
pub(super) struct Background {
    tasks: JoinSet<&'static str>,
}

// === impl Background ===

impl Background {
    /// Serves pages, unless the server is turned off.
    pub(super) async fn serve(
        &mut self,
        what: &'static str,
        address: BindAddress,
        pages: Pages,
    ) -> Result<(), OperatorError> {
        let listener =
            telemetry::bind(address).await.map_err(|source| OperatorError::Bind { what, source })?;
        if let Some(listener) = listener {
            if let Ok(address) = listener.local_addr() {
                tracing::info!("serving the {what} on {address}");
            }
            self.spawn(what, async move {
                telemetry::serve(listener, pages).await;
            });
        }
        Ok(())
    }

    /// Runs a task; `what` is its name, should it end.
    pub(super) fn spawn(&mut self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            task.await;
            what
        });
    }

    /// Waits for the task that ends once it has nothing left to do, but not for long.
    pub(super) async fn finish(mut self, limit: Duration) {
        // The others never end.
        if timeout(limit, self.ended()).await.is_err() {
            tracing::warn!("ending although events wait to be written");
        }
    }

    /// Waits for a task to end, and yields its name; nothing if there is no task.
    pub(super) async fn ended(&mut self) -> Option<Result<&'static str, JoinError>> {
        self.tasks.join_next().await
    }
}
